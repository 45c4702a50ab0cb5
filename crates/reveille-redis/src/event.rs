//! Events as they are stored: their JSON, and beside it what is not in it.

use std::sync::Arc;

use redis::{FromRedisValue, Value};
use reveille_backend::{BackendError, Entry};
use reveille_types::{Epoch, Event, Place, Position, Seq, SessionKey, decode_event_at};

use crate::error::corrupt;

/// What the server is told of one entry.
#[derive(Debug)]
pub(crate) struct Ready {
    event: Event,
    /// What it is recognised by, and what it names itself; nothing if it has neither.
    pub(crate) keys: Option<Keys>,
}

/// The key that an entry is recognised by, its fingerprint, and the key that its event names. A key is absent, or
/// stands behind a `k`.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) key: String,
    pub(crate) fingerprint: String,
    pub(crate) own: String,
}

impl Ready {
    pub(crate) fn new(entry: Entry, session: &Arc<SessionKey>, epoch: Epoch) -> Self {
        let marked = |key: &str| format!("k{key}");
        let own = entry.event.envelope().idempotency_key.as_deref();
        let keys = match (&entry.key, own) {
            (None, None) => None,
            (key, own) => Some(Keys {
                key: key.as_ref().map(|key| marked(&key.key)).unwrap_or_default(),
                fingerprint: key
                    .as_ref()
                    .map(|key| format!("{:016x}", key.fingerprint))
                    .unwrap_or_default(),
                own: own.map(marked).unwrap_or_default(),
            }),
        };
        // Where it will stand is not known yet: a reader puts it at its place.
        let event = entry.event.at(Place {
            session: Arc::clone(session),
            epoch,
            position: Position::START,
            seq: Seq(0),
        });
        // Made here, by whoever appends, and not by the task that sends for all.
        let _ = event.json();
        Self { event, keys }
    }

    pub(crate) fn json(&self) -> &[u8] {
        self.event.json()
    }

    /// How many bytes it has, about.
    pub(crate) fn weight(&self) -> usize {
        self.json().len() + self.keys.as_ref().map_or(0, |keys| keys.key.len() * 2)
    }
}

/// The event at a position, of what a script reads: its sequence number, its JSON, and its key if it has one.
pub(crate) fn decode(
    fields: Value,
    position: Position,
    session: &Arc<SessionKey>,
    epoch: Epoch,
) -> Result<Event, BackendError> {
    let damaged = || corrupt(format!("position {position}"));
    let fields = Vec::<String>::from_redis_value(fields).map_err(|_| damaged())?;
    let (seq, json, own) = match &fields[..] {
        [seq, json] => (seq, json, None),
        [seq, json, own] => (seq, json, own.strip_prefix('k')),
        _ => return Err(damaged()),
    };
    let place = Place {
        session: Arc::clone(session),
        epoch,
        position,
        seq: seq.parse().map_err(|_| damaged())?,
    };
    let event = decode_event_at(json, place.clone()).map_err(|_| damaged())?;
    let Some(own) = own else {
        return Ok(event);
    };
    let mut envelope = event.envelope().clone();
    envelope.idempotency_key = Some(own.into());
    Ok(Event::new(envelope, event.payload().clone(), place))
}
