//! The bounds of a system, its id, and what it is connected to.

use std::any::Any;
use std::num::NonZeroU64;
use std::sync::Arc;

use super::discard::discard;
use super::foreigners::Foreigners;
use super::history::History;
use super::slots::Core;
use crate::{Clock, IdSource, SignalRouter, SignalSystem, SystemClock, SystemIds};

/// The bounds and the id of a system to be built.
///
/// ```
/// use reveille_core::SignalSystem;
///
/// let system = SignalSystem::<u32>::builder().max_signals(10_000).history(100).build();
/// assert_eq!(system.stats().pending, 0);
/// ```
#[derive(Debug, Clone)]
pub struct SignalSystemBuilder<T = ()> {
    id: Option<NonZeroU64>,
    signals_max: usize,
    history: usize,
    clock: Arc<dyn Clock>,
    router: Option<Arc<dyn SignalRouter<T>>>,
    foreign_max: usize,
}

impl<T> SignalSystemBuilder<T> {
    /// Names the system; without it the id is random. Systems whose handles meet must have
    /// different ids.
    ///
    /// ```
    /// use std::num::NonZeroU64;
    /// use reveille_core::SignalSystem;
    ///
    /// let system = SignalSystem::<()>::builder().system_id(NonZeroU64::MIN).build();
    /// assert_eq!(system.create()?.handle().system_id(), 1);
    /// # Ok::<(), reveille_core::SignalError>(())
    /// ```
    #[must_use]
    pub fn system_id(self, id: NonZeroU64) -> Self {
        Self {
            id: Some(id),
            ..self
        }
    }

    /// How many signals, and how many merges, may be in memory at once: 2^20 each by default.
    /// Handles can name about 2^31 of both together.
    ///
    /// In memory are the pending ones, and the complete ones that a [`Signal`](crate::Signal) or an awaiter
    /// still refers to.
    ///
    /// ```
    /// use reveille_core::SignalSystem;
    ///
    /// let system = SignalSystem::<()>::builder().max_signals(1).build();
    /// let only = system.create()?;
    /// assert_eq!(system.create().unwrap_err().code(), "exhausted");
    /// drop(only);
    /// assert!(system.create().is_ok());
    /// # Ok::<(), reveille_core::SignalError>(())
    /// ```
    #[must_use]
    pub fn max_signals(self, signals: usize) -> Self {
        Self {
            signals_max: signals,
            ..self
        }
    }

    /// What tells the time of [`tracked`](crate::Signal::tracked) signals; the system's clock by
    /// default.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use reveille_core::{ManualClock, SignalSystem};
    ///
    /// let clock = Arc::new(ManualClock::new());
    /// let system = SignalSystem::<()>::builder().clock(clock).build();
    /// let signal = system.create()?.tracked();
    /// let why = system.explain(signal.handle())?;
    /// assert_eq!(why.pending[0].owed.unwrap().since, jiff::Timestamp::UNIX_EPOCH);
    /// # signal.trigger(())?;
    /// # Ok::<(), reveille_core::SignalError>(())
    /// ```
    #[must_use]
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// How many outcomes stay readable after their signals left their slots: 1024 by default.
    ///
    /// A reason is at most 1 KiB, the failure of a merge a few; a value is as large as it is.
    /// Success without a value takes no place.
    ///
    /// ```
    /// use reveille_core::SignalSystem;
    ///
    /// let system = SignalSystem::<()>::builder().history(1).build();
    /// let [a, b] = [0; 2].map(|_| system.create().map(|signal| signal.into_handle()));
    /// let (a, b) = (a?, b?);
    /// system.poison(a, "first")?;
    /// system.poison(b, "second")?;
    /// assert_eq!(system.poll(a).unwrap_err().code(), "outcome_forgotten");
    /// assert!(system.poll(b).is_ok());
    /// # Ok::<(), reveille_core::SignalError>(())
    /// ```
    #[must_use]
    pub fn history(self, outcomes: usize) -> Self {
        Self {
            history: outcomes,
            ..self
        }
    }

    /// What reaches the signals of other systems. Without a router their handles are answered
    /// with [`ForeignHandle`](crate::SignalError::ForeignHandle).
    ///
    /// [`SignalRouter`] has an example.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use reveille_core::{SignalHandle, SignalProxy, SignalReply, SignalRequest, SignalRouter, SignalSystem};
    /// # #[derive(Debug)]
    /// # struct Slow(reveille_core::sync::Mutex<Vec<SignalProxy>>);
    /// # impl SignalRouter for Slow {
    /// #     fn subscribe(&self, proxy: SignalProxy) { self.0.lock().push(proxy); }
    /// #     fn request(&self, _: SignalHandle, _: SignalRequest, reply: SignalReply) { reply.answer(Ok(())); }
    /// # }
    /// # let router = Arc::new(Slow(Default::default()));
    /// let here = SignalSystem::builder().router(router.clone()).build();
    /// let elsewhere = SignalSystem::<()>::new().create()?.into_handle();
    /// let awaiter = here.awaiter(elsewhere)?;
    /// router.0.lock().remove(0).triggered(None); // the owner's report arrives
    /// assert_eq!(tokio_test::block_on(awaiter), Ok(()));
    /// # Ok::<(), reveille_core::SignalError>(())
    /// ```
    #[must_use]
    pub fn router(self, router: Arc<dyn SignalRouter<T>>) -> Self {
        Self {
            router: Some(router),
            ..self
        }
    }

    /// About how many signals of other systems are remembered: 1024 by default, 1 at least.
    ///
    /// Beyond that, complete ones and those that nobody waits for are forgotten, the latest used
    /// last; asked for again, their owner is asked again. Pending ones that somebody waits for
    /// are not forgotten.
    ///
    /// A signal here stands for each, and beside it a merge where `T` is not `()`: they take room
    /// of [`max_signals`](Self::max_signals), and, once forgotten, places in the
    /// [`history`](Self::history), which should be larger for that.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use reveille_core::{SignalHandle, SignalProxy, SignalReply, SignalRequest, SignalRouter, SignalSystem};
    /// # #[derive(Debug)]
    /// # struct Slow(reveille_core::sync::Mutex<Vec<SignalProxy>>);
    /// # impl SignalRouter for Slow {
    /// #     fn subscribe(&self, proxy: SignalProxy) { self.0.lock().push(proxy); }
    /// #     fn request(&self, _: SignalHandle, _: SignalRequest, reply: SignalReply) { reply.answer(Ok(())); }
    /// # }
    /// # let router = Arc::new(Slow(Default::default()));
    /// let here = SignalSystem::builder().router(router).max_foreign(1).build();
    /// let there = SignalSystem::<()>::new();
    /// for _ in 0..2 {
    ///     drop(here.awaiter(there.create()?.into_handle())?);
    /// }
    /// assert_eq!(here.stats().foreign, 1);
    /// # Ok::<(), reveille_core::SignalError>(())
    /// ```
    #[must_use]
    pub fn max_foreign(self, signals: usize) -> Self {
        Self {
            foreign_max: signals,
            ..self
        }
    }

    /// Makes the system.
    ///
    /// ```
    /// let system = reveille_core::SignalSystem::<String>::builder().build();
    /// assert_eq!(system.stats().slots, 0, "memory comes with the first signal");
    /// ```
    pub fn build(self) -> SignalSystem<T>
    where
        T: Clone + Send + Sync + 'static,
    {
        let random = || NonZeroU64::new(SystemIds.random_u64()).unwrap_or(NonZeroU64::MIN);
        let id = self.id.unwrap_or_else(random);
        let history = History::new(self.history, discard);
        let core = Core::new(id, self.signals_max, history, unit, self.clock);
        let (signals_max, foreign_max) = (self.signals_max, self.foreign_max);
        let foreigners = self
            .router
            .map(|router| Foreigners::new(router, foreign_max, signals_max));
        SignalSystem::of(core, foreigners)
    }
}

impl<T> Default for SignalSystemBuilder<T> {
    fn default() -> Self {
        Self {
            id: None,
            signals_max: 1 << 20,
            history: 1024,
            clock: Arc::new(SystemClock),
            router: None,
            foreign_max: 1024,
        }
    }
}

/// The value `()` if that is what `T` is.
fn unit<T: 'static>() -> Option<T> {
    let value: Box<dyn Any> = Box::new(());
    value.downcast::<T>().ok().map(|value| *value)
}
