//! What happened, and how much that matters: kinds, classes and finality.

use serde::{Deserialize, Serialize};

use crate::invalid::{Invalid, check_text};
use crate::limits;
use crate::name::checked_name;

checked_name! {
    /// An open, dotted, case-sensitive name of what happened, such as `task.completed`; the
    /// `CloudEvents` `type` on the wire.
    ///
    /// 1 to 128 bytes of `[A-Za-z0-9_./:-]` without an empty dotted segment. Known kinds have a class
    /// and a finality in the [`KindRegistry`](crate::KindRegistry); unknown kinds are legal.
    Kind, "type", |field, text| {
        check_text(field, text, limits::KIND_BYTES, (
            |c| c.is_ascii_alphanumeric() || "_./:-".contains(c),
            "letters, digits and _./:-",
        ))?;
        if text.split('.').any(str::is_empty) {
            return Err(Invalid::form(field, "has an empty dotted segment"));
        }
        Ok(())
    }
}

/// Names that publishers may not use, besides everything below `reveille.`.
const RESERVED: [&str; 8] = [
    "reveille",
    "timeout",
    "connected",
    "gap",
    "reset",
    "end",
    "stream_error",
    Kind::CANCEL_REQUESTED,
];

impl Kind {
    /// The control event that a cancel request leaves in the log: `task.status.cancel_requested`.
    pub const CANCEL_REQUESTED: &'static str = "task.status.cancel_requested";

    /// Whether only Reveille itself may publish it.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        RESERVED.contains(&self.as_str()) || self.as_str().starts_with("reveille.")
    }

    /// The dotted segments.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.as_str().split('.')
    }
}

/// How an event is treated under pressure.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// May be folded or dropped first: only the latest matters.
    Progress,
    /// An ordinary event.
    #[default]
    Normal,
    /// Usage and cost: never dropped as progress.
    Metering,
    /// Made by Reveille itself; refused from publishers.
    Control,
}

impl Class {
    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Progress => "progress",
            Self::Normal => "normal",
            Self::Metering => "metering",
            Self::Control => "control",
        }
    }
}

/// What an event ends.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Finality {
    /// Nothing.
    #[default]
    None,
    /// One operation within the session.
    Operation,
    /// The session: it is sealed with this event, and its streams end after delivering it.
    Session,
}

impl Finality {
    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Operation => "operation",
            Self::Session => "session",
        }
    }
}

/// Why a session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// Its work was done.
    Completed,
    /// Its work failed.
    Failed,
    /// Its producer obeyed a cancel, or the grace of a cancel ran out.
    Cancelled,
    /// Its work was refused.
    Rejected,
    /// Somebody closed it.
    Closed,
    /// Nothing happened in it for its time to live.
    Expired,
    /// Somebody removed it.
    Deleted,
}

impl EndReason {
    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Rejected => "rejected",
            Self::Closed => "closed",
            Self::Expired => "expired",
            Self::Deleted => "deleted",
        }
    }
}
