//! Events as they are stored: their JSON, and beside it what is not in it.

use std::sync::Arc;

use redis::{FromRedisValue, Value};
use reveille_backend::{BackendError, Entry};
use reveille_types::{Epoch, Event, Place, Position, Seq, SessionKey, decode_event_at};

use crate::error::corrupt;

/// What a script is told of one entry: the key it is recognised by, its fingerprint, the event, and the
/// key that the event itself names. A key is absent, or stands behind a `k`.
pub(crate) fn arguments(entry: Entry, session: &Arc<SessionKey>, epoch: Epoch) -> [Vec<u8>; 4] {
    let marked = |key: &str| format!("k{key}").into_bytes();
    let (key, fingerprint) = match &entry.key {
        Some(key) => (
            marked(&key.key),
            format!("{:016x}", key.fingerprint).into_bytes(),
        ),
        None => (Vec::new(), Vec::new()),
    };
    let own = entry.event.envelope().idempotency_key.as_deref();
    let own = own.map(marked).unwrap_or_default();
    // Where it will stand is not known yet: a reader puts it at its place.
    let event = entry.event.at(Place {
        session: Arc::clone(session),
        epoch,
        position: Position::START,
        seq: Seq(0),
    });
    [key, fingerprint, event.json().to_vec(), own]
}

/// The event at a position, of the fields that are stored for it.
pub(crate) fn decode(
    fields: Value,
    position: Position,
    session: &Arc<SessionKey>,
    epoch: Epoch,
) -> Result<Event, BackendError> {
    let damaged = || corrupt(format!("position {position}"));
    let [(_, seq), (_, json), (_, own)] =
        <[(String, String); 3]>::from_redis_value(fields).map_err(|_| damaged())?;
    let place = Place {
        session: Arc::clone(session),
        epoch,
        position,
        seq: seq.parse().map_err(|_| damaged())?,
    };
    let event = decode_event_at(&json, place.clone()).map_err(|_| damaged())?;
    let Some(own) = own.strip_prefix('k') else {
        return Ok(event);
    };
    let mut envelope = event.envelope().clone();
    envelope.idempotency_key = Some(own.into());
    Ok(Event::new(envelope, event.payload().clone(), place))
}
