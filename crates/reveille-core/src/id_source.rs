//! Where identifiers come from.

use std::fmt::Debug;
use std::hash::{BuildHasher, RandomState};
use std::sync::Mutex;

use jiff::Timestamp;
use uuid::{ContextV7, Uuid};

/// A source of identifiers.
///
/// # Contract
///
/// No two calls ever give the same UUID, in this process or another, and each is greater than
/// those which had been given before the call.
///
/// ```
/// use reveille_core::{Clock, IdSource, SystemClock, SystemIds};
///
/// fn name(ids: &dyn IdSource) -> String {
///     format!("run-{}", ids.uuid(SystemClock.wall()))
/// }
///
/// assert_ne!(name(&SystemIds), name(&SystemIds));
/// ```
pub trait IdSource: Debug + Send + Sync + 'static {
    /// A new UUID of version 7 (RFC 9562, section 5.7), which sorts by the time of its making: `now`, by
    /// the wall clock. A clock that was set back makes no id smaller.
    ///
    /// ```
    /// use reveille_core::{Clock, IdSource, SystemClock, SystemIds};
    ///
    /// assert_eq!(SystemIds.uuid(SystemClock.wall()).get_version_num(), 7);
    /// ```
    fn uuid(&self, now: Timestamp) -> Uuid;

    /// 64 random bits, good enough to tell incarnations apart; not a secret.
    ///
    /// ```
    /// use reveille_core::{IdSource, SystemIds};
    ///
    /// assert_ne!(SystemIds.random_u64(), SystemIds.random_u64());
    /// ```
    fn random_u64(&self) -> u64;
}

/// Identifiers from the time, a counter and the system's random source.
///
/// ```
/// use reveille_core::{Clock, IdSource, SystemClock, SystemIds};
///
/// let now = SystemClock.wall();
/// let (first, second) = (SystemIds.uuid(now), SystemIds.uuid(now));
/// assert!(first < second);
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemIds;

impl IdSource for SystemIds {
    fn uuid(&self, now: Timestamp) -> Uuid {
        static CONTEXT: Mutex<ContextV7> = Mutex::new(ContextV7::new());
        // Times before 1970 count as the last one that was seen.
        let seconds = u64::try_from(now.as_second()).unwrap_or_default();
        let nanos = u32::try_from(now.subsec_nanosecond()).unwrap_or_default();
        Uuid::new_v7(uuid::Timestamp::from_unix(&CONTEXT, seconds, nanos))
    }

    fn random_u64(&self) -> u64 {
        // Without the system's source the keys of std's hash maps, seeded once per process and
        // different for each map, still tell incarnations apart.
        getrandom::u64().unwrap_or_else(|_| RandomState::new().hash_one(Uuid::now_v7()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::thread;

    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn ids_from_many_threads_are_unique_and_ascend_in_each() {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                thread::spawn(|| {
                    let id = |_| SystemIds.uuid(Timestamp::now());
                    (0..12_500).map(id).collect::<Vec<_>>()
                })
            })
            .collect();
        let mut all = HashSet::new();
        for thread in threads {
            let ids = thread.join().unwrap();
            assert!(ids.is_sorted_by(|a, b| a < b));
            all.extend(ids);
        }
        assert_eq!(all.len(), 100_000);
    }

    #[test]
    fn id_grows_when_the_clock_is_set_back() {
        let now = Timestamp::now();
        let before = SystemIds.uuid(now);
        for earlier in [now - SignedDuration::from_hours(1), Timestamp::MIN] {
            assert!(SystemIds.uuid(earlier) > before);
        }
    }

    #[test]
    fn random_numbers_differ() {
        assert_ne!(SystemIds.random_u64(), SystemIds.random_u64());
    }
}
