//! Why the bus says no.

use std::time::Duration;

use reveille_backend::ArchiveError;
use reveille_queue::{AppendError, SessionError};
use reveille_types::sets::OverflowPolicy;
use reveille_types::{Cursor, CursorError, Invalid};

/// Why the bus says no.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BusError {
    /// The sessions do not keep the order of their events: build them with a tail.
    #[error("the sessions keep no tail")]
    NoTail,
    /// The cursor cannot be followed.
    #[error(transparent)]
    Cursor(#[from] CursorError),
    /// An option is not allowed.
    #[error("option is not allowed")]
    InvalidOption(#[source] Invalid),
    /// The policy is not for live subscriptions: nobody who publishes waits for a subscriber.
    #[error("overflow policy {policy} is not for live subscriptions")]
    InvalidOverflowPolicy {
        /// The policy.
        policy: OverflowPolicy,
    },
    /// The subscriber lagged beyond its bound, and its policy is to fail then. The subscription is over.
    #[error("the subscriber is too slow; what it did not get comes after {resume}")]
    Overflow {
        /// Where to resume to get exactly what was not handed out.
        resume: Cursor,
    },
    /// The events answer an event that answers an event, and so on, through more handlers than the
    /// calling one allows.
    #[error("the chain of causes is longer than {limit} handlers")]
    LoopDetected {
        /// The most that are allowed.
        limit: u32,
    },
    /// Handlers answer one event, and the answers to it, with more events than the calling one allows
    /// in a time.
    #[error("the chain of causes has more than {limit} events in {per:?}")]
    ChainTooFast {
        /// The most that are allowed.
        limit: u32,
        /// In this time.
        per: Duration,
    },
    /// A subscription that begins in an archive needs one.
    #[error("there is no archive to begin in")]
    ArchiveRequired,
    /// The archive said no.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The session belongs to another tenant than the bus.
    #[error("the session belongs to another tenant")]
    TenantMismatch,
    /// The session could not be opened.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The events could not be appended.
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl BusError {
    /// Stable name of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoTail => "no_tail",
            Self::Cursor(error) => error.code(),
            Self::InvalidOption(_) => "invalid_option",
            Self::InvalidOverflowPolicy { .. } => "invalid_overflow_policy",
            Self::Overflow { .. } => "slow_consumer",
            Self::LoopDetected { .. } => "loop_detected",
            Self::ChainTooFast { .. } => "chain_too_fast",
            Self::ArchiveRequired => "archive_required",
            Self::Archive(error) => error.code(),
            Self::TenantMismatch => "tenant_mismatch",
            Self::Session(error) => error.code(),
            Self::Append(error) => error.code(),
        }
    }
}
