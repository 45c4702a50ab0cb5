//! Who waits for which events.

use std::task::Waker;

use reveille_core::{Removed, WaitList, WaiterKey, WakeBatch};
use reveille_types::{Event, Filter};

use super::index::{Index, IndexKey};

/// Waiters, found by their filters.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    list: WaitList<Option<IndexKey>>,
    index: Index<WaiterKey>,
    visits: u64,
}

/// What is left of a watcher, to be dropped after unlocking.
#[derive(Debug)]
pub(super) struct Gone {
    _waiter: Removed<Option<IndexKey>>,
    _filter: Option<Filter>,
}

impl Watchers {
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn visits(&self) -> u64 {
        self.visits
    }

    pub(super) fn register(&mut self, waker: Waker, filter: &Filter) -> WaiterKey {
        let key = self.list.insert(Some(waker), None);
        let indexed = self.index.insert(filter.clone(), key);
        if let Some(slot) = self.list.get_mut(key) {
            *slot = Some(indexed);
        }
        key
    }

    pub(super) fn set_waker(&mut self, key: WaiterKey, waker: Waker) -> Option<Waker> {
        self.list.set_waker(key, waker)
    }

    pub(super) fn remove(&mut self, key: WaiterKey) -> Option<Gone> {
        let waiter = self.list.remove(key)?;
        let filter = waiter.data.and_then(|indexed| self.index.remove(indexed));
        Some(Gone {
            _waiter: waiter,
            _filter: filter,
        })
    }

    /// Wakes whoever waits for this event.
    pub(super) fn offer(&mut self, event: &Event, batch: &mut WakeBatch) {
        let list = &mut self.list;
        let visits = self.index.lookup(event, |key| {
            list.wake(key, batch);
        });
        self.visits += visits as u64;
    }
}
