//! A CloudEvent is read or refused. One that is read, put at a place and written is one line that no
//! client cuts, and is read as the same event.

#![no_main]

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use reveille_types::{DraftDefaults, EventId, KindRegistry, Source, decode_event, decode_event_at};

mod place;

fuzz_target!(|text: &str| {
    let Ok(mut draft) = decode_event(text) else {
        return;
    };
    if draft.check().is_err() {
        return;
    }
    // The form on the wire leaves out what only the server may say.
    draft.idempotency_key = None;
    let place = place::first();
    let event = draft
        .complete(DraftDefaults {
            id: EventId::parse("made").unwrap(),
            time: Timestamp::UNIX_EPOCH,
            source: &Source::of_session(&place.session),
            registry: &KindRegistry::standard(),
        })
        .at(place.clone());
    let json = std::str::from_utf8(event.json()).unwrap();
    let cuts = |c| matches!(c, '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}');
    assert!(!json.contains(cuts), "{json}");
    let again = decode_event_at(json, place).unwrap();
    assert_eq!(again, event, "{json}");
    assert_eq!(again.json(), event.json());
});
