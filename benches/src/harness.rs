//! The turns: every contender of a row takes one sample, then every one the next, so that what
//! disturbs the machine for a while disturbs them all.

use std::io;
use std::time::Duration;

use crate::{Plan, Report, Role};

/// One contender of a row that measures durations.
pub(crate) struct Entrant<'a> {
    pub(crate) name: &'static str,
    pub(crate) role: Role,
    /// Does this many operations and says how long they took.
    pub(crate) run: Box<dyn FnMut(u64) -> Duration + 'a>,
}

/// An operation that takes longer than this is far behind; its first sample is its only one.
const HOPELESS: Duration = Duration::from_secs(1);

/// Measures a row in nanoseconds; one operation counts as `per_operation` units of work.
pub(crate) fn time_row(
    plan: &Plan,
    report: &mut Report<'_>,
    row: &str,
    unit: &str,
    per_operation: usize,
    mut entrants: Vec<Entrant<'_>>,
) -> io::Result<()> {
    let per_unit =
        |taken: Duration, count: u64| taken.as_nanos() as f64 / count as f64 / per_operation as f64;
    let warm: Vec<_> = entrants
        .iter_mut()
        .map(|entrant| warm_up(plan, entrant))
        .collect();
    let mut samples = vec![Vec::with_capacity(plan.samples); entrants.len()];
    for turn in 0..plan.samples {
        for ((entrant, warm), samples) in entrants.iter_mut().zip(&warm).zip(&mut samples) {
            match *warm {
                WarmUp::Sample(count) => samples.push(per_unit((entrant.run)(count), count)),
                WarmUp::Hopeless(taken) if turn == 0 => samples.push(per_unit(taken, 1)),
                WarmUp::Hopeless(_) => {}
            }
        }
    }
    for (entrant, samples) in entrants.iter().zip(&samples) {
        report.line(row, unit, (entrant.name, entrant.role), samples)?;
    }
    Ok(())
}

/// What the first operations of a contender told.
enum WarmUp {
    /// This many operations fill the time of a sample.
    Sample(u64),
    /// A single one took this long.
    Hopeless(Duration),
}

/// Does more and more operations until they can be timed.
fn warm_up(plan: &Plan, entrant: &mut Entrant<'_>) -> WarmUp {
    let mut count = 1;
    loop {
        let taken = (entrant.run)(count);
        if count == 1 && taken > HOPELESS {
            return WarmUp::Hopeless(taken);
        }
        if taken >= plan.sample_time / 4 {
            let times = plan.sample_time.as_secs_f64() / taken.as_secs_f64();
            return WarmUp::Sample(((count as f64 * times) as u64).max(1));
        }
        count *= 4;
    }
}
