//! What the seeds could do with events: handlers, emitting, history and counts.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reveille_bus::{EventBus, Handler, HandlerError, HistoryQuery, SubscribeOptions};
use reveille_queue::TailLimits;
use reveille_types::{Event, Filter, Kind};
use tokio::sync::mpsc;

mod common;
use common::{bus, bus_with, draft, event, everything, key, publish};

/// A handler that tells which kinds it was called for.
#[derive(Clone)]
struct Telling(mpsc::UnboundedSender<String>);

#[async_trait::async_trait]
impl Handler for Telling {
    async fn handle(&self, event: Event) -> Result<(), HandlerError> {
        tokio::task::yield_now().await;
        Ok(self.0.send(event.kind().to_string())?)
    }
}

fn matching(pattern: &str) -> SubscribeOptions {
    SubscribeOptions::matching(Filter::matching(pattern).unwrap())
}

#[tokio::test]
async fn f004_04_one_handler_may_be_put_on_often_with_a_predicate_or_without() {
    let bus = bus().await;
    let (to, mut told) = mpsc::unbounded_channel();
    let handler = Telling(to);
    let failures = matching("*").predicate(|event| event.kind().as_str().ends_with("failed"));
    let ids = [
        bus.on(matching("task.*"), handler.clone()).unwrap(),
        bus.on(matching("task.*"), handler.clone()).unwrap(),
        bus.on(failures, handler).unwrap(),
    ];
    assert!(ids[0] != ids[1] && ids[1] != ids[2]);
    let second = Duration::from_secs(10);
    let batch = vec![
        draft("task.started"),
        draft("task.failed"),
        draft("x.failed"),
    ];
    let emitted = bus.emit(key("s"), batch, second).await.unwrap();
    assert_eq!((emitted.handled, emitted.failed), (3, 0));
    let mut all: Vec<String> = std::iter::from_fn(|| told.try_recv().ok()).collect();
    all.sort_unstable();
    let (started, failed) = ("task.started", "task.failed");
    assert_eq!(all, [failed, failed, failed, started, started, "x.failed"]);
}

#[tokio::test]
async fn f004_05_taking_off_says_whether_there_was_a_handler() {
    let bus = bus().await;
    let (to, mut told) = mpsc::unbounded_channel();
    let id = bus.on(matching("*"), Telling(to)).unwrap();
    publish(&bus, "s", "a").await;
    assert_eq!(told.recv().await.unwrap(), "a");
    assert!(bus.off(id).await);
    assert!(!bus.off(id).await, "it is gone");
    publish(&bus, "s", "b").await;
    assert_eq!(told.recv().await, None);
}

#[tokio::test]
async fn f004_06_emitting_counts_and_keeps_also_what_nobody_listens_to() {
    let bus = bus().await;
    let second = Duration::from_secs(10);
    let emitted = bus.emit(key("s"), vec![draft("a")], second).await.unwrap();
    assert_eq!(
        (emitted.handled, emitted.failed, emitted.timed_out),
        (0, 0, 0)
    );
    assert_eq!(bus.history(&HistoryQuery::default()).len(), 1);
    assert_eq!(bus.stats().published, 1);

    // All that match are called at once, and the failure of one is its own.
    let (to, mut told) = mpsc::unbounded_channel();
    let both = Arc::new(tokio::sync::Barrier::new(2));
    for _ in 0..2 {
        let (both, to) = (Arc::clone(&both), to.clone());
        bus.on(matching("b"), move |event: Event| {
            let (both, to) = (Arc::clone(&both), to.clone());
            async move {
                both.wait().await;
                Ok(to.send(event.kind().to_string())?)
            }
        })
        .unwrap();
    }
    bus.on(matching("b"), |_event| async { Err("it fails".into()) })
        .unwrap();
    let emitted = bus.emit(key("s"), vec![draft("b")], second).await.unwrap();
    assert_eq!(
        (emitted.handled, emitted.failed, emitted.timed_out),
        (2, 1, 0)
    );
    assert_eq!(
        (told.try_recv().unwrap(), told.try_recv().unwrap()),
        ("b".into(), "b".into())
    );
}

#[tokio::test]
async fn f004_07_many_events_are_one_batch_in_their_order() {
    let bus = bus().await;
    let (to, mut told) = mpsc::unbounded_channel();
    bus.on(matching("*"), Telling(to)).unwrap();
    let kinds: Vec<String> = (0..50).map(|n| format!("k{n}")).collect();
    let batch = kinds.iter().map(|kind| draft(kind)).collect();
    let emitted = bus.emit(key("s"), batch, Duration::from_secs(10)).await;
    assert_eq!(emitted.unwrap().published.receipt.results.len(), 50);
    let all: Vec<String> = std::iter::from_fn(|| told.try_recv().ok()).collect();
    assert_eq!(all, kinds);
}

#[tokio::test]
async fn f004_09_of_five_into_three_the_last_three_are_kept() {
    let limits = TailLimits {
        events: 3,
        ..common::LIMITS
    };
    let bus = bus_with(limits).await;
    for n in 1..=5 {
        publish(&bus, "s", &format!("k{n}")).await;
    }
    let kept = bus.history(&HistoryQuery::default());
    let kinds: Vec<&str> = kept.iter().map(|event| event.kind().as_str()).collect();
    assert_eq!(kinds, ["k3", "k4", "k5"]);
    assert_eq!((bus.stats().retained, bus.stats().retained_at_most), (3, 3));
}

#[tokio::test]
async fn f004_10_subscriptions_are_counted_all_or_by_their_pattern() {
    let bus = bus().await;
    let patterns = ["task.*", "task.*", "agent.failed"];
    let kept = patterns.map(|pattern| bus.subscribe(matching(pattern)).unwrap());
    let exact = |pattern: &str| bus.count_exact(&Filter::matching(pattern).unwrap());
    assert_eq!(bus.stats().subscriptions.len(), 3);
    assert_eq!(
        (exact("task.*"), exact("agent.failed"), exact("task")),
        (2, 1, 0)
    );
    drop(kept);
    assert_eq!((bus.stats().subscriptions.len(), exact("task.*")), (0, 0));
}

#[tokio::test]
async fn f004_11_statistics_say_what_came_and_who_listens() {
    let bus = bus().await;
    let mut reading = bus.subscribe(matching("a")).unwrap();
    let standing = bus.subscribe(matching("*")).unwrap();
    for kind in ["a", "b", "a"] {
        publish(&bus, "s", kind).await;
    }
    event(&mut reading).await;
    event(&mut reading).await;
    let stats = bus.stats();
    let kind = |text| Kind::parse(text).unwrap();
    assert_eq!(stats.published, 3);
    assert_eq!(stats.published_by_kind[&kind("a")], 2);
    assert_eq!(stats.retained_by_kind[&kind("b")], 1);
    assert_eq!(
        (stats.retained, stats.retained_at_most),
        (3, common::LIMITS.events)
    );
    assert_eq!((stats.filters, stats.subscriptions.len()), (2, 2));
    let of = |id| stats.subscriptions[&id];
    assert_eq!((of(reading.id()).delivered, of(reading.id()).lag), (2, 0));
    assert_eq!((of(standing.id()).delivered, of(standing.id()).lag), (0, 3));
}

/// 004-D04: whatever is accepted as a handler is run; what would not be, is refused by the compiler, as
/// the example of `Handler` shows.
#[tokio::test]
async fn d004_04_handlers_of_every_shape_are_run() {
    static CALLED: AtomicUsize = AtomicUsize::new(0);
    async fn function(_event: Event) -> Result<(), HandlerError> {
        tokio::task::yield_now().await;
        CALLED.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
    let bus = bus().await;
    let (to, mut told) = mpsc::unbounded_channel();
    let closure = to.clone();
    bus.on(matching("*"), function).unwrap();
    bus.on(matching("*"), Telling(to)).unwrap();
    bus.on(matching("*"), move |_event| {
        let to = closure.clone();
        async move { Ok(to.send("closure".into())?) }
    })
    .unwrap();
    let emitted = bus.emit(key("s"), vec![draft("a")], Duration::from_secs(10));
    assert_eq!(emitted.await.unwrap().handled, 3);
    assert_eq!(CALLED.load(Ordering::Relaxed), 1);
    let mut all = [told.try_recv().unwrap(), told.try_recv().unwrap()];
    all.sort_unstable();
    assert_eq!(all, ["a", "closure"]);
}

/// 004-D13: a handler has the event for itself to read; what it makes of it is another event.
#[tokio::test]
async fn d004_13_what_a_handler_makes_of_an_event_is_its_own() {
    let bus = bus().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    for changes in [true, false] {
        let seen = Arc::clone(&seen);
        bus.on(matching("a").payloads(), move |event: Event| {
            let seen = Arc::clone(&seen);
            async move {
                let mut envelope = event.envelope().clone();
                if changes {
                    envelope.subject = Some("changed".into());
                    envelope.extensions.clear();
                }
                seen.lock().unwrap().push(event);
                Ok(())
            }
        })
        .unwrap();
    }
    let mut given = everything();
    given.kind = Kind::parse("a").unwrap();
    given.privacy = None;
    let emitted = bus.emit(key("s"), vec![given.clone()], Duration::from_secs(10));
    assert_eq!(emitted.await.unwrap().handled, 2);
    let kept = bus.history(&HistoryQuery::default().payloads());
    for event in seen.lock().unwrap().iter().chain(&kept) {
        assert_eq!(event.envelope().subject, given.subject);
        assert_eq!(event.envelope().extensions, given.extensions);
        assert_eq!(event.payload(), &given.payload);
    }
}
