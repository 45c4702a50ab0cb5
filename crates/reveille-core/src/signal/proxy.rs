//! The router's side of a subscription: the right to tell how a signal elsewhere ended.

use std::fmt;
use std::sync::{Arc, Weak};

use super::foreign::Foreign;
use super::foreigners::Foreigners;
use crate::{Poison, PoisonKind, SignalError, SignalHandle};

/// The unique right to complete the local proxy of a signal of another system, given to
/// [`SignalRouter::subscribe`](crate::SignalRouter::subscribe).
///
/// Dropped unused, it ends whoever waits with [`PoisonKind::OwnerLost`]. That says nothing
/// about the signal, so it is not remembered: who waits next subscribes anew. An outcome that
/// the owner told is remembered, and answers everybody who asks later.
///
/// ```
/// use std::sync::Arc;
/// use reveille_core::{
///     PoisonKind, SignalHandle, SignalProxy, SignalReply, SignalRequest, SignalRouter,
///     SignalSystem,
/// };
///
/// /// Reaches nobody.
/// #[derive(Debug)]
/// struct Cut;
///
/// impl SignalRouter for Cut {
///     fn subscribe(&self, _proxy: SignalProxy) {}
///     fn request(&self, _: SignalHandle, _: SignalRequest, _reply: SignalReply) {}
/// }
///
/// let here = SignalSystem::builder().router(Arc::new(Cut)).build();
/// let handle = SignalSystem::<()>::new().create()?.into_handle();
/// let poison = tokio_test::block_on(here.awaiter(handle)?).unwrap_err();
/// assert_eq!((poison.handle(), poison.kind()), (handle, PoisonKind::OwnerLost));
/// # Ok::<(), reveille_core::SignalError>(())
/// ```
#[must_use = "a dropped proxy ends its waiters with `OwnerLost`"]
pub struct SignalProxy<T = ()> {
    /// `None` once the right is used, which consumes the proxy.
    foreign: Option<Arc<Foreign<T>>>,
    handle: SignalHandle,
    foreigners: Weak<Foreigners<T>>,
}

impl<T> SignalProxy<T> {
    pub(super) fn new(foreign: Arc<Foreign<T>>, foreigners: Weak<Foreigners<T>>) -> Self {
        Self {
            handle: foreign.handle(),
            foreign: Some(foreign),
            foreigners,
        }
    }

    /// The signal of the other system.
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
    /// let proxy = router.0.lock().remove(0); // as it was handed to `subscribe`
    /// assert_eq!(proxy.handle(), elsewhere);
    /// # drop(awaiter);
    /// # Ok::<(), reveille_core::SignalError>(())
    /// ```
    pub fn handle(&self) -> SignalHandle {
        self.handle
    }

    /// The owner tells that it was triggered; without a value, if it is a merge. Where `T` is
    /// `()` that makes no difference; else those who wait for a value learn that there is none,
    /// by a poison of the kind [`Refused`](PoisonKind::Refused).
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
    /// let proxy = router.0.lock().remove(0); // as it was handed to `subscribe`
    /// proxy.triggered(Some(()));
    /// assert_eq!(tokio_test::block_on(awaiter), Ok(()));
    /// # Ok::<(), reveille_core::SignalError>(())
    /// ```
    pub fn triggered(mut self, value: Option<T>) {
        if let Some(foreign) = self.foreign.take() {
            foreign.triggered(value);
        }
    }

    /// The owner tells that it failed, and why: whoever waits gets this poison as it is.
    ///
    /// Of the kinds [`OwnerLost`](PoisonKind::OwnerLost) and [`Refused`](PoisonKind::Refused)
    /// it is not remembered.
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
    /// let proxy = router.0.lock().remove(0); // as it was handed to `subscribe`
    /// # use reveille_core::{Poison, PoisonKind};
    /// proxy.failed(Poison::new(elsewhere, PoisonKind::Explicit, "disk full"));
    /// assert_eq!(tokio_test::block_on(awaiter).unwrap_err().reason(), "disk full");
    /// # Ok::<(), reveille_core::SignalError>(())
    /// ```
    pub fn failed(mut self, poison: Poison) {
        self.fail(poison);
    }

    /// The owner cannot tell how it ended: it does not know the signal, say, or has forgotten
    /// its outcome. Whoever waits gets a poison of the kind [`Refused`](PoisonKind::Refused)
    /// with the error as its reason.
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
    /// let proxy = router.0.lock().remove(0); // as it was handed to `subscribe`
    /// # use reveille_core::{PoisonKind, SignalError};
    /// proxy.refused(SignalError::UnknownSignal);
    /// let poison = tokio_test::block_on(awaiter).unwrap_err();
    /// assert_eq!((poison.kind(), poison.reason()), (PoisonKind::Refused, "signal is unknown"));
    /// # Ok::<(), reveille_core::SignalError>(())
    /// ```
    #[expect(
        clippy::needless_pass_by_value,
        reason = "what an operation of the owner returned, and of no use after this"
    )]
    pub fn refused(mut self, error: SignalError) {
        let reason = error.to_string();
        self.fail(Poison::new(self.handle, PoisonKind::Refused, reason));
    }

    /// Ends the subscription if nobody needs it any more, and hands it back otherwise. Looking
    /// and ending are one step: nobody can begin to wait for what is being ended.
    ///
    /// A subscription that this system has ended by itself, by a shutdown say, is not needed.
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
    /// let proxy = router.0.lock().remove(0); // as it was handed to `subscribe`
    /// let proxy = proxy.release().expect("somebody waits");
    /// drop(awaiter);
    /// assert!(proxy.release().is_none());
    /// # Ok::<(), reveille_core::SignalError>(())
    /// ```
    pub fn release(mut self) -> Option<Self> {
        let foreign = self.foreign.as_ref()?;
        if let Some(foreigners) = self.foreigners.upgrade()
            && !foreigners.forget_unwanted(foreign)
        {
            return Some(self);
        }
        if let Some(foreign) = self.foreign.take() {
            foreign.let_go();
        }
        None
    }

    fn fail(&mut self, poison: Poison) {
        let Some(foreign) = self.foreign.take() else {
            return;
        };
        let of_the_wait = matches!(poison.kind(), PoisonKind::OwnerLost | PoisonKind::Refused);
        // Before anybody is told, so that whoever then tries again subscribes anew.
        if of_the_wait && let Some(foreigners) = self.foreigners.upgrade() {
            foreigners.forget(&foreign);
        }
        foreign.failed(poison);
    }
}

impl<T> Drop for SignalProxy<T> {
    fn drop(&mut self) {
        if self.foreign.is_some() {
            let reason = format!("system {:016x} is not heard of", self.handle.system_id());
            self.fail(Poison::new(self.handle, PoisonKind::OwnerLost, reason));
        }
    }
}

impl<T> fmt::Debug for SignalProxy<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignalProxy")
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}
