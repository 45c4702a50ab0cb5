//! What is read is what was appended.

use std::sync::Arc;

use reveille_backend::{Backend, ReadLimit};
use reveille_types::{
    Class, Event, EventDraft, EventId, ExtensionValue, Finality, Label, Payload, Place, Position,
    Privacy, Source,
};

use super::raw::{ALL, contents, entries, now, stored};
use super::{append, create, draft, everything, key, sessions};

/// A read starts where it is asked to, holds one event at least and no more than is asked for, and
/// leaves none out; from the end on there is nothing.
///
/// # Panics
/// When it does not.
pub async fn read_gives_pages_in_order(backend: Arc<dyn Backend>) {
    const EVENTS: u64 = 10;
    let Some(log) = stored(&backend, "s").await else {
        return;
    };
    log.append(entries(EVENTS as usize), now()).await.unwrap();
    let weight = contents(&*log).await[0].weight();
    for (events, bytes, most) in [
        (1, usize::MAX, 1),
        (3, usize::MAX, 3),
        (usize::MAX, weight * 2 + weight / 2, 2),
        (usize::MAX, 1, 1),
        (usize::MAX, usize::MAX, 10),
    ] {
        let limit = ReadLimit { events, bytes };
        let mut from = 0;
        while from < EVENTS {
            let page = log.read(Position(from), limit).await.unwrap();
            let count = page.events.len();
            assert!(
                (1..=most).contains(&count),
                "a page of at most {most} events holds {count}"
            );
            for event in page.events {
                assert_eq!(event.position().0, from, "a page leaves something out");
                from += 1;
            }
        }
        for from in [EVENTS, EVENTS + 1, u64::MAX] {
            let page = log.read(Position(from), limit).await.unwrap();
            assert_eq!((page.oldest.0, page.events.len()), (0, 0));
        }
    }
    let page = log.read(Position(EVENTS - 1), ALL).await.unwrap();
    assert_eq!(page.events.len(), 1);
}

/// Whatever a producer may put into an event is read as it was, to the byte, through the session and
/// through another handle of the store.
///
/// # Panics
/// When a field is lost or changed.
pub async fn every_field_comes_back_as_it_was(backend: Arc<dyn Backend>) {
    let log = create(&sessions(Arc::clone(&backend)), "s").await;
    let drafts = drafts();
    let receipt = append(&log, drafts.clone()).await;
    let expected = drafts.into_iter().zip(&receipt.results).map(|(draft, at)| {
        let entry = super::raw::entry_of(draft);
        let place = Place {
            session: Arc::new(key("s")),
            epoch: log.epoch(),
            position: at.position,
            seq: at.seq,
        };
        entry.event.at(place)
    });
    let expected: Vec<Event> = expected.collect();
    let mut reads = vec![everything(&log)];
    if let Some(log) = stored(&backend, "s").await {
        reads.push(contents(&*log).await);
    }
    for read in reads {
        assert_eq!(read.len(), expected.len());
        for (read, expected) in read.iter().zip(&expected) {
            let (read_as, was) = (read.envelope(), expected.envelope());
            assert_eq!(read_as, was, "an event is not what it was");
            assert_eq!(read.payload(), expected.payload(), "a payload differs");
            assert_eq!(read.place(), expected.place(), "an event's place differs");
            assert_eq!(read.json(), expected.json(), "an event's JSON differs");
        }
    }
}

/// Drafts that leave nothing to be filled in, with every sort of payload.
fn drafts() -> Vec<EventDraft> {
    let label = |text: &str| Some(Label::parse(text).unwrap());
    let odd = "\u{e9}\u{1f980} \"quoted\" \\ <&>";
    let mut full = draft("task.Status_x/y:z-1");
    full.source = Some(Source::parse("https://example.org/a?b=c#d").unwrap());
    full.time = Some("2024-02-29T23:59:59.999Z".parse().unwrap());
    full.class = Some(Class::Metering);
    full.finality = Some(Finality::Operation);
    full.subject = Some(odd.into());
    full.agent = label(odd);
    full.run = label("run");
    full.turn = label("turn");
    full.correlation = label("correlation");
    full.caused_by = label("cause");
    full.traceparent = label("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    full.tracestate = Some("vendor=1,other=2".into());
    full.privacy = Some(Privacy::ContentRefsOnly);
    full.tags = ["b", "a", "b", odd]
        .map(|t| Label::parse(t).unwrap())
        .into();
    full.idempotency_key = Some("key".into());
    full.extensions = [
        ("flag", ExtensionValue::Boolean(true)),
        ("number", ExtensionValue::Integer(i32::MIN)),
        ("text", ExtensionValue::String(odd.into())),
    ]
    .map(|(name, value)| (name.into(), value))
    .into();
    let payloads = [
        Payload::none(),
        Payload::json_text(r#"{"b":1.50,"a":[null,"\u00e9\n"],"b2":12345678901234567890}"#)
            .unwrap(),
        Payload::json_text("null").unwrap(),
        Payload::json_text("{}")
            .unwrap()
            .with_schema("https://example.org/schema")
            .unwrap(),
        Payload::bytes(Some("text/plain; charset=utf-8"), odd.as_bytes().to_vec()).unwrap(),
        Payload::bytes(None, Vec::from_iter(0..=255u8)).unwrap(),
        Payload::bytes(Some("application/octet-stream"), Vec::new()).unwrap(),
    ];
    let mut drafts: Vec<_> = payloads
        .into_iter()
        .enumerate()
        .map(|(n, payload)| {
            let mut draft = full.clone().with_payload(payload);
            draft.id = Some(EventId::parse(format!("id {n}")).unwrap());
            draft.idempotency_key = Some(format!("key {n}").into());
            draft
        })
        .collect();
    let mut bare = draft("a");
    bare.id = Some(EventId::parse("bare").unwrap());
    bare.time = Some("1970-01-01T00:00:00Z".parse().unwrap());
    drafts.push(bare);
    drafts
}
