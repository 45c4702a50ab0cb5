//! Why a call failed.

use reveille_types::wire::Problem;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The server's URL cannot be used.
    #[error("{url:?} is no http URL of a server")]
    Url {
        /// What was given.
        url: String,
    },
    /// The server refused.
    #[error("{}", describe(.0))]
    Refused(Box<Problem>),
    /// The server could not be reached, or the connection broke.
    #[error("the server cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    /// The server answered something that is not in the contract.
    #[error("unexpected answer: {what}")]
    Protocol {
        /// What was unexpected.
        what: String,
    },
}

fn describe(problem: &Problem) -> String {
    match &problem.detail {
        Some(detail) => format!("{} ({})", detail, problem.code),
        None => format!("{} ({})", problem.title, problem.code),
    }
}

impl ClientError {
    /// Stable name of this error; the server's own for a refusal.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Url { .. } => "invalid_url",
            Self::Refused(problem) => &problem.code,
            Self::Unreachable(_) => "unreachable",
            Self::Protocol { .. } => "unexpected_answer",
        }
    }

    /// Whether the same call may succeed a little later: the server is away, stopping or overloaded.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Refused(problem) => matches!(problem.status, 502..=504),
            Self::Url { .. } | Self::Protocol { .. } => false,
        }
    }

    /// Whether the server does not know the cursor it was given, or has not got that far: it was
    /// started anew.
    #[must_use]
    pub fn is_lost_cursor(&self) -> bool {
        matches!(self.code(), "unknown_cursor" | "cursor_ahead")
    }

    pub(crate) fn protocol(what: impl std::fmt::Display) -> Self {
        Self::Protocol {
            what: what.to_string(),
        }
    }
}
