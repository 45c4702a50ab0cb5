//! The outcomes of older generations: the latest ones, in a bounded number.

use std::collections::{HashMap, VecDeque};

use super::outcome::Outcome;

/// What is kept of one generation.
pub(super) struct Record<T> {
    pub(super) outcome: Outcome<T>,
    pub(super) derived: bool,
}

/// A slot's index and a generation of it.
type Key = (u32, u32);

/// Each record is under its key in `records`, and its key is once in `order`, oldest first.
pub(super) struct History<T> {
    capacity: usize,
    order: VecDeque<Key>,
    records: HashMap<Key, Record<T>>,
}

impl<T> History<T> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            order: VecDeque::new(),
            records: HashMap::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn get(&self, index: u32, generation: u32) -> Option<&Record<T>> {
        self.records.get(&(index, generation))
    }

    /// Adds a record and hands back the one that must go for it.
    #[must_use = "a value in it is dropped after unlocking"]
    pub(super) fn push(&mut self, key: Key, record: Record<T>) -> Option<Record<T>> {
        if self.capacity == 0 {
            return Some(record);
        }
        let evicted = if self.order.len() == self.capacity {
            self.order
                .pop_front()
                .and_then(|oldest| self.records.remove(&oldest))
        } else {
            None
        };
        self.order.push_back(key);
        self.records.insert(key, record);
        evicted
    }

    /// Forgets everything.
    #[must_use = "the values are dropped after unlocking"]
    pub(super) fn take_all(&mut self) -> HashMap<Key, Record<T>> {
        self.order.clear();
        std::mem::take(&mut self.records)
    }
}
