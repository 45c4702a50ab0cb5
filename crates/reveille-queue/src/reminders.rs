//! When to look at which session: one heap for all deadlines, so that an idle session costs no timer.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Weak};
use std::time::Instant;

use reveille_core::sync::Mutex;
use tokio::sync::Notify;

use crate::log::Shared;

/// When to look at which session. An entry may be early or superfluous, never late: a session moves
/// its deadline back without telling, and adds an entry when it moves it forward.
#[derive(Debug, Default)]
pub(crate) struct Reminders {
    due: Mutex<BinaryHeap<Reverse<Entry>>>,
    /// Told when an entry has become the first.
    pub(crate) sooner: Notify,
}

struct Entry {
    at: Instant,
    session: Weak<Shared>,
}

impl Reminders {
    pub(crate) fn add(&self, at: Instant, session: Weak<Shared>) {
        let first = {
            let mut due = self.due.lock();
            let first = due.peek().is_none_or(|entry| at < entry.0.at);
            due.push(Reverse(Entry { at, session }));
            first
        };
        if first {
            self.sooner.notify_one();
        }
    }

    /// Takes out a session that is due and still there.
    pub(crate) fn pop(&self, now: Instant) -> Option<Arc<Shared>> {
        let mut due = self.due.lock();
        while due.peek().is_some_and(|entry| entry.0.at <= now) {
            if let Some(session) = due.pop().and_then(|entry| entry.0.session.upgrade()) {
                return Some(session);
            }
        }
        None
    }

    /// When the next session is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.due.lock().peek().map(|entry| entry.0.at)
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}
