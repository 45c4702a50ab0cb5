//! What the seeds could do, on one bus: envelopes, frames, cursors, filters, handlers and counts.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reveille_bus::{
    Bus, BusItem, BusStart, EventBus, Handler, HandlerError, HistoryQuery, SubscribeOptions,
};
use reveille_queue::TailLimits;
use reveille_types::sets::PayloadAccess;
use reveille_types::{
    Class, Cursor, Event, EventDraft, EventId, ExtensionValue, Filter, FilterSpec, Finality, Kind,
    Label, Payload, Privacy, Seq, Source,
};
use tokio::sync::mpsc;

mod common;
use common::{bus, bus_with, draft, event, history, key, publish, seqs};

fn label(text: &str) -> Label {
    Label::parse(text).unwrap()
}

/// An event that says everything.
fn everything() -> EventDraft {
    let mut all = draft("tool.completed");
    all.id = Some(EventId::parse("e-1").unwrap());
    all.source = Some(Source::parse("urn:agents").unwrap());
    all.time = Some("2026-01-02T03:04:05Z".parse().unwrap());
    all.class = Some(Class::Metering);
    all.finality = Some(Finality::Operation);
    all.subject = Some("file-9".into());
    all.agent = Some(label("a1"));
    all.run = Some(label("r1"));
    all.turn = Some(label("t1"));
    all.correlation = Some(label("c1"));
    all.caused_by = Some(label("e-0"));
    all.traceparent = Some(label(
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ));
    all.privacy = Some(Privacy::Internal);
    all.tags = vec![label("x"), label("y")];
    let attempt = ExtensionValue::Integer(3);
    all.extensions.insert("attempt".into(), attempt);
    all.payload = Payload::json(&serde_json::json!({"n": 1})).unwrap();
    all
}

async fn found(bus: &Bus, filter: Filter) -> Vec<u64> {
    let options = SubscribeOptions::matching(filter).from(BusStart::Earliest);
    let mut events = bus.subscribe(options).unwrap();
    seqs(&history(&mut events).await)
}

fn one(text: &str) -> Option<Vec<String>> {
    Some(vec![text.to_owned()])
}

#[tokio::test]
async fn f003_01_the_envelope_says_enough_to_route_without_the_payload() {
    let bus = bus().await;
    publish(&bus, "s", "other").await;
    bus.publish(key("run/r1"), vec![everything()])
        .await
        .unwrap();
    let options = SubscribeOptions::default().from(BusStart::Earliest);
    let mut events = bus.subscribe(options).unwrap();
    event(&mut events).await;
    let frame = event(&mut events).await;
    assert_eq!(frame.shown.access, PayloadAccess::EnvelopeOnly);
    assert_eq!(frame.event.payload().len(), 0, "nothing of the payload");
    let (given, got) = (everything(), frame.event.envelope());
    assert_eq!(Some(&got.id), given.id.as_ref());
    assert_eq!(Some(&got.source), given.source.as_ref());
    assert_eq!((&got.kind, Some(got.time)), (&given.kind, given.time));
    assert_eq!(
        (Some(got.class), Some(got.finality), got.privacy),
        (given.class, given.finality, given.privacy)
    );
    assert_eq!(
        (&got.subject, &got.agent, &got.run, &got.turn),
        (&given.subject, &given.agent, &given.run, &given.turn)
    );
    assert_eq!(
        (&got.correlation, &got.caused_by, &got.traceparent),
        (&given.correlation, &given.caused_by, &given.traceparent)
    );
    assert_eq!(
        (&*got.tags, &got.extensions),
        (&*given.tags, &given.extensions)
    );
    let place = frame.event.place();
    assert_eq!(
        (place.session.name().as_str(), place.seq),
        ("run/r1", Seq(2))
    );
}

#[tokio::test]
async fn f003_03_a_frame_is_an_event_a_cursor_and_what_was_missing_before_it() {
    let limits = TailLimits {
        events: 2,
        ..common::LIMITS
    };
    let bus = bus_with(limits).await;
    for _ in 0..4 {
        publish(&bus, "s", "a").await;
    }
    let cursor = bus.cursor(Seq(0), &Filter::all());
    let options = SubscribeOptions::default().from(BusStart::After(cursor));
    let mut events = bus.subscribe(options).unwrap();
    let items = history(&mut events).await;
    let [
        BusItem::Gap(gap),
        BusItem::Event(first),
        BusItem::Event(second),
    ] = &items[..]
    else {
        panic!("{items:?}");
    };
    assert_eq!(gap.ranges.as_slice(), [(1, 2)]);
    assert_eq!(gap.resumes_at.place() + 1, first.event.place().seq.0);
    for (frame, seq) in [(first, 3), (second, 4)] {
        assert_eq!(frame.cursor, bus.cursor(Seq(seq), &Filter::all()));
        assert_eq!(frame.archived, None);
    }
}

#[tokio::test]
async fn f003_06_resuming_is_exclusive_and_no_cursor_is_the_beginning() {
    let bus = bus().await;
    for _ in 0..5 {
        publish(&bus, "s", "a").await;
    }
    assert_eq!(found(&bus, Filter::all()).await, [1, 2, 3, 4, 5]);
    for seq in 0..=5 {
        // As somebody keeps it.
        let text = bus.cursor(Seq(seq), &Filter::all()).to_string();
        let cursor: Cursor = text.parse().unwrap();
        let options = SubscribeOptions::default().from(BusStart::After(cursor));
        let mut events = bus.subscribe(options).unwrap();
        let rest: Vec<u64> = (seq + 1..=5).collect();
        assert_eq!(seqs(&history(&mut events).await), rest);
    }
}

#[tokio::test]
async fn f003_08_all_fields_must_match_and_of_each_any_value() {
    let bus = bus().await;
    bus.publish(key("run/r1"), vec![everything()])
        .await
        .unwrap();
    publish(&bus, "s", "tool.completed").await;
    let spec = FilterSpec::default;
    for (asked, expected) in [
        (
            FilterSpec {
                run: one("r1"),
                ..spec()
            },
            vec![1],
        ),
        (
            FilterSpec {
                session: one("run/r1"),
                ..spec()
            },
            vec![1],
        ),
        (
            FilterSpec {
                agent: one("a1"),
                ..spec()
            },
            vec![1],
        ),
        // The second event has none, and so matches no value.
        (
            FilterSpec {
                turn: one("t1"),
                ..spec()
            },
            vec![1],
        ),
        (
            FilterSpec {
                turn: one("t2"),
                ..spec()
            },
            vec![],
        ),
        (
            FilterSpec {
                source: one("urn:agents"),
                ..spec()
            },
            vec![1],
        ),
        (
            FilterSpec {
                subject: one("file-9"),
                ..spec()
            },
            vec![1],
        ),
        (
            FilterSpec {
                correlation: one("c1"),
                ..spec()
            },
            vec![1],
        ),
        (
            FilterSpec {
                caused_by: one("e-0"),
                ..spec()
            },
            vec![1],
        ),
        // Any of its tags, and any value.
        (
            FilterSpec {
                tag: one("y"),
                ..spec()
            },
            vec![1],
        ),
        (
            FilterSpec {
                tag: Some(vec!["z".into(), "x".into()]),
                ..spec()
            },
            vec![1],
        ),
        (
            FilterSpec {
                privacy: Some(vec![Privacy::Internal]),
                ..spec()
            },
            vec![1],
        ),
        (
            FilterSpec {
                class: Some(vec![Class::Normal, Class::Metering]),
                ..spec()
            },
            vec![1, 2],
        ),
        (
            FilterSpec {
                finality: Some(vec![Finality::Session]),
                ..spec()
            },
            vec![],
        ),
        (
            FilterSpec {
                run: one("r1"),
                agent: one("a1"),
                ..spec()
            },
            vec![1],
        ),
        (
            FilterSpec {
                run: one("r1"),
                agent: one("a2"),
                ..spec()
            },
            vec![],
        ),
    ] {
        let filter = Filter::compile(&asked).unwrap();
        assert_eq!(found(&bus, filter).await, expected, "{asked:?}");
    }
}

#[tokio::test]
async fn f003_09_a_filter_that_is_compiled_again_takes_the_old_cursor() {
    let bus = bus().await;
    for kind in ["task.a", "other", "task.b"] {
        publish(&bus, "s", kind).await;
    }
    let compile = |pattern: &str| Filter::matching(pattern).unwrap();
    let cursor = bus.cursor(Seq(1), &compile("task.*"));
    let after = |filter| {
        let options = SubscribeOptions::matching(filter).from(BusStart::After(cursor));
        bus.subscribe(options)
    };
    let mut again = after(compile("task.*")).unwrap();
    assert_eq!(seqs(&history(&mut again).await), [3]);
    for changed in [
        compile("task.b"),
        compile("task.*").and(&Filter::run("r").unwrap()),
    ] {
        let refused = after(changed).unwrap_err();
        assert_eq!(refused.code(), "cursor_scope_mismatch");
    }
}

#[tokio::test]
async fn f004_01_every_kind_of_the_table_is_known_and_counted() {
    let table = [
        ("task.started", Class::Normal, Finality::None),
        ("task.completed", Class::Normal, Finality::Operation),
        ("task.failed", Class::Normal, Finality::Operation),
        ("task.skipped", Class::Normal, Finality::Operation),
        ("workflow.started", Class::Normal, Finality::None),
        ("workflow.completed", Class::Normal, Finality::Session),
        ("workflow.failed", Class::Normal, Finality::Session),
        ("agent.heartbeat", Class::Progress, Finality::None),
        ("agent.failed", Class::Normal, Finality::Operation),
        ("agent.recovered", Class::Normal, Finality::None),
        ("agent.registered", Class::Normal, Finality::None),
        ("compression.started", Class::Normal, Finality::None),
        ("compression.completed", Class::Normal, Finality::Operation),
        ("storage.uploaded", Class::Normal, Finality::Operation),
        ("storage.retrieved", Class::Normal, Finality::Operation),
        ("storage.deleted", Class::Normal, Finality::Operation),
        ("error.occurred", Class::Normal, Finality::None),
        ("warning.issued", Class::Normal, Finality::None),
        ("info.logged", Class::Progress, Finality::None),
    ];
    let bus = bus().await;
    let mut events = bus.subscribe(SubscribeOptions::default()).unwrap();
    for (kind, class, finality) in table {
        // A session of its own, since some of them end it.
        publish(&bus, kind, kind).await;
        let frame = event(&mut events).await;
        let envelope = frame.event.envelope();
        assert_eq!(
            (envelope.kind.as_str(), envelope.class, envelope.finality),
            (kind, class, finality)
        );
    }
    assert_eq!(bus.stats().published_by_kind.len(), table.len());
}

#[tokio::test]
async fn f004_02_an_event_has_a_source_a_time_and_an_id_and_is_json() {
    assert!(Source::parse("").is_err(), "a source is not empty");
    let bus = bus().await;
    let mut named = everything();
    named.privacy = None;
    bus.publish(key("s"), vec![draft("a"), named])
        .await
        .unwrap();
    let events = bus.history(&HistoryQuery::default().payloads());
    let json =
        |event: &Event| -> serde_json::Value { serde_json::from_slice(event.json()).unwrap() };
    let (filled, named) = (json(&events[0]), json(&events[1]));
    assert_eq!(filled["source"], "urn:reveille:session:s");
    assert!(!filled["id"].as_str().unwrap().is_empty());
    for (member, value) in [
        ("id", "e-1"),
        ("type", "tool.completed"),
        ("source", "urn:agents"),
        ("time", "2026-01-02T03:04:05.000Z"),
    ] {
        assert_eq!(named[member], value);
    }
    assert_eq!(named["data"], serde_json::json!({"n": 1}));
}

#[tokio::test]
async fn f004_03_patterns_are_exact_or_below_a_prefix_or_everything() {
    let bus = bus().await;
    for kind in ["task.started", "task.a.b", "tasks.x", "task"] {
        publish(&bus, "s", kind).await;
    }
    for (pattern, expected) in [
        ("task.started", vec![1]),
        ("task.*", vec![1, 2]),
        ("*", vec![1, 2, 3, 4]),
        ("task", vec![4]),
    ] {
        let filter = Filter::matching(pattern).unwrap();
        assert_eq!(found(&bus, filter).await, expected, "{pattern}");
    }
}

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

/// 004-D17: every event has a place in one order, and a time that names its zone.
#[tokio::test]
async fn d004_17_events_are_numbered_and_their_times_are_universal() {
    let bus = bus().await;
    for (n, session) in ["one", "two", "one"].into_iter().enumerate() {
        let published = bus.publish(key(session), vec![draft("a")]).await.unwrap();
        assert_eq!(published.receipt.results[0].seq, Seq(n as u64 + 1));
    }
    for event in bus.history(&HistoryQuery::default()) {
        let json: serde_json::Value = serde_json::from_slice(event.json()).unwrap();
        let time = json["time"].as_str().unwrap();
        assert!(time.ends_with('Z'), "{time}");
        assert_eq!(time.parse().ok(), Some(event.envelope().time));
    }
}
