//! How many bytes an event holds, and how many stay behind when all events are gone.
//!
//! Counted are the bytes that were asked for, with what the caller keeps for each event. The
//! resident size of the process is told beside that; it is the allocator's doing, too.

use std::env;
use std::fs;
use std::io;
use std::pin::Pin;
use std::process::Command;
use std::task::{Context, Waker};

use super::for_each_kind;
use crate::counting::live_bytes;
use crate::kind::Kind;
use crate::{Args, Plan, Report, Role};

const UNIT: &str = "bytes";

/// Counts every kind of event, each in a process of its own that prints to the same place.
pub(super) fn count_all(args: &Args) -> io::Result<()> {
    let program = env::current_exe()?;
    macro_rules! enter {
        ($kind:ty, $role:expr) => {{
            let name = <$kind as Kind>::NAME;
            let mut command = Command::new(&program);
            command.args([&args.subject, "--part", name]);
            if args.quick {
                command.arg("--quick");
            }
            let status = command.status()?;
            if !status.success() {
                return Err(io::Error::other(format!("{name}: {status}")));
            }
        }};
    }
    for_each_kind!(enter);
    Ok(())
}

/// Counts the kind with this name.
pub(super) fn count(kind: &str, plan: &Plan, report: &mut Report<'_>) -> io::Result<()> {
    macro_rules! enter {
        ($kind:ty, $role:expr) => {
            if <$kind as Kind>::NAME == kind {
                return measure::<$kind>($role, plan.population, report);
            }
        };
    }
    for_each_kind!(enter);
    Err(io::Error::other(format!(
        "no kind of event is called {kind}"
    )))
}

fn measure<K: Kind>(role: Role, population: usize, report: &mut Report<'_>) -> io::Result<()> {
    let resident_before = resident_bytes()?;

    let before = live_bytes();
    let system = K::system();
    let mut idle = Vec::with_capacity(population);
    idle.extend((0..population).map(|_| K::idle(&system)));
    let pending = live_bytes() - before;
    drop((idle, system));

    let before = live_bytes();
    let system = K::system();
    let mut cx = Context::from_waker(Waker::noop());
    let mut all = Vec::with_capacity(population);
    for _ in 0..population {
        let (trigger, wait) = K::pair(&system);
        let mut wait = K::park(wait);
        assert!(Pin::new(&mut wait).poll(&mut cx).is_pending());
        all.push((trigger, wait));
    }
    let waiting = live_bytes() - before;

    for (trigger, mut wait) in all {
        K::trigger(trigger);
        assert!(Pin::new(&mut wait).poll(&mut cx).is_ready());
    }
    let left = live_bytes() - before;
    let resident = (resident_bytes()? - resident_before).max(0.0);
    drop(system);

    // Only now, since what printing keeps above the events would hold their pages.
    for (row, bytes) in [
        ("memory_pending", pending),
        ("memory_waiting", waiting),
        ("memory_after_peak", left),
        ("rss_after_peak", resident),
    ] {
        report.line(row, UNIT, (K::NAME, role), &[bytes / population as f64])?;
    }
    Ok(())
}

/// The resident size of this process as Linux tells it.
fn resident_bytes() -> io::Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let kibibytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB"))
        .and_then(|number| number.trim().parse::<f64>().ok());
    kibibytes
        .map(|kibibytes| kibibytes * 1024.0)
        .ok_or_else(|| io::Error::other("/proc/self/status tells no VmRSS"))
}
