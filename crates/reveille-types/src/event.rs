//! The immutable record of what happened: envelope, payload and place.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use crate::cloudevents;
use crate::cursor::Cursor;
use crate::invalid::{PLAIN, VISIBLE, check_text};
use crate::kind::{Class, Finality, Kind};
use crate::limits;
use crate::name::checked_name;
use crate::payload::Payload;
use crate::place::{Epoch, Position, Seq};
use crate::session::SessionKey;
use crate::short_text::ShortText;
use crate::view::{Guarded, Views};

checked_name! {
    /// Identifies an event together with its source: equal pairs are the same event. Never a place.
    ///
    /// 1 to 256 bytes without control characters. A UUID needs no memory of its own.
    EventId(ShortText), "id", |field, text| check_text(field, text, limits::EVENT_ID_BYTES, PLAIN)
}

/// Lower case, with hyphens.
impl From<Uuid> for EventId {
    fn from(uuid: Uuid) -> Self {
        let mut text = [0; Hyphenated::LENGTH];
        Self(ShortText::from(&*uuid.hyphenated().encode_lower(&mut text)))
    }
}

checked_name! {
    /// Who produced an event: a URI reference (`CloudEvents` `source`).
    ///
    /// 1 to 1024 bytes of visible ASCII.
    Source, "source", |field, text| check_text(field, text, limits::REFERENCE_BYTES, VISIBLE)
}

impl Source {
    /// The source of events of a session that name none: `urn:reveille:<namespace>:<id>`.
    ///
    /// ```
    /// use reveille_types::{SessionKey, Source, Tenant};
    ///
    /// let key = SessionKey::in_tenant(Tenant::default_tenant(), "run/17")?;
    /// assert_eq!(Source::of_session(&key).as_str(), "urn:reveille:run:17");
    /// # Ok::<(), reveille_types::Invalid>(())
    /// ```
    #[must_use]
    pub fn of_session(key: &SessionKey) -> Self {
        let SessionKey { namespace, id, .. } = key;
        // Both parts are visible ASCII and far below the limit of a source.
        Self(format!("urn:reveille:{namespace}:{id}").into())
    }
}

checked_name! {
    /// A short text of the producer's own: agent, run, turn, correlation, cause, tag.
    ///
    /// 1 to 256 bytes without control characters.
    Label, "label", |field, text| check_text(field, text, limits::LABEL_BYTES, PLAIN)
}

/// Who may see a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Privacy {
    /// Everybody who may read the session.
    Public,
    /// People of the same organisation.
    Internal,
    /// Only references to content.
    ContentRefsOnly,
    /// Readers with a need.
    Sensitive,
    /// Nobody without an explicit grant.
    Secret,
}

impl Privacy {
    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::ContentRefsOnly => "content_refs_only",
            Self::Sensitive => "sensitive",
            Self::Secret => "secret",
        }
    }
}

/// The value of a producer's own extension attribute (`CloudEvents` 1.0, section 3.1: type system).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ExtensionValue {
    /// A Boolean.
    Boolean(bool),
    /// An Integer, which has 32 bits.
    Integer(i32),
    /// A String.
    String(Box<str>),
}

/// Producer's own attributes by name: lower-case letters and digits.
pub type Extensions = BTreeMap<Box<str>, ExtensionValue>;

/// Everything about an event but its payload and its place. Filters see this and nothing else.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The producer's id of the event.
    pub id: EventId,
    /// Who produced it.
    pub source: Source,
    /// What happened.
    pub kind: Kind,
    /// When it happened, by the producer's clock, in whole milliseconds. For display, never for
    /// order.
    pub time: Timestamp,
    /// How it is treated under pressure.
    pub class: Class,
    /// What it ends.
    pub finality: Finality,
    /// What it is about, within the source.
    pub subject: Option<Box<str>>,
    /// Which agent it concerns.
    pub agent: Option<Label>,
    /// Which run it belongs to.
    pub run: Option<Label>,
    /// Which turn of the run.
    pub turn: Option<Label>,
    /// What it correlates with.
    pub correlation: Option<Label>,
    /// The id of the event that caused it.
    pub caused_by: Option<Label>,
    /// W3C trace context.
    pub traceparent: Option<Label>,
    /// W3C trace context of vendors.
    pub tracestate: Option<Box<str>>,
    /// Who may see the payload.
    pub privacy: Option<Privacy>,
    /// Free labels, in the producer's order.
    pub tags: Box<[Label]>,
    /// The key under which a repeated append of this event is recognised.
    pub idempotency_key: Option<Box<str>>,
    /// The producer's own attributes.
    pub extensions: Extensions,
}

/// Where an event stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The log.
    pub session: Arc<SessionKey>,
    /// The incarnation of the log.
    pub epoch: Epoch,
    /// The event's position in the log.
    pub position: Position,
    /// The event's place in the order of its tenant.
    pub seq: Seq,
}

/// An event that is complete but for its place: what a backend is given. Cheap to clone.
#[derive(Clone)]
pub struct UnplacedEvent(Arc<Record>);

/// An immutable record of what happened. Cheap to clone: shared by reference count, and serialised at
/// most once for all readers.
#[derive(Clone)]
pub struct Event(Arc<Record>);

struct Record {
    envelope: Envelope,
    payload: Payload,
    weight: usize,
    /// There in every [`Event`].
    place: Option<Place>,
    json: OnceLock<Bytes>,
    views: OnceLock<Box<Views>>,
}

/// What was made of a record depends on its place.
impl Clone for Record {
    fn clone(&self) -> Self {
        Self {
            envelope: self.envelope.clone(),
            payload: self.payload.clone(),
            weight: self.weight,
            place: self.place.clone(),
            json: OnceLock::new(),
            views: OnceLock::new(),
        }
    }
}

impl UnplacedEvent {
    /// Puts an event together.
    #[must_use]
    #[inline]
    pub fn new(envelope: Envelope, payload: Payload) -> Self {
        let weight = weight(&envelope, &payload);
        Self(Arc::new(Record {
            envelope,
            payload,
            weight,
            place: None,
            json: OnceLock::new(),
            views: OnceLock::new(),
        }))
    }

    /// Everything but payload and place.
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        &self.0.envelope
    }

    /// What it carries.
    #[must_use]
    pub fn payload(&self) -> &Payload {
        &self.0.payload
    }

    /// As [`Event::weight`].
    #[must_use]
    pub fn weight(&self) -> usize {
        self.0.weight
    }

    /// Puts the event at its place. Copies it if it was cloned.
    #[must_use]
    pub fn at(mut self, place: Place) -> Event {
        Arc::make_mut(&mut self.0).place = Some(place);
        Event(self.0)
    }

    /// Takes it apart. Copies it if it was cloned.
    #[must_use]
    pub fn into_parts(self) -> (Envelope, Payload) {
        let record = Arc::unwrap_or_clone(self.0);
        (record.envelope, record.payload)
    }
}

impl Event {
    /// Puts an event at its place.
    #[must_use]
    pub fn new(envelope: Envelope, payload: Payload, place: Place) -> Self {
        UnplacedEvent::new(envelope, payload).at(place)
    }

    /// Everything but payload and place.
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        &self.0.envelope
    }

    /// What happened.
    #[must_use]
    pub fn kind(&self) -> &Kind {
        &self.0.envelope.kind
    }

    /// The producer's id.
    #[must_use]
    pub fn id(&self) -> &EventId {
        &self.0.envelope.id
    }

    /// What it ends.
    #[must_use]
    pub fn finality(&self) -> Finality {
        self.0.envelope.finality
    }

    /// What it carries.
    #[must_use]
    pub fn payload(&self) -> &Payload {
        &self.0.payload
    }

    /// Where it stands.
    #[must_use]
    pub fn place(&self) -> &Place {
        // Every `Event` is made by `UnplacedEvent::at`.
        self.0.place.as_ref().expect("an event has a place")
    }

    /// Its position in its session log.
    #[must_use]
    pub fn position(&self) -> Position {
        self.place().position
    }

    /// The session log it stands in.
    #[must_use]
    pub fn session(&self) -> &Arc<SessionKey> {
        &self.place().session
    }

    /// The cursor of a reader that has read everything up to and including this event.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        let place = self.place();
        Cursor::session(place.epoch, place.position.next())
    }

    /// The event as one line of `CloudEvents` 1.0 JSON (structured mode). Made at most once.
    ///
    /// [`decode_event`](crate::decode_event) reads all of it back but what the server sets: session,
    /// place and idempotency key. No CR, LF, U+0085, U+2028 or U+2029 stands in it, and no attribute is
    /// null.
    #[must_use]
    pub fn json(&self) -> &Bytes {
        self.0.json.get_or_init(|| cloudevents::encode(self).into())
    }

    /// As [`json`](Self::json), with another cursor in it: of the bus on which it is read.
    #[must_use]
    pub fn json_at(&self, cursor: Cursor) -> Bytes {
        let json = self.json();
        let own = format!("{}\"", cloudevents::CURSOR_MEMBER);
        // The member's name with its quotes cannot stand within a string, where quotes are escaped,
        // and data, where it could be a name again, comes after it.
        let Some(at) = json.windows(own.len()).position(|w| w == own.as_bytes()) else {
            return json.clone();
        };
        let start = at + own.len();
        let rest = json.get(start..).unwrap_or_default();
        let end = rest.iter().position(|b| *b == b'"').unwrap_or_default();
        let mut line = Vec::with_capacity(json.len() + 32);
        line.extend_from_slice(&json[..start]);
        line.extend_from_slice(cursor.to_string().as_bytes());
        line.extend_from_slice(&rest[end..]);
        line.into()
    }

    pub(crate) fn views(&self) -> &Views {
        self.0.views.get_or_init(Box::default)
    }

    /// What the event costs a log, in bytes: its payload, the text of its envelope and a fixed part
    /// for the record itself.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.0.weight
    }
}

fn weight(envelope: &Envelope, payload: &Payload) -> usize {
    let text = |value: &Option<Box<str>>| value.as_ref().map_or(0, |t| t.len());
    let label = |value: &Option<Label>| value.as_ref().map_or(0, |l| l.as_str().len());
    let extensions: usize = envelope
        .extensions
        .iter()
        .map(|(name, value)| {
            let value = match value {
                ExtensionValue::String(text) => text.len(),
                _ => 0,
            };
            name.len() + value + size_of::<ExtensionValue>()
        })
        .sum();
    size_of::<Record>()
        + payload.len()
        + envelope.id.0.len()
        + envelope.source.as_str().len()
        + envelope.kind.as_str().len()
        + text(&envelope.subject)
        + text(&envelope.tracestate)
        + text(&envelope.idempotency_key)
        + label(&envelope.agent)
        + label(&envelope.run)
        + label(&envelope.turn)
        + label(&envelope.correlation)
        + label(&envelope.caused_by)
        + label(&envelope.traceparent)
        + envelope
            .tags
            .iter()
            .map(|t| t.as_str().len())
            .sum::<usize>()
        + extensions
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hide = self.0.envelope.privacy.is_some_and(Privacy::redacts_debug);
        let session = format_args!("{}", self.session());
        f.debug_struct("Event")
            .field("session", &Guarded("SessionKey", &session, hide))
            .field("position", &self.position())
            .field("kind", &self.0.envelope.kind)
            .field("id", &Guarded("EventId", &self.0.envelope.id, hide))
            .finish_non_exhaustive()
    }
}

/// Of a sensitive or secret event the ids and the producer's texts are kept out.
impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hide = self.privacy.is_some_and(Privacy::redacts_debug);
        f.debug_struct("Envelope")
            .field("id", &Guarded("EventId", &self.id, hide))
            .field("source", &Guarded("Source", &self.source, hide))
            .field("kind", &self.kind)
            .field("time", &self.time)
            .field("class", &self.class)
            .field("finality", &self.finality)
            .field("subject", &Guarded("Subject", &self.subject, hide))
            .field("agent", &Guarded("Agent", &self.agent, hide))
            .field("run", &Guarded("Run", &self.run, hide))
            .field("turn", &Guarded("Turn", &self.turn, hide))
            .field(
                "correlation",
                &Guarded("Correlation", &self.correlation, hide),
            )
            .field("caused_by", &Guarded("Cause", &self.caused_by, hide))
            .field("traceparent", &self.traceparent)
            .field("tracestate", &self.tracestate)
            .field("privacy", &self.privacy)
            .field("tags", &Guarded("Tags", &self.tags, hide))
            .field(
                "idempotency_key",
                &Guarded("Key", &self.idempotency_key, hide),
            )
            .field("extensions", &Guarded("Extensions", &self.extensions, hide))
            .finish()
    }
}

impl fmt::Debug for UnplacedEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hide = self.0.envelope.privacy.is_some_and(Privacy::redacts_debug);
        f.debug_struct("UnplacedEvent")
            .field("kind", &self.0.envelope.kind)
            .field("id", &Guarded("EventId", &self.0.envelope.id, hide))
            .finish_non_exhaustive()
    }
}

/// Two events are equal when all that they say is equal.
impl PartialEq for UnplacedEvent {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.0.envelope == other.0.envelope && self.0.payload == other.0.payload)
    }
}

impl Eq for UnplacedEvent {}

/// Two events are equal when all that they say is equal, their place included.
impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.0.place == other.0.place
                && self.0.envelope == other.0.envelope
                && self.0.payload == other.0.payload)
    }
}

impl Eq for Event {}
