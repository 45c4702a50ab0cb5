//! Why the bus says no.

use reveille_queue::{AppendError, SessionError};
use reveille_types::{CursorError, Invalid};

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
            Self::TenantMismatch => "tenant_mismatch",
            Self::Session(error) => error.code(),
            Self::Append(error) => error.code(),
        }
    }
}
