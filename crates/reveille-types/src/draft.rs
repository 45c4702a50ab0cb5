//! What a producer hands to append: an event that has no place yet.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use jiff::Timestamp;

use crate::event::{Envelope, Event, EventId, Extensions, Label, Privacy, Source, UnplacedEvent};
use crate::invalid::{Invalid, PLAIN, check_size, check_text};
use crate::kind::{Class, EndReason, Finality, Kind};
use crate::limits;
use crate::payload::Payload;
use crate::registry::KindRegistry;
use crate::session::SessionKey;
use crate::time;
use crate::view::Guarded;

/// What a producer hands to append. What it leaves out is filled in then: id, source, time, and class
/// and finality as the [`KindRegistry`] knows them.
///
/// ```
/// use reveille_types::{EventDraft, Payload};
///
/// let draft = EventDraft::parse("task.completed")?
///     .with_payload(Payload::json(&serde_json::json!({"ok": true}))?);
/// draft.check()?;
/// # Ok::<(), reveille_types::Invalid>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct EventDraft {
    /// What happened.
    pub kind: Kind,
    /// The producer's id; a time-sortable UUID if none.
    pub id: Option<EventId>,
    /// Who produced it; `urn:reveille:<namespace>:<id>` of the session if none.
    pub source: Option<Source>,
    /// When it happened; now if none.
    pub time: Option<Timestamp>,
    /// How it is treated under pressure; as registered if none.
    pub class: Option<Class>,
    /// What it ends; as registered if none.
    pub finality: Option<Finality>,
    /// The log that the event says it belongs to. Append refuses it anywhere else.
    pub session: Option<Arc<SessionKey>>,
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
    /// Free labels.
    pub tags: Vec<Label>,
    /// The key under which a repeated append of this event is recognised.
    pub idempotency_key: Option<Box<str>>,
    /// The producer's own attributes.
    pub extensions: Extensions,
    /// What it carries.
    pub payload: Payload,
}

/// Of a sensitive or secret draft the ids and the producer's texts are kept out.
impl fmt::Debug for EventDraft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hide = self.privacy.is_some_and(Privacy::redacts_debug);
        let session = self.session.as_ref().map(ToString::to_string);
        f.debug_struct("EventDraft")
            .field("kind", &self.kind)
            .field("id", &Guarded("EventId", &self.id, hide))
            .field("source", &Guarded("Source", &self.source, hide))
            .field("time", &self.time)
            .field("class", &self.class)
            .field("finality", &self.finality)
            .field("session", &Guarded("SessionKey", &session, hide))
            .field("subject", &Guarded("Subject", &self.subject, hide))
            .field("agent", &Guarded("Agent", &self.agent, hide))
            .field("run", &Guarded("Run", &self.run, hide))
            .field("turn", &Guarded("Turn", &self.turn, hide))
            .field(
                "correlation",
                &Guarded("Correlation", &self.correlation, hide),
            )
            .field("caused_by", &Guarded("Cause", &self.caused_by, hide))
            .field("privacy", &self.privacy)
            .field("tags", &Guarded("Tags", &self.tags, hide))
            .field(
                "idempotency_key",
                &Guarded("Key", &self.idempotency_key, hide),
            )
            .field("extensions", &Guarded("Extensions", &self.extensions, hide))
            .field("payload", &self.payload)
            .finish_non_exhaustive()
    }
}

/// Trace context is left out, because the digest of a draft tells a repeated publish from another one
/// under the same key, and whoever repeats a request does so within another span.
impl Hash for EventDraft {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self {
            kind,
            id,
            source,
            time,
            class,
            finality,
            session,
            subject,
            agent,
            run,
            turn,
            correlation,
            caused_by,
            traceparent: _,
            tracestate: _,
            privacy,
            tags,
            idempotency_key,
            extensions,
            payload,
        } = self;
        (kind, id, source, time, class, finality, session, subject).hash(state);
        (agent, run, turn, correlation, caused_by, privacy).hash(state);
        (tags, idempotency_key, extensions, payload).hash(state);
    }
}

/// What fills the places that a draft left open.
#[derive(Debug, Clone)]
pub struct DraftDefaults<'a> {
    /// The event's id.
    pub id: EventId,
    /// Now, by the wall clock.
    pub time: Timestamp,
    /// Who produces what names nobody, as [`Source::of_session`] says.
    pub source: &'a Source,
    /// The known kinds.
    pub registry: &'a KindRegistry,
}

impl EventDraft {
    /// A draft of this kind with nothing else in it.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            id: None,
            source: None,
            time: None,
            class: None,
            finality: None,
            session: None,
            subject: None,
            agent: None,
            run: None,
            turn: None,
            correlation: None,
            caused_by: None,
            traceparent: None,
            tracestate: None,
            privacy: None,
            tags: Vec::new(),
            idempotency_key: None,
            extensions: Extensions::new(),
            payload: Payload::none(),
        }
    }

    /// A draft of the kind with this name.
    ///
    /// # Errors
    /// [`Invalid`] when the name is no kind.
    pub fn parse(kind: &str) -> Result<Self, Invalid> {
        Kind::parse(kind).map(Self::new)
    }

    /// The draft with this payload.
    #[must_use]
    pub fn with_payload(mut self, payload: Payload) -> Self {
        self.payload = payload;
        self
    }

    /// The draft with this finality instead of the registered one.
    #[must_use]
    pub fn with_finality(mut self, finality: Finality) -> Self {
        self.finality = Some(finality);
        self
    }

    /// The draft with this id.
    #[must_use]
    pub fn with_id(mut self, id: EventId) -> Self {
        self.id = Some(id);
        self
    }

    /// The draft with this source.
    #[must_use]
    pub fn with_source(mut self, source: Source) -> Self {
        self.source = Some(source);
        self
    }

    /// The draft about this agent.
    #[must_use]
    pub fn with_agent(mut self, agent: Label) -> Self {
        self.agent = Some(agent);
        self
    }

    /// Checks what a publisher may send.
    ///
    /// # Errors
    /// [`Invalid`] names the field: a reserved kind, the class `control`, text over its limit, an
    /// extension with the name of an attribute that Reveille knows.
    pub fn check(&self) -> Result<(), Invalid> {
        if self.kind.is_reserved() {
            return Err(Invalid::Reserved {
                field: "type".into(),
                name: self.kind.to_string(),
            });
        }
        if self.class == Some(Class::Control) {
            return Err(Invalid::Reserved {
                field: "reveilleclass".into(),
                name: Class::Control.as_str().into(),
            });
        }
        if let Some(time) = self.time {
            time::check("time", time)?;
        }
        if let Some(subject) = &self.subject {
            check_text("subject", subject, limits::REFERENCE_BYTES, PLAIN)?;
        }
        if let Some(state) = &self.tracestate {
            check_text("tracestate", state, limits::EXTENSION_VALUE_BYTES, PLAIN)?;
        }
        if let Some(key) = &self.idempotency_key {
            check_text("idempotency_key", key, limits::IDEMPOTENCY_KEY_BYTES, PLAIN)?;
        }
        check_size("reveilletags", self.tags.len(), limits::TAGS, "tags")?;
        check_size(
            "extensions",
            self.extensions.len(),
            limits::EXTENSIONS,
            "attributes",
        )?;
        for (name, value) in &self.extensions {
            crate::cloudevents::check_extension(name, value)?;
        }
        Ok(())
    }

    /// Fills in what was left out, and cuts the time to whole milliseconds. The finality of a
    /// `task.error` follows its payload: `{"recoverable": false}` ends the session.
    #[must_use]
    #[inline]
    pub fn complete(self, defaults: DraftDefaults<'_>) -> UnplacedEvent {
        let info = defaults.registry.info(&self.kind);
        let finality = self
            .finality
            .unwrap_or_else(|| finality_of(info.finality, &self.kind, &self.payload));
        let source = self.source.unwrap_or_else(|| defaults.source.clone());
        let envelope = Envelope {
            id: self.id.unwrap_or(defaults.id),
            source,
            kind: self.kind,
            time: time::whole_millis(self.time.unwrap_or(defaults.time)),
            class: self.class.unwrap_or(info.class),
            finality,
            subject: self.subject,
            agent: self.agent,
            run: self.run,
            turn: self.turn,
            correlation: self.correlation,
            caused_by: self.caused_by,
            traceparent: self.traceparent,
            tracestate: self.tracestate,
            privacy: self.privacy,
            tags: self.tags.into(),
            idempotency_key: self.idempotency_key,
            extensions: self.extensions,
        };
        UnplacedEvent::new(envelope, self.payload)
    }
}

/// The kind of an error of a task, which ends the session only if its payload says
/// `"recoverable": false`.
const TASK_ERROR: &str = "task.error";

fn finality_of(registered: Finality, kind: &Kind, payload: &Payload) -> Finality {
    #[derive(serde::Deserialize)]
    struct Recoverable {
        #[serde(default = "yes")]
        recoverable: bool,
    }
    fn yes() -> bool {
        true
    }
    // The brace, because serde reads an array as a struct, too.
    let fatal = kind.as_str() == TASK_ERROR
        && payload.as_text().is_some_and(|text| text.starts_with('{'))
        && payload
            .parse::<Recoverable>()
            .is_ok_and(|read| !read.recoverable);
    if fatal { Finality::Session } else { registered }
}

/// The same event once more, bound to the log it came from.
impl From<&Event> for EventDraft {
    fn from(event: &Event) -> Self {
        let envelope = event.envelope().clone();
        Self {
            kind: envelope.kind,
            id: Some(envelope.id),
            source: Some(envelope.source),
            time: Some(envelope.time),
            class: Some(envelope.class),
            finality: Some(envelope.finality),
            session: Some(Arc::clone(event.session())),
            subject: envelope.subject,
            agent: envelope.agent,
            run: envelope.run,
            turn: envelope.turn,
            correlation: envelope.correlation,
            caused_by: envelope.caused_by,
            traceparent: envelope.traceparent,
            tracestate: envelope.tracestate,
            privacy: envelope.privacy,
            tags: envelope.tags.into(),
            idempotency_key: envelope.idempotency_key,
            extensions: envelope.extensions,
            payload: event.payload().clone(),
        }
    }
}

/// Why a session is over, if this event ends it.
#[must_use]
pub fn end_of_session(envelope: &Envelope, registry: &KindRegistry) -> Option<EndReason> {
    (envelope.finality == Finality::Session).then(|| registry.end_reason(&envelope.kind))
}
