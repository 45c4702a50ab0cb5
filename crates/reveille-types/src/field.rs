//! The fields of an event that are compared as text.

use crate::content;
use crate::event::{Event, Label};
use crate::path;

/// A field that is compared as text. Public for indexes of filters: see [`Filter::index`](crate::Filter::index).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FilterField {
    /// The kind.
    Kind,
    /// The session's namespace.
    Namespace,
    /// The session's name.
    Session,
    /// The source.
    Source,
    /// The subject.
    Subject,
    /// The agent.
    Agent,
    /// The run.
    Run,
    /// The turn.
    Turn,
    /// The correlation.
    Correlation,
    /// The cause.
    CausedBy,
    /// A tag.
    Tag,
    /// The class.
    Class,
    /// The finality.
    Final,
    /// The privacy.
    Privacy,
    /// Where its session is: itself, and everything that it lies below.
    Path,
    /// An attribute of the producer's own, as `name=text`.
    Attribute,
}

impl FilterField {
    /// All fields, those that tell events apart best first.
    pub const ALL: [Self; 16] = [
        Self::Session,
        Self::Correlation,
        Self::CausedBy,
        Self::Turn,
        Self::Run,
        Self::Agent,
        Self::Subject,
        Self::Source,
        Self::Tag,
        Self::Attribute,
        Self::Kind,
        Self::Path,
        Self::Namespace,
        Self::Privacy,
        Self::Final,
        Self::Class,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kind => "match",
            Self::Namespace => "namespace",
            Self::Session => "session",
            Self::Source => "source",
            Self::Subject => "subject",
            Self::Agent => "agent",
            Self::Run => "run",
            Self::Turn => "turn",
            Self::Correlation => "correlation",
            Self::CausedBy => "caused_by",
            Self::Tag => "tag",
            Self::Class => "class",
            Self::Final => "final",
            Self::Privacy => "privacy",
            Self::Path => "path",
            Self::Attribute => "attributes",
        }
    }

    /// Calls `each` with every text that the event has in this field, until one answers `true`;
    /// whether one did.
    pub fn any_value(self, event: &Event, mut each: impl FnMut(&str) -> bool) -> bool {
        let envelope = event.envelope();
        let mut label = |label: &Option<Label>| label.as_ref().is_some_and(|l| each(l.as_str()));
        match self {
            Self::Agent => label(&envelope.agent),
            Self::Run => label(&envelope.run),
            Self::Turn => label(&envelope.turn),
            Self::Correlation => label(&envelope.correlation),
            Self::CausedBy => label(&envelope.caused_by),
            Self::Tag => envelope.tags.iter().any(|t| each(t.as_str())),
            Self::Kind => each(event.kind().as_str()),
            Self::Namespace => each(event.session().namespace.as_str()),
            Self::Session => each(event.session().name().as_str()),
            Self::Source => each(envelope.source.as_str()),
            Self::Subject => envelope.subject.as_ref().is_some_and(|s| each(s)),
            Self::Class => each(envelope.class.as_str()),
            Self::Final => each(envelope.finality.as_str()),
            Self::Privacy => envelope.privacy.is_some_and(|p| each(p.as_str())),
            Self::Path => path::any_scope(event.session(), each),
            Self::Attribute => content::any_key(event, each),
        }
    }
}
