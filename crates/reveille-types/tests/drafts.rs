//! Drafts: what is refused, what is filled in, and what ends a session. With them durability.

#![allow(
    clippy::unwrap_used,
    reason = "in a test an unwrap that fails is the failure"
)]

use jiff::Timestamp;
use reveille_types::{
    Class, Durability, EndReason, EventDraft, ExtensionValue, Finality, KindRegistry, Label,
    Payload, end_of_session, limits,
};
use serde_json::json;

mod common;
use common::place;

fn draft(kind: &str) -> EventDraft {
    EventDraft::parse(kind).unwrap()
}

/// What an event of this kind with this payload ends.
fn ends(kind: &str, payload: Payload) -> (Finality, Option<EndReason>) {
    let event = place(draft(kind).with_payload(payload), 0);
    let end = end_of_session(event.envelope(), &KindRegistry::standard());
    (event.finality(), end)
}

#[test]
fn error_of_a_task_ends_the_session_only_when_it_says_that_it_is_not_recoverable() {
    let failed = (Finality::Session, Some(EndReason::Failed));
    let nothing = (Finality::None, None);
    for (data, want) in [
        (json!({"recoverable": false, "error_type": "x"}), failed),
        (json!({"recoverable": true}), nothing),
        (json!({}), nothing),
        (json!({"recoverable": "false"}), nothing),
        (json!({"recoverable": null}), nothing),
        (json!({"inner": {"recoverable": false}}), nothing),
        (json!([false]), nothing),
    ] {
        let payload = Payload::json(&data).unwrap();
        assert_eq!(ends("task.error", payload), want, "{data}");
    }
    assert_eq!(ends("task.error", Payload::none()), nothing);
    let text = Payload::bytes(Some("text/plain"), r#"{"recoverable":false}"#).unwrap();
    assert_eq!(ends("task.error", text), nothing);
    let other = Payload::json(&json!({"recoverable": false})).unwrap();
    assert_eq!(ends("task.failed", other.clone()).0, Finality::Operation);
    assert_eq!(ends("task.errors", other), nothing);
}

#[test]
fn finality_that_the_producer_states_wins() {
    let fatal = Payload::json(&json!({"recoverable": false})).unwrap();
    let item = draft("task.error")
        .with_payload(fatal)
        .with_finality(Finality::None);
    assert_eq!(place(item, 0).finality(), Finality::None);
    let more_to_come = draft("task.status.completed").with_finality(Finality::None);
    assert_eq!(place(more_to_come, 0).finality(), Finality::None);
    let own = place(draft("my.last").with_finality(Finality::Session), 0);
    let end = end_of_session(own.envelope(), &KindRegistry::standard());
    assert_eq!(end, Some(EndReason::Completed));
}

#[test]
fn what_a_draft_leaves_out_is_filled_in() {
    let event = place(draft("agent.heartbeat"), 0);
    let envelope = event.envelope();
    assert_eq!(envelope.id.as_str(), "made");
    assert_eq!(
        envelope.source.as_str(),
        "urn:reveille:session:s1",
        "no tenant in it"
    );
    assert_eq!(envelope.class, Class::Progress);
    assert_eq!(envelope.time.to_string(), "2026-01-31T12:00:00.1Z");
}

#[test]
fn time_is_cut_to_whole_milliseconds() {
    for (given, kept) in [
        ("2026-01-31T12:00:00.123999999Z", "2026-01-31T12:00:00.123Z"),
        ("1969-12-31T23:59:59.9991Z", "1970-01-01T00:00:00Z"),
    ] {
        let mut draft = draft("a");
        draft.time = Some(given.parse().unwrap());
        assert_eq!(
            place(draft, 0).envelope().time,
            kept.parse::<Timestamp>().unwrap()
        );
    }
}

#[test]
fn cursor_of_an_event_stands_behind_it_and_its_json_is_made_once() {
    let event = place(draft("a"), 41);
    assert_eq!(event.cursor().position().unwrap().0, 42);
    assert_eq!(event.json().as_ptr(), event.clone().json().as_ptr());
}

#[test]
fn draft_of_an_event_becomes_the_same_event() {
    let mut first = draft("a.b").with_agent(Label::parse("x").unwrap());
    first.tags = vec![Label::parse("t").unwrap()];
    first.idempotency_key = Some("k".into());
    let event = place(first, 3);
    let again = EventDraft::from(&event);
    assert_eq!(again.session.as_deref(), Some(&**event.session()));
    assert_eq!(place(again.clone(), 3), event);
    assert_ne!(place(again, 4), event, "another place is another event");
}

#[test]
fn weight_grows_by_what_is_put_in() {
    let small = place(draft("a"), 0).weight();
    let heavy = draft("a").with_payload(Payload::bytes(None, vec![0; 1000]).unwrap());
    assert_eq!(place(heavy, 0).weight(), small + 1000);
    let agent = draft("a").with_agent(Label::parse("seven77").unwrap());
    assert_eq!(place(agent, 0).weight(), small + 7);
}

fn refused(change: impl FnOnce(&mut EventDraft)) -> (String, &'static str) {
    let mut draft = draft("a");
    change(&mut draft);
    let refused = draft.check().unwrap_err();
    (refused.field().to_owned(), refused.code())
}

fn set(name: &str, value: &str) -> impl FnOnce(&mut EventDraft) {
    let (name, value) = (name.into(), ExtensionValue::String(value.into()));
    |draft| drop(draft.extensions.insert(name, value))
}

#[test]
fn check_names_the_field_that_it_refuses() {
    let invalid = |field: &str| (field.to_owned(), "invalid_value");
    assert_eq!(refused(|d| d.subject = Some("".into())), invalid("subject"));
    assert_eq!(
        refused(|d| d.subject = Some("a\nb".into())),
        invalid("subject")
    );
    assert_eq!(
        refused(|d| d.tracestate = Some("\u{7F}".into())),
        invalid("tracestate")
    );
    assert_eq!(
        refused(|d| d.idempotency_key = Some("k".repeat(129).into())),
        invalid("idempotency_key")
    );
    let tag = Label::parse("t").unwrap();
    assert_eq!(
        refused(|d| d.tags = vec![tag; limits::TAGS + 1]),
        invalid("reveilletags")
    );
    assert_eq!(refused(|d| d.time = Some(Timestamp::MIN)), invalid("time"));
    assert_eq!(refused(set("Foo", "")), invalid("Foo"));
    assert_eq!(refused(set("a_b", "")), invalid("a_b"));
    assert_eq!(refused(set("", "")), invalid(""));
    assert_eq!(refused(set("foo", "\u{FFFE}")), invalid("foo"));
    let long = "v".repeat(limits::EXTENSION_VALUE_BYTES + 1);
    assert_eq!(refused(set("foo", &long)), invalid("foo"));
    let control = refused(|d| d.class = Some(Class::Control));
    assert_eq!(control, ("reveilleclass".into(), "reserved_name"));
    let many = refused(|d| {
        for n in 0..=limits::EXTENSIONS {
            set(&format!("x{n}"), "")(d);
        }
    });
    assert_eq!(many, invalid("extensions"));
}

#[test]
fn extension_cannot_take_the_name_of_a_known_attribute() {
    for name in [
        "specversion",
        "id",
        "source",
        "type",
        "time",
        "subject",
        "datacontenttype",
        "dataschema",
        "data",
        "correlationid",
        "causationid",
        "traceparent",
        "tracestate",
        "reveille",
        "reveilleposition",
        "reveilleagent",
        "reveillenew",
    ] {
        assert_eq!(refused(set(name, "x")), (name.into(), "reserved_name"));
    }
    for name in [
        "sequence",
        "partitionkey",
        "database",
        "ids",
        "myreveille",
        "1",
    ] {
        let mut draft = draft("a");
        set(name, "x")(&mut draft);
        assert_eq!(draft.check(), Ok(()), "{name}");
    }
}

#[test]
fn durability_is_a_partial_order() {
    use Durability::{Fsync, Os, Replicated, ReplicatedFsync, Volatile};
    let all = [Volatile, Os, Fsync, Replicated, ReplicatedFsync];
    // The steps of the order; all else follows from them or does not hold.
    let steps = [
        (Os, Volatile),
        (Fsync, Os),
        (ReplicatedFsync, Fsync),
        (Replicated, Volatile),
        (ReplicatedFsync, Replicated),
    ];
    let mut holds: Vec<(Durability, Durability)> = all.iter().map(|l| (*l, *l)).collect();
    holds.extend(steps);
    for _ in all {
        for (a, b) in holds.clone() {
            for (c, d) in steps {
                if b == c && !holds.contains(&(a, d)) {
                    holds.push((a, d));
                }
            }
        }
    }
    for a in all {
        assert_eq!(serde_json::to_value(a).unwrap(), a.as_str());
        for b in all {
            assert_eq!(a.covers(b), holds.contains(&(a, b)), "{a:?} covers {b:?}");
        }
    }
    assert!(!Replicated.covers(Os) && !Fsync.covers(Replicated));
}
