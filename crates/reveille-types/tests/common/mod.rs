//! What several test files need: a draft put at a place.

use std::sync::Arc;

use jiff::Timestamp;
use reveille_types::{
    DraftDefaults, Epoch, Event, EventDraft, EventId, KindRegistry, Place, Position, Seq,
    SessionKey, Source,
};

/// The event that `draft` becomes at `position` of one session log.
pub(crate) fn place(draft: EventDraft, position: u64) -> Event {
    at(draft, "acme/session/s1".parse().unwrap(), position)
}

/// The event that `draft` becomes at the beginning of this session log.
#[allow(dead_code, reason = "not every test file uses it")]
pub(crate) fn place_in(draft: EventDraft, session: SessionKey) -> Event {
    at(draft, session, 0)
}

fn at(draft: EventDraft, session: SessionKey, position: u64) -> Event {
    let event = draft.complete(DraftDefaults {
        id: EventId::parse("made").unwrap(),
        time: Timestamp::from_millisecond(1_769_860_800_100).unwrap(),
        source: &Source::of_session(&session),
        registry: &KindRegistry::standard(),
    });
    let place = Place {
        session: Arc::new(session),
        epoch: Epoch::from_parts(1_700_000_000_000, 1),
        position: Position(position),
        seq: Seq(1000 + position),
    };
    event.at(place)
}
