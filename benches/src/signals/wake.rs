//! How long a wake takes from one task to another while both are busy: two tasks pass the turn
//! to and fro, each time with an event of its own.

use std::io;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

use super::for_each_kind;
use crate::harness::{Entrant, time_row};
use crate::kind::Kind;
use crate::{Plan, Report, Role};

/// Rounds until both tasks run; they are not timed.
const WARM_UP: usize = 64;

/// Timed rounds for which the events are made in advance.
const BATCH: u64 = 1000;

/// There and back.
const WAKES_OF_A_ROUND: usize = 2;

pub(super) fn time(plan: &Plan, report: &mut Report<'_>) -> io::Result<()> {
    let runtime = Builder::new_multi_thread().worker_threads(2).build()?;
    let mut entrants = Vec::new();
    macro_rules! enter {
        ($kind:ty, $role:expr) => {
            entrants.push(entrant::<$kind>(&runtime, $role))
        };
    }
    for_each_kind!(enter);
    time_row(
        plan,
        report,
        "hot_wake",
        "ns per wake",
        WAKES_OF_A_ROUND,
        entrants,
    )
}

fn entrant<K: Kind>(runtime: &Runtime, role: Role) -> Entrant<'_> {
    let system = K::system();
    Entrant {
        name: K::NAME,
        role,
        run: Box::new(move |count| {
            let mut taken = Duration::ZERO;
            let mut left = count;
            while left > 0 {
                let rounds = left.min(BATCH);
                taken += ping_pong::<K>(runtime, &system, rounds as usize);
                left -= rounds;
            }
            taken
        }),
    }
}

fn ping_pong<K: Kind>(runtime: &Runtime, system: &K::System, rounds: usize) -> Duration {
    let all = WARM_UP + rounds;
    let (pings, pinged): (Vec<_>, Vec<_>) = (0..all).map(|_| K::pair(system)).unzip();
    let (pongs, ponged): (Vec<_>, Vec<_>) = (0..all).map(|_| K::pair(system)).unzip();
    let other = runtime.spawn(async move {
        for (wait, trigger) in pinged.into_iter().zip(pongs) {
            wait.await;
            K::trigger(trigger);
        }
    });
    let timed = runtime.spawn(async move {
        let mut start = Instant::now();
        for (round, (trigger, wait)) in pings.into_iter().zip(ponged).enumerate() {
            if round == WARM_UP {
                start = Instant::now();
            }
            K::trigger(trigger);
            wait.await;
        }
        start.elapsed()
    });
    runtime.block_on(async {
        let taken = timed.await.expect("no task of a benchmark panics");
        other.await.expect("no task of a benchmark panics");
        taken
    })
}
