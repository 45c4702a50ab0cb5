//! What the seeds said of events, and asked about them: envelopes, frames, cursors, filters, kinds.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use reveille_bus::{Bus, BusItem, BusStart, EventBus, HistoryQuery, SubscribeOptions};
use reveille_queue::TailLimits;
use reveille_types::sets::PayloadAccess;
use reveille_types::{Class, Cursor, Event, Filter, FilterSpec, Finality, Privacy, Seq, Source};

mod common;
use common::{bus, bus_with, draft, event, everything, history, key, publish, seqs};

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
