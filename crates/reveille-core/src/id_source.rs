//! Where identifiers come from.

use std::fmt::Debug;
use std::hash::{BuildHasher, RandomState};

use uuid::Uuid;

/// A source of identifiers.
///
/// # Contract
///
/// No two calls ever give the same UUID, in this process or another, and each is greater than
/// those which had been given before the call.
pub trait IdSource: Debug + Send + Sync + 'static {
    /// A new UUID of version 7, which sorts by the time of its making.
    fn uuid(&self) -> Uuid;

    /// 64 random bits, good enough to tell incarnations apart; not a secret.
    fn random_u64(&self) -> u64;
}

/// Identifiers from the wall clock, a counter and the system's random source.
///
/// ```
/// use reveille_core::{IdSource, SystemIds};
///
/// let (first, second) = (SystemIds.uuid(), SystemIds.uuid());
/// assert!(first < second);
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemIds;

impl IdSource for SystemIds {
    fn uuid(&self) -> Uuid {
        Uuid::now_v7()
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

    use super::*;

    #[test]
    fn ids_from_many_threads_are_unique_and_ascend_in_each() {
        let threads: Vec<_> = (0..8)
            .map(|_| thread::spawn(|| (0..12_500).map(|_| SystemIds.uuid()).collect::<Vec<_>>()))
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
    fn random_numbers_differ() {
        assert_ne!(SystemIds.random_u64(), SystemIds.random_u64());
    }
}
