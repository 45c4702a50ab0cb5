//! How an event, or a seal, stands in a message of a log.
//!
//! The payload is the event's JSON, or what whoever sealed the log said. All else is in one header:
//! the position, which append it belongs to, its key, and whether it seals the log.

use std::borrow::Cow;
use std::sync::Arc;

use async_nats::Message;
use bytes::Bytes;
use data_encoding::{BASE64, BASE64URL_NOPAD};
use reveille_backend::types::{
    EndReason, Epoch, Event, Place, Position, Seq, SessionKey, decode_event_at,
};
use reveille_backend::{BackendError, Entry, IdempotencyKey, Seal};

use crate::error::corrupt;

/// The name of the header.
pub(crate) const HEADER: &str = "Reveille";
/// Nothing in a field of it.
const NONE: &str = "-";
/// The fields of an event without any key.
const KEYLESS: &str = "event - - -";
/// The event says that its key is the one that it is recognised by.
const SAME: &str = "=";

/// A header of a message.
pub(crate) fn header<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    Some(message.headers.as_ref()?.get(name)?.as_str())
}

/// The place in the stream of a message that a direct get answers.
pub(crate) fn sequence(message: &Message) -> Result<u64, BackendError> {
    let seq = header(message, "Nats-Sequence").and_then(|seq| seq.parse().ok());
    seq.ok_or_else(|| corrupt("a message without a sequence"))
}

/// One message as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    /// Its place in the stream, which is the event's in the order of the tenant.
    pub(crate) seq: u64,
    /// The event's position, or how many events precede the seal.
    pub(crate) position: Position,
    /// Which append it belongs to.
    pub(crate) append: Box<str>,
    pub(crate) what: What,
    payload: Vec<u8>,
}

#[derive(Debug, Clone)]
pub(crate) enum What {
    Event {
        key: Option<IdempotencyKey>,
        /// The key that the event itself names.
        own: Option<Box<str>>,
        /// The event is the last one.
        seals: Option<EndReason>,
    },
    Seal(Seal),
}

impl Stored {
    /// Where the log ends with this message.
    pub(crate) fn end(&self) -> Position {
        match self.what {
            What::Event { .. } => self.position.next(),
            What::Seal(_) => self.position,
        }
    }

    /// That the log is sealed by this message.
    pub(crate) fn seal(&self) -> Option<Seal> {
        match &self.what {
            What::Event { seals, .. } => seals.map(|reason| Seal {
                reason,
                message: None,
            }),
            What::Seal(seal) => Some(seal.clone()),
        }
    }

    /// The message as a direct get answers it.
    pub(crate) fn of_answer(message: &Message) -> Result<Self, BackendError> {
        let payload = message.payload.to_vec();
        Self::read(sequence(message)?, header(message, HEADER), payload)
    }

    /// The message as the leader of the stream answers it: in JSON.
    pub(crate) fn of_json(answer: &RawMessage) -> Result<Self, BackendError> {
        let damaged = || corrupt(format!("message {}", answer.message.seq));
        let decode = |text: &str| BASE64.decode(text.as_bytes()).map_err(|_| damaged());
        let headers = String::from_utf8(decode(&answer.message.hdrs)?).map_err(|_| damaged())?;
        let header = headers
            .lines()
            .find_map(|line| line.strip_prefix(HEADER)?.strip_prefix(':'));
        Self::read(
            answer.message.seq,
            header.map(str::trim),
            decode(&answer.message.data)?,
        )
    }

    fn read(seq: u64, header: Option<&str>, payload: Vec<u8>) -> Result<Self, BackendError> {
        let read = header.and_then(|header| {
            let mut fields = header.split(' ');
            let position = Position(fields.next()?.parse().ok()?);
            let append = fields.next()?.into();
            let what = match fields.next()? {
                "event" => event(&mut fields)?,
                "seal" => seal(&mut fields, &payload)?,
                _ => return None,
            };
            Some((position, append, what))
        });
        let (position, append, what) = read.ok_or_else(|| corrupt(format!("message {seq}")))?;
        Ok(Self {
            seq,
            position,
            append,
            what,
            payload,
        })
    }

    /// The event that it is, if it is one.
    pub(crate) fn event(
        &self,
        session: &Arc<SessionKey>,
        epoch: Epoch,
    ) -> Result<Option<Event>, BackendError> {
        let What::Event { own, .. } = &self.what else {
            return Ok(None);
        };
        let damaged = || corrupt(format!("position {}", self.position));
        let json = std::str::from_utf8(&self.payload).map_err(|_| damaged())?;
        let place = Place {
            session: Arc::clone(session),
            epoch,
            position: self.position,
            seq: Seq(self.seq),
        };
        let event = decode_event_at(json, place.clone()).map_err(|_| damaged())?;
        let Some(own) = own else {
            return Ok(Some(event));
        };
        let mut envelope = event.envelope().clone();
        envelope.idempotency_key = Some(own.clone());
        Ok(Some(Event::new(envelope, event.payload().clone(), place)))
    }
}

fn event<'a>(fields: &mut impl Iterator<Item = &'a str>) -> Option<What> {
    let fingerprint = u64::from_str_radix(fields.next()?, 16);
    let key = key_of(fields.next()?)?;
    let own = match fields.next()? {
        SAME => key.clone(),
        own => key_of(own)?,
    };
    let seals = match fields.next()? {
        NONE => None,
        reason => Some(end_reason(reason)?),
    };
    let key = match key {
        Some(key) => Some(IdempotencyKey {
            key,
            fingerprint: fingerprint.ok()?,
        }),
        None => None,
    };
    Some(What::Event { key, own, seals })
}

fn seal<'a>(fields: &mut impl Iterator<Item = &'a str>, payload: &[u8]) -> Option<What> {
    let reason = end_reason(fields.next()?)?;
    let message = match fields.next()? {
        NONE => None,
        _ => Some(std::str::from_utf8(payload).ok()?.into()),
    };
    Some(What::Seal(Seal { reason, message }))
}

/// A key that is there, or none; nothing if it cannot be read. A key stands behind a `k`.
#[expect(clippy::option_option, reason = "no key is not an unreadable one")]
fn key_of(field: &str) -> Option<Option<Box<str>>> {
    if field == NONE {
        return Some(None);
    }
    let bytes = BASE64URL_NOPAD.decode(field.strip_prefix('k')?.as_bytes());
    let key = String::from_utf8(bytes.ok()?).ok()?;
    Some(Some(key.into()))
}

fn end_reason(name: &str) -> Option<EndReason> {
    const ALL: [EndReason; 7] = [
        EndReason::Completed,
        EndReason::Failed,
        EndReason::Cancelled,
        EndReason::Rejected,
        EndReason::Closed,
        EndReason::Expired,
        EndReason::Deleted,
    ];
    ALL.into_iter().find(|reason| reason.as_str() == name)
}

/// What the leader of a stream answers when it is asked for a message.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct RawMessage {
    pub(crate) message: RawFields,
}

#[derive(Debug, serde::Deserialize)]
pub(crate) struct RawFields {
    pub(crate) seq: u64,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
}

impl RawFields {
    /// The payload.
    pub(crate) fn payload(&self) -> Result<Vec<u8>, BackendError> {
        let decoded = BASE64.decode(self.data.as_bytes());
        decoded.map_err(|_| corrupt(format!("message {}", self.seq)))
    }
}

/// An entry that is ready to be sent, but for its place.
#[derive(Debug, Clone)]
pub(crate) struct Ready {
    pub(crate) key: Option<IdempotencyKey>,
    pub(crate) json: Bytes,
    /// The fields of the header behind the append, up to the seal.
    fields: Cow<'static, str>,
}

impl Ready {
    pub(crate) fn new(entry: Entry, session: &Arc<SessionKey>, epoch: Epoch) -> Self {
        let encode = |key: &str| format!("k{}", BASE64URL_NOPAD.encode(key.as_bytes()));
        let own = entry.event.envelope().idempotency_key.as_deref();
        let own = match (&entry.key, own) {
            (_, None) => NONE.into(),
            (Some(key), Some(own)) if *own == *key.key => SAME.into(),
            (_, Some(own)) => Cow::Owned(encode(own)),
        };
        let fields = match &entry.key {
            Some(key) => format!("event {:x} {} {own}", key.fingerprint, encode(&key.key)).into(),
            None if own == NONE => Cow::Borrowed(KEYLESS),
            None => format!("event {NONE} {NONE} {own}").into(),
        };
        // Where it will stand is not known yet: a reader puts it at its place.
        let event = entry.event.at(Place {
            session: Arc::clone(session),
            epoch,
            position: Position::START,
            seq: Seq(0),
        });
        Self {
            key: entry.key,
            json: event.json().clone(),
            fields,
        }
    }

    /// How many bytes its message has, about.
    pub(crate) fn weight(&self) -> u64 {
        // The header's other fields, and those of JetStream, are short.
        (self.json.len() + self.fields.len() + 256) as u64
    }

    pub(crate) fn header(
        &self,
        position: Position,
        append: &str,
        seals: Option<EndReason>,
    ) -> String {
        let position = position.0.to_string();
        let seals = seals.map_or(NONE, |reason| reason.as_str());
        [&position, append, &self.fields, seals].join(" ")
    }
}

/// The header of a message that seals a log which ends at `end`.
pub(crate) fn seal_header(end: Position, append: &str, seal: &Seal) -> String {
    let message = if seal.message.is_some() { "m" } else { NONE };
    format!("{} {append} seal {} {message}", end.0, seal.reason.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_reads_back() {
        for message in [None, Some("done — really".into())] {
            let seal = Seal {
                reason: EndReason::Closed,
                message,
            };
            let header = seal_header(Position(7), "a.1", &seal);
            let payload = seal.message.as_deref().unwrap_or_default().as_bytes();
            let read = Stored::read(3, Some(&header), payload.to_vec());
            let read = read.unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(read.seal(), Some(seal));
            assert_eq!((read.end(), &*read.append), (Position(7), "a.1"));
        }
    }

    #[test]
    fn a_message_of_somebody_else_is_damage() {
        for header in [
            None,
            Some(""),
            Some("7"),
            Some("x a event - - - -"),
            Some("1 a event - - -"),
            Some("1 a event - k! - -"),
            Some("1 a event - ka2V5 - -"),
            Some("1 a seal nonsense -"),
        ] {
            let read = Stored::read(3, header, b"{}".to_vec());
            assert!(
                matches!(read, Err(BackendError::Corrupt { .. })),
                "{header:?}"
            );
        }
    }
}
