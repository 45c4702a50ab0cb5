//! Why an operation on a signal was refused.

use std::sync::Arc;

/// The refusal of an operation. The same call gets the same answer.
///
/// ```
/// use reveille_core::{SignalError, SignalSystem};
///
/// let system = SignalSystem::<()>::new();
/// let handle = system.create()?.into_handle();
/// system.trigger(handle, ())?;
/// let late = system.poison(handle, "disk full").unwrap_err();
/// assert_eq!(late, SignalError::AlreadyTriggered);
/// assert_eq!(late.to_string(), "signal was already triggered");
/// # Ok::<(), SignalError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignalError {
    /// The signal was triggered before.
    #[error("signal was already triggered")]
    AlreadyTriggered,
    /// The signal was poisoned before.
    #[error("signal was already poisoned: {reason}")]
    AlreadyPoisoned {
        /// The first reason, which stays.
        reason: Arc<str>,
    },
    /// The signal was cancelled before.
    #[error("signal was already cancelled: {reason}")]
    AlreadyCancelled {
        /// The first reason, which stays.
        reason: Arc<str>,
    },
    /// The system never gave out this handle.
    #[error("signal is unknown")]
    UnknownSignal,
    /// The signal is complete, and so many were completed after it that its outcome is gone.
    #[error("outcome of the signal is forgotten")]
    OutcomeForgotten,
    /// The handle belongs to another system, and nothing routes there.
    #[error("signal belongs to system {got:016x}, not to {expected:016x}")]
    ForeignHandle {
        /// The system that was asked.
        expected: u64,
        /// The system that the handle names.
        got: u64,
    },
    /// Somebody holds the right to complete the signal; its handle alone lets wait.
    #[error("signal is completed by the holder of its right only")]
    NotPermitted,
    /// The signal is a merge: it is completed by its inputs and carries no value.
    #[error("signal is completed by its inputs")]
    Derived,
    /// A merge of nothing.
    #[error("merge has no inputs")]
    EmptyMerge,
    /// A merge that needs more triggered inputs than it has.
    #[error("merge needs {needed} of {inputs} distinct inputs")]
    UnreachableMerge {
        /// How many must be triggered.
        needed: usize,
        /// How many distinct inputs there are.
        inputs: usize,
    },
    /// The system takes no new signals.
    #[error("signal system is shut down: {reason}")]
    ShutDown {
        /// Why it was shut down.
        reason: Arc<str>,
    },
    /// The signal's owner did not answer, so whether the request had an effect is not known.
    #[error("system {owner:016x} did not answer")]
    OwnerLost {
        /// The system that owns the signal.
        owner: u64,
    },
    /// The request, or the value of the signal, cannot be carried between the systems. A request
    /// had no effect.
    #[error("signal cannot be carried between systems: {reason}")]
    NotCarried {
        /// What is in the way, a text of the router.
        reason: Arc<str>,
    },
    /// As many signals are pending, or complete and still referred to, as the system allows, or
    /// as many awaiters wait for one signal.
    #[error("more than {limit} are not possible")]
    Exhausted {
        /// The bound.
        limit: usize,
    },
}

impl SignalError {
    /// The stable code of this error.
    ///
    /// ```
    /// use reveille_core::SignalError;
    ///
    /// assert_eq!(SignalError::UnknownSignal.code(), "unknown_signal");
    /// ```
    pub fn code(&self) -> &'static str {
        match self {
            Self::AlreadyTriggered => "already_triggered",
            Self::AlreadyPoisoned { .. } => "already_poisoned",
            Self::AlreadyCancelled { .. } => "already_cancelled",
            Self::UnknownSignal => "unknown_signal",
            Self::OutcomeForgotten => "outcome_forgotten",
            Self::ForeignHandle { .. } => "foreign_handle",
            Self::NotPermitted => "not_permitted",
            Self::Derived => "derived_signal",
            Self::EmptyMerge => "empty_merge",
            Self::UnreachableMerge { .. } => "unreachable_merge",
            Self::ShutDown { .. } => "shut_down",
            Self::OwnerLost { .. } => "owner_lost",
            Self::NotCarried { .. } => "not_carried",
            Self::Exhausted { .. } => "exhausted",
        }
    }
}
