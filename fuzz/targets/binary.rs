//! An event in binary mode, its headers taken from lines and its data from the rest, is read or refused.
//! One that is read, put at a place and taken apart is read as the same event.

#![no_main]

use bytes::Bytes;
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use reveille_types::cloudevents::{
    BinaryEvent, decode_binary, decode_header, encode_binary, encode_header,
};
use reveille_types::{DraftDefaults, Event, EventDraft, EventId, KindRegistry, Source};

mod place;

fuzz_target!(|data: &[u8]| {
    let mut event = BinaryEvent::default();
    let mut rest = data;
    while let Some(end) = rest.iter().position(|b| *b == b'\n') {
        let line = &rest[..end];
        rest = &rest[end + 1..];
        let Some(colon) = line.iter().position(|b| *b == b':') else {
            break;
        };
        let (name, value) = (String::from_utf8_lossy(&line[..colon]), &line[colon + 1..]);
        let Ok(value) = decode_header(value) else {
            return;
        };
        // What is decoded can be sent again.
        assert_eq!(
            decode_header(encode_header(&value).as_bytes()).unwrap(),
            value
        );
        match &*name {
            "content-type" => event.content_type = Some(value),
            name => event.attributes.push((name.to_owned(), value)),
        }
    }
    event.body = Bytes::copy_from_slice(rest);
    let Ok(draft) = decode_binary(event) else {
        return;
    };
    let Some(event) = placed(draft) else {
        return;
    };
    let again = placed(decode_binary(encode_binary(&event)).unwrap()).unwrap();
    assert_eq!(again.json(), event.json());
});

fn placed(mut draft: EventDraft) -> Option<Event> {
    draft.check().ok()?;
    draft.idempotency_key = None;
    let place = place::first();
    let defaults = DraftDefaults {
        id: EventId::parse("made").unwrap(),
        time: Timestamp::UNIX_EPOCH,
        source: &Source::of_session(&place.session),
        registry: &KindRegistry::standard(),
    };
    Some(draft.complete(defaults).at(place.clone()))
}
