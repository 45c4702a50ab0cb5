//! A worker has done its part.

use serde::{Deserialize, Serialize};

use super::{PayloadData, draft_of, draft_of_agent};
use crate::draft::EventDraft;
use crate::kind::{Class, Finality};

/// A worker has done its part: `worker.complete`, what its lead waits for. It ends an operation, and
/// the envelope's `agent` is the worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerCompletion {
    /// Which worker.
    pub worker_id: String,
    /// How it went: `success`, `failure` and the like.
    #[serde(default)]
    pub status: String,
    /// What it has changed.
    #[serde(default)]
    pub changes: Vec<String>,
    /// What it says.
    #[serde(default)]
    pub message: String,
}

impl PayloadData for WorkerCompletion {
    const KINDS: &'static [&'static str] =
        &["worker.complete", "worker_complete", "worker_completed"];

    fn into_draft(self) -> EventDraft {
        let draft = draft_of("worker.complete", Class::Normal, Finality::Operation, &self);
        draft_of_agent(draft, &self.worker_id)
    }
}
