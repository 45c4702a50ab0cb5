//! Reveille measured beside its peers: the same work, in the same run, sample by sample in turn.
//!
//! `cargo xtask bench <subject>` builds the two programs of this package, runs them and makes
//! tables of what they print. They print samples alone; nothing here judges them, and no test
//! depends on them. A subject is one module with a function for either program:
//!
//! - `reveille-bench-time` measures durations with the allocator that programs usually have
//! - `reveille-bench-count` counts allocations and live bytes, with one that counts
//!
//! In reading order:
//!
//! - [`Args`] and [`Plan`] what a program is asked for, and how long it may take
//! - [`Report`] the form of what is printed
//! - `harness` the turns of the contenders, `counting` what the allocator saw
//! - `kind` what a one-shot event must be able to do, `own` how Reveille does it, `peers` how
//!   the others do
//! - [`signals`] the subject `core`

mod args;
mod report;

mod counting;
mod harness;

mod kind;
mod own;
mod peers;

pub mod signals;

pub use args::{Args, Plan};
pub use report::{Report, Role};
