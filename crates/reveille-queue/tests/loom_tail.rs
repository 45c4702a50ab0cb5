//! Every interleaving, within a bound of preemptions, of subscribing to a tenant's order, publishing
//! into it from two sessions, and leaving.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test --release -p reveille-queue --test loom_tail`.

#![cfg(loom)]
#![allow(
    clippy::unwrap_used,
    reason = "in a test an unwrap that fails is the failure"
)]

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use loom::future::block_on;
use loom::thread;
use reveille_core::ManualClock;
use reveille_memory::MemoryBackend;
use reveille_queue::{AppendOptions, SessionLog, SessionOptions, Sessions, Tail, TailLimits};
use reveille_types::{EventDraft, Filter, Seq, SessionKey, Tenant};

fn model(test: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(test);
}

fn sessions() -> (Sessions, Tail) {
    let sessions = Sessions::builder(MemoryBackend::new())
        .clock(Arc::new(ManualClock::new()))
        .tail(TailLimits::default())
        .build();
    let tail = block_on(sessions.tail_or_begin(&Tenant::default_tenant()));
    let tail = tail.unwrap().unwrap();
    (sessions, tail)
}

fn log(sessions: &Sessions, name: &str) -> SessionLog {
    let key = SessionKey::in_tenant(Tenant::default_tenant(), name).unwrap();
    block_on(sessions.create(key, SessionOptions::default())).unwrap()
}

fn publish(log: &SessionLog) {
    let draft = EventDraft::parse("a").unwrap();
    log.try_append([draft], AppendOptions::default()).unwrap();
}

/// Reads so many events, waiting where there are none.
fn read(tail: &Tail, count: usize) -> Vec<u64> {
    block_on(async {
        let mut watch = tail.watch(Filter::all());
        let (mut at, mut seqs) = (Seq(0), Vec::new());
        while seqs.len() < count {
            let page = poll_fn(|cx| watch.poll_read(cx, at, 16, usize::MAX)).await;
            assert!(page.missing.is_empty());
            at = page.read_to;
            seqs.extend(page.events.iter().map(|event| event.place().seq.0));
        }
        seqs
    })
}

#[test]
fn subscriber_never_misses_what_is_published() {
    model(|| {
        let (sessions, tail) = sessions();
        let log = log(&sessions, "s");
        let reader = {
            let tail = tail.clone();
            thread::spawn(move || read(&tail, 2))
        };
        publish(&log);
        publish(&log);
        assert_eq!(reader.join().unwrap(), [1, 2]);
        assert_eq!(tail.info().watchers, 0);
    });
}

#[test]
fn two_publishers_are_seen_in_one_order() {
    model(|| {
        let (sessions, tail) = sessions();
        let (one, other) = (log(&sessions, "s"), log(&sessions, "t"));
        let publisher = thread::spawn(move || publish(&other));
        publish(&one);
        let seqs = read(&tail, 2);
        publisher.join().unwrap();
        assert_eq!(seqs, [1, 2]);
    });
}

#[test]
fn subscriber_that_leaves_disturbs_nobody_and_leaves_nothing() {
    model(|| {
        let (sessions, tail) = sessions();
        let log = log(&sessions, "s");
        let leaving = {
            let tail = tail.clone();
            thread::spawn(move || {
                block_on(async {
                    let mut watch = tail.watch(Filter::all());
                    poll_fn(|cx| {
                        let _ = watch.poll_read(cx, Seq(0), 16, usize::MAX);
                        Poll::Ready(())
                    })
                    .await;
                });
            })
        };
        publish(&log);
        assert_eq!(read(&tail, 1), [1]);
        leaving.join().unwrap();
        assert_eq!(tail.info().watchers, 0);
    });
}
