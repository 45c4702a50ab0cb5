//! How a backend says no, by what the caller can do next.

use reveille_types::{Durability, EndReason, Position};

/// Why an operation other than an append failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// There is no such log.
    #[error("the log does not exist")]
    NotFound,
    /// There is such a log already.
    #[error("the log exists already")]
    AlreadyExists,
    /// The backend does not offer this, as its capabilities say.
    #[error("backend {backend} does not support {operation}")]
    NotSupported {
        /// The backend's name.
        backend: &'static str,
        /// What was asked for.
        operation: &'static str,
    },
    /// The store cannot be reached now; the same call may succeed later.
    #[error("backend {backend} is not available")]
    Unavailable {
        /// The backend's name.
        backend: &'static str,
        /// What the store said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store has no room. Nothing was stored; reads go on, and so do appends once there is room.
    #[error("backend {backend} has no room")]
    Full {
        /// The backend's name.
        backend: &'static str,
        /// What the store said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What was read is damaged.
    #[error("backend {backend} holds damaged data at {place}")]
    Corrupt {
        /// The backend's name.
        backend: &'static str,
        /// Where the damage is.
        place: String,
    },
}

/// Why an append did not take place, or may not have.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The log does not end where the caller expected it to. Nothing was stored.
    #[error("the log ends at {actual}, expected {expected}")]
    PositionConflict {
        /// Where the caller expected the end.
        expected: Position,
        /// Where it is.
        actual: Position,
    },
    /// The idempotency key was used before for something else. Nothing was stored.
    #[error("idempotency key {key:?} was used before for another event")]
    IdempotencyConflict {
        /// The key.
        key: Box<str>,
    },
    /// The log is sealed. Nothing was stored.
    #[error("the log is sealed: {}", reason.as_str())]
    Sealed {
        /// Why.
        reason: EndReason,
    },
    /// The batch is larger than the backend takes. Nothing was stored.
    #[error("the batch is {actual} bytes, the limit is {limit}")]
    TooLarge {
        /// The most the backend takes, in bytes.
        limit: u64,
        /// What the batch has.
        actual: u64,
    },
    /// The backend cannot honour the durability that was asked for. Nothing was stored.
    #[error("durability {} is not offered", wanted.as_str())]
    Durability {
        /// What was asked for.
        wanted: Durability,
    },
    /// The answer was lost: the batch may or may not be stored. Retry with the same idempotency keys.
    #[error("the outcome of the append is unknown")]
    OutcomeUnknown,
    /// The store refused or could not be reached. Nothing was stored.
    #[error(transparent)]
    Backend(#[from] BackendError),
}
