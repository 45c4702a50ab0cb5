//! What is written is read back; what is not, is refused.

use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;
use reveille_types::{
    Class, DraftDefaults, Epoch, Event, EventDraft, EventId, ExtensionValue, Finality,
    KindRegistry, Label, Payload, Place, Position, Privacy, Seq, SessionKey, Source, Tenant,
    UnplacedEvent,
};

use super::read::{Damaged, Decoder};
use super::{encode, push, start};

fn session() -> Arc<SessionKey> {
    Arc::new(SessionKey::in_tenant(Tenant::default_tenant(), "s").unwrap())
}

fn epoch() -> Epoch {
    Epoch::from_parts(1, 2)
}

fn event(draft: EventDraft) -> UnplacedEvent {
    draft.complete(DraftDefaults {
        id: EventId::parse("id").unwrap(),
        time: Timestamp::from_millisecond(1_700_000_000_123).unwrap(),
        source: &Source::of_session(&session()),
        registry: &KindRegistry::empty(),
    })
}

fn decoded(body: &[u8], from: u64) -> Result<Vec<Event>, Damaged> {
    let mut events = Vec::new();
    let mut decoder = Decoder::new(session(), epoch());
    decoder.body(body, Position(10), Seq(5), Position(from), |event| {
        events.push(event);
        true
    })?;
    Ok(events)
}

/// An event with everything that an event can have.
fn full() -> UnplacedEvent {
    let mut draft = EventDraft::parse("a.b").unwrap();
    let label = |text: &str| Some(Label::parse(text).unwrap());
    draft.class = Some(Class::Control);
    draft.finality = Some(Finality::Operation);
    draft.privacy = Some(Privacy::Secret);
    draft.subject = Some("subject".into());
    draft.agent = label("agent");
    draft.run = label("run");
    draft.turn = label("turn");
    draft.correlation = label("correlation");
    draft.caused_by = label("cause");
    draft.traceparent = label("trace");
    draft.tracestate = Some("state".into());
    draft.tags = vec![Label::parse("a").unwrap(), Label::parse("b").unwrap()];
    draft.idempotency_key = Some("key".into());
    for (name, value) in [
        ("flag", ExtensionValue::Boolean(true)),
        ("noflag", ExtensionValue::Boolean(false)),
        ("number", ExtensionValue::Integer(-7)),
        ("text", ExtensionValue::String("täxt".into())),
    ] {
        draft.extensions.insert(name.into(), value);
    }
    let payload = Payload::bytes(Some("text/plain"), vec![0, 255, 10]).unwrap();
    event(draft.with_payload(payload.with_schema("urn:s").unwrap()))
}

#[test]
fn a_body_gives_its_events_at_their_places() {
    let plain = event(EventDraft::parse("x").unwrap());
    let json = EventDraft::parse("x").unwrap();
    let json = event(json.with_payload(Payload::json_text("{\"a\":1}").unwrap()));
    let events = [full(), plain, json];
    let mut body = start();
    for (event, seq) in events.iter().zip([0, 3, 300]) {
        push(&mut body, seq, &encode(event));
    }
    let read = decoded(&body, 0).unwrap();
    for (at, (event, seq)) in events.into_iter().zip([5, 8, 305]).enumerate() {
        let place = Place {
            session: session(),
            epoch: epoch(),
            position: Position(10).plus(at),
            seq: Seq(seq),
        };
        assert_eq!(read[at], event.at(place));
    }
    assert_eq!(decoded(&body, 12).unwrap(), read[2..]);
}

#[test]
fn a_body_that_was_cut_or_is_of_another_version_is_damaged() {
    let mut body = start();
    push(&mut body, 0, &encode(&full()));
    for end in (0..body.len()).filter(|end| *end != 1) {
        assert_eq!(decoded(&body[..end], 0), Err(Damaged), "cut at {end}");
    }
    body[0] = 2;
    assert_eq!(decoded(&body, 0), Err(Damaged));
}

proptest! {
    #[test]
    fn any_bytes_are_an_event_or_damaged(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut body = start();
        body.extend(bytes);
        let _ = decoded(&body, 0);
    }

    #[test]
    fn a_changed_byte_is_an_event_or_damaged(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut body = start();
        push(&mut body, 0, &encode(&full()));
        let at = at.index(body.len());
        body[at] = to;
        let _ = decoded(&body, 0);
    }
}
