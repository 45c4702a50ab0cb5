//! The outcomes of older generations: the latest ones, in a bounded number.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::outcome::Outcome;

/// A slot's index and a generation of it.
pub(super) type Key = (u32, u32);

/// Each record is under its key in `records`, and its key is once in `order`, oldest first.
pub(super) struct History<T> {
    capacity: usize,
    order: VecDeque<Key>,
    records: HashMap<Key, Kept<T>, RandomState>,
}

/// A record, which is shared from the first time that somebody asks for it: cloning a value is
/// the caller's code, and must not happen under the lock.
pub(super) enum Kept<T> {
    Own(Outcome<T>),
    Shared(Arc<Outcome<T>>),
    /// Between the two.
    Moved,
}

impl<T> History<T> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            order: VecDeque::new(),
            records: HashMap::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn get(&mut self, key: Key) -> Option<Arc<Outcome<T>>> {
        let kept = self.records.get_mut(&key)?;
        let shared = match mem::replace(kept, Kept::Moved) {
            Kept::Own(outcome) => Arc::new(outcome),
            Kept::Shared(outcome) => outcome,
            Kept::Moved => return None,
        };
        *kept = Kept::Shared(Arc::clone(&shared));
        Some(shared)
    }

    /// Adds a record and hands back the one that must go for it.
    #[must_use = "a value in it is dropped after unlocking"]
    pub(super) fn push(&mut self, key: Key, outcome: Outcome<T>) -> Option<(Key, Kept<T>)> {
        if self.capacity == 0 {
            return Some((key, Kept::Own(outcome)));
        }
        let evicted = if self.order.len() == self.capacity {
            self.order
                .pop_front()
                .and_then(|oldest| Some((oldest, self.records.remove(&oldest)?)))
        } else {
            None
        };
        self.order.push_back(key);
        self.records.insert(key, Kept::Own(outcome));
        evicted
    }

    /// Forgets everything, now and from now on.
    #[must_use = "the values are dropped after unlocking"]
    pub(super) fn end(&mut self) -> impl Sized + use<T> {
        self.capacity = 0;
        self.order.clear();
        mem::take(&mut self.records)
    }
}
