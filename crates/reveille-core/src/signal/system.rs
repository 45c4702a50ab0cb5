//! The owner of signals: makes, merges, completes and awaits them by handle, and ends them.

use std::fmt;
use std::future::{Future, poll_fn};
use std::num::NonZeroU64;
use std::pin::pin;
use std::sync::Arc as StdArc;
use std::task::Poll;

use super::completion::{complete, conclude};
use super::drain::Drained;
use super::explain::explain;
use super::foreigners::Foreigners;
use super::merge::merge;
use super::outcome::{Attempt, Outcome, answer, status};
use super::right::Signal;
use super::slots::{Core, Phase, Place};
use crate::sync::Arc;
use crate::text::clip;
use crate::{
    Completion, Explanation, MergeMode, Poison, PoisonKind, ShutdownReport, SignalAwaiter,
    SignalError, SignalHandle, SignalReceipt, SignalRequest, SignalStats, SignalStatus,
    SignalSystemBuilder,
};

/// Signals with a value of type `T`, which every awaiter gets a clone of.
///
/// Clones are owners of the same system. When the last is dropped, everything pending is
/// poisoned with [`PoisonKind::SystemDropped`]; neither [`Signal`]s nor awaiters own it.
///
/// Operations by handle answer alike for a given handle:
/// [`NotPermitted`](SignalError::NotPermitted) to complete a signal that a [`Signal`] holds the
/// right to complete,
/// [`ForeignHandle`](SignalError::ForeignHandle) if it names another system,
/// [`UnknownSignal`](SignalError::UnknownSignal) if it was never given out, and
/// [`OutcomeForgotten`](SignalError::OutcomeForgotten) if the signal is complete and left the
/// history. A handle always means its own generation, never what is in the slot now.
///
/// With a [router](SignalSystemBuilder::router), handles of other systems can be awaited, merged,
/// polled and [requested](Self::request) to be completed as well.
///
/// ```
/// use reveille_core::{SignalStatus, SignalSystem};
///
/// let system = SignalSystem::<u32>::new();
/// let signal = system.create()?;
/// let handle = signal.handle();
/// let awaiter = system.awaiter(handle)?;
/// assert_eq!(system.poll(handle)?, SignalStatus::Pending);
///
/// signal.trigger(42)?;
/// assert_eq!(tokio_test::block_on(awaiter), Ok(42));
/// assert_eq!(system.poll(handle)?, SignalStatus::Triggered);
/// # Ok::<(), reveille_core::SignalError>(())
/// ```
pub struct SignalSystem<T = ()> {
    owner: Arc<Owner<T>>,
}

/// What the clones of a system own together; the end of the last one ends the system.
struct Owner<T> {
    core: Arc<Core<T>>,
    /// What is known of other systems, if there is a router to them.
    foreigners: Option<StdArc<Foreigners<T>>>,
}

impl<T: Clone + Send + Sync + 'static> SignalSystem<T> {
    pub(super) fn of(core: Core<T>, foreigners: Option<StdArc<Foreigners<T>>>) -> Self {
        let core = Arc::new(core);
        let owner = Arc::new(Owner { core, foreigners });
        Self { owner }
    }

    /// A system with a random id and the default bounds.
    ///
    /// ```
    /// let system = reveille_core::SignalSystem::<()>::new();
    /// assert_eq!(system.stats().pending, 0);
    /// ```
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// A system with other bounds or a given id.
    ///
    /// ```
    /// let system = reveille_core::SignalSystem::<()>::builder().history(0).build();
    /// let handle = system.create()?.into_handle();
    /// system.poison(handle, "disk full")?;
    /// assert_eq!(system.poll(handle).unwrap_err().code(), "outcome_forgotten");
    /// # Ok::<(), reveille_core::SignalError>(())
    /// ```
    pub fn builder() -> SignalSystemBuilder<T> {
        SignalSystemBuilder::default()
    }

    /// The id that all handles of this system carry.
    ///
    /// ```
    /// let system = reveille_core::SignalSystem::<()>::new();
    /// assert_eq!(system.create()?.handle().system_id(), system.system_id().get());
    /// # Ok::<(), reveille_core::SignalError>(())
    /// ```
    pub fn system_id(&self) -> NonZeroU64 {
        self.core().id()
    }

    /// Makes a signal.
    ///
    /// # Errors
    ///
    /// [`ShutDown`](SignalError::ShutDown) once a shutdown has begun, and
    /// [`Exhausted`](SignalError::Exhausted) if too many signals are in memory.
    ///
    /// ```
    /// let system = reveille_core::SignalSystem::<&str>::new();
    /// let signal = system.create()?;
    /// let awaiter = signal.awaiter();
    /// signal.trigger("done")?;
    /// assert_eq!(tokio_test::block_on(awaiter), Ok("done"));
    /// # Ok::<(), reveille_core::SignalError>(())
    /// ```
    pub fn create(&self) -> Result<Signal<T>, SignalError> {
        Ok(Signal::new(Core::create_held(self.core())?))
    }

    /// Makes a signal and its first awaiter in one step, which is a little less work than
    /// [`create`](Self::create) and [`Signal::awaiter`].
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    ///
    /// ```
    /// # let system = reveille_core::SignalSystem::<u32>::new();
    /// let (signal, awaiter) = system.create_awaited()?;
    /// signal.trigger(42)?;
    /// assert_eq!(tokio_test::block_on(awaiter), Ok(42));
    /// # Ok::<(), reveille_core::SignalError>(())
    /// ```
    pub fn create_awaited(&self) -> Result<(Signal<T>, SignalAwaiter<T>), SignalError> {
        let (slot, other) = Core::create_awaited(self.core())?;
        Ok((Signal::new(slot), SignalAwaiter::owning(other)))
    }

    /// Completes a signal with success.
    ///
    /// # Errors
    ///
    /// [`AlreadyTriggered`](SignalError::AlreadyTriggered),
    /// [`AlreadyPoisoned`](SignalError::AlreadyPoisoned) or
    /// [`AlreadyCancelled`](SignalError::AlreadyCancelled) if it is complete,
    /// [`Derived`](SignalError::Derived) if it is a merge, and those of any handle.
    ///
    /// ```
    /// let system = reveille_core::SignalSystem::<u32>::new();
    /// let handle = system.create()?.into_handle();
    /// system.trigger(handle, 42)?;
    /// assert_eq!(system.trigger(handle, 43).unwrap_err().code(), "already_triggered");
    /// # Ok::<(), reveille_core::SignalError>(())
    /// ```
    pub fn trigger(&self, handle: SignalHandle, value: T) -> Result<(), SignalError> {
        self.complete(handle, Attempt::Trigger, Outcome::Triggered(Some(value)))
    }

    /// Completes a signal with a failure. If it is poisoned already, the first reason stays
    /// and that is no error.
    ///
    /// # Errors
    ///
    /// [`AlreadyTriggered`](SignalError::AlreadyTriggered) or
    /// [`AlreadyCancelled`](SignalError::AlreadyCancelled) if it is complete otherwise,
    /// [`Derived`](SignalError::Derived) if it is a merge, and those of any handle.
    ///
    /// ```
    /// let system = reveille_core::SignalSystem::<()>::new();
    /// let handle = system.create()?.into_handle();
    /// system.poison(handle, "disk full")?;
    /// let poison = tokio_test::block_on(system.awaiter(handle)?).unwrap_err();
    /// assert_eq!(poison.reason(), "disk full");
    /// # Ok::<(), reveille_core::SignalError>(())
    /// ```
    pub fn poison(
        &self,
        handle: SignalHandle,
        reason: impl Into<StdArc<str>>,
    ) -> Result<(), SignalError> {
        let poison = Poison::new(handle, PoisonKind::Explicit, reason);
        self.complete(handle, Attempt::Poison, Outcome::Failed(poison))
    }

    /// Completes a signal as cancelled; of a merge, this leaves the inputs alone. If it is
    /// cancelled already, the first reason stays and that is no error.
    ///
    /// # Errors
    ///
    /// [`AlreadyTriggered`](SignalError::AlreadyTriggered) or
    /// [`AlreadyPoisoned`](SignalError::AlreadyPoisoned) if it is complete otherwise, and those
    /// of any handle.
    ///
    /// ```
    /// let system = reveille_core::SignalSystem::<()>::new();
    /// let input = system.create()?;
    /// let merged = system.merge(&[input.handle()])?;
    /// system.cancel(merged, "not needed any more")?;
    /// input.trigger(())?;
    /// # Ok::<(), reveille_core::SignalError>(())
    /// ```
    pub fn cancel(
        &self,
        handle: SignalHandle,
        reason: impl Into<StdArc<str>>,
    ) -> Result<(), SignalError> {
        let poison = Poison::new(handle, PoisonKind::Cancelled, reason);
        self.complete(handle, Attempt::Cancel, Outcome::Failed(poison))
    }

    /// Has a signal of this or another system completed, and gives a receipt to wait for the
    /// answer with. The request is sent now; the receipt may be dropped.
    ///
    /// For a signal of this system it has its effect at once, and so has the receipt its answer.
    /// So it has if there is no router: [`ForeignHandle`](SignalError::ForeignHandle) for the
    /// signals of others.
    ///
    /// [`SignalRouter`](crate::SignalRouter) has an example.
    ///
    /// ```
    /// use reveille_core::{SignalRequest, SignalSystem};
    ///
    /// let system = SignalSystem::<u32>::new();
    /// let handle = system.create()?.into_handle();
    /// let receipt = system.request(handle, SignalRequest::Trigger(42));
    /// assert_eq!(tokio_test::block_on(receipt), Ok(()));
    /// assert_eq!(tokio_test::block_on(system.awaiter(handle)?), Ok(42));
    /// # Ok::<(), reveille_core::SignalError>(())
    /// ```
    pub fn request(&self, handle: SignalHandle, request: SignalRequest<T>) -> SignalReceipt {
        match self.foreigners(handle) {
            Some(foreigners) => foreigners.request(handle, request),
            None => SignalReceipt::known(self.apply(handle, request)),
        }
    }

    /// Completes a signal of this system as the request says: how an owner serves the requests
    /// of others.
    ///
    /// # Errors
    ///
    /// Those of [`trigger`](Self::trigger), [`poison`](Self::poison) or [`cancel`](Self::cancel).
    ///
    /// ```
    /// use reveille_core::{SignalRequest, SignalSystem};
    ///
    /// let system = SignalSystem::<u32>::new();
    /// let handle = system.create()?.into_handle();
    /// system.apply(handle, SignalRequest::Trigger(42))?;
    /// let late = system.apply(handle, SignalRequest::Poison("late".into()));
    /// assert_eq!(late.unwrap_err().code(), "already_triggered");
    /// # Ok::<(), reveille_core::SignalError>(())
    /// ```
    pub fn apply(
        &self,
        handle: SignalHandle,
        request: SignalRequest<T>,
    ) -> Result<(), SignalError> {
        let (attempt, outcome) = request.into_parts(handle);
        self.complete(handle, attempt, outcome)
    }

    /// Where a signal stands, without waiting. Of a signal of another system, what is known
    /// here: pending until its owner has told otherwise, which it does when somebody waits.
    ///
    /// # Errors
    ///
    /// Those of any handle.
    ///
    /// ```
    /// use reveille_core::{SignalStatus, SignalSystem};
    ///
    /// let system = SignalSystem::<()>::new();
    /// let signal = system.create()?;
    /// let handle = signal.handle();
    /// assert_eq!(system.poll(handle)?, SignalStatus::Pending);
    /// signal.trigger(())?;
    /// assert_eq!(system.poll(handle)?, SignalStatus::Triggered);
    /// # Ok::<(), reveille_core::SignalError>(())
    /// ```
    pub fn poll(&self, handle: SignalHandle) -> Result<SignalStatus, SignalError> {
        if let Some(foreigners) = self.foreigners(handle) {
            return Ok(foreigners.poll(handle));
        }
        Ok(match self.core().find(handle)? {
            Place::Live(slot, _) => slot.ended().map_or(SignalStatus::Pending, status),
            Place::Plain(_) => SignalStatus::Triggered,
            Place::Past(record) => status(record.ended()),
        })
    }

    /// Waits for a signal and its value. The place is taken now, not at the first poll.
    ///
    /// # Errors
    ///
    /// [`Derived`](SignalError::Derived) if it is a merge and `T` is not `()`, since a merge
    /// has no value: see [`completion`](Self::completion). And those of any handle.
    ///
    /// ```
    /// let system = reveille_core::SignalSystem::<u32>::new();
    /// let handle = system.create()?.into_handle();
    /// let awaiter = system.awaiter(handle)?;
    /// system.trigger(handle, 42)?;
    /// assert_eq!(tokio_test::block_on(awaiter), Ok(42));
    /// # Ok::<(), reveille_core::SignalError>(())
    /// ```
    pub fn awaiter(&self, handle: SignalHandle) -> Result<SignalAwaiter<T>, SignalError> {
        match self.foreigners(handle) {
            Some(foreigners) => SignalAwaiter::of_foreign(foreigners.get(self.core(), handle)?),
            None => SignalAwaiter::new(self.core(), handle),
        }
    }

    /// Waits for the end of a signal, whichever kind it is.
    ///
    /// # Errors
    ///
    /// Those of any handle.
    ///
    /// ```
    /// let system = reveille_core::SignalSystem::<u32>::new();
    /// let handle = system.create()?.into_handle();
    /// let completion = system.completion(handle)?;
    /// system.trigger(handle, 42)?;
    /// assert_eq!(tokio_test::block_on(completion), Ok(()));
    /// # Ok::<(), reveille_core::SignalError>(())
    /// ```
    pub fn completion(&self, handle: SignalHandle) -> Result<Completion<T>, SignalError> {
        match self.foreigners(handle) {
            Some(foreigners) => Completion::of_foreign(foreigners.get(self.core(), handle)?),
            None => Completion::new(self.core(), handle),
        }
    }

    /// Makes a signal that is complete when all inputs are: triggered if all were triggered,
    /// and else poisoned with the causes in the order of the inputs.
    ///
    /// Inputs are a set: what is given twice counts once. Inputs that are complete count at
    /// once, so the result may be complete when this returns. Merges can be merged.
    ///
    /// # Errors
    ///
    /// [`EmptyMerge`](SignalError::EmptyMerge), the errors of [`create`](Self::create), and
    /// those of any handle for each input; nothing has changed then.
    ///
    /// ```
    /// let system = reveille_core::SignalSystem::<()>::new();
    /// let (a, b) = (system.create()?, system.create()?);
    /// let both = system.merge(&[a.handle(), b.handle()])?;
    /// let awaiter = system.awaiter(both)?;
    /// a.trigger(())?;
    /// b.trigger(())?;
    /// assert_eq!(tokio_test::block_on(awaiter), Ok(()));
    /// # Ok::<(), reveille_core::SignalError>(())
    /// ```
    pub fn merge(&self, inputs: &[SignalHandle]) -> Result<SignalHandle, SignalError> {
        self.merge_with(inputs, MergeMode::AllSettled)
    }

    /// Makes a signal that is completed by `inputs` in another way.
    ///
    /// # Errors
    ///
    /// As [`merge`](Self::merge), and [`UnreachableMerge`](SignalError::UnreachableMerge) if
    /// the mode needs more inputs than there are.
    ///
    /// ```
    /// use reveille_core::{MergeMode, SignalStatus, SignalSystem};
    ///
    /// let system = SignalSystem::<()>::new();
    /// let (a, b) = (system.create()?, system.create()?);
    /// let either = system.merge_with(&[a.handle(), b.handle()], MergeMode::AnyOf)?;
    /// b.trigger(())?;
    /// assert_eq!(system.poll(either)?, SignalStatus::Triggered);
    /// # Ok::<(), reveille_core::SignalError>(())
    /// ```
    pub fn merge_with(
        &self,
        inputs: &[SignalHandle],
        mode: MergeMode,
    ) -> Result<SignalHandle, SignalError> {
        match &self.owner.foreigners {
            Some(foreigners) => foreigners.merge(self.core(), inputs, mode),
            None => merge(self.core(), inputs, mode),
        }
    }

    /// Poisons everything pending with this reason and refuses new signals from now on.
    ///
    /// Merges fail by their inputs, with the reason among their causes. Doing it again changes
    /// nothing; the first reason stays. Gives the number of signals that were poisoned.
    ///
    /// ```
    /// let system = reveille_core::SignalSystem::<()>::new();
    /// let signal = system.create()?;
    /// let awaiter = signal.awaiter();
    /// assert_eq!(system.force_shutdown("closing"), 1);
    /// assert_eq!(tokio_test::block_on(awaiter).unwrap_err().reason(), "closing");
    /// # Ok::<(), reveille_core::SignalError>(())
    /// ```
    pub fn force_shutdown(&self, reason: impl Into<StdArc<str>>) -> usize {
        let reason = clip(reason.into(), Poison::REASON_BYTES_MAX);
        self.core().close(&reason);
        poison_pending(self.core(), PoisonKind::ShutDown, &reason)
    }

    /// Refuses new signals, waits until nothing is pending or `until` is ready, whichever comes
    /// first, and poisons the rest. `until` is a timer, or whatever limits the patience.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it leaves the system refusing new signals and the pending ones pending; a
    /// further shutdown finishes the work.
    ///
    /// ```
    /// use reveille_core::{ShutdownReport, SignalSystem};
    ///
    /// let system = SignalSystem::<()>::new();
    /// let slow = system.create()?;
    /// let report = tokio_test::block_on(system.shutdown(std::future::ready(())));
    /// assert_eq!(report, ShutdownReport { completed: 0, poisoned: 1 });
    /// assert_eq!(slow.trigger(()).unwrap_err().code(), "already_poisoned");
    /// # Ok::<(), reveille_core::SignalError>(())
    /// ```
    pub async fn shutdown(&self, until: impl Future<Output = ()>) -> ShutdownReport {
        self.core().enter(Phase::Draining);
        if let Some(foreigners) = &self.owner.foreigners {
            foreigners.forget_idle();
        }
        let before = self.core().drain().count(self.core());
        let mut drained = pin!(Drained::new(Arc::clone(self.core())));
        let mut until = pin!(until);
        poll_fn(|cx| match drained.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => until.as_mut().poll(cx),
        })
        .await;
        let poisoned = self.force_shutdown("shut down before it was complete");
        ShutdownReport {
            completed: before.saturating_sub(poisoned),
            poisoned,
        }
    }

    /// Walks the graph of what waits for what, from `handle` on: which signals are pending, and,
    /// for [`tracked`](Signal::tracked) ones, since when and who owes them.
    ///
    /// Takes time in proportion to what is pending there, of which it names at most 1000.
    ///
    /// # Errors
    ///
    /// Those of any handle.
    ///
    /// ```
    /// # let system = reveille_core::SignalSystem::<()>::new();
    /// let (a, b) = (system.create()?, system.create()?.named("index").tracked());
    /// let both = system.merge(&[a.handle(), b.handle()])?;
    /// a.trigger(())?;
    /// let why = system.explain(both)?;
    /// assert_eq!(why.pending[0].waits_for, [b.handle()]);
    /// assert_eq!(why.pending[1].name.as_deref(), Some("index"));
    /// # b.trigger(())?;
    /// # Ok::<(), reveille_core::SignalError>(())
    /// ```
    pub fn explain(&self, handle: SignalHandle) -> Result<Explanation, SignalError> {
        explain(self.core(), handle)
    }

    /// How much the system holds now. Takes time in proportion to the slots in memory.
    ///
    /// ```
    /// # let system = reveille_core::SignalSystem::<()>::new();
    /// let signal = system.create()?;
    /// assert_eq!(system.stats().pending, 1);
    /// signal.trigger(())?;
    /// assert_eq!(system.stats().pending, 0);
    /// # Ok::<(), reveille_core::SignalError>(())
    /// ```
    pub fn stats(&self) -> SignalStats {
        let core = self.core();
        let foreigners = self.owner.foreigners.as_deref();
        let mut stats = SignalStats {
            pending: 0,
            waiters: 0,
            slots: core.slots(),
            history: core.history().len(),
            foreign: foreigners.map_or(0, Foreigners::len),
            requests_failed: foreigners.map_or(0, Foreigners::failed),
        };
        core.visit(|slot| {
            let word = slot.word();
            if word.is_complete() {
                return;
            }
            stats.pending += 1;
            let listed = slot.if_extra(|extra| extra.waiters.len()).unwrap_or(0);
            stats.waiters += usize::from(word.has_waiter()) + listed;
        });
        stats
    }

    fn complete(
        &self,
        handle: SignalHandle,
        attempt: Attempt,
        outcome: Outcome<T>,
    ) -> Result<(), SignalError> {
        // A merge is completed by its inputs; that it is not needed any more can be said.
        let by_hand = attempt != Attempt::Cancel;
        match self.core().find(handle)? {
            Place::Live(slot, _) => match slot.word() {
                word if by_hand && word.is_derived() => Err(SignalError::Derived),
                word if word.is_pending() && word.is_held() => Err(SignalError::NotPermitted),
                _ => complete(slot, attempt, outcome),
            },
            Place::Past(record) if by_hand && record.derived => Err(SignalError::Derived),
            Place::Past(record) => answer(record.ended(), attempt),
            Place::Plain(plain) if by_hand && plain.is_derived() => Err(SignalError::Derived),
            Place::Plain(_) => answer(Ok(()), attempt),
        }
    }

    pub(super) fn core(&self) -> &Arc<Core<T>> {
        &self.owner.core
    }

    /// Where to look for the handle, if it is another system's and there is a router.
    fn foreigners(&self, handle: SignalHandle) -> Option<&Foreigners<T>> {
        let foreigners = self.owner.foreigners.as_deref()?;
        (handle.system_id() != self.core().id().get()).then_some(foreigners)
    }
}

/// Poisons everything pending that does not wait for inputs, and so, through them, everything
/// else as well. Gives the number of signals that failed by this.
fn poison_pending<T>(core: &Core<T>, kind: PoisonKind, reason: &StdArc<str>) -> usize {
    let mut failed = 0;
    core.visit(|slot| {
        let word = slot.word();
        if !word.is_pending() || word.is_derived() {
            return;
        }
        let poison = || Poison::new(slot.handle(), kind, StdArc::clone(reason));
        failed += conclude(&slot, || Outcome::Failed(poison())).unwrap_or(0);
    });
    failed
}

impl<T: Clone + Send + Sync + 'static> Default for SignalSystem<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Clone for SignalSystem<T> {
    fn clone(&self) -> Self {
        Self {
            owner: Arc::clone(&self.owner),
        }
    }
}

impl<T> fmt::Debug for SignalSystem<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignalSystem")
            .field("id", &format_args!("{:016x}", self.owner.core.id()))
            .finish_non_exhaustive()
    }
}

impl<T> Drop for Owner<T> {
    fn drop(&mut self) {
        let reason = StdArc::from("signal system was dropped");
        self.core.close(&reason);
        poison_pending(&self.core, PoisonKind::SystemDropped, &reason);
        // Nobody can ask for them any more. A value may own a signal of this system, which
        // would keep the memory alive for ever.
        let forgotten = self.core.history().end();
        drop(forgotten);
        Core::disown(&self.core);
    }
}
