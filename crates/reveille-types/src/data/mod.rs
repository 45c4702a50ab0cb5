//! Typed payloads of the kinds that tasks, agents and workers speak.
//!
//! Each is plain data with its JSON form. [`PayloadData`] ties it to its kinds: it becomes an
//! [`EventDraft`] with class and finality as the data says, and is read back from an event.

mod agent_message;
mod artifact;
mod progress;
mod status;
mod task_error;
mod task_result;
mod task_state;
mod worker_completion;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::draft::EventDraft;
use crate::event::{Event, Label};
use crate::invalid::Invalid;
use crate::kind::{Class, Finality, Kind};
use crate::payload::Payload;

pub use agent_message::AgentMessage;
pub use artifact::Artifact;
pub use progress::Progress;
pub use status::Status;
pub use task_error::TaskError;
pub use task_result::TaskResult;
pub use task_state::TaskState;
pub use worker_completion::WorkerCompletion;

/// A JSON object of the producer's own.
pub type Object = serde_json::Map<String, serde_json::Value>;

/// A payload with a type of its own, and the kinds of the events that carry it.
///
/// ```
/// use reveille_types::data::{PayloadData, Progress};
///
/// let draft = Progress::new(3, 4).with_step("upload").into_draft();
/// assert_eq!(draft.kind.as_str(), "task.progress");
/// let read = Progress::from_payload(&draft.kind, &draft.payload)?;
/// assert_eq!((read.percentage(), read.step()), (75.0, Some("upload")));
/// # Ok::<(), reveille_types::Invalid>(())
/// ```
pub trait PayloadData: Serialize + DeserializeOwned {
    /// The names of the kinds that carry it, older names included.
    const KINDS: &'static [&'static str];

    /// A draft that carries it: of the right kind, with class and finality as the data says. What else
    /// an event has can be set on the draft, a finality other than this one included.
    #[must_use]
    fn into_draft(self) -> EventDraft;

    /// Reads it back. Members that are not known are ignored.
    ///
    /// # Errors
    /// [`Invalid`] when the kind is not one of its [`KINDS`](Self::KINDS), or the payload is not this
    /// data.
    fn from_payload(kind: &Kind, payload: &Payload) -> Result<Self, Invalid> {
        check_kind(kind, Self::KINDS)?;
        members(payload)
    }

    /// Reads it from an event.
    ///
    /// # Errors
    /// As [`from_payload`](Self::from_payload).
    fn from_event(event: &Event) -> Result<Self, Invalid> {
        Self::from_payload(event.kind(), event.payload())
    }
}

fn check_kind(kind: &Kind, kinds: &[&str]) -> Result<(), Invalid> {
    if kinds.contains(&kind.as_str()) {
        return Ok(());
    }
    let problem = format!("is none of {}", kinds.join(", "));
    Err(Invalid::form("type", problem))
}

/// Reads a payload that is a JSON object.
fn members<T: DeserializeOwned>(payload: &Payload) -> Result<T, Invalid> {
    // serde reads an array as a struct, too.
    if payload.as_text().is_some_and(|text| text.starts_with('[')) {
        return Err(Invalid::form("data", "is not a JSON object"));
    }
    payload.parse()
}

/// The draft of an event that carries `data`, which must be one of the types of this module.
fn draft_of(
    kind: &'static str,
    class: Class,
    finality: Finality,
    data: &impl Serialize,
) -> EventDraft {
    // The kinds of this module are constants that its tests go through.
    let kind = Kind::parse(kind).expect("a known kind is a kind");
    // They are made of strings, numbers, flags and JSON values, which always serialise.
    let payload = Payload::json(data).expect("JSON values are JSON");
    let mut draft = EventDraft::new(kind)
        .with_payload(payload)
        .with_finality(finality);
    draft.class = Some(class);
    draft
}

/// The draft of an event of this agent. An id that is no label stays in the payload alone.
fn draft_of_agent(mut draft: EventDraft, agent: &str) -> EventDraft {
    draft.agent = Label::parse(agent).ok();
    draft
}

/// Whether a flag is at its default, which is not written.
fn is_false(flag: &bool) -> bool {
    !*flag
}
