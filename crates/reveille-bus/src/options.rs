//! What callers ask for.

use std::fmt;
use std::sync::Arc;

use reveille_types::{Cursor, Event, Filter, Invalid};

/// Where a subscriber begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BusStart {
    /// With the oldest event that is retained. What retention dropped before is no gap.
    Earliest,
    /// With the next event to come.
    #[default]
    Latest,
    /// After this cursor.
    After(Cursor),
}

/// How many events a subscriber may lag behind if it does not say.
const DEFAULT_CAPACITY: usize = 1_024;

/// A predicate over an event: code of the caller's, which runs in the subscriber's own poll.
pub(crate) type Predicate = Arc<dyn Fn(&Event) -> bool + Send + Sync>;

/// What to subscribe to.
#[derive(Clone)]
#[non_exhaustive]
pub struct SubscribeOptions {
    /// Which events.
    pub filter: Filter,
    /// Where to begin.
    pub start: BusStart,
    /// How many matching events the subscriber may lag behind, once it has caught up, before it skips
    /// the oldest of them.
    pub capacity: usize,
    pub(crate) predicate: Option<Predicate>,
}

impl Default for SubscribeOptions {
    fn default() -> Self {
        Self::matching(Filter::all())
    }
}

impl SubscribeOptions {
    /// Events that match, from now on.
    #[must_use]
    pub fn matching(filter: Filter) -> Self {
        Self {
            filter,
            start: BusStart::Latest,
            capacity: DEFAULT_CAPACITY,
            predicate: None,
        }
    }

    /// Beginning here.
    #[must_use]
    pub fn from(mut self, start: BusStart) -> Self {
        self.start = start;
        self
    }

    /// Lagging at most this many matching events behind.
    #[must_use]
    pub fn capacity(mut self, events: usize) -> Self {
        self.capacity = events;
        self
    }

    /// Only events for which this answers `true`, besides what the filter asks for. It runs in the
    /// subscriber's own poll; a panic in it skips the event, is counted, and reaches nobody else. It
    /// does not count for the lag.
    #[must_use]
    pub fn predicate(mut self, wanted: impl Fn(&Event) -> bool + Send + Sync + 'static) -> Self {
        self.predicate = Some(Arc::new(wanted));
        self
    }

    pub(crate) fn check(&self) -> Result<(), Invalid> {
        match self.capacity {
            0 => Err(Invalid::form("capacity", "is 0")),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for SubscribeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubscribeOptions")
            .field("filter", &self.filter)
            .field("start", &self.start)
            .field("capacity", &self.capacity)
            .field("predicate", &self.predicate.is_some())
            .finish()
    }
}

/// Which events of the past to give.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct HistoryQuery {
    /// Which events.
    pub filter: Filter,
    /// The last so many of them; all that are retained if none. Zero gives none.
    pub limit: Option<usize>,
}

impl HistoryQuery {
    /// Events that match.
    #[must_use]
    pub fn matching(filter: Filter) -> Self {
        Self {
            filter,
            limit: None,
        }
    }

    /// The last so many of them.
    #[must_use]
    pub fn limit(mut self, events: usize) -> Self {
        self.limit = Some(events);
        self
    }
}
