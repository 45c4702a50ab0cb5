//! Something went wrong in a task.

use serde::{Deserialize, Serialize};

use super::{Object, PayloadData, draft_of};
use crate::draft::EventDraft;
use crate::kind::{Class, Finality};

/// Something went wrong in a task: `task.error`. It ends the session only if it is not recoverable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskError {
    /// What sort of error it is.
    pub error_type: String,
    /// What went wrong, for people.
    pub error_message: String,
    /// Its stable name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// What was being done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<Object>,
    /// Whether the task goes on.
    #[serde(default = "yes")]
    pub recoverable: bool,
}

fn yes() -> bool {
    true
}

impl TaskError {
    /// A recoverable error: the task goes on.
    #[must_use]
    pub fn new(error_type: impl Into<String>, error_message: impl Into<String>) -> Self {
        Self {
            error_type: error_type.into(),
            error_message: error_message.into(),
            error_code: None,
            context: None,
            recoverable: true,
        }
    }

    /// The same as an error that ends the task.
    #[must_use]
    pub fn fatal(mut self) -> Self {
        self.recoverable = false;
        self
    }

    /// The same with this stable name.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.error_code = Some(code.into());
        self
    }

    /// The same with this context.
    #[must_use]
    pub fn with_context(mut self, context: Object) -> Self {
        self.context = Some(context);
        self
    }
}

impl PayloadData for TaskError {
    const KINDS: &'static [&'static str] = &["task.error"];

    fn into_draft(self) -> EventDraft {
        let finality = match self.recoverable {
            true => Finality::None,
            false => Finality::Session,
        };
        draft_of("task.error", Class::Normal, finality, &self)
    }
}
