//! How often one operation asks for memory once everything is warm.

use std::io;

use super::for_each_kind;
use super::merge::{Countdown, JoinAll, JoinAllUnconstrained, Merge, Tasks, VeloMerge, runtime};
use super::single::{Way, repeat};
use crate::counting::allocations;
use crate::kind::Kind;
use crate::own::OwnMerge;
use crate::{Report, Role};

const UNIT: &str = "allocations";

/// Events that are used before the counting starts: more than any kind remembers.
const WARM_UP: u64 = 10_000;

/// Events that are counted.
const EVENTS: u64 = 10_000;

/// Inputs of a merge whose allocations are counted.
const INPUTS: usize = 1000;

/// Merges before the counting starts, and then again.
const MERGES: usize = 10;

pub(super) fn count(report: &mut Report<'_>) -> io::Result<()> {
    for (row, way) in [
        ("allocs_ready", Way::Ready),
        ("allocs_pending", Way::Pending),
    ] {
        macro_rules! enter {
            ($kind:ty, $role:expr) => {
                single::<$kind>(report, row, way, $role)?
            };
        }
        for_each_kind!(enter);
    }
    merge::<OwnMerge>(report)?;
    merge::<VeloMerge>(report)?;
    merge::<JoinAll>(report)?;
    merge::<Tasks>(report)?;
    merge::<JoinAllUnconstrained>(report)?;
    merge::<Countdown>(report)
}

fn single<K: Kind>(report: &mut Report<'_>, row: &str, way: Way, role: Role) -> io::Result<()> {
    let system = K::system();
    repeat::<K>(&system, way, WARM_UP);
    let before = allocations();
    repeat::<K>(&system, way, EVENTS);
    let counted = allocations() - before;
    // Rounded, so that the one waker of all pending events does not show.
    let each = (counted as f64 / EVENTS as f64 * 1000.0).round() / 1000.0;
    report.line(row, UNIT, (K::NAME, role), &[each])
}

fn merge<M: Merge>(report: &mut Report<'_>) -> io::Result<()> {
    let mut merge = M::new();
    let counted = runtime()?.block_on(async {
        for _ in 0..MERGES {
            merge.once(INPUTS).await;
        }
        let before = allocations();
        for _ in 0..MERGES {
            merge.once(INPUTS).await;
        }
        allocations() - before
    });
    let each = counted as f64 / MERGES as f64;
    report.line("allocs_merge_1000", UNIT, (M::NAME, M::ROLE), &[each])
}
