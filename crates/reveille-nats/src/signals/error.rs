//! Why a node cannot join.

/// Why a node is not there.
///
/// ```
/// use reveille_core::SignalSystem;
/// use reveille_nats::{SignalNode, SignalNodeOptions};
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
/// # runtime.block_on(async {
/// let mut options = SignalNodeOptions::default();
/// options.prefix = "no.name".into();
/// let signals = SignalSystem::<()>::builder();
/// let error = SignalNode::join("nats://127.0.0.1", signals, options).await.unwrap_err();
/// assert_eq!(error.code(), "invalid_option");
/// # });
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// An option has a value that cannot be.
    #[error("{what}")]
    Invalid {
        /// Which, and why.
        what: &'static str,
    },
    /// A setting behind the address does not exist, or cannot have that value.
    #[error("the address has no setting `{name}`, or not with that value")]
    Setting {
        /// Its name.
        name: Box<str>,
    },
    /// The broker cannot be reached or used.
    #[error("the broker cannot be used")]
    Broker(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The broker carries shorter messages only than nodes need.
    #[error("the broker carries {actual} bytes a message, and {needed} are needed")]
    MessagesTooShort {
        /// How many bytes it carries.
        actual: usize,
        /// How many are needed.
        needed: usize,
    },
    /// Another node has a system of the same id, or had until just now.
    #[error("system {system:016x} is there already")]
    SystemIdTaken {
        /// The id.
        system: u64,
    },
}

impl JoinError {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } | Self::Setting { .. } => "invalid_option",
            Self::Broker(_) => "nats_unavailable",
            Self::MessagesTooShort { .. } => "messages_too_short",
            Self::SystemIdTaken { .. } => "system_id_taken",
        }
    }

    pub(super) fn broker(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Broker(Box::new(error))
    }
}
