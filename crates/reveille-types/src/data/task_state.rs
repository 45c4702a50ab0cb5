//! The states of a task: the union of those of dashboards and of A2A.

use crate::closed_set::closed_set;

closed_set! {
    /// Where a task stands. Written as dashboards know it; the spellings of A2A 0.3 (`submitted`,
    /// `canceled`) and 1.0 (`TASK_STATE_SUBMITTED`) and those with `_` for `-` are read as well.
    TaskState, "state" {
        /// It is accepted and has not begun.
        Pending = "pending" | "submitted" | "TASK_STATE_SUBMITTED",
        /// It is being worked on.
        Working = "working" | "TASK_STATE_WORKING",
        /// It goes on once somebody answers.
        InputRequired = "input-required" | "input_required" | "TASK_STATE_INPUT_REQUIRED",
        /// It goes on once somebody authenticates.
        AuthRequired = "auth-required" | "auth_required" | "TASK_STATE_AUTH_REQUIRED",
        /// It is done.
        Completed = "completed" | "TASK_STATE_COMPLETED",
        /// It has failed.
        Failed = "failed" | "TASK_STATE_FAILED",
        /// It was given up on request.
        Cancelled = "cancelled" | "canceled" | "TASK_STATE_CANCELED",
        /// It was refused.
        Rejected = "rejected" | "TASK_STATE_REJECTED",
    }
}

impl TaskState {
    /// The name in A2A 1.0, such as `TASK_STATE_CANCELED`. It parses back to the same state.
    #[must_use]
    pub fn a2a(self) -> &'static str {
        match self {
            Self::Pending => "TASK_STATE_SUBMITTED",
            Self::Working => "TASK_STATE_WORKING",
            Self::InputRequired => "TASK_STATE_INPUT_REQUIRED",
            Self::AuthRequired => "TASK_STATE_AUTH_REQUIRED",
            Self::Completed => "TASK_STATE_COMPLETED",
            Self::Failed => "TASK_STATE_FAILED",
            Self::Cancelled => "TASK_STATE_CANCELED",
            Self::Rejected => "TASK_STATE_REJECTED",
        }
    }

    /// The name in A2A 0.3, such as `canceled`. It parses back to the same state.
    #[must_use]
    pub fn a2a_v03(self) -> &'static str {
        match self {
            Self::Pending => "submitted",
            Self::Cancelled => "canceled",
            other => other.as_str(),
        }
    }

    /// Whether nothing follows: completed, failed, cancelled or rejected.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Completed | Self::Failed | Self::Cancelled | Self::Rejected
        )
    }

    /// Whether the task waits for somebody: input or authentication is required.
    #[must_use]
    pub fn is_interrupted(self) -> bool {
        matches!(self, Self::InputRequired | Self::AuthRequired)
    }

    /// The kind of the event that says so.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::Pending => "task.status.pending",
            Self::Working => "task.status.working",
            Self::InputRequired => "task.status.input_required",
            Self::AuthRequired => "task.status.auth_required",
            Self::Completed => "task.status.completed",
            Self::Failed => "task.status.failed",
            Self::Cancelled => "task.status.cancelled",
            Self::Rejected => "task.status.rejected",
        }
    }

    /// The state that events of this kind tell.
    #[must_use]
    pub fn of_kind(kind: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|state| state.kind() == kind)
    }
}
