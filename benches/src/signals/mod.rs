//! The subject `core`: signals beside the one-shot events of other crates.
//!
//! - `single` one event by one thread, and by two threads at a time
//! - `merge` many events awaited as one
//! - `wake` from one task to another
//! - `allocs` how often memory is asked for
//! - `memory` how much of it is held

mod allocs;
mod memory;
mod merge;
mod single;
mod wake;

use std::io;

use crate::{Args, Report};

/// Calls a generic function with every kind of event, Reveille's first.
macro_rules! for_each_kind {
    ($call:ident) => {
        $call!(crate::own::Own, crate::Role::Own);
        $call!(crate::peers::TokioOneshot, crate::Role::Peer);
        $call!(crate::peers::TokioNotify, crate::Role::Peer);
        $call!(crate::peers::Listener, crate::Role::Peer);
        $call!(crate::peers::FuturesOneshot, crate::Role::Peer);
        $call!(crate::peers::Velo, crate::Role::Peer);
    };
}
use for_each_kind;

/// Measures every duration.
///
/// # Errors
///
/// Those of the writer of the report, and of the runtimes that do not start.
pub fn time(args: &Args, report: &mut Report<'_>) -> io::Result<()> {
    single::time(&args.plan, report)?;
    merge::time(&args.plan, report)?;
    wake::time(&args.plan, report)
}

/// Counts allocations and bytes. Memory is a part of its own for each kind of event, in a
/// process of its own, where no other kind has left anything behind.
///
/// # Errors
///
/// Those of the writer of the report, of runtimes and processes that do not start, and of a
/// part that does not exist.
pub fn count(args: &Args, report: &mut Report<'_>) -> io::Result<()> {
    match &args.part {
        Some(kind) => memory::count(kind, &args.plan, report),
        None => {
            allocs::count(report)?;
            memory::count_all(args)
        }
    }
}
