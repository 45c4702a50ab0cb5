//! Why there is no backend, and what the client's errors mean for a caller.

use redis::{ErrorKind, RedisError, ServerErrorKind};
use reveille_backend::{AppendError, BackendError};
use reveille_types::Durability;

use crate::backend::NAME;

/// Why a backend could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL is not one of a server, of a cluster or of sentinels.
    #[error(
        "the URL is not redis://, rediss://, unix://, redis+cluster://HOST:PORT,... or redis+sentinel://HOST:PORT,.../MASTER"
    )]
    Url(#[source] Option<RedisError>),
    /// A parameter of the URL names a file that will not do, goes with none, or is no number above 0.
    #[error("the URL's {name} will not do")]
    Parameter {
        /// The parameter.
        name: &'static str,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The prefix holds characters that it may not.
    #[error(
        "the prefix {prefix:?} holds other characters than letters, digits, '_', '-', '.', ':'"
    )]
    Prefix {
        /// The prefix.
        prefix: Box<str>,
    },
    /// What is asked for is more than the server's settings promise.
    #[error(
        "the server's settings promise {}, and {} is asked for",
        promised.as_str(),
        asked.as_str()
    )]
    Durability {
        /// The level that is asked for.
        asked: Durability,
        /// The level that they promise.
        promised: Durability,
    },
    /// The server cannot be reached or used.
    #[error("the server cannot be used")]
    Server(#[source] BackendError),
}

impl ConnectError {
    /// A stable name of the kind of error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Url(_) => "redis_url_invalid",
            Self::Parameter { .. } => "redis_url_parameter_invalid",
            Self::Prefix { .. } => "redis_prefix_invalid",
            Self::Durability { .. } => "redis_durability_insufficient",
            Self::Server(_) => "redis_unavailable",
        }
    }
}

/// The server cannot be used now.
pub(crate) fn unavailable(
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> BackendError {
    BackendError::Unavailable {
        backend: NAME,
        source: source.into(),
    }
}

/// What is stored cannot be what was written: something else changed or evicted a part of it.
pub(crate) fn corrupt(place: impl Into<String>) -> BackendError {
    BackendError::Corrupt {
        backend: NAME,
        place: place.into(),
    }
}

/// Whether the server has answered, if only to refuse: then nothing was stored. Anything else may have
/// happened before or after the command took effect.
pub(crate) fn is_answer(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension)
}

/// Whether a script has come upon a key that is on its way to another server of a cluster. It has changed
/// nothing: scripts write to keys that are named beforehand, and those are looked for before it runs.
pub(crate) fn is_elsewhere(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::ResponseError)
        && error
            .detail()
            .is_some_and(|detail| detail.contains("access a non local key"))
}

/// What an error means for an operation that changes nothing, or may be done twice.
pub(crate) fn failed(error: RedisError) -> BackendError {
    match error.kind() {
        _ if is_elsewhere(&error) => unavailable(error),
        // A script that stumbles has found a value of another type than it wrote.
        ErrorKind::Server(ServerErrorKind::ResponseError) => corrupt(error.to_string()),
        ErrorKind::Extension if error.code() == Some("WRONGTYPE") => corrupt(error.to_string()),
        ErrorKind::UnexpectedReturnType => corrupt(error.to_string()),
        // Out of the memory that it may use, or of the disk that it writes to.
        _ if matches!(error.code(), Some("OOM" | "MISCONF")) => BackendError::Full {
            backend: NAME,
            source: error.into(),
        },
        _ => unavailable(error),
    }
}

/// What an error means for an append that was sent.
pub(crate) fn append_failed(error: RedisError) -> AppendError {
    match is_answer(&error) {
        true => failed(error).into(),
        false => AppendError::OutcomeUnknown,
    }
}
