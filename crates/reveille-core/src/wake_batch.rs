//! Wakers collected under a lock, to be woken after it.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

use smallvec::SmallVec;

/// How many wakers fit without an allocation.
const INLINE_LEN: usize = 8;

/// Wakers that were taken from a [`WaitList`](crate::WaitList) and are owed their wake.
///
/// Waking runs code of an executor, so it must happen after the owner's lock is released: make
/// the batch first, lock, collect, unlock, then call [`wake_all`](Self::wake_all). A batch that
/// is dropped wakes as well, so that an early return cannot lose a wake-up.
///
/// A waker that panics does not keep the others from being woken. Its panic ends in the batch
/// (the panic hook has reported it): it is a fault of that waiter's executor, and whoever
/// completes, publishes or cancels must not fail for it.
///
/// ```
/// use std::task::Waker;
/// use reveille_core::{WaitList, WakeBatch, sync::Mutex};
///
/// let waiters = Mutex::new(WaitList::new());
/// waiters.lock().insert(Some(Waker::noop().clone()), "data of the owner");
///
/// let mut batch = WakeBatch::new();
/// waiters.lock().wake_all(&mut batch); // the guard ends with this statement
/// assert_eq!(batch.len(), 1);
/// batch.wake_all();
/// ```
#[must_use = "the collected waiters sleep until the batch wakes them"]
#[derive(Default)]
pub struct WakeBatch {
    wakers: SmallVec<[Waker; INLINE_LEN]>,
}

impl WakeBatch {
    /// An empty batch, which has allocated nothing.
    ///
    /// ```
    /// assert!(reveille_core::WakeBatch::new().is_empty());
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// How many wakers are waiting in the batch.
    ///
    /// ```
    /// let mut batch = reveille_core::WakeBatch::new();
    /// batch.push(std::task::Waker::noop().clone());
    /// assert_eq!(batch.len(), 1);
    /// ```
    pub fn len(&self) -> usize {
        self.wakers.len()
    }

    /// Whether there is nobody to wake.
    ///
    /// ```
    /// let mut batch = reveille_core::WakeBatch::new();
    /// assert!(batch.is_empty());
    /// batch.push(std::task::Waker::noop().clone());
    /// assert!(!batch.is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.wakers.is_empty()
    }

    /// Adds a waker; they are woken in the order of adding.
    ///
    /// ```
    /// # use std::sync::{Arc, atomic::{AtomicBool, Ordering}};
    /// # use std::task::{Wake, Waker};
    /// # #[derive(Default)]
    /// # struct Flag(AtomicBool);
    /// # impl Wake for Flag {
    /// #     fn wake(self: Arc<Self>) { self.0.store(true, Ordering::Relaxed); }
    /// # }
    /// let flag = Arc::new(Flag::default());
    /// let mut batch = reveille_core::WakeBatch::new();
    /// batch.push(Waker::from(flag.clone()));
    /// drop(batch);
    /// assert!(flag.0.load(Ordering::Relaxed), "it wakes when it is dropped");
    /// ```
    pub fn push(&mut self, waker: Waker) {
        self.wakers.push(waker);
    }

    /// Wakes all of them in order. To be called while no lock is held.
    ///
    /// ```
    /// # use std::sync::{Arc, atomic::{AtomicBool, Ordering}};
    /// # use std::task::{Wake, Waker};
    /// # #[derive(Default)]
    /// # struct Flag(AtomicBool);
    /// # impl Wake for Flag {
    /// #     fn wake(self: Arc<Self>) { self.0.store(true, Ordering::Relaxed); }
    /// # }
    /// let flag = Arc::new(Flag::default());
    /// let mut batch = reveille_core::WakeBatch::new();
    /// batch.push(Waker::from(flag.clone()));
    /// batch.wake_all();
    /// assert!(flag.0.load(Ordering::Relaxed));
    /// ```
    pub fn wake_all(self) {
        drop(self);
    }
}

impl Drop for WakeBatch {
    fn drop(&mut self) {
        for waker in self.wakers.drain(..) {
            // The outcome is dropped: see the type's documentation.
            let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
        }
    }
}

impl fmt::Debug for WakeBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WakeBatch")
            .field("len", &self.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::task::Wake;

    use super::*;

    struct Logging(usize, Arc<Mutex<Vec<usize>>>);

    impl Wake for Logging {
        fn wake(self: Arc<Self>) {
            self.1.lock().unwrap().push(self.0);
            assert!(!matches!(self.0, 1 | 9), "a waker that panics");
        }
    }

    #[test]
    fn panicking_waker_does_not_keep_the_others_asleep() {
        let log = Arc::new(Mutex::new(Vec::new()));
        let mut batch = WakeBatch::new();
        assert!(batch.is_empty());
        // More than fit inline, so that both parts are woken, in order.
        for number in 0..11 {
            batch.push(Waker::from(Arc::new(Logging(number, Arc::clone(&log)))));
        }
        assert_eq!(batch.len(), 11);
        batch.wake_all();
        assert_eq!(*log.lock().unwrap(), Vec::from_iter(0..11));
    }

    #[test]
    fn dropped_batch_wakes() {
        let log = Arc::new(Mutex::new(Vec::new()));
        let mut batch = WakeBatch::new();
        batch.push(Waker::from(Arc::new(Logging(4, Arc::clone(&log)))));
        drop(batch);
        assert_eq!(*log.lock().unwrap(), [4]);
    }
}
