//! One event at a time, polled by hand: no runtime has a part in these figures.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use super::for_each_kind;
use crate::harness::{Entrant, time_row};
use crate::kind::{Kind, pending, ready};
use crate::{Plan, Report, Role};

const UNIT: &str = "ns";

/// A waker as executors have it: shared by counting, and counting what it is for.
#[derive(Default)]
pub(super) struct CountingWaker {
    wakes: AtomicU64,
}

impl Wake for CountingWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wakes.fetch_add(1, Ordering::Relaxed);
    }
}

pub(super) fn time(plan: &Plan, report: &mut Report<'_>) -> io::Result<()> {
    for (row, way, threads) in [
        ("signal_ready", Way::Ready, 1),
        ("signal_pending", Way::Pending, 1),
        ("signal_ready_2t", Way::Ready, 2),
        ("signal_pending_2t", Way::Pending, 2),
    ] {
        let mut entrants = Vec::new();
        macro_rules! enter {
            ($kind:ty, $role:expr) => {
                entrants.push(entrant::<$kind>($role, way, threads))
            };
        }
        for_each_kind!(enter);
        time_row(plan, report, row, UNIT, 1, entrants)?;
    }
    Ok(())
}

/// Which of the two ways an event is used.
#[derive(Clone, Copy)]
pub(super) enum Way {
    Ready,
    Pending,
}

fn entrant<K: Kind>(role: Role, way: Way, threads: usize) -> Entrant<'static> {
    let system = K::system();
    Entrant {
        name: K::NAME,
        role,
        run: Box::new(move |count| match threads {
            1 => repeat::<K>(&system, way, count),
            _ => side_by_side::<K>(&system, way, count, threads),
        }),
    }
}

/// Uses `count` events, one after the other.
pub(super) fn repeat<K: Kind>(system: &K::System, way: Way, count: u64) -> Duration {
    match way {
        Way::Ready => {
            let mut cx = Context::from_waker(Waker::noop());
            let start = Instant::now();
            for _ in 0..count {
                ready::<K>(system, &mut cx);
            }
            start.elapsed()
        }
        Way::Pending => {
            let counter = Arc::new(CountingWaker::default());
            let waker = Waker::from(Arc::clone(&counter));
            let mut cx = Context::from_waker(&waker);
            let start = Instant::now();
            for _ in 0..count {
                pending::<K>(system, &mut cx);
            }
            let taken = start.elapsed();
            assert_eq!(counter.wakes.load(Ordering::Relaxed), count, "{}", K::NAME);
            taken
        }
    }
}

/// The same in several threads at a time, each with its own events; the time of the slowest.
fn side_by_side<K: Kind>(system: &K::System, way: Way, count: u64, threads: usize) -> Duration {
    let start = Barrier::new(threads);
    let work = || {
        start.wait();
        repeat::<K>(system, way, count)
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let own = work();
        let others = others
            .into_iter()
            .map(|thread| thread.join().expect("no thread of a benchmark panics"));
        others.fold(own, Duration::max)
    })
}
