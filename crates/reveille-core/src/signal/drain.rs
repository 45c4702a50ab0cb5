//! Waiting for a system to have nothing pending.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::shared::Shared;
use crate::WaiterKey;
use crate::sync::Arc;

/// Ready as soon as nothing is pending. Dropped, it leaves nothing behind.
pub(super) struct Drained<T> {
    shared: Arc<Shared<T>>,
    /// The place in the wait list, from the first poll that found something pending.
    key: Option<WaiterKey>,
}

impl<T> Drained<T> {
    pub(super) fn new(shared: Arc<Shared<T>>) -> Self {
        Self { shared, key: None }
    }
}

impl<T> Future for Drained<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Cloned before the lock is taken, and a replaced one dropped after.
        let waker = cx.waker().clone();
        let this = &mut *self;
        let (poll, _unneeded) = this.shared.with(|state, _| {
            if state.pending == 0 {
                return (Poll::Ready(()), Some(waker));
            }
            let unneeded = match this.key {
                Some(key) => state.drained.set_waker(key, waker),
                None => {
                    this.key = Some(state.drained.insert(Some(waker), ()));
                    None
                }
            };
            (Poll::Pending, unneeded)
        });
        poll
    }
}

impl<T> Drop for Drained<T> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let removed = self.shared.with(|state, _| state.drained.remove(key));
            drop(removed);
        }
    }
}
