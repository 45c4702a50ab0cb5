//! How a signal ended, inside and outside.

use std::sync::Arc;

use crate::{Poison, SignalError};

/// Where a signal stands, as [`SignalSystem::poll`](crate::SignalSystem::poll) tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignalStatus {
    /// Not complete.
    Pending,
    /// Complete, with success.
    Triggered,
    /// Complete, with a failure.
    Poisoned(Poison),
    /// Complete, by cancellation.
    Cancelled(Poison),
}

/// What is asked of a signal that may be complete already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    Trigger,
    Poison,
    Cancel,
}

/// How one generation ended; for good.
pub(super) enum Outcome<T> {
    /// With its value, which a merge has only where the value is `()`. The value is shared so
    /// that its `Clone` and `Drop`, which are the caller's code, run outside the lock.
    Triggered(Option<Arc<T>>),
    /// Poisoned, or cancelled if the kind of the poison says so.
    Failed(Poison),
}

impl<T> Outcome<T> {
    pub(super) fn poison(&self) -> Option<&Poison> {
        match self {
            Self::Triggered(_) => None,
            Self::Failed(poison) => Some(poison),
        }
    }

    pub(super) fn status(&self) -> SignalStatus {
        match self {
            Self::Triggered(_) => SignalStatus::Triggered,
            Self::Failed(poison) if poison.is_cancelled() => {
                SignalStatus::Cancelled(poison.clone())
            }
            Self::Failed(poison) => SignalStatus::Poisoned(poison.clone()),
        }
    }

    /// The answer to an attempt that came too late.
    ///
    /// To fail what has failed in the same way before is no error; the first reason stays.
    pub(super) fn answer(&self, attempt: Attempt) -> Result<(), SignalError> {
        match self {
            Self::Triggered(_) => Err(SignalError::AlreadyTriggered),
            Self::Failed(poison) => match (poison.is_cancelled(), attempt) {
                (true, Attempt::Cancel) | (false, Attempt::Poison) => Ok(()),
                (true, _) => Err(SignalError::AlreadyCancelled {
                    reason: poison.shared_reason(),
                }),
                (false, _) => Err(SignalError::AlreadyPoisoned {
                    reason: poison.shared_reason(),
                }),
            },
        }
    }
}

impl<T> Clone for Outcome<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Triggered(value) => Self::Triggered(value.clone()),
            Self::Failed(poison) => Self::Failed(poison.clone()),
        }
    }
}
