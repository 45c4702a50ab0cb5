//! The seam to the transports: how a system reaches the signals of others.

use std::fmt;
use std::sync::Arc;

use super::outcome::{Attempt, Outcome};
use crate::{Poison, PoisonKind, SignalHandle, SignalProxy, SignalReply};

/// Carries what a system wants from the owners of signals that are not its own.
///
/// A system with a [router](crate::SignalSystemBuilder::router) takes handles of other systems
/// wherever it takes its own. It runs no task and sets no timer, so it only says what it wants,
/// and the router answers through what it was handed, from any thread and at any time. Both
/// answers are rights like a [`Signal`](crate::Signal): used once, and if they are dropped
/// unused, whoever waits learns that the owner is lost.
///
/// # Contract
///
/// - Neither method blocks or waits. No lock is held during the call, so a router may answer
///   within it, and may call the system.
/// - Every request is sent and answered with the owner's answer, whatever else is under way for
///   the same handle. A request that is sent again has its effect once, and the same answer.
/// - Outcomes are of one handle, generation included. What the owner does not know is
///   [`refused`](SignalProxy::refused), and never told as success.
/// - Waits are limited by the router: it drops the proxy when the owner's lease runs out, and
///   the reply when the deadline of the request does. At each renewal of a lease it
///   [releases](SignalProxy::release) proxies that nobody waits for.
/// - At the owner, it serves handles of that system alone: it waits with
///   [`awaiter`](crate::SignalSystem::awaiter), or
///   [`completion`](crate::SignalSystem::completion) for what is
///   [`Derived`](crate::SignalError::Derived), and completes with
///   [`apply`](crate::SignalSystem::apply), which never routes on.
///
/// A router to a system in the same process:
///
/// ```
/// use std::sync::Arc;
/// use reveille_core::{
///     SignalHandle, SignalProxy, SignalReply, SignalRequest, SignalRouter, SignalStatus,
///     SignalSystem,
/// };
///
/// #[derive(Debug)]
/// struct Direct(SignalSystem);
///
/// impl SignalRouter for Direct {
///     fn subscribe(&self, proxy: SignalProxy) {
///         // A real router waits for the end in a task of its own.
///         match self.0.poll(proxy.handle()) {
///             Ok(SignalStatus::Triggered) => proxy.triggered(Some(())),
///             Ok(SignalStatus::Poisoned(poison) | SignalStatus::Cancelled(poison)) => {
///                 proxy.failed(poison);
///             }
///             Ok(SignalStatus::Pending) => drop(proxy),
///             Err(error) => proxy.refused(error),
///         }
///     }
///
///     fn request(&self, handle: SignalHandle, request: SignalRequest, reply: SignalReply) {
///         reply.answer(self.0.apply(handle, request));
///     }
/// }
///
/// let there = SignalSystem::new();
/// let here = SignalSystem::builder().router(Arc::new(Direct(there.clone()))).build();
/// let handle = there.create()?.into_handle();
/// let receipt = here.request(handle, SignalRequest::Trigger(()));
/// assert_eq!(tokio_test::block_on(receipt), Ok(()));
/// assert_eq!(tokio_test::block_on(here.awaiter(handle)?), Ok(()));
/// assert_eq!(here.poll(handle)?, SignalStatus::Triggered);
/// # Ok::<(), reveille_core::SignalError>(())
/// ```
pub trait SignalRouter<T = ()>: fmt::Debug + Send + Sync {
    /// Somebody waits for the signal [`proxy.handle()`](SignalProxy::handle): the owner is to
    /// tell how it ends, at once if it has. Called once for all who wait for it, as long as the
    /// system remembers it.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use reveille_core::{
    ///     SignalHandle, SignalProxy, SignalReply, SignalRequest, SignalRouter, SignalSystem,
    /// };
    ///
    /// /// Tells of everything that it was triggered.
    /// #[derive(Debug)]
    /// struct Yes;
    ///
    /// impl SignalRouter for Yes {
    ///     fn subscribe(&self, proxy: SignalProxy) {
    ///         proxy.triggered(None);
    ///     }
    /// #     fn request(&self, _: SignalHandle, _: SignalRequest, _: SignalReply) {}
    /// }
    ///
    /// let here = SignalSystem::builder().router(Arc::new(Yes)).build();
    /// let awaiter = here.awaiter(SignalHandle::from_raw(1))?;
    /// assert_eq!(tokio_test::block_on(awaiter), Ok(()));
    /// # Ok::<(), reveille_core::SignalError>(())
    /// ```
    fn subscribe(&self, proxy: SignalProxy<T>);

    /// The signal is to be completed by its owner, whose answer goes to `reply`.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use reveille_core::{
    ///     SignalError, SignalHandle, SignalProxy, SignalReply, SignalRequest, SignalRouter, SignalSystem,
    /// };
    ///
    /// /// Knows no signal.
    /// #[derive(Debug)]
    /// struct No;
    ///
    /// impl SignalRouter for No {
    /// #     fn subscribe(&self, _: SignalProxy) {}
    ///     fn request(&self, _: SignalHandle, _: SignalRequest, reply: SignalReply) {
    ///         reply.answer(Err(SignalError::UnknownSignal));
    ///     }
    /// }
    ///
    /// let here = SignalSystem::builder().router(Arc::new(No)).build();
    /// let receipt = here.request(SignalHandle::from_raw(1), SignalRequest::Trigger(()));
    /// assert_eq!(tokio_test::block_on(receipt), Err(SignalError::UnknownSignal));
    /// ```
    fn request(&self, handle: SignalHandle, request: SignalRequest<T>, reply: SignalReply);
}

/// What is asked of the owner of a signal.
///
/// ```
/// use reveille_core::{SignalRequest, SignalSystem};
///
/// let system = SignalSystem::<u32>::new();
/// let handle = system.create()?.into_handle();
/// system.apply(handle, SignalRequest::Cancel("not needed any more".into()))?;
/// assert_eq!(system.trigger(handle, 1).unwrap_err().code(), "already_cancelled");
/// # Ok::<(), reveille_core::SignalError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignalRequest<T = ()> {
    /// To complete it with success, as [`trigger`](crate::SignalSystem::trigger).
    Trigger(T),
    /// To complete it with a failure for this reason, as [`poison`](crate::SignalSystem::poison).
    Poison(Arc<str>),
    /// To complete it as cancelled for this reason, as [`cancel`](crate::SignalSystem::cancel).
    Cancel(Arc<str>),
}

impl<T> SignalRequest<T> {
    pub(super) fn into_parts(self, handle: SignalHandle) -> (Attempt, Outcome<T>) {
        let failed = |kind, reason| Outcome::Failed(Poison::new(handle, kind, reason));
        match self {
            Self::Trigger(value) => (Attempt::Trigger, Outcome::Triggered(Some(value))),
            Self::Poison(reason) => (Attempt::Poison, failed(PoisonKind::Explicit, reason)),
            Self::Cancel(reason) => (Attempt::Cancel, failed(PoisonKind::Cancelled, reason)),
        }
    }
}
