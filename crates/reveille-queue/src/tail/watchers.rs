//! Who waits for which events: found by what an event has, not by asking everybody.

use std::collections::{HashMap, HashSet};
use std::task::Waker;

use reveille_core::{Removed, WaitList, WaiterKey, WakeBatch};
use reveille_types::{Event, Filter, FilterField};

/// Waiters with their filters. Each stands under every text that its filter's best field asks for, or
/// under `everything` if it has none: so every event that matches its filter finds it.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    list: WaitList<Filter>,
    by_value: HashMap<FilterField, HashMap<Box<str>, HashSet<WaiterKey>>>,
    everything: HashSet<WaiterKey>,
    visits: u64,
}

impl Watchers {
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn visits(&self) -> u64 {
        self.visits
    }

    pub(super) fn register(&mut self, waker: Waker, filter: &Filter) -> WaiterKey {
        let key = self.list.insert(Some(waker), filter.clone());
        match filter.index() {
            None => {
                self.everything.insert(key);
            }
            Some((field, values)) => {
                let by_value = self.by_value.entry(field).or_default();
                for value in values {
                    by_value.entry(value.into()).or_default().insert(key);
                }
            }
        }
        key
    }

    pub(super) fn set_waker(&mut self, key: WaiterKey, waker: Waker) -> Option<Waker> {
        self.list.set_waker(key, waker)
    }

    pub(super) fn remove(&mut self, key: WaiterKey) -> Option<Removed<Filter>> {
        let removed = self.list.remove(key)?;
        let Some((field, values)) = removed.data.index() else {
            self.everything.remove(&key);
            return Some(removed);
        };
        if let Some(by_value) = self.by_value.get_mut(&field) {
            for value in values {
                if let Some(keys) = by_value.get_mut(value) {
                    keys.remove(&key);
                    if keys.is_empty() {
                        by_value.remove(value);
                    }
                }
            }
            if by_value.is_empty() {
                self.by_value.remove(&field);
            }
        }
        Some(removed)
    }

    /// Wakes whoever waits for this event.
    pub(super) fn offer(&mut self, event: &Event, batch: &mut WakeBatch) {
        let mut found: Vec<WaiterKey> = self.everything.iter().copied().collect();
        for (field, by_value) in &self.by_value {
            field.any_value(event, |value| {
                found.extend(by_value.get(value).into_iter().flatten());
                false
            });
        }
        self.visits += found.len() as u64;
        for key in found {
            if self
                .list
                .get(key)
                .is_some_and(|filter| filter.matches(event))
            {
                self.list.wake(key, batch);
            }
        }
    }
}
