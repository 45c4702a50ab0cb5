//! Waiting for a system to have nothing pending.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::slots::Core;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Arc, Mutex};
use crate::{WaitList, WaiterKey, WakeBatch};

/// What an orderly shutdown waits for: the signals that were pending at its start.
#[derive(Default)]
pub(super) struct Drain {
    /// How many of them are, and one more while they are being counted.
    pending: AtomicUsize,
    waiters: Mutex<WaitList<()>>,
}

impl Drain {
    /// Counts what is pending in `core`, which takes no new signals any more. Gives how much
    /// that is, what was counted before included.
    pub(super) fn count<T>(&self, core: &Core<T>) -> usize {
        let mut pending = 0;
        self.pending.fetch_add(1, Ordering::AcqRel);
        core.visit(|slot| {
            // Before the signal can count itself down.
            self.pending.fetch_add(1, Ordering::AcqRel);
            let counted = slot.count();
            pending += usize::from(counted.is_some());
            if counted != Some(true) {
                self.pending.fetch_sub(1, Ordering::AcqRel);
            }
        });
        let mut wakes = WakeBatch::new();
        self.count_down(&mut wakes);
        wakes.wake_all();
        pending
    }

    /// Notes that a counted signal is complete.
    pub(super) fn count_down(&self, wakes: &mut WakeBatch) {
        if self.pending.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.waiters.lock().wake_all(wakes);
        }
    }
}

/// Ready as soon as nothing counted is pending. Dropped, it leaves nothing behind.
pub(super) struct Drained<T> {
    core: Arc<Core<T>>,
    /// The place in the wait list, from the first poll that found something pending.
    key: Option<WaiterKey>,
}

impl<T> Drained<T> {
    pub(super) fn new(core: Arc<Core<T>>) -> Self {
        Self { core, key: None }
    }
}

impl<T> Future for Drained<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Cloned before the lock is taken, and a replaced one dropped after.
        let waker = cx.waker().clone();
        let _unneeded;
        let Self { core, key } = &mut *self;
        let drain = core.drain();
        let mut waiters = drain.waiters.lock();
        // Under the lock: the last completion counts down, then takes the lock to wake.
        if drain.pending.load(Ordering::Acquire) == 0 {
            _unneeded = Some(waker);
            return Poll::Ready(());
        }
        _unneeded = match *key {
            Some(key) => waiters.set_waker(key, waker),
            None => {
                *key = Some(waiters.insert(Some(waker), ()));
                None
            }
        };
        Poll::Pending
    }
}

impl<T> Drop for Drained<T> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let removed = self.core.drain().waiters.lock().remove(key);
            drop(removed);
        }
    }
}
