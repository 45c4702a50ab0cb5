//! A task has reached a state.

use serde::{Deserialize, Serialize};

use super::{PayloadData, TaskState, check_kind, draft_of, members};
use crate::draft::EventDraft;
use crate::invalid::Invalid;
use crate::kind::{Class, Finality, Kind};
use crate::payload::Payload;

/// A task has reached a state: `task.status.<state>`. A terminal state ends the session, unless the
/// draft is given another finality because a last event follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The state.
    pub state: TaskState,
    /// The part of the work that the task is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// A sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl Status {
    /// The state and nothing else.
    #[must_use]
    pub fn new(state: TaskState) -> Self {
        Self {
            state,
            phase: None,
            message: None,
        }
    }

    /// The same within this phase.
    #[must_use]
    pub fn with_phase(mut self, phase: impl Into<String>) -> Self {
        self.phase = Some(phase.into());
        self
    }

    /// The same with this sentence.
    #[must_use]
    pub fn with_message(mut self, message: impl Into<String>) -> Self {
        self.message = Some(message.into());
        self
    }
}

impl PayloadData for Status {
    const KINDS: &'static [&'static str] = &[
        "task.status.pending",
        "task.status.working",
        "task.status.input_required",
        "task.status.auth_required",
        "task.status.completed",
        "task.status.failed",
        "task.status.cancelled",
        "task.status.rejected",
    ];

    fn into_draft(self) -> EventDraft {
        let finality = match self.state.is_terminal() {
            true => Finality::Session,
            false => Finality::None,
        };
        draft_of(self.state.kind(), Class::Normal, finality, &self)
    }

    /// Reads it back. The kind tells the state, so a payload may leave it out, but not say another.
    fn from_payload(kind: &Kind, payload: &Payload) -> Result<Self, Invalid> {
        #[derive(Deserialize)]
        struct Stated {
            state: Option<TaskState>,
            phase: Option<String>,
            message: Option<String>,
        }
        check_kind(kind, Self::KINDS)?;
        let told = TaskState::of_kind(kind.as_str());
        if payload.as_bytes().is_none() {
            return told.map(Self::new).ok_or_else(missing);
        }
        let stated: Stated = members(payload)?;
        let state = stated.state.or(told).ok_or_else(missing)?;
        if told != Some(state) {
            let problem = format!("is {state}, which is not what the kind {kind} tells");
            return Err(Invalid::form("data.state", problem));
        }
        Ok(Self {
            state,
            phase: stated.phase,
            message: stated.message,
        })
    }
}

fn missing() -> Invalid {
    Invalid::Empty {
        field: "data.state".into(),
    }
}
