//! The right to complete a signal, which is unique and cannot be lost silently.

use std::fmt;
use std::sync::Arc as StdArc;
use std::thread;

use super::outcome::{Attempt, Outcome};
use super::shared::Shared;
use crate::sync::Arc;
use crate::text::clip;
use crate::{Poison, PoisonKind, SignalAwaiter, SignalError, SignalHandle};

/// The longest name that is kept, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// A pending signal and the unique right to complete it.
///
/// Completing consumes it, so it cannot be done twice by accident; dropping it poisons the
/// signal, so nobody waits for ever: with the kind [`Dropped`](PoisonKind::Dropped), or
/// [`Panicked`](PoisonKind::Panicked) during a panic, and a text that says its name.
///
/// ```
/// use reveille_core::{PoisonKind, SignalSystem};
///
/// let system = SignalSystem::<u32>::new();
/// let signal = system.create_named("load")?;
/// let awaiter = signal.awaiter();
/// drop(signal); // an early return, say
/// let poison = tokio_test::block_on(awaiter).unwrap_err();
/// assert_eq!(poison.kind(), PoisonKind::Dropped);
/// assert!(poison.reason().contains("load"));
/// # Ok::<(), reveille_core::SignalError>(())
/// ```
///
/// It cannot be completed twice:
///
/// ```compile_fail,E0382
/// let system = reveille_core::SignalSystem::<u32>::new();
/// let signal = system.create().unwrap();
/// signal.trigger(1).unwrap();
/// signal.trigger(2).unwrap();
/// ```
#[must_use = "a dropped signal is poisoned"]
pub struct Signal<T = ()> {
    shared: Arc<Shared<T>>,
    handle: SignalHandle,
    name: Option<StdArc<str>>,
    /// Whether the right is still here to be used; the slot stays busy for it until then.
    armed: bool,
}

impl<T> Signal<T> {
    pub(super) fn new(
        shared: Arc<Shared<T>>,
        handle: SignalHandle,
        name: Option<StdArc<str>>,
    ) -> Self {
        let name = name.map(|name| clip(name, NAME_BYTES_MAX));
        Self {
            shared,
            handle,
            name,
            armed: true,
        }
    }

    /// The name of the signal, to be given to whoever waits.
    pub fn handle(&self) -> SignalHandle {
        self.handle
    }

    /// Waits for this signal.
    pub fn awaiter(&self) -> SignalAwaiter<T> {
        // The slot stays busy for this signal, and it is no merge, so nothing can refuse.
        SignalAwaiter::new(&self.shared, self.handle).expect("a signal keeps its slot busy")
    }

    /// Completes the signal with success and wakes everybody who waits for it.
    ///
    /// # Errors
    ///
    /// Only if somebody completed it by its handle, or the system was shut down or dropped:
    /// [`AlreadyTriggered`](SignalError::AlreadyTriggered),
    /// [`AlreadyPoisoned`](SignalError::AlreadyPoisoned) or
    /// [`AlreadyCancelled`](SignalError::AlreadyCancelled).
    pub fn trigger(mut self, value: T) -> Result<(), SignalError> {
        let value = self.shared.share(value);
        self.finish(Attempt::Trigger, Outcome::Triggered(Some(value)))
    }

    /// Completes the signal with a failure.
    ///
    /// If it has been poisoned before, the first reason stays and that is no error.
    ///
    /// # Errors
    ///
    /// [`AlreadyTriggered`](SignalError::AlreadyTriggered) or
    /// [`AlreadyCancelled`](SignalError::AlreadyCancelled), if somebody did that by its handle.
    pub fn poison(mut self, reason: impl Into<StdArc<str>>) -> Result<(), SignalError> {
        let poison = Poison::new(self.handle, PoisonKind::Explicit, reason);
        self.finish(Attempt::Poison, Outcome::Failed(poison))
    }

    /// Completes the signal as cancelled.
    ///
    /// If it has been cancelled before, the first reason stays and that is no error.
    ///
    /// # Errors
    ///
    /// [`AlreadyTriggered`](SignalError::AlreadyTriggered) or
    /// [`AlreadyPoisoned`](SignalError::AlreadyPoisoned), if somebody did that by its handle, or
    /// the system was shut down or dropped.
    pub fn cancel(mut self, reason: impl Into<StdArc<str>>) -> Result<(), SignalError> {
        let poison = Poison::new(self.handle, PoisonKind::Cancelled, reason);
        self.finish(Attempt::Cancel, Outcome::Failed(poison))
    }

    /// Gives the right up without completing: whoever has the handle can complete it, and if
    /// nobody does it stays pending until the system ends.
    pub fn into_handle(mut self) -> SignalHandle {
        self.armed = false;
        self.shared
            .with(|state, after| state.let_go(self.handle, after));
        self.handle
    }

    fn finish(&mut self, attempt: Attempt, outcome: Outcome<T>) -> Result<(), SignalError> {
        self.armed = false;
        let mut outcome = Some(outcome);
        self.shared.with(|state, after| {
            let result = state.complete(self.handle, attempt, &mut outcome, after);
            state.let_go(self.handle, after);
            result
        })
    }

    fn dropped(&self) -> Poison {
        let name = self
            .name
            .as_deref()
            .map(|name| format!(" `{name}`"))
            .unwrap_or_default();
        let (kind, how) = if thread::panicking() {
            (PoisonKind::Panicked, "dropped by a panic")
        } else {
            (PoisonKind::Dropped, "dropped without being triggered")
        };
        Poison::new(self.handle, kind, format!("signal{name} {how}"))
    }
}

impl<T> Drop for Signal<T> {
    fn drop(&mut self) {
        if self.armed {
            let poison = self.dropped();
            // Whatever it was completed with before stands.
            let _ = self.finish(Attempt::Poison, Outcome::Failed(poison));
        }
    }
}

impl<T> fmt::Debug for Signal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signal")
            .field("handle", &self.handle)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
