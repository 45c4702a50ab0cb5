//! What goes on the wire, byte for byte, against the files in `golden/`.
//!
//! Each file is one body and a line end. A difference here is a change of the wire contract.

#![allow(
    clippy::unwrap_used,
    reason = "in a test an unwrap that fails is the failure"
)]

use jiff::Timestamp;
use reveille_types::sets::{OverflowPolicy, OverflowReason};
use reveille_types::wire::{
    CancelInfo, End, EventPage, LeaseInfo, Open, Problem, Reconnect, ReconnectReason, SessionInfo,
    SessionState, TakeAnswer, WaitAnswer, WaitOutcomeKind,
};
use reveille_types::{
    Class, Cursor, Durability, EndReason, Epoch, Event, EventDraft, EventId, ExtensionValue,
    Finality, Gap, GapReason, Label, OverflowDetail, Payload, Placed, Position, Privacy, Receipt,
    Seq, Source,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

mod common;
use common::place;

/// A golden file's name and text.
macro_rules! golden {
    ($name:literal) => {
        ($name, include_str!(concat!("golden/", $name)))
    };
}

fn compare((name, want): (&str, &str), got: &str) {
    assert_eq!(got, want.strip_suffix('\n').unwrap(), "golden/{name}");
}

/// The body is the file, and reading the file gives the same body.
fn check<T: Serialize + DeserializeOwned>(golden: (&str, &str), body: &T) {
    compare(golden, &serde_json::to_string(body).unwrap());
    let read: T = serde_json::from_str(golden.1).unwrap();
    compare(golden, &serde_json::to_string(&read).unwrap());
}

fn check_event(golden: (&str, &str), event: &Event) {
    compare(golden, std::str::from_utf8(event.json()).unwrap());
    let read = reveille_types::decode_event(golden.1).unwrap();
    assert_eq!(place(read, event.position().0), *event);
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn cursor(position: u64) -> Cursor {
    Cursor::session(Epoch::from_parts(1_700_000_000_000, 1), Position(position))
}

fn label(text: &str) -> Label {
    Label::parse(text).unwrap()
}

fn minimal() -> Event {
    place(EventDraft::parse("step.completed").unwrap(), 0)
}

fn everything() -> Event {
    let mut draft = EventDraft::parse("task.status.completed")
        .unwrap()
        .with_id(EventId::parse("evt-1").unwrap())
        .with_source(Source::parse("https://example.com/agents/7").unwrap())
        .with_agent(label("agent-7"))
        .with_payload(
            Payload::json_text("{\"text\": \"line\\nnext\u{2028}end\", \"n\": 1.50}")
                .and_then(|p| p.with_schema("https://example.com/status.json"))
                .unwrap(),
        );
    draft.time = Some(time("2026-01-31T13:00:00.25+01:00"));
    draft.class = Some(Class::Metering);
    draft.finality = Some(Finality::Operation);
    draft.subject = Some("video 12\u{2029}".into());
    draft.run = Some(label("run-1"));
    draft.turn = Some(label("3"));
    draft.correlation = Some(label("corr"));
    draft.caused_by = Some(label("evt-0"));
    draft.traceparent = Some(label(
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ));
    draft.tracestate = Some("vendor=\"x\"".into());
    draft.privacy = Some(Privacy::ContentRefsOnly);
    draft.tags = vec![label("a,b"), label("100%"), label("é")];
    draft.extensions = [
        ("sampled".into(), ExtensionValue::Boolean(true)),
        ("attempt".into(), ExtensionValue::Integer(-2)),
        ("partitionkey".into(), ExtensionValue::String("p/1".into())),
    ]
    .into();
    place(draft, 18_446_744_073_709_550_000)
}

fn raw(event: &Event) -> Box<RawValue> {
    let json = std::str::from_utf8(event.json()).unwrap();
    RawValue::from_string(json.to_owned()).unwrap()
}

#[test]
fn event_with_nothing_but_a_kind() {
    check_event(golden!("event_minimal.json"), &minimal());
}

#[test]
fn event_with_everything() {
    check_event(golden!("event_everything.json"), &everything());
}

#[test]
fn event_with_bytes_of_an_unknown_type() {
    let payload = Payload::bytes(None, vec![0, 1, 0xFE, 0xFF]).unwrap();
    let draft = EventDraft::parse("blob.stored")
        .unwrap()
        .with_payload(payload);
    check_event(golden!("event_binary.json"), &place(draft, 2));
}

#[test]
fn event_with_text() {
    let payload = Payload::bytes(Some("text/plain"), "a\r\nb\u{85}").unwrap();
    let draft = EventDraft::parse("info.logged")
        .unwrap()
        .with_payload(payload);
    check_event(golden!("event_text.json"), &place(draft, 3));
}

fn expired() -> Gap {
    let mut gap = Gap::expired(cursor(4), Position(10), false).unwrap();
    gap.ranges.insert(12, 12);
    gap.missed = Some(7);
    gap.repair = Some(cursor(4));
    gap
}

/// What a subscriber of a bus learns when its policy has given up a final event.
fn overflown() -> Gap {
    let at = |seq| Cursor::bus(Epoch::from_parts(1_700_000_000_000, 1), Seq(seq));
    Gap {
        reason: GapReason::Overflow,
        ranges: [(5, 6), (9, 9)].into_iter().collect(),
        missed: Some(3),
        requested: Some(at(4)),
        resumes_at: at(9),
        repair: Some(at(4)),
        overflow: Some(OverflowDetail {
            policy: OverflowPolicy::DropNonTerminal,
            detail: OverflowReason::SubscriberQueueFull,
            terminal_preserved: false,
        }),
    }
}

#[test]
fn frames_of_a_stream() {
    let mut open = Open {
        connection: "c7".into(),
        session: Some("s1".into()),
        cursor: cursor(10),
        oldest: cursor(10),
        latest: cursor(42),
        resumed: true,
        state: SessionState::Open,
        heartbeat_ms: 15_000,
        expires_at: Some(time("2026-01-31T12:00:00.1Z")),
    };
    check(golden!("open.json"), &open);
    open.expires_at = None;
    open.state = SessionState::Ended;
    check(golden!("open_ended.json"), &open);
    check(golden!("gap_expired.json"), &expired());
    let unknown = Gap::unfollowable(GapReason::UnknownCursor, None, cursor(10));
    check(golden!("gap_unknown.json"), &unknown);
    check(golden!("gap_overflow.json"), &overflown());
    let end = End {
        reason: EndReason::Completed,
        cursor: cursor(42),
    };
    check(golden!("end.json"), &end);
    let reconnect = Reconnect {
        reason: ReconnectReason::SlowConsumer,
        retry_ms: 2000,
    };
    check(golden!("reconnect.json"), &reconnect);
}

#[test]
fn answers_of_page_wait_and_take() {
    let events = || vec![raw(&minimal())];
    let mut page = EventPage {
        events: events(),
        cursor: cursor(1),
        caught_up: true,
        ended: false,
        reason: None,
        gap: None,
    };
    check(golden!("page.json"), &page);
    page.events.clear();
    page.ended = true;
    page.reason = Some(EndReason::Expired);
    page.gap = Some(expired());
    check(golden!("page_ended.json"), &page);
    let wait = WaitAnswer {
        outcome: WaitOutcomeKind::Matched,
        events: events(),
        reason: None,
        cursor: cursor(1),
        gap: None,
    };
    check(golden!("wait.json"), &wait);
    let ended = WaitAnswer {
        outcome: WaitOutcomeKind::Ended,
        events: Vec::new(),
        reason: Some(EndReason::Cancelled),
        cursor: cursor(42),
        gap: None,
    };
    check(golden!("wait_ended.json"), &ended);
    let take = TakeAnswer {
        outcome: WaitOutcomeKind::Matched,
        events: events(),
        leases: vec![LeaseInfo {
            lease: "l-1".into(),
            delivery: 2,
            expires_at: time("2026-01-31T12:00:30Z"),
        }],
        reason: None,
        cursor: cursor(1),
        gap: Some(expired()),
    };
    check(golden!("take.json"), &take);
}

#[test]
fn session() {
    let mut info = SessionInfo {
        session: "run/r1".into(),
        namespace: "run".into(),
        id: "r1".into(),
        state: SessionState::Ended,
        reason: Some(EndReason::Closed),
        message: Some("done here".into()),
        oldest: cursor(10),
        latest: cursor(42),
        retained: 32,
        bytes: 16_384,
        dropped: 10,
        subscribers: 1,
        lag: 3,
        waiters: 2,
        cancel: Some(CancelInfo {
            reason: None,
            time: time("2026-01-31T12:00:00.1239Z"),
        }),
        created_at: time("2026-01-31T11:00:00Z"),
        last_activity_at: time("2026-01-31T12:00:00.05Z"),
        ended_at: Some(time("2026-01-31T12:00:01.5Z")),
        expires_at: Some(time("2026-01-31T13:00:01.5Z")),
        ttl_ms: Some(3_600_000),
        lifetime_ms: Some(86_400_000),
        max_events: 1024,
        max_bytes: 16_777_216,
        max_deliveries: Some(5),
    };
    check(golden!("session_ended.json"), &info);
    info.state = SessionState::Open;
    (info.reason, info.message, info.cancel) = (None, None, None);
    (info.ended_at, info.expires_at, info.ttl_ms) = (None, None, None);
    (info.lifetime_ms, info.max_deliveries) = (None, None);
    check(golden!("session_open.json"), &info);
}

#[test]
fn problem() {
    let mut problem = Problem {
        kind: "https://example.com/problems/too_large".into(),
        title: "a value is over its limit".into(),
        status: 422,
        code: "too_large".into(),
        detail: None,
        field: None,
        limit: None,
        actual: None,
        latest: None,
        retry_after_ms: None,
        trace_id: None,
    };
    check(golden!("problem_minimal.json"), &problem);
    problem.detail = Some("reveilletags is 65, the limit is 64 tags".into());
    problem.field = Some("[3].reveilletags".into());
    (problem.limit, problem.actual) = (Some(64), Some(65));
    problem.latest = Some(cursor(42));
    problem.retry_after_ms = Some(250);
    check(golden!("problem_everything.json"), &problem);
}

#[test]
fn receipt() {
    let placed = |n: u64, deduplicated| Placed {
        id: EventId::parse(format!("evt-{n}")).unwrap(),
        position: Position(n),
        seq: Seq(1000 + n),
        cursor: cursor(n + 1),
        deduplicated,
    };
    let receipt = Receipt {
        cursor: cursor(43),
        durability: Durability::ReplicatedFsync,
        results: vec![placed(41, true), placed(42, false)],
    };
    check(golden!("receipt.json"), &receipt);
    assert_eq!(
        (receipt.first(), receipt.last()),
        (Position(41), Position(42))
    );
    assert!(!receipt.deduplicated());
}

#[test]
fn optional_time_may_be_left_out_and_a_wrong_one_is_refused() {
    let text = golden!("open.json").1;
    let without = text.replace(r#","expires_at":"2026-01-31T12:00:00.100Z""#, "");
    assert!(without.len() < text.len());
    assert_eq!(
        serde_json::from_str::<Open>(&without).unwrap().expires_at,
        None
    );
    let wrong = text.replace("2026-01-31T12:00:00.100Z", "2026-01-31 12:00Z");
    assert!(serde_json::from_str::<Open>(&wrong).is_err());
}
