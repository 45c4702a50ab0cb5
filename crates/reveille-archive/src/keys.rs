//! The idempotency keys of one tenant: bounded by age and by number, whichever ends first.

use std::collections::{HashMap, VecDeque};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use reveille_types::{Position, Seq};

use crate::store::LogId;

/// How long a key is known, in milliseconds.
const WINDOW_MILLIS: i64 = 600_000;
/// How many keys of one tenant are known.
const KEYS_PER_TENANT: usize = 100_000;

/// What was appended under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) fingerprint: u64,
    pub(crate) position: Position,
    pub(crate) seq: Seq,
}

/// A key, what was appended under it, and when.
#[derive(Debug, Clone)]
pub(crate) struct KnownKey {
    /// Where it is stored.
    pub(crate) row: i64,
    pub(crate) log: LogId,
    pub(crate) key: Box<str>,
    pub(crate) known: Known,
    /// Unix milliseconds.
    pub(crate) at: i64,
}

/// The keys of one tenant, oldest first in `order`. Every key in `known` stands in `order` once.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    known: HashMap<LogId, HashMap<Box<str>, Known>>,
    order: VecDeque<(i64, i64, LogId, Box<str>)>,
}

impl Keys {
    pub(crate) fn get(&self, log: LogId, key: &str) -> Option<Known> {
        self.known.get(&log)?.get(key).copied()
    }

    /// Remembers a key that is not known yet.
    pub(crate) fn insert(&mut self, key: KnownKey) {
        let KnownKey {
            row,
            log,
            key,
            known,
            at,
        } = key;
        self.order.push_back((at, row, log, key.clone()));
        self.known.entry(log).or_default().insert(key, known);
    }

    /// Takes back what was inserted last.
    pub(crate) fn remove_newest(&mut self) {
        if let Some((_, _, log, key)) = self.order.pop_back() {
            self.remove(log, &key);
        }
    }

    /// Forgets what is too old or too much, and gives the rows.
    pub(crate) fn expire(&mut self, now: i64, rows: &mut Vec<i64>) {
        while let Some((at, ..)) = self.order.front() {
            let is_young = now.saturating_sub(*at) < WINDOW_MILLIS;
            if is_young && self.order.len() <= KEYS_PER_TENANT {
                break;
            }
            if let Some((_, row, log, key)) = self.order.pop_front() {
                self.remove(log, &key);
                rows.push(row);
            }
        }
    }

    fn remove(&mut self, log: LogId, key: &str) {
        if let Some(keys) = self.known.get_mut(&log) {
            keys.remove(key);
            if keys.is_empty() {
                self.known.remove(&log);
            }
        }
    }
}

/// Turns the monotonic clock of callers into Unix milliseconds, which mean something after a restart.
/// Steps of the wall clock while the archive is open change nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    monotonic: Instant,
    unix_millis: i64,
}

impl Times {
    pub(crate) fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let millis = since.map_or(0, |since| since.as_millis());
        Self {
            monotonic: Instant::now(),
            unix_millis: i64::try_from(millis).unwrap_or(i64::MAX),
        }
    }

    pub(crate) fn unix_millis(&self, at: Instant) -> i64 {
        let millis =
            |duration: std::time::Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        match at.checked_duration_since(self.monotonic) {
            Some(since) => self.unix_millis.saturating_add(millis(since)),
            None => self
                .unix_millis
                .saturating_sub(millis(self.monotonic.saturating_duration_since(at))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(log: LogId, n: u64, at: i64) -> KnownKey {
        KnownKey {
            row: n.cast_signed(),
            log,
            key: n.to_string().into(),
            known: Known {
                fingerprint: n,
                position: Position(n),
                seq: Seq(n + 1),
            },
            at,
        }
    }

    #[test]
    fn forgets_by_age_and_tells_the_rows() {
        let mut keys = Keys::default();
        keys.insert(key(1, 7, 0));
        keys.insert(key(2, 8, 1));
        let mut rows = Vec::new();
        keys.expire(WINDOW_MILLIS, &mut rows);
        assert_eq!(rows, [7]);
        assert_eq!(keys.get(1, "7"), None);
        assert_eq!(keys.get(2, "8").map(|known| known.position.0), Some(8));
        assert_eq!(keys.get(1, "8"), None, "keys of two logs do not meet");
    }

    #[test]
    fn forgets_the_oldest_beyond_the_bound() {
        let mut keys = Keys::default();
        for n in 0..=KEYS_PER_TENANT as u64 {
            keys.insert(key(1, n, 0));
        }
        let mut rows = Vec::new();
        keys.expire(0, &mut rows);
        assert_eq!(rows, [0]);
    }

    #[test]
    fn takes_back_the_newest() {
        let mut keys = Keys::default();
        keys.insert(key(1, 1, 0));
        keys.insert(key(1, 2, 0));
        keys.remove_newest();
        assert_eq!(keys.get(1, "2"), None);
        assert!(keys.get(1, "1").is_some());
    }

    #[test]
    fn times_go_both_ways() {
        let times = Times::new();
        let later = times.monotonic + std::time::Duration::from_secs(3);
        assert_eq!(times.unix_millis(later), times.unix_millis + 3_000);
        let earlier = times.monotonic - std::time::Duration::from_secs(1);
        assert_eq!(times.unix_millis(earlier), times.unix_millis - 1_000);
    }
}
