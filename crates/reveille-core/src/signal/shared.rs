//! The memory of a system behind its lock, and what must wait until the lock is released.

use std::sync::Arc as StdArc;

use super::history::Record;
use super::outcome::Outcome;
use super::state::State;
use crate::WakeBatch;
use crate::sync::Mutex;

/// What awaiters, signals and systems share.
pub(super) struct Shared<T> {
    state: Mutex<State<T>>,
    /// The value `()` where `T` is that type: such systems allocate no values.
    unit: Option<StdArc<T>>,
}

/// What a critical section leaves to be done after it.
///
/// Wakers and values are the caller's code, which must not run under the lock.
pub(super) struct AfterUnlock<T> {
    pub(super) wakes: WakeBatch,
    /// The values that nobody needs any more.
    values: Vec<StdArc<T>>,
}

impl<T> Shared<T> {
    pub(super) fn new(state: State<T>, unit: Option<StdArc<T>>) -> Self {
        Self {
            state: Mutex::new(state),
            unit,
        }
    }

    /// The value, to be shared by all awaiters.
    pub(super) fn share(&self, value: T) -> StdArc<T> {
        self.unit.clone().unwrap_or_else(|| StdArc::new(value))
    }

    /// Runs `section` under the lock, and what it leaves behind after.
    ///
    /// `section` must drop neither a waker nor a value: it hands them back.
    pub(super) fn with<R>(
        &self,
        section: impl FnOnce(&mut State<T>, &mut AfterUnlock<T>) -> R,
    ) -> R {
        let mut after = AfterUnlock {
            wakes: WakeBatch::new(),
            values: Vec::new(),
        };
        // The guard ends with this statement, before `after` does.
        let result = section(&mut self.state.lock(), &mut after);
        drop(after);
        result
    }
}

impl<T> AfterUnlock<T> {
    /// Keeps the value of a record that is gone from the state.
    pub(super) fn retire(&mut self, record: Record<T>) {
        // A value without drop code is the same dropped here, and needs no place in the list.
        if let Outcome::Triggered(Some(value)) = record.outcome
            && std::mem::needs_drop::<T>()
        {
            self.values.push(value);
        }
    }
}
