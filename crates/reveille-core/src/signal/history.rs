//! The outcomes of older generations: the latest ones, in a bounded number.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::outcome::{Outcome, Remembered};

/// A slot's index and a generation of it.
pub(super) type Key = (u32, u32);

/// How many slots share a page of [`Forgotten`].
const PAGE: usize = 64;

/// Each record is under its key in `records`, and its key is once in `order`, oldest first.
pub(super) struct History<T> {
    capacity: usize,
    /// What the records do with their outcomes at last.
    discard: fn(Outcome<T>),
    order: VecDeque<Key>,
    records: HashMap<Key, Kept<T>, RandomState>,
    forgotten: Forgotten,
}

/// Of each slot, the latest generation whose failure left the history, or 0: of that one and
/// those before it, what is not in the history may have failed as well. A page is made when it
/// is first needed.
#[derive(Default)]
struct Forgotten(Vec<Option<Box<[u32; PAGE]>>>);

impl Forgotten {
    fn add(&mut self, (index, generation): Key) {
        let (page, place) = (index as usize / PAGE, index as usize % PAGE);
        if self.0.len() <= page {
            self.0.resize_with(page + 1, || None);
        }
        let last = &mut self.0[page].get_or_insert_with(|| Box::new([0; PAGE]))[place];
        *last = generation.max(*last);
    }

    fn has(&self, (index, generation): Key) -> bool {
        let page = self.0.get(index as usize / PAGE).and_then(Option::as_ref);
        page.is_some_and(|page| generation <= page[index as usize % PAGE])
    }
}

/// A record, which is shared from the first time that somebody asks for it: cloning a value is
/// the caller's code, and must not happen under the lock.
pub(super) enum Kept<T> {
    Own(Remembered<T>),
    Shared(Arc<Remembered<T>>),
    /// Between the two.
    Moved,
}

impl<T> Kept<T> {
    fn is_failure(&self) -> bool {
        match self {
            Self::Own(remembered) => remembered.ended().is_err(),
            Self::Shared(remembered) => remembered.ended().is_err(),
            Self::Moved => false,
        }
    }
}

impl<T> History<T> {
    pub(super) fn new(capacity: usize, discard: fn(Outcome<T>)) -> Self {
        Self {
            capacity,
            discard,
            order: VecDeque::new(),
            records: HashMap::default(),
            forgotten: Forgotten::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn get(&mut self, key: Key) -> Option<Arc<Remembered<T>>> {
        let kept = self.records.get_mut(&key)?;
        let shared = match mem::replace(kept, Kept::Moved) {
            Kept::Own(remembered) => Arc::new(remembered),
            Kept::Shared(remembered) => remembered,
            Kept::Moved => return None,
        };
        *kept = Kept::Shared(Arc::clone(&shared));
        Some(shared)
    }

    /// Whether it may be that the generation failed, if there is no record of it.
    pub(super) fn may_have_failed(&self, key: Key) -> bool {
        self.forgotten.has(key)
    }

    /// Adds a record and hands back the one that must go for it.
    #[must_use = "a value in it is dropped after unlocking"]
    pub(super) fn push(&mut self, key: Key, outcome: Outcome<T>) -> Option<Kept<T>> {
        let record = Kept::Own(Remembered::new(outcome, self.discard));
        let (oldest, evicted) = if self.capacity == 0 {
            (key, record)
        } else {
            let full = self.order.len() == self.capacity;
            let oldest = if full { self.order.pop_front() } else { None };
            self.order.push_back(key);
            self.records.insert(key, record);
            let oldest = oldest?;
            (oldest, self.records.remove(&oldest)?)
        };
        if evicted.is_failure() {
            self.forgotten.add(oldest);
        }
        Some(evicted)
    }

    /// Forgets everything, now and from now on.
    #[must_use = "the values are dropped after unlocking"]
    pub(super) fn end(&mut self) -> impl Sized + use<T> {
        self.capacity = 0;
        self.order.clear();
        mem::take(&mut self.records)
    }
}
