//! An agent has something to say.

use serde::{Deserialize, Serialize};

use super::{PayloadData, draft_of, draft_of_agent};
use crate::draft::EventDraft;
use crate::kind::{Class, Finality};

/// An agent has something to say: `agent.message`, also in the envelope's `agent`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentMessage {
    /// Which agent.
    pub agent_id: String,
    /// How things stand: `success`, `failure`, `pr.merged` and the like.
    #[serde(default)]
    pub status: String,
    /// What it has changed.
    #[serde(default)]
    pub changes: Vec<String>,
    /// What it says.
    #[serde(default)]
    pub message: String,
}

impl PayloadData for AgentMessage {
    const KINDS: &'static [&'static str] = &["agent.message", "agent_message"];

    fn into_draft(self) -> EventDraft {
        let draft = draft_of("agent.message", Class::Normal, Finality::None, &self);
        draft_of_agent(draft, &self.agent_id)
    }
}
