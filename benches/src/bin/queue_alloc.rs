//! How many bytes idle sessions and waiters hold.
//!
//! Counts do not vary, so that a quick run is the same run.

use std::sync::Arc;

use allocation_counter::measure;
use reveille_bench::harness::{poll, print};
use reveille_bench::naive::{NaiveEvent, NaiveQueue};
use reveille_bench::sessions::{OTHER_KIND, create, manager, next, now};
use tokio::sync::{broadcast, mpsc};

/// Sessions of the row.
const SESSIONS: usize = 50_000;
/// Waiters of the row, all in one session.
const WAITERS: usize = 10_000;
/// The least that a broadcast channel can hold beside one event under way.
const BUFFER: usize = 2;
/// Events that a session retains.
const RETAINED: usize = 10_000;

const REVEILLE: &str = "reveille";
const BROADCAST: &str = "tokio broadcast";
const NAIVE: &str = "two mutexed maps";

fn main() {
    idle_sessions();
    waiters();
}

/// Bytes that each of so many holds, with the handle that its maker keeps.
fn held<T>(count: usize, make: impl FnMut(usize) -> T) -> (f64, Vec<T>) {
    let mut all = Vec::new();
    let info = measure(|| {
        all.reserve_exact(count);
        all.extend((0..count).map(make));
    });
    (info.bytes_current as f64 / count as f64, all)
}

fn idle_sessions() {
    let row = |name, bytes| print("memory_idle_session", "bytes", name, bytes);
    let sessions = manager();
    let name = |n| format!("session-{n}");
    row(
        REVEILLE,
        held(SESSIONS, |n| create(&sessions, &name(n), RETAINED)).0,
    );
    let mpsc = |_| mpsc::unbounded_channel::<Arc<NaiveEvent>>();
    row("tokio mpsc", held(SESSIONS, mpsc).0);
    let broadcast = |_| broadcast::channel::<Arc<NaiveEvent>>(BUFFER);
    row(BROADCAST, held(SESSIONS, broadcast).0);
    let naive = NaiveQueue::new(RETAINED);
    row(NAIVE, held(SESSIONS, |n| now(naive.create(&name(n)))).0);
}

/// What a waiter makes its session hold, and that with its future.
fn waiters() {
    let sessions = manager();
    let log = create(&sessions, "session", RETAINED);
    tell_waiters(REVEILLE, || log.wait(next(OTHER_KIND)));
    let naive = NaiveQueue::new(RETAINED);
    tell_waiters(NAIVE, || naive.wait("session", OTHER_KIND, 0));
    let (sender, _receiver) = broadcast::channel::<Arc<NaiveEvent>>(BUFFER);
    tell_waiters(BROADCAST, || {
        let mut receiver = sender.subscribe();
        async move { receiver.recv().await }
    });
}

fn tell_waiters<F: Future>(name: &str, wait: impl Fn() -> F) {
    let (futures, mut waits) = held(WAITERS, |_| Box::pin(wait()));
    let info = measure(|| {
        for wait in &mut waits {
            assert!(poll(wait.as_mut()).is_pending());
        }
    });
    let registered = info.bytes_current as f64 / WAITERS as f64;
    print("memory_waiter", "bytes", name, registered);
    print(
        "memory_waiter_and_future",
        "bytes",
        name,
        registered + futures,
    );
}
