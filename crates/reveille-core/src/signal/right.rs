//! The right to complete a signal, which is unique and cannot be lost silently.

use std::fmt;
use std::panic::Location;
use std::sync::Arc as StdArc;
use std::thread;

use super::completion::complete;
use super::explain::Owed;
use super::outcome::{Attempt, Outcome};
use super::slots::SlotRef;
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
/// let signal = system.create()?.named("load");
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
    /// `None` once the right is used, which consumes the signal.
    slot: Option<SlotRef<T>>,
}

impl<T> Signal<T> {
    pub(super) fn new(slot: SlotRef<T>) -> Self {
        Self { slot: Some(slot) }
    }

    fn slot(&self) -> &SlotRef<T> {
        // Only taken by what consumes or drops the signal.
        self.slot.as_ref().expect("a signal keeps its slot")
    }

    /// The name of the signal, to be given to whoever waits.
    ///
    /// ```
    /// # let system = reveille_core::SignalSystem::<()>::new();
    /// let signal = system.create()?;
    /// let awaiter = system.awaiter(signal.handle())?;
    /// signal.trigger(())?;
    /// assert!(tokio_test::block_on(awaiter).is_ok());
    /// # Ok::<(), reveille_core::SignalError>(())
    /// ```
    pub fn handle(&self) -> SignalHandle {
        self.slot().handle()
    }

    /// Waits for this signal.
    ///
    /// # Panics
    ///
    /// If the signal has a million awaiters; [`SignalSystem::awaiter`] refuses that instead.
    ///
    /// [`SignalSystem::awaiter`]: crate::SignalSystem::awaiter
    ///
    /// ```
    /// # let system = reveille_core::SignalSystem::<()>::new();
    /// let signal = system.create()?;
    /// let (first, second) = (signal.awaiter(), signal.awaiter());
    /// signal.trigger(())?;
    /// assert_eq!(tokio_test::block_on(first), Ok(()));
    /// assert_eq!(tokio_test::block_on(second), Ok(()));
    /// # Ok::<(), reveille_core::SignalError>(())
    /// ```
    pub fn awaiter(&self) -> SignalAwaiter<T> {
        SignalAwaiter::of(self.slot()).expect("fewer than a million awaiters of one signal")
    }

    /// Gives the signal a name, which stands in the reason if the signal is dropped and in the
    /// answer of [`explain`](crate::SignalSystem::explain); cut to 128 bytes.
    ///
    /// ```
    /// # let system = reveille_core::SignalSystem::<()>::new();
    /// let signal = system.create()?.named("load");
    /// let awaiter = signal.awaiter();
    /// drop(signal);
    /// assert!(tokio_test::block_on(awaiter).unwrap_err().reason().contains("load"));
    /// # Ok::<(), reveille_core::SignalError>(())
    /// ```
    pub fn named(self, name: impl Into<StdArc<str>>) -> Self {
        let name = clip(name.into(), NAME_BYTES_MAX);
        self.slot().with_extra(|extra| extra.name = Some(name));
        self
    }

    /// Remembers who owes the signal, the place of this call, and since when, for
    /// [`explain`](crate::SignalSystem::explain) and the reason if the signal is dropped. A
    /// signal that is not tracked pays nothing for it.
    ///
    /// ```
    /// # let system = reveille_core::SignalSystem::<()>::new();
    /// let signal = system.create()?.named("load").tracked();
    /// let why = system.explain(signal.handle())?;
    /// assert_eq!(why.pending[0].name.as_deref(), Some("load"));
    /// assert_eq!(why.pending[0].owed.unwrap().place.file(), file!());
    /// # signal.trigger(())?;
    /// # Ok::<(), reveille_core::SignalError>(())
    /// ```
    #[track_caller]
    pub fn tracked(self) -> Self {
        let place = Location::caller();
        let since = self.slot().core().clock().wall();
        self.slot()
            .with_extra(|extra| extra.tracked = Some(Owed { place, since }));
        self
    }

    /// Completes the signal with success and wakes everybody who waits for it.
    ///
    /// # Errors
    ///
    /// Only if the system was shut down or dropped:
    /// [`AlreadyPoisoned`](SignalError::AlreadyPoisoned), with that reason.
    ///
    /// ```
    /// # let system = reveille_core::SignalSystem::<u32>::new();
    /// let signal = system.create()?;
    /// let handle = signal.handle();
    /// signal.trigger(42)?;
    /// assert_eq!(tokio_test::block_on(system.awaiter(handle)?), Ok(42));
    /// # Ok::<(), reveille_core::SignalError>(())
    /// ```
    pub fn trigger(mut self, value: T) -> Result<(), SignalError> {
        self.finish(Attempt::Trigger, Outcome::Triggered(Some(value)))
    }

    /// Completes the signal with a failure.
    ///
    /// If a shutdown has poisoned it before, that reason stays and it is no error.
    ///
    /// # Errors
    ///
    /// None that a caller can bring about: nobody else may complete the signal otherwise.
    ///
    /// ```
    /// # let system = reveille_core::SignalSystem::<()>::new();
    /// let signal = system.create()?;
    /// let awaiter = signal.awaiter();
    /// signal.poison("disk full")?;
    /// assert_eq!(tokio_test::block_on(awaiter).unwrap_err().reason(), "disk full");
    /// # Ok::<(), reveille_core::SignalError>(())
    /// ```
    pub fn poison(mut self, reason: impl Into<StdArc<str>>) -> Result<(), SignalError> {
        let poison = Poison::new(self.handle(), PoisonKind::Explicit, reason);
        self.finish(Attempt::Poison, Outcome::Failed(poison))
    }

    /// Completes the signal as cancelled.
    ///
    /// # Errors
    ///
    /// [`AlreadyPoisoned`](SignalError::AlreadyPoisoned) if the system was shut down or dropped.
    ///
    /// ```
    /// use reveille_core::PoisonKind;
    /// # let system = reveille_core::SignalSystem::<()>::new();
    /// let signal = system.create()?;
    /// let awaiter = signal.awaiter();
    /// signal.cancel("not needed any more")?;
    /// assert_eq!(tokio_test::block_on(awaiter).unwrap_err().kind(), PoisonKind::Cancelled);
    /// # Ok::<(), reveille_core::SignalError>(())
    /// ```
    pub fn cancel(mut self, reason: impl Into<StdArc<str>>) -> Result<(), SignalError> {
        let poison = Poison::new(self.handle(), PoisonKind::Cancelled, reason);
        self.finish(Attempt::Cancel, Outcome::Failed(poison))
    }

    /// Gives the right up without completing: whoever has the handle can complete it, and if
    /// nobody does it stays pending until the system ends.
    ///
    /// ```
    /// # let system = reveille_core::SignalSystem::<()>::new();
    /// let handle = system.create()?.into_handle();
    /// system.trigger(handle, ())?;
    /// # Ok::<(), reveille_core::SignalError>(())
    /// ```
    pub fn into_handle(mut self) -> SignalHandle {
        let handle = self.handle();
        if let Some(slot) = self.slot.take() {
            slot.let_go();
        }
        handle
    }

    fn finish(&mut self, attempt: Attempt, outcome: Outcome<T>) -> Result<(), SignalError> {
        // Called once, by what consumes or drops the signal.
        match self.slot.take() {
            Some(slot) => complete(slot, attempt, outcome),
            None => Ok(()),
        }
    }

    fn dropped(&self) -> Poison {
        let (kind, how) = if thread::panicking() {
            (PoisonKind::Panicked, "dropped by a panic")
        } else {
            (PoisonKind::Dropped, "dropped without being triggered")
        };
        let known = self
            .slot()
            .if_extra(|extra| (extra.name.clone(), extra.tracked));
        let (name, owed) = known.unwrap_or_default();
        let name = name.map(|name| format!(" `{name}`")).unwrap_or_default();
        let place = owed
            .map(|owed| format!(" (owed by {})", owed.place))
            .unwrap_or_default();
        Poison::new(self.handle(), kind, format!("signal{name} {how}{place}"))
    }
}

impl<T> Drop for Signal<T> {
    fn drop(&mut self) {
        if self.slot.is_some() {
            let poison = self.dropped();
            // Whatever it was completed with before stands.
            let _ = self.finish(Attempt::Poison, Outcome::Failed(poison));
        }
    }
}

impl<T> fmt::Debug for Signal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signal")
            .field("handle", &self.handle())
            .finish_non_exhaustive()
    }
}
