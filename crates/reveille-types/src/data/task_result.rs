//! A task is done, and this is what came out.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Object, PayloadData, draft_of};
use crate::draft::EventDraft;
use crate::kind::{Class, Finality};

/// A task is done, and this is what came out: `task.result`, which ends the session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskResult {
    /// What came out.
    pub result: Object,
    /// It in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// How long it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_time_seconds: Option<f64>,
}

impl TaskResult {
    /// The result and nothing else.
    #[must_use]
    pub fn new(result: Object) -> Self {
        Self {
            result,
            summary: None,
            execution_time_seconds: None,
        }
    }

    /// The same with this sentence.
    #[must_use]
    pub fn with_summary(mut self, summary: impl Into<String>) -> Self {
        self.summary = Some(summary.into());
        self
    }

    /// The same with how long it took, in whole milliseconds.
    #[must_use]
    pub fn with_execution_time(mut self, time: Duration) -> Self {
        self.execution_time_seconds = Some(time.as_millis() as f64 / 1e3);
        self
    }
}

impl PayloadData for TaskResult {
    const KINDS: &'static [&'static str] = &["task.result", "task.complete"];

    fn into_draft(self) -> EventDraft {
        draft_of("task.result", Class::Normal, Finality::Session, &self)
    }
}
