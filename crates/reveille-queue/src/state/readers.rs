//! The subscriptions of a session: how many there are, and how far each of them is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use reveille_core::WaiterKey;
use reveille_types::Position;
use slab::Slab;

use super::{SessionState, Watcher};
use crate::outcome::SubscriptionInfo;

/// How far a subscription is, as it says without any lock.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    read_to: AtomicU64,
    missed: AtomicU64,
}

impl Progress {
    /// Everything before this has been handed out, told as missing, or passed over.
    pub(crate) fn set_read_to(&self, position: Position) {
        self.read_to.store(position.0, Ordering::Relaxed);
    }

    /// This many more events were told as missing.
    pub(crate) fn add_missed(&self, events: u64) {
        self.missed.fetch_add(events, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Reader {
    progress: Arc<Progress>,
    /// Where it waits, once it has waited.
    waiter: Option<WaiterKey>,
}

/// All subscriptions, whether they have been polled or not.
#[derive(Debug, Default)]
pub(crate) struct Readers(Slab<Reader>);

impl Readers {
    pub(crate) fn enter(&mut self, progress: Arc<Progress>) -> usize {
        let waiter = None;
        self.0.insert(Reader { progress, waiter })
    }

    /// A reader that has read all there is waits under this key.
    pub(crate) fn waits(&mut self, reader: usize, key: WaiterKey) {
        if let Some(reader) = self.0.get_mut(reader) {
            reader.waiter = Some(key);
        }
    }

    pub(crate) fn leave(&mut self, reader: usize) {
        self.0.try_remove(reader);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl SessionState {
    /// How far each subscription is.
    pub(crate) fn subscriptions(&self) -> impl Iterator<Item = SubscriptionInfo> {
        let latest = self.window.latest();
        self.readers.0.iter().map(move |(_, reader)| {
            let watcher = reader.waiter.and_then(|key| self.watchers.get(key));
            // What a waiting reader's filter skips is not behind it.
            let passed = match watcher {
                Some(Watcher::Follow(follow)) => follow.next(),
                _ => Position::START,
            };
            let read_to = Position(reader.progress.read_to.load(Ordering::Relaxed)).max(passed);
            SubscriptionInfo {
                cursor: self.cursor(read_to),
                lag: latest.since(read_to),
                missed: reader.progress.missed.load(Ordering::Relaxed),
            }
        })
    }
}
