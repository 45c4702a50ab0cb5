//! Who subscribes, and how it fares.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use reveille_core::sync::Mutex;
use reveille_types::{Filter, Kind, Seq};
use slab::Slab;

/// Names a subscription of one bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriptionId(pub(crate) usize);

/// How a subscription fares. Plain counters: each is read by itself and publishes nothing else, so
/// relaxed order is enough.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// The last sequence number that was read.
    pub(crate) read_to: AtomicU64,
    pub(crate) delivered: AtomicU64,
    pub(crate) skipped: AtomicU64,
    pub(crate) errors: AtomicU64,
}

impl Counters {
    /// Only the subscription itself counts, so that no two additions meet; one that meets a reset is
    /// lost or undoes it.
    pub(crate) fn add(counter: &AtomicU64, count: u64) {
        let before = counter.load(Ordering::Relaxed);
        counter.store(before + count, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Entry {
    filter: Filter,
    counters: Arc<Counters>,
}

/// All subscriptions of a bus. Nothing of a subscription is left after it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    entries: Mutex<Slab<Entry>>,
}

impl Registry {
    pub(crate) fn add(&self, filter: Filter, counters: Arc<Counters>) -> SubscriptionId {
        SubscriptionId(self.entries.lock().insert(Entry { filter, counters }))
    }

    pub(crate) fn remove(&self, id: SubscriptionId) {
        let removed = self.entries.lock().try_remove(id.0);
        drop(removed);
    }

    /// How many subscriptions were made with just this filter.
    pub(crate) fn count_exact(&self, filter: &Filter) -> usize {
        let entries = self.entries.lock();
        entries.iter().filter(|(_, e)| e.filter == *filter).count()
    }

    /// How many different filters there are.
    pub(crate) fn count_filters(&self) -> usize {
        let entries = self.entries.lock();
        let filters: HashSet<&Filter> = entries.iter().map(|(_, entry)| &entry.filter).collect();
        filters.len()
    }

    /// Makes the counters of all subscriptions begin anew.
    pub(crate) fn reset(&self) {
        for (_, entry) in &*self.entries.lock() {
            let Counters {
                delivered,
                skipped,
                errors,
                read_to: _,
            } = &*entry.counters;
            for counter in [delivered, skipped, errors] {
                counter.store(0, Ordering::Relaxed);
            }
        }
    }

    /// How many subscriptions would get an event of this kind, if nothing but its kind is asked for.
    pub(crate) fn count_matching(&self, kind: &Kind) -> usize {
        let entries = self.entries.lock();
        entries
            .iter()
            .filter(|(_, e)| e.filter.may_match_kind(kind))
            .count()
    }

    pub(crate) fn stats(&self, latest: Seq) -> BTreeMap<SubscriptionId, SubscriptionStats> {
        let entries = self.entries.lock();
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        entries
            .iter()
            .map(|(id, entry)| {
                let counters = &entry.counters;
                let stats = SubscriptionStats {
                    delivered: get(&counters.delivered),
                    skipped: get(&counters.skipped),
                    errors: get(&counters.errors),
                    lag: latest.0.saturating_sub(get(&counters.read_to)),
                };
                (SubscriptionId(id), stats)
            })
            .collect()
    }
}

/// How one subscription fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscriptionStats {
    /// Events that it got.
    pub delivered: u64,
    /// Events that it was told to have missed because it was too slow.
    pub skipped: u64,
    /// Failures and panics of its predicate or handler.
    pub errors: u64,
    /// How many events, matching or not, it has not looked at yet.
    pub lag: u64,
}

/// How a bus fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusStats {
    /// Events that were shown, whoever published them, since the bus or its statistics began anew.
    pub published: u64,
    /// The same by kind; of very many kinds the latest to come have no count of their own.
    pub published_by_kind: BTreeMap<Kind, u64>,
    /// Retained events by kind.
    pub retained_by_kind: BTreeMap<Kind, usize>,
    /// How many events are retained.
    pub retained: usize,
    /// How many events are retained at most.
    pub retained_at_most: usize,
    /// How many different filters there are subscriptions with.
    pub filters: usize,
    /// Every subscription.
    pub subscriptions: BTreeMap<SubscriptionId, SubscriptionStats>,
    /// How many waiting subscribers publishing has looked at since the beginning.
    pub visits: u64,
}
