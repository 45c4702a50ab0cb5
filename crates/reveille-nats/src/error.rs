//! Why there is no backend, and why an operation has failed.

use reveille_backend::BackendError;

use crate::access::FileError;
use crate::backend::NAME;

/// Why a backend could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL is not one of a server.
    #[error("the URL is not nats://[USER:PASSWORD@]HOST[:PORT],... or tls://...")]
    Url,
    /// A setting behind the URL does not exist, or cannot have that value.
    #[error("the URL has no setting `{name}`, or not with that value")]
    Setting {
        /// Its name.
        name: Box<str>,
    },
    /// The prefix holds characters that it may not.
    #[error("the prefix {prefix:?} holds other characters than letters, digits, '_', '-'")]
    Prefix {
        /// The prefix.
        prefix: Box<str>,
    },
    /// The file with the credentials cannot be read, or holds none.
    #[error("the credentials cannot be read")]
    Credentials(#[source] std::io::Error),
    /// A file for TLS cannot be read, or does not hold what it should.
    #[error("the file of `{parameter}` cannot be used")]
    Tls {
        /// Which one, as the URL names it: `ca`, `cert` or `key`.
        parameter: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The server is too old to append a batch in one step.
    #[error("the server is version {version}, and 2.12.2 is the first that will do")]
    Version {
        /// The server's version.
        version: Box<str>,
    },
    /// The server has no JetStream, or the account may not use it.
    #[error("the server offers no JetStream")]
    NoJetStream,
    /// The server cannot be reached or used.
    #[error("the server cannot be used")]
    Server(#[source] BackendError),
}

impl ConnectError {
    /// A stable name of the kind of error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Url => "nats_url_invalid",
            Self::Setting { .. } => "nats_setting_invalid",
            Self::Prefix { .. } => "nats_prefix_invalid",
            Self::Credentials(_) => "nats_credentials_unreadable",
            Self::Tls { .. } => "nats_tls_unreadable",
            Self::Version { .. } => "nats_server_too_old",
            Self::NoJetStream => "nats_no_jetstream",
            Self::Server(_) => "nats_unavailable",
        }
    }
}

impl From<FileError> for ConnectError {
    fn from(FileError { parameter, source }: FileError) -> Self {
        match parameter {
            "credentials" => Self::Credentials(source),
            parameter => Self::Tls { parameter, source },
        }
    }
}

/// The servers cannot be used now.
pub(crate) fn unavailable(
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> BackendError {
    BackendError::Unavailable {
        backend: NAME,
        source: source.into(),
    }
}

/// The servers have no room.
pub(crate) fn full(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> BackendError {
    BackendError::Full {
        backend: NAME,
        source: source.into(),
    }
}

/// What is stored cannot be what was written.
pub(crate) fn corrupt(place: impl Into<String>) -> BackendError {
    BackendError::Corrupt {
        backend: NAME,
        place: place.into(),
    }
}

/// Why a request was not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Silence {
    /// It reached nobody: it was not sent, or there is no leader to take it.
    #[error("no server takes the request")]
    Nobody,
    /// It may have been done.
    #[error("the answer was lost")]
    Lost,
}

/// What a server said no for.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize, thiserror::Error)]
#[error("{description} ({err_code})")]
pub(crate) struct Refusal {
    #[serde(default)]
    pub(crate) code: u32,
    #[serde(default)]
    pub(crate) err_code: u32,
    #[serde(default)]
    pub(crate) description: String,
}

impl Refusal {
    /// The stream's end is not where it was expected.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self.err_code, 10_071 | 10_164)
    }

    pub(crate) fn is_no_stream(&self) -> bool {
        self.err_code == 10_059
    }

    pub(crate) fn is_no_message(&self) -> bool {
        self.err_code == 10_037
    }

    /// The stream, or the disk of the server, holds as much as it may. That is 503, too.
    fn is_full(&self) -> bool {
        matches!(self.err_code, 10_047 | 10_077)
    }

    /// The same request may be taken later: no leader (503), or too many batches at once.
    pub(crate) fn is_temporary(&self) -> bool {
        (self.code == 503 && !self.is_full()) || matches!(self.err_code, 10_176 | 10_210)
    }
}

/// Why the servers have not done something that may be asked for twice.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Silence(#[from] Silence),
    #[error(transparent)]
    Refusal(#[from] Refusal),
    #[error("the answer makes no sense: {0}")]
    Nonsense(String),
}

impl From<Failure> for BackendError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refusal(refusal) => refusal.into(),
            other => unavailable(other),
        }
    }
}

impl From<Refusal> for BackendError {
    fn from(refusal: Refusal) -> Self {
        match refusal.is_full() {
            true => full(refusal),
            false => unavailable(refusal),
        }
    }
}
