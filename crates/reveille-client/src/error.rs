//! Why a call failed.

use std::time::Duration;

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
    /// The token cannot stand in a header.
    #[error("the token has characters that no header can carry")]
    Token,
    /// What was asked for cannot be put into a request, such as a key that no header can carry.
    #[error("the request cannot be made")]
    Request(#[source] reqwest::Error),
    /// An event cannot be written as JSON.
    #[error("the event cannot be written as JSON")]
    Json(#[source] serde_json::Error),
    /// The server refused.
    #[error("{}", describe(.0))]
    Refused(Box<Problem>),
    /// A status that carries no problem document, as a proxy on the way answers.
    #[error("status {status} without a problem document")]
    Status {
        /// The status.
        status: u16,
        /// After how long to try again, if it was said.
        retry_after: Option<Duration>,
    },
    /// No connection to the server could be made: it has not seen the request.
    #[error("the server cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    /// The connection broke before the whole answer was there: the server may have done what it was
    /// asked for.
    #[error("the server cannot be reached any more")]
    Lost(#[source] reqwest::Error),
    /// The server did not answer in time, or fell silent within a stream.
    #[error("the server does not answer")]
    Silent,
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
            Self::Token => "invalid_token",
            Self::Request(_) => "invalid_request",
            Self::Json(_) => "invalid_json",
            Self::Refused(problem) => &problem.code,
            Self::Status { .. } => "unexpected_status",
            Self::Unreachable(_) => "unreachable",
            Self::Lost(_) => "connection_lost",
            Self::Silent => "silent",
            Self::Protocol { .. } => "unexpected_answer",
        }
    }

    /// The status of the answer, if there was one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(problem) => Some(problem.status),
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the same call may succeed a little later: the server is away, stopping or overloaded.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Lost(_) | Self::Silent => true,
            _ => matches!(self.status(), Some(502..=504)),
        }
    }

    /// After how long the server wants to be asked again.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(problem) => problem.retry_after_ms.map(Duration::from_millis),
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    pub(crate) fn protocol(what: impl std::fmt::Display) -> Self {
        Self::Protocol {
            what: what.to_string(),
        }
    }
}

impl From<reqwest::Error> for ClientError {
    fn from(error: reqwest::Error) -> Self {
        // A connection that takes too long to be made is both a time-out and no connection.
        match error {
            error if error.is_builder() => Self::Request(error),
            error if error.is_connect() => Self::Unreachable(error),
            error if error.is_timeout() => Self::Silent,
            error => Self::Lost(error),
        }
    }
}
