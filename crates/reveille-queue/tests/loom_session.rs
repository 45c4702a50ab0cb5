//! Every interleaving, within a bound of preemptions, of appending, taking, waiting, subscribing,
//! closing and leaving, with two threads.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test --release -p reveille-queue --test loom_session`.

#![cfg(loom)]
#![allow(
    clippy::unwrap_used,
    reason = "in a test an unwrap that fails is the failure"
)]

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use loom::future::block_on;
use loom::thread;
use reveille_core::ManualClock;
use reveille_memory::MemoryBackend;
use reveille_queue::{
    AppendOptions, SessionLog, SessionOptions, Sessions, StreamItem, SubscribeOptions, TakeOptions,
    TakeOutcome, WaitOptions, WaitOutcome,
};
use reveille_types::{EventDraft, Filter, SessionKey, Start, Tenant};

fn model(test: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(test);
}

/// A session, and what must outlive it.
fn session() -> (Sessions, SessionLog) {
    let sessions = Sessions::builder(MemoryBackend::new())
        .clock(Arc::new(ManualClock::new()))
        .build();
    let key = SessionKey::in_tenant(Tenant::default_tenant(), "s").unwrap();
    let log = block_on(sessions.create(key, SessionOptions::default())).unwrap();
    (sessions, log)
}

fn append(log: &SessionLog) {
    let draft = EventDraft::parse("a").unwrap();
    log.try_append([draft], AppendOptions::default()).unwrap();
}

fn taken(outcome: TakeOutcome) -> Vec<u64> {
    match outcome {
        TakeOutcome::Taken { taken, .. } => taken.iter().map(|t| t.event.position().0).collect(),
        _ => Vec::new(),
    }
}

fn take_now(log: &SessionLog) -> Vec<u64> {
    let options = TakeOptions::new().max(10).timeout(Duration::ZERO);
    taken(block_on(log.take(options)).unwrap())
}

fn nothing_waits(log: &SessionLog) {
    let info = log.info();
    assert_eq!((info.waiters, info.subscribers), (0, 0));
}

#[test]
fn taker_never_misses_an_append() {
    model(|| {
        let (_sessions, log) = session();
        let taker = {
            let log = log.clone();
            thread::spawn(move || taken(block_on(log.take(TakeOptions::new())).unwrap()))
        };
        append(&log);
        assert_eq!(taker.join().unwrap(), [0]);
        nothing_waits(&log);
    });
}

#[test]
fn dropped_taker_owns_nothing() {
    model(|| {
        let (_sessions, log) = session();
        let taker = {
            let log = log.clone();
            thread::spawn(move || {
                block_on(async {
                    let mut take = pin!(log.take(TakeOptions::new()));
                    poll_fn(|cx| match take.as_mut().poll(cx) {
                        Poll::Ready(outcome) => Poll::Ready(taken(outcome.unwrap())),
                        Poll::Pending => {
                            thread::yield_now();
                            Poll::Ready(Vec::new())
                        }
                    })
                    .await
                })
            })
        };
        append(&log);
        let mut all = taker.join().unwrap();
        all.extend(take_now(&log));
        assert_eq!(all, [0], "taken once, by the one or the other");
        nothing_waits(&log);
    });
}

#[test]
fn what_a_leaving_taker_had_wakes_the_next() {
    model(|| {
        let (_sessions, log) = session();
        // The first in the queue leaves while the event comes; the second must get it in any case.
        let first = {
            let log = log.clone();
            thread::spawn(move || {
                let options = TakeOptions::new().timeout(Duration::from_secs(1));
                taken(block_on(log.take(options)).unwrap())
            })
        };
        let second = {
            let log = log.clone();
            thread::spawn(move || taken(block_on(log.take(TakeOptions::new())).unwrap()))
        };
        append(&log);
        if !first.join().unwrap().is_empty() {
            append(&log);
        }
        assert_eq!(second.join().unwrap().len(), 1);
        nothing_waits(&log);
    });
}

#[test]
fn wait_that_times_out_goes_on_before_what_it_missed() {
    model(|| {
        let (_sessions, log) = session();
        let waiter = {
            let log = log.clone();
            thread::spawn(move || {
                let options = WaitOptions::any(Filter::all()).timeout(Duration::from_secs(1));
                match block_on(log.wait(options)).unwrap() {
                    WaitOutcome::Matched { cursor, .. } => cursor.position().unwrap().0,
                    WaitOutcome::TimedOut { next, .. } => {
                        let again = WaitOptions::any(Filter::all()).from(Start::After(next));
                        let found = block_on(log.wait(again)).unwrap();
                        assert!(matches!(found, WaitOutcome::Matched { .. }));
                        1
                    }
                    WaitOutcome::Ended { .. } => panic!("nobody ends the session"),
                }
            })
        };
        append(&log);
        assert_eq!(waiter.join().unwrap(), 1);
        nothing_waits(&log);
    });
}

#[test]
fn subscriber_of_a_closing_session_gets_everything_and_the_end() {
    model(|| {
        let (_sessions, log) = session();
        let reader = {
            let log = log.clone();
            thread::spawn(move || {
                block_on(async {
                    let mut all = log.subscribe(SubscribeOptions::default()).unwrap();
                    let mut events = 0;
                    loop {
                        match all.next().await.unwrap().unwrap() {
                            StreamItem::Event(_) => events += 1,
                            StreamItem::CaughtUp(_) => {}
                            StreamItem::Gap(gap) => panic!("{gap:?}"),
                            StreamItem::Ended { .. } => return events,
                        }
                    }
                })
            })
        };
        append(&log);
        assert!(block_on(log.close(None)).unwrap());
        assert_eq!(reader.join().unwrap(), 1);
        nothing_waits(&log);
    });
}
