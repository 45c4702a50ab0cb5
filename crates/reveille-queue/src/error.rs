//! Why the queue says no.

use std::sync::Arc;

use reveille_backend::BackendError;
use reveille_types::{Cursor, CursorError, EndReason, Invalid, Position, SessionKey, UnknownKind};

/// Why a session could not be created, found or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// There is no such session.
    #[error("session {name:?} does not exist")]
    NotFound {
        /// Its name within the tenant.
        name: String,
    },
    /// There is such a session, and it is open.
    #[error("session {name:?} exists already")]
    AlreadyExists {
        /// Its name within the tenant.
        name: String,
    },
    /// There is such a session, and it is over: make a new incarnation of it, or wait until its
    /// retention ends.
    #[error("session {name:?} is over: {}", reason.as_str())]
    Ended {
        /// Its name within the tenant.
        name: String,
        /// Why it is over.
        reason: EndReason,
        /// When it ended.
        at: jiff::Timestamp,
    },
    /// No more sessions fit.
    #[error("there are {limit} sessions, the most allowed {scope}")]
    TooManySessions {
        /// The most that are allowed.
        limit: usize,
        /// Within what.
        scope: &'static str,
    },
    /// An option is not allowed.
    #[error("option is not allowed")]
    InvalidOption(#[source] Invalid),
    /// The namespace belongs to Reveille itself.
    #[error("namespace {name:?} is reserved")]
    ReservedNamespace {
        /// The namespace.
        name: String,
    },
    /// The backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The backend failed where the groups of the session are kept.
    #[error(transparent)]
    Store(#[from] StoreFailure),
}

impl SessionError {
    pub(crate) fn not_found(key: &SessionKey) -> Self {
        Self::NotFound { name: key.name() }
    }

    /// Stable name of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "session_not_found",
            Self::AlreadyExists { .. } => "session_exists",
            Self::Ended { .. } => "session_ended",
            Self::TooManySessions { .. } => "too_many_sessions",
            Self::InvalidOption(_) => "invalid_option",
            Self::ReservedNamespace { .. } => "reserved_name",
            Self::Backend(_) | Self::Store(_) => "backend_unavailable",
        }
    }
}

/// That the store of a session failed: what was asked for may or may not have been done. Two are equal
/// if one is a clone of the other.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub struct StoreFailure(Arc<reveille_backend::AppendError>);

impl StoreFailure {
    pub(crate) fn refused(error: reveille_backend::AppendError) -> Self {
        Self(Arc::new(error))
    }

    /// What the store said.
    #[must_use]
    pub fn cause(&self) -> &reveille_backend::AppendError {
        &self.0
    }
}

impl From<BackendError> for StoreFailure {
    fn from(error: BackendError) -> Self {
        Self::refused(error.into())
    }
}

impl PartialEq for StoreFailure {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for StoreFailure {}

/// Why an append did not take place, or may not have. In all cases but
/// [`OutcomeUnknown`](Self::OutcomeUnknown) nothing was stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// An event of the batch is not allowed.
    #[error("event {index} of the batch is not allowed")]
    InvalidEvent {
        /// Which event, from 0.
        index: usize,
        /// What is wrong with it.
        #[source]
        source: Invalid,
    },
    /// The batch is empty.
    #[error("the batch is empty")]
    EmptyBatch,
    /// The batch has too many events.
    #[error("the batch has {actual} events, the limit is {limit}")]
    BatchTooLarge {
        /// The most that are allowed.
        limit: usize,
        /// What the batch has.
        actual: usize,
    },
    /// The batch can never fit: it is larger than all that the tenant's sessions may hold.
    #[error("the batch is {actual} bytes, the tenant may hold {limit}")]
    StoreFull {
        /// The most bytes that are allowed.
        limit: usize,
        /// What the batch has.
        actual: usize,
    },
    /// An event is too large.
    #[error("event {index} of the batch is {actual} bytes, the limit is {limit}")]
    EventTooLarge {
        /// Which event, from 0.
        index: usize,
        /// The most that is allowed.
        limit: usize,
        /// What the event has.
        actual: usize,
    },
    /// An event of the batch would end the session before the last one.
    #[error("event {index} of the batch ends the session before the batch ends")]
    AfterFinal {
        /// Which event, from 0.
        index: usize,
    },
    /// The event belongs to another tenant.
    #[error("event {index} of the batch belongs to another tenant")]
    TenantMismatch {
        /// Which event, from 0.
        index: usize,
    },
    /// The event belongs to another session of the tenant.
    #[error("event {index} of the batch belongs to session {name:?}")]
    SessionMismatch {
        /// Which event, from 0.
        index: usize,
        /// The session it belongs to.
        name: String,
    },
    /// The session takes no more events.
    #[error("the session is over: {}", reason.as_str())]
    Ended {
        /// Why.
        reason: EndReason,
    },
    /// The log does not end where the caller expected it to.
    #[error("the log ends at {actual}, expected {expected}")]
    PositionConflict {
        /// Where the caller expected the end.
        expected: Position,
        /// Where it is.
        actual: Cursor,
    },
    /// The idempotency key was used before for something else.
    #[error("idempotency key {key:?} was used before for another event")]
    IdempotencyConflict {
        /// The key.
        key: Box<str>,
    },
    /// The backend commits elsewhere: use the asynchronous append.
    #[error("the backend cannot append without waiting")]
    NotImmediate,
    /// The answer was lost: the batch may or may not be stored. Retry with the same keys.
    #[error("the outcome of the append is unknown")]
    OutcomeUnknown,
    /// The backend refused.
    #[error(transparent)]
    Backend(reveille_backend::AppendError),
}

impl AppendError {
    /// Stable name of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidEvent { source, .. } => match source {
                Invalid::Reserved { .. } => "reserved_kind",
                _ => "invalid_event",
            },
            Self::EmptyBatch => "empty_batch",
            Self::BatchTooLarge { .. } => "batch_too_large",
            Self::StoreFull { .. } => "store_full",
            Self::EventTooLarge { .. } => "event_too_large",
            Self::AfterFinal { .. } => "after_final",
            Self::TenantMismatch { .. } => "tenant_mismatch",
            Self::SessionMismatch { .. } => "session_mismatch",
            Self::Ended {
                reason: EndReason::Expired,
            } => "session_expired",
            Self::Ended { .. } => "session_ended",
            Self::PositionConflict { .. } => "position_conflict",
            Self::IdempotencyConflict { .. } => "idempotency_conflict",
            Self::NotImmediate => "not_immediate",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::Backend(reveille_backend::AppendError::Durability { .. }) => {
                "durability_not_offered"
            }
            Self::Backend(reveille_backend::AppendError::TooLarge { .. }) => "batch_too_large",
            Self::Backend(_) => "backend_unavailable",
        }
    }
}

/// Why a read, wait, take or subscription could not begin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The cursor cannot be followed.
    #[error(transparent)]
    Cursor(#[from] CursorError),
    /// An option is not allowed.
    #[error("option is not allowed")]
    InvalidOption(#[source] Invalid),
    /// A filter asks for a kind that is not known.
    #[error(transparent)]
    UnknownKind(UnknownKind),
    /// Too many are waiting in this session.
    #[error("{limit} are waiting in this session, the most allowed")]
    TooManyWaiters {
        /// The most that are allowed.
        limit: usize,
    },
    /// Too many events of the group are on lease: settle some first.
    #[error("{limit} events of the group are on lease, the most allowed")]
    TooManyLeases {
        /// The most that are allowed.
        limit: usize,
    },
    /// The session has too many groups.
    #[error("the session has {limit} groups, the most allowed")]
    TooManyGroups {
        /// The most that are allowed.
        limit: usize,
    },
    /// The store failed where the groups of the session are kept.
    #[error(transparent)]
    Store(#[from] StoreFailure),
}

impl ReadError {
    /// Stable name of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Cursor(error) => error.code(),
            Self::InvalidOption(_) => "invalid_option",
            Self::UnknownKind(error) => error.code(),
            Self::TooManyWaiters { .. } => "too_many_waiters",
            Self::TooManyLeases { .. } => "too_many_leases",
            Self::TooManyGroups { .. } => "too_many_groups",
            Self::Store(_) => "backend_unavailable",
        }
    }
}

/// Why a lease could not be settled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettleError {
    /// The event has been settled, has been delivered to another taker since, or was never leased.
    #[error("the lease is not held any more")]
    Fenced,
    /// The store failed: the event may or may not be settled. Settle it again.
    #[error(transparent)]
    Store(#[from] StoreFailure),
}

impl SettleError {
    /// Stable name of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Fenced => "fenced",
            Self::Store(_) => "backend_unavailable",
        }
    }
}
