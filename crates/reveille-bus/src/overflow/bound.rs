//! How far a subscriber may lag, and what happens then.

use reveille_types::Invalid;
use reveille_types::sets::OverflowPolicy;

/// How far a subscriber may lag, and what happens then.
///
/// | Policy | Beyond the bound |
/// |---|---|
/// | `drop_non_terminal` | the newest of the lowest rank goes, so that what is kept is the beginning |
/// | `drop_progress` | new progress goes; for what is no progress the oldest progress goes |
/// | `summarize_and_continue` | progress is folded into summaries; the rest as `drop_progress` |
/// | `drop_oldest` | the oldest of the lowest rank goes |
/// | `latest_only` | of the lowest rank the oldest goes for whose key there is a newer one, else the oldest |
/// | `fail_subscriber` | the subscription ends, and says from where to resume |
/// | `backpressure_caller` | nothing goes: who offers has to wait; not for live subscriptions |
///
/// A final event finds place by the going of the oldest of the lowest rank. `drop_oldest` and
/// `latest_only`, which make room for whatever comes, need no reserve and have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LagBound {
    capacity: usize,
    reserve: usize,
    policy: OverflowPolicy,
}

impl Default for LagBound {
    /// 1 024 events, one of the places for final ones alone, `drop_non_terminal`.
    fn default() -> Self {
        Self {
            capacity: 1_024,
            reserve: 1,
            policy: OverflowPolicy::DropNonTerminal,
        }
    }
}

impl LagBound {
    /// At most `capacity` events, of whose places `reserve` are for final events alone.
    ///
    /// # Errors
    /// [`Invalid`] unless the reserve is less than the capacity: there would be no place for any
    /// event that ends nothing.
    pub fn new(capacity: usize, reserve: usize, policy: OverflowPolicy) -> Result<Self, Invalid> {
        if capacity == 0 {
            return Err(Invalid::form("capacity", "is 0"));
        }
        if reserve >= capacity {
            return Err(Invalid::form("reserve", "is not less than the capacity"));
        }
        Ok(Self {
            capacity,
            reserve,
            policy,
        })
    }

    /// As [`new`](Self::new), with the largest reserve below the capacity if `reserve` is too large,
    /// and a capacity of at least 1.
    #[must_use]
    pub fn clamped(capacity: usize, reserve: usize, policy: OverflowPolicy) -> Self {
        let capacity = capacity.max(1);
        Self {
            capacity,
            reserve: reserve.min(capacity - 1),
            policy,
        }
    }

    /// How many events the subscriber may lag behind.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many of the places are for final events alone.
    #[must_use]
    pub fn reserve(&self) -> usize {
        self.reserve
    }

    /// What happens beyond.
    #[must_use]
    pub fn policy(&self) -> OverflowPolicy {
        self.policy
    }

    /// How many places there are for events that end nothing.
    pub(super) fn open_places(&self) -> usize {
        match self.policy {
            OverflowPolicy::DropOldest | OverflowPolicy::LatestOnly => self.capacity,
            _ => self.capacity - self.reserve,
        }
    }
}
