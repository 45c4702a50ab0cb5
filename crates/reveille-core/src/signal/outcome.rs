//! How a signal ended, inside and outside.

use std::sync::Arc;

use crate::{Poison, SignalError};

/// Where a signal stands, as [`SignalSystem::poll`](crate::SignalSystem::poll) tells.
///
/// ```
/// use reveille_core::{SignalStatus, SignalSystem};
///
/// let system = SignalSystem::<()>::new();
/// let handle = system.create()?.into_handle();
/// system.cancel(handle, "not needed any more")?;
/// match system.poll(handle)? {
///     SignalStatus::Cancelled(poison) => assert_eq!(poison.reason(), "not needed any more"),
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), reveille_core::SignalError>(())
/// ```
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
    /// With its value; a merge has none.
    Triggered(Option<T>),
    /// Poisoned, or cancelled if the kind of the poison says so.
    Failed(Poison),
}

/// What is known of a generation that left its slot.
pub(super) struct Record<T> {
    pub(super) remembered: Arc<Remembered<T>>,
    pub(super) derived: bool,
}

/// An outcome that left its slot. Its last owner discards it.
pub(super) struct Remembered<T> {
    /// `None` while it is dropped.
    outcome: Option<Outcome<T>>,
    discard: fn(Outcome<T>),
}

impl<T> Remembered<T> {
    pub(super) fn new(outcome: Outcome<T>, discard: fn(Outcome<T>)) -> Self {
        let outcome = Some(outcome);
        Self { outcome, discard }
    }

    pub(super) fn ended(&self) -> Result<(), &Poison> {
        match &self.outcome {
            Some(Outcome::Failed(poison)) => Err(poison),
            Some(Outcome::Triggered(_)) | None => Ok(()),
        }
    }

    pub(super) fn value(&self) -> Option<&T> {
        match &self.outcome {
            Some(Outcome::Triggered(value)) => value.as_ref(),
            Some(Outcome::Failed(_)) | None => None,
        }
    }
}

impl<T> Drop for Remembered<T> {
    fn drop(&mut self) {
        if let Some(outcome) = self.outcome.take() {
            (self.discard)(outcome);
        }
    }
}

impl<T> Record<T> {
    pub(super) fn ended(&self) -> Result<(), &Poison> {
        self.remembered.ended()
    }
}

/// What to tell of an end.
pub(super) fn status(ended: Result<(), &Poison>) -> SignalStatus {
    match ended {
        Ok(()) => SignalStatus::Triggered,
        Err(poison) if poison.is_cancelled() => SignalStatus::Cancelled(poison.clone()),
        Err(poison) => SignalStatus::Poisoned(poison.clone()),
    }
}

/// The answer to an attempt that came too late.
///
/// To fail what has failed in the same way before is no error; the first reason stays.
pub(super) fn answer(ended: Result<(), &Poison>, attempt: Attempt) -> Result<(), SignalError> {
    let Err(poison) = ended else {
        return Err(SignalError::AlreadyTriggered);
    };
    let reason = poison.shared_reason();
    match (poison.is_cancelled(), attempt) {
        (true, Attempt::Cancel) | (false, Attempt::Poison) => Ok(()),
        (true, _) => Err(SignalError::AlreadyCancelled { reason }),
        (false, _) => Err(SignalError::AlreadyPoisoned { reason }),
    }
}
