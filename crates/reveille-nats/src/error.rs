//! Why there is no backend, and what the client's errors mean for a caller.

use reveille_backend::BackendError;

/// Why a backend could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The server cannot be reached or used.
    #[error("the server cannot be used")]
    Server(#[source] BackendError),
}

impl ConnectError {
    /// A stable name of the kind of error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Server(_) => "nats_unavailable",
        }
    }
}
