//! The answer to a request: the right to give it, and the future that has it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use crate::{PoisonKind, Signal, SignalAwaiter, SignalError};

/// What the owner of a signal says to a request.
pub(super) type Answer = Result<(), SignalError>;

/// The unique right to answer a request, given to
/// [`SignalRouter::request`](crate::SignalRouter::request).
///
/// Dropped unused, it answers [`OwnerLost`](SignalError::OwnerLost).
///
/// ```
/// # use std::sync::Arc;
/// # use reveille_core::{SignalError, SignalHandle, SignalProxy, SignalReply, SignalRequest, SignalRouter, SignalSystem};
/// # #[derive(Debug)]
/// # struct Slow(reveille_core::sync::Mutex<Vec<SignalReply>>);
/// # impl SignalRouter for Slow {
/// #     fn subscribe(&self, _: SignalProxy) {}
/// #     fn request(&self, _: SignalHandle, _: SignalRequest, reply: SignalReply) { self.0.lock().push(reply); }
/// # }
/// # let router = Arc::new(Slow(Default::default()));
/// # let here = SignalSystem::builder().router(router.clone()).build();
/// # let elsewhere = SignalSystem::<()>::new().create()?.into_handle();
/// let receipt = here.request(elsewhere, SignalRequest::Trigger(()));
/// let reply = router.0.lock().remove(0); // as it was handed to `request`
/// drop(reply);
/// assert_eq!(tokio_test::block_on(receipt).unwrap_err().code(), "owner_lost");
/// # Ok::<(), reveille_core::SignalError>(())
/// ```
#[must_use = "a dropped reply answers `OwnerLost`"]
pub struct SignalReply {
    /// `None` once the right is used, which consumes the reply.
    signal: Option<Signal<Answer>>,
    owner: u64,
    failed: Arc<AtomicU64>,
}

impl SignalReply {
    pub(super) fn new(signal: Signal<Answer>, owner: u64, failed: Arc<AtomicU64>) -> Self {
        Self {
            signal: Some(signal),
            owner,
            failed,
        }
    }

    /// Answers with what the owner said.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use reveille_core::{SignalError, SignalHandle, SignalProxy, SignalReply, SignalRequest, SignalRouter, SignalSystem};
    /// # #[derive(Debug)]
    /// # struct Slow(reveille_core::sync::Mutex<Vec<SignalReply>>);
    /// # impl SignalRouter for Slow {
    /// #     fn subscribe(&self, _: SignalProxy) {}
    /// #     fn request(&self, _: SignalHandle, _: SignalRequest, reply: SignalReply) { self.0.lock().push(reply); }
    /// # }
    /// # let router = Arc::new(Slow(Default::default()));
    /// # let here = SignalSystem::builder().router(router.clone()).build();
    /// # let elsewhere = SignalSystem::<()>::new().create()?.into_handle();
    /// let receipt = here.request(elsewhere, SignalRequest::Trigger(()));
    /// let reply = router.0.lock().remove(0); // as it was handed to `request`
    /// reply.answer(Err(SignalError::AlreadyTriggered));
    /// assert_eq!(tokio_test::block_on(receipt), Err(SignalError::AlreadyTriggered));
    /// # Ok::<(), reveille_core::SignalError>(())
    /// ```
    pub fn answer(mut self, answer: Result<(), SignalError>) {
        self.give(answer);
    }

    fn give(&mut self, answer: Answer) {
        if answer.is_err() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(signal) = self.signal.take() {
            // Refused if the system is gone, and with it whoever could ask.
            let _ = signal.trigger(answer);
        }
    }
}

impl Drop for SignalReply {
    fn drop(&mut self) {
        if self.signal.is_some() {
            let owner = self.owner;
            self.give(Err(SignalError::OwnerLost { owner }));
        }
    }
}

impl fmt::Debug for SignalReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignalReply")
            .field("owner", &format_args!("{:016x}", self.owner))
            .finish_non_exhaustive()
    }
}

/// Waits for the answer to a [`request`](crate::SignalSystem::request), which is under way
/// already. It can be polled again after it is ready, and answers the same.
///
/// # Errors
///
/// What the owner says, as [`trigger`](crate::SignalSystem::trigger),
/// [`poison`](crate::SignalSystem::poison) and [`cancel`](crate::SignalSystem::cancel) say it;
/// [`OwnerLost`](SignalError::OwnerLost) if the owner does not answer, and
/// [`ShutDown`](SignalError::ShutDown) if this system is dropped before it does: whether the
/// request had an effect is not known then.
///
/// # Cancel safety
///
/// Dropped, it takes nothing back: the request has its effect all the same, and if it fails it
/// is [counted](crate::SignalStats::requests_failed).
///
/// ```
/// use reveille_core::{SignalRequest, SignalSystem};
///
/// let system = SignalSystem::<()>::new();
/// let handle = system.create()?.into_handle();
/// let first = system.request(handle, SignalRequest::Trigger(()));
/// let second = system.request(handle, SignalRequest::Trigger(()));
/// assert_eq!(tokio_test::block_on(first), Ok(()));
/// assert_eq!(tokio_test::block_on(second).unwrap_err().code(), "already_triggered");
/// # Ok::<(), reveille_core::SignalError>(())
/// ```
pub struct SignalReceipt {
    state: State,
}

enum State {
    Known(Answer),
    Sent {
        answer: SignalAwaiter<Answer>,
        owner: u64,
    },
}

impl SignalReceipt {
    pub(super) fn known(answer: Answer) -> Self {
        let state = State::Known(answer);
        Self { state }
    }

    pub(super) fn sent(answer: SignalAwaiter<Answer>, owner: u64) -> Self {
        let state = State::Sent { answer, owner };
        Self { state }
    }
}

impl Future for SignalReceipt {
    type Output = Result<(), SignalError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.state {
            State::Known(answer) => Poll::Ready(answer.clone()),
            State::Sent { answer, owner } => Pin::new(answer).poll(cx).map(|answered| {
                answered.unwrap_or_else(|poison| match poison.kind() {
                    PoisonKind::SystemDropped => Err(SignalError::ShutDown {
                        reason: poison.reason().into(),
                    }),
                    _ => Err(SignalError::OwnerLost { owner: *owner }),
                })
            }),
        }
    }
}

impl fmt::Debug for SignalReceipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answer = match &self.state {
            State::Known(answer) => Some(answer),
            State::Sent { .. } => None,
        };
        f.debug_struct("SignalReceipt")
            .field("known", &answer)
            .finish_non_exhaustive()
    }
}
