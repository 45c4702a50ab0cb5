//! The idempotency keys of one tenant: bounded by age and by number, whichever ends first.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use reveille_types::{Position, Seq};

/// How long a key is remembered.
pub const WINDOW: Duration = Duration::from_secs(600);
/// How many keys of one tenant are remembered.
pub const KEYS_PER_TENANT: usize = 100_000;

/// Names one incarnation of one log within the backend.
pub(crate) type LogId = u64;

/// What was appended under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) fingerprint: u64,
    pub(crate) position: Position,
    pub(crate) seq: Seq,
}

/// The keys of one tenant, oldest first in `order`. Every key in `known` stands in `order` once.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    known: HashMap<(LogId, Box<str>), Known>,
    order: VecDeque<(Instant, LogId, Box<str>)>,
}

impl Keys {
    pub(crate) fn get(&self, log: LogId, key: &str) -> Option<Known> {
        self.known.get(&(log, key.into())).copied()
    }

    /// Remembers a key that is not known yet.
    pub(crate) fn insert(&mut self, now: Instant, log: LogId, key: Box<str>, known: Known) {
        self.known.insert((log, key.clone()), known);
        self.order.push_back((now, log, key));
        if self.order.len() > KEYS_PER_TENANT {
            self.forget_oldest();
        }
    }

    /// Forgets what has become too old.
    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some((at, ..)) = self.order.front() {
            if now.saturating_duration_since(*at) < WINDOW {
                break;
            }
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, log, key)) = self.order.pop_front() {
            self.known.remove(&(log, key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(position: u64) -> Known {
        Known {
            fingerprint: 1,
            position: Position(position),
            seq: Seq(position + 1),
        }
    }

    #[test]
    fn forgets_by_age() {
        let start = Instant::now();
        let mut keys = Keys::default();
        keys.insert(start, 1, "a".into(), known(0));
        keys.insert(start + WINDOW / 2, 1, "b".into(), known(1));
        keys.expire(start + WINDOW);
        assert_eq!(keys.get(1, "a"), None);
        assert_eq!(keys.get(1, "b"), Some(known(1)));
    }

    #[test]
    fn forgets_the_oldest_beyond_the_bound() {
        let now = Instant::now();
        let mut keys = Keys::default();
        for n in 0..=KEYS_PER_TENANT as u64 {
            keys.insert(now, 1, n.to_string().into(), known(n));
        }
        assert_eq!(keys.get(1, "0"), None);
        assert_eq!(keys.get(1, "1"), Some(known(1)));
        assert_eq!(keys.known.len(), KEYS_PER_TENANT);
        assert_eq!(keys.order.len(), KEYS_PER_TENANT);
    }

    #[test]
    fn keys_of_two_logs_do_not_meet() {
        let mut keys = Keys::default();
        keys.insert(Instant::now(), 1, "a".into(), known(0));
        assert_eq!(keys.get(2, "a"), None);
    }
}
