//! The lines of the file: what each says, to and from JSON.

use std::io;
use std::sync::Arc;

use reveille_backend::{Entry, Seal, Slot};
use reveille_types::{
    EndReason, Epoch, Event, Place, Position, Seq, SessionKey, Tenant, decode_event_at,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// One change.
#[derive(Debug)]
pub(super) enum Record {
    Open {
        key: SessionKey,
        epoch: Epoch,
        attributes: Box<str>,
    },
    /// A whole batch, so that it is there or not.
    Append {
        key: SessionKey,
        events: Vec<StoredEvent>,
        /// The batch ends the log.
        seal: Option<EndReason>,
    },
    Seal {
        key: SessionKey,
        seal: Seal,
    },
    Trim {
        key: SessionKey,
        before: Position,
    },
    Remove {
        key: SessionKey,
    },
    /// The order of a tenant has begun.
    Order {
        tenant: Tenant,
        epoch: Epoch,
    },
}

/// An idempotency key, and the fingerprint of what was appended under it.
pub(super) type StoredKey = (Box<str>, u64);

/// An event in the file. Its idempotency key stands beside its JSON, which does not hold it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredEvent {
    position: Position,
    seq: Seq,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<StoredKey>,
    event: Box<RawValue>,
}

impl StoredEvent {
    pub(super) fn new(entry: &Entry, slot: Slot, key: &SessionKey, epoch: Epoch) -> Self {
        let place = Place {
            session: Arc::new(key.clone()),
            epoch,
            position: slot.position,
            seq: slot.seq,
        };
        let event = entry.event.clone().at(place);
        let json = String::from_utf8_lossy(event.json()).into_owned();
        Self {
            position: slot.position,
            seq: slot.seq,
            key: entry.key.as_ref().map(|k| (k.key.clone(), k.fingerprint)),
            event: RawValue::from_string(json).unwrap_or_default(),
        }
    }

    /// The event at its place, and its idempotency key with its fingerprint.
    pub(super) fn into_event(
        self,
        key: &SessionKey,
        epoch: Epoch,
    ) -> io::Result<(Event, Option<StoredKey>)> {
        let place = Place {
            session: Arc::new(key.clone()),
            epoch,
            position: self.position,
            seq: self.seq,
        };
        let event = decode_event_at(self.event.get(), place.clone()).map_err(damaged)?;
        let mut envelope = event.envelope().clone();
        envelope.idempotency_key = self.key.as_ref().map(|(key, _)| key.clone());
        let event = Event::new(envelope, event.payload().clone(), place);
        Ok((event, self.key))
    }
}

fn damaged(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl Record {
    /// The log that it is about, if it is about one.
    pub(super) fn key(&self) -> Option<&SessionKey> {
        match self {
            Self::Order { .. } => None,
            Self::Open { key, .. }
            | Self::Append { key, .. }
            | Self::Seal { key, .. }
            | Self::Trim { key, .. }
            | Self::Remove { key } => Some(key),
        }
    }

    /// The record as one line.
    pub(super) fn line(&self) -> String {
        let session = self.key().map(SessionKey::to_string).unwrap_or_default();
        let line = |change: &str, value: String| {
            format!("{{\"session\":\"{session}\",\"{change}\":{value}}}\n")
        };
        // Names, numbers and JSON texts always serialise.
        let json = |value: serde_json::Result<String>| value.unwrap_or_default();
        match self {
            Self::Open {
                epoch, attributes, ..
            } => line("open", json(serde_json::to_string(&(epoch, attributes)))),
            Self::Append { events, seal, .. } => {
                line("append", json(serde_json::to_string(&(events, seal))))
            }
            Self::Seal { seal, .. } => {
                let seal = (seal.reason, &seal.message);
                line("seal", json(serde_json::to_string(&seal)))
            }
            Self::Trim { before, .. } => line("trim", json(serde_json::to_string(before))),
            Self::Remove { .. } => line("remove", "null".to_owned()),
            Self::Order { tenant, epoch } => {
                let order = (tenant.as_str(), epoch);
                let order = json(serde_json::to_string(&order));
                format!("{{\"order\":{order}}}\n")
            }
        }
    }

    /// Reads a line.
    pub(super) fn parse(line: &str) -> io::Result<Self> {
        let members: std::collections::BTreeMap<String, Box<RawValue>> =
            serde_json::from_str(line).map_err(damaged)?;
        let mut key = None;
        let mut change = None;
        for (name, value) in members {
            match name.as_str() {
                "session" => {
                    let text: String = serde_json::from_str(value.get()).map_err(damaged)?;
                    key = Some(text.parse::<SessionKey>().map_err(damaged)?);
                }
                _ => change = Some((name, value)),
            }
        }
        let Some((name, value)) = change else {
            return Err(damaged("a line without a change"));
        };
        let value = value.get();
        if name == "order" {
            let (tenant, epoch): (String, Epoch) = serde_json::from_str(value).map_err(damaged)?;
            let tenant = Tenant::parse(&tenant).map_err(damaged)?;
            return Ok(Self::Order { tenant, epoch });
        }
        let Some(key) = key else {
            return Err(damaged("a line without a session"));
        };
        Ok(match name.as_str() {
            "open" => {
                let (epoch, attributes) = serde_json::from_str(value).map_err(damaged)?;
                Self::Open {
                    key,
                    epoch,
                    attributes,
                }
            }
            "append" => {
                let (events, seal) = serde_json::from_str(value).map_err(damaged)?;
                Self::Append { key, events, seal }
            }
            "seal" => {
                let (reason, message) = serde_json::from_str(value).map_err(damaged)?;
                Self::Seal {
                    key,
                    seal: Seal { reason, message },
                }
            }
            "trim" => Self::Trim {
                key,
                before: serde_json::from_str(value).map_err(damaged)?,
            },
            "remove" => Self::Remove { key },
            other => return Err(damaged(format!("an unknown change {other:?}"))),
        })
    }
}
