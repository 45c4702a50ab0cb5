//! Waiting for a signal: with its value, or for its end alone.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::outcome::Outcome;
use super::shared::Shared;
use super::state::{Polled, Registration};
use crate::sync::Arc;
use crate::{Poison, SignalError, SignalHandle, WaiterKey};

/// Waits for a signal and gives its value, or why it failed.
///
/// Ready at once if the signal is complete, and with the outcome of its own generation however
/// late it is polled. It can be polled again after it is ready, and answers the same.
///
/// An awaiter does not keep the system alive: if its last owner is dropped, the awaiter ends
/// with [`PoisonKind::SystemDropped`](crate::PoisonKind::SystemDropped).
///
/// # Cancel safety
///
/// Dropping it unregisters it in O(1) and has no other effect.
#[must_use = "futures do nothing unless polled"]
pub struct SignalAwaiter<T = ()> {
    waiter: Waiter<T>,
}

impl<T> SignalAwaiter<T> {
    /// The signal that is waited for.
    pub fn handle(&self) -> SignalHandle {
        self.waiter.handle
    }

    pub(super) fn new(shared: &Arc<Shared<T>>, handle: SignalHandle) -> Result<Self, SignalError> {
        Ok(Self {
            waiter: Waiter::new(shared, handle, true)?,
        })
    }
}

impl<T: Clone> Future for SignalAwaiter<T> {
    type Output = Result<T, Poison>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.waiter.poll(cx).map(|outcome| match outcome {
            Outcome::Triggered(value) => {
                // Only a merge may have none, and it is then refused at registration.
                let value = value.as_deref().expect("an awaited signal carries a value");
                Ok(value.clone())
            }
            Outcome::Failed(poison) => Err(poison.clone()),
        })
    }
}

impl<T> fmt::Debug for SignalAwaiter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignalAwaiter")
            .field("handle", &self.handle())
            .finish_non_exhaustive()
    }
}

/// Waits for the end of any signal, merged ones included, without its value.
///
/// Otherwise as [`SignalAwaiter`].
///
/// # Cancel safety
///
/// Dropping it unregisters it in O(1) and has no other effect.
#[must_use = "futures do nothing unless polled"]
pub struct Completion<T = ()> {
    waiter: Waiter<T>,
}

impl<T> Completion<T> {
    /// The signal that is waited for.
    pub fn handle(&self) -> SignalHandle {
        self.waiter.handle
    }

    pub(super) fn new(shared: &Arc<Shared<T>>, handle: SignalHandle) -> Result<Self, SignalError> {
        Ok(Self {
            waiter: Waiter::new(shared, handle, false)?,
        })
    }
}

impl<T> Future for Completion<T> {
    type Output = Result<(), Poison>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.waiter.poll(cx).map(|outcome| match outcome {
            Outcome::Triggered(_) => Ok(()),
            Outcome::Failed(poison) => Err(poison.clone()),
        })
    }
}

impl<T> fmt::Debug for Completion<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completion")
            .field("handle", &self.handle())
            .finish_non_exhaustive()
    }
}

/// What both futures do: stay registered until the outcome is there, then keep it.
struct Waiter<T> {
    handle: SignalHandle,
    stage: Stage<T>,
}

enum Stage<T> {
    /// The key is valid: it is given up together with this stage, here or in the drop.
    Waiting {
        shared: Arc<Shared<T>>,
        key: WaiterKey,
    },
    Done(Outcome<T>),
}

impl<T> Waiter<T> {
    fn new(
        shared: &Arc<Shared<T>>,
        handle: SignalHandle,
        wants_value: bool,
    ) -> Result<Self, SignalError> {
        let registration = shared.with(|state, _| state.register(handle, wants_value))?;
        let stage = match registration {
            Registration::Waiting(key) => Stage::Waiting {
                shared: Arc::clone(shared),
                key,
            },
            Registration::Done(outcome) => Stage::Done(outcome),
        };
        Ok(Self { handle, stage })
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<&Outcome<T>> {
        if let Stage::Waiting { shared, key } = &self.stage {
            // Cloned before the lock is taken: wakers are the executor's code.
            let waker = cx.waker().clone();
            let polled =
                shared.with(|state, after| state.poll_waiter(self.handle, *key, waker, after));
            match polled {
                Polled::Pending { .. } => return Poll::Pending,
                Polled::Done { outcome, .. } => self.stage = Stage::Done(outcome),
            }
        }
        match &self.stage {
            Stage::Done(outcome) => Poll::Ready(outcome),
            Stage::Waiting { .. } => Poll::Pending,
        }
    }
}

impl<T> Drop for Waiter<T> {
    fn drop(&mut self) {
        if let Stage::Waiting { shared, key } = &self.stage {
            let removed = shared.with(|state, after| state.deregister(self.handle, *key, after));
            drop(removed);
        }
    }
}
