//! Why a load cannot be made.

use std::io;
use std::net::SocketAddr;

/// Why a load cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The system refused something that everything rests on.
    #[error("the system refused {what}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// A connection to the server failed.
    #[error("the connection to {address} failed")]
    Connection {
        /// The server.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The server did not give what was asked for.
    #[error("the server answered {status} when asked to {what}: {text}")]
    Refused {
        /// What was asked for.
        what: &'static str,
        /// The status of the answer.
        status: u16,
        /// The beginning of the answer's body.
        text: String,
    },
    /// The answer is not HTTP/1.1 as it is known here.
    #[error("the server's answer cannot be read: {problem}")]
    Malformed {
        /// What is wrong.
        problem: &'static str,
    },
    /// No stream was opened for too long.
    #[error("the server opened {open} of {asked} streams and then no more")]
    Stuck {
        /// How many are open.
        open: usize,
        /// How many were asked for.
        asked: usize,
    },
}

impl LoadError {
    /// Stable name of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::System { .. } => "system",
            Self::Connection { .. } => "connection",
            Self::Refused { .. } => "refused",
            Self::Malformed { .. } => "malformed",
            Self::Stuck { .. } => "stuck",
        }
    }
}
