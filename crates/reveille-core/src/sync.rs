//! The synchronisation primitives of Reveille's crates: std's, or loom's in a model.
//!
//! Made for Reveille's own crates and their models, and exempt from any promise of stability.
//! With `--cfg loom` the same names come from the model checker, which then sees every step of
//! the code under test, and with `--cfg shuttle` from the scheduler that draws interleavings of
//! many tasks at random. What is shared but never changes (a text, a trait object) uses
//! [`std::sync::Arc`] directly, since there is nothing to model in it.

use std::fmt;
use std::sync::PoisonError;
#[cfg(reveille_tsan)]
use std::sync::TryLockError;

#[cfg(loom)]
use loom::sync as primitives;
#[cfg(shuttle)]
use shuttle::sync as primitives;
#[cfg(not(any(loom, shuttle)))]
use std::sync as primitives;

pub use primitives::atomic;
pub use primitives::{Arc, MutexGuard};

#[cfg(not(loom))]
pub(crate) use cell::UnsafeCell;
#[cfg(loom)]
pub(crate) use loom::cell::UnsafeCell;

/// One step of waiting for another thread that is between two steps of its own.
pub(crate) fn pause(backoff: &crossbeam_utils::Backoff) {
    #[cfg(loom)]
    {
        let _ = backoff;
        loom::thread::yield_now();
    }
    #[cfg(shuttle)]
    {
        let _ = backoff;
        shuttle::thread::yield_now();
    }
    #[cfg(not(any(loom, shuttle)))]
    backoff.snooze();
}

#[cfg(not(loom))]
mod cell {
    /// The standard cell with the access of loom's, which checks that nobody reads while
    /// somebody writes.
    #[derive(Debug)]
    pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        /// Looks at the value; the pointer may be read as long as nobody writes.
        pub(crate) fn with<R>(&self, look: impl FnOnce(*const T) -> R) -> R {
            look(self.0.get())
        }

        /// Changes the value; the pointer may be used as long as nobody else uses one.
        pub(crate) fn with_mut<R>(&self, change: impl FnOnce(*mut T) -> R) -> R {
            change(self.0.get())
        }
    }
}

/// A mutual exclusion lock that no panic can disable.
///
/// The standard lock refuses service after a panic in a critical section. Here no code of a
/// caller ever runs under a lock, so such a panic cannot leave a state half changed, and one
/// caller's panic must not disable the others.
///
/// ```
/// use reveille_core::sync::Mutex;
///
/// let count = Mutex::new(1);
/// *count.lock() += 1;
/// assert_eq!(*count.lock(), 2);
/// ```
pub struct Mutex<T>(primitives::Mutex<T>);

impl<T> Mutex<T> {
    /// A lock around `value`.
    ///
    /// ```
    /// let lock = reveille_core::sync::Mutex::new(1);
    /// assert_eq!(*lock.lock(), 1);
    /// ```
    pub fn new(value: T) -> Self {
        Self(primitives::Mutex::new(value))
    }

    /// Waits for the lock and holds it until the guard is dropped.
    ///
    /// ```
    /// let lock = reveille_core::sync::Mutex::new(vec![1]);
    /// lock.lock().push(2); // the guard ends with this statement
    /// assert_eq!(lock.lock().len(), 2);
    /// ```
    pub fn lock(&self) -> MutexGuard<'_, T> {
        #[cfg(not(reveille_tsan))]
        return self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The standard library waits where the thread sanitizer sees nothing.
        #[cfg(reveille_tsan)]
        loop {
            match self.0.try_lock() {
                Ok(guard) => return guard,
                Err(TryLockError::Poisoned(guard)) => return guard.into_inner(),
                Err(TryLockError::WouldBlock) => std::thread::yield_now(),
            }
        }
    }

    /// Takes the value out, which needs no lock as nobody else can reach it.
    ///
    /// ```
    /// assert_eq!(reveille_core::sync::Mutex::new(7).into_inner(), 7);
    /// ```
    pub fn into_inner(self) -> T {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

/// Shows the type alone: printing must not wait for a lock.
impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutex").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn panic_under_the_lock_leaves_it_usable() {
        let lock = Arc::new(Mutex::new(7));
        let other = Arc::clone(&lock);
        let outcome = std::thread::spawn(move || {
            let _guard = other.lock();
            panic!("on purpose");
        })
        .join();
        assert!(outcome.is_err());
        assert_eq!(*lock.lock(), 7);
    }
}
