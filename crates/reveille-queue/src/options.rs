//! What callers ask for.

use std::sync::LazyLock;
use std::time::Duration;

use reveille_types::{Durability, Filter, Invalid, Label, Position, Start, limits};

/// Bounds of the queue. All have defaults; all can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueLimits {
    /// Most bytes of one event: its payload and the text of its envelope.
    pub event_bytes: usize,
    /// Most events in one append.
    pub batch_events: usize,
    /// Events that a session retains unless it says otherwise.
    pub session_events: usize,
    /// Bytes that a session retains unless it says otherwise.
    pub session_bytes: usize,
    /// Bytes that the sessions of one tenant hold together. Beyond it the oldest events of the largest
    /// sessions go, with a gap; a batch that is larger is refused.
    pub bytes_per_tenant: usize,
    /// As [`bytes_per_tenant`](Self::bytes_per_tenant), for all sessions.
    pub bytes: usize,
    /// Most sessions of one tenant, ended ones included.
    pub sessions_per_tenant: usize,
    /// Most sessions in all, ended ones included.
    pub sessions: usize,
    /// Most waits, takes and subscriptions that wait in one session at once.
    pub waiters_per_session: usize,
    /// Most groups of one session.
    pub groups_per_session: usize,
    /// Most events of one group on lease at once.
    pub leases_per_group: usize,
    /// Most events that a group keeps although retention has dropped them (leased, reserved or given
    /// back), and dead letters. Beyond it the group loses the oldest, with a gap.
    pub kept_events_per_group: usize,
    /// Most bytes of those.
    pub kept_bytes_per_group: usize,
    /// How often an event is delivered to a group on lease before it is set aside as a
    /// [dead letter](crate::SessionLog::dead_letters); without end if none.
    pub max_deliveries: Option<u32>,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self {
            event_bytes: 256 * 1024,
            batch_events: 1_000,
            session_events: 10_000,
            session_bytes: 64 * 1024 * 1024,
            bytes_per_tenant: 1024 * 1024 * 1024,
            bytes: 3 * 1024 * 1024 * 1024,
            sessions_per_tenant: 100_000,
            sessions: 1_000_000,
            waiters_per_session: 10_000,
            groups_per_session: 1_000,
            leases_per_group: 10_000,
            kept_events_per_group: 1_000,
            kept_bytes_per_group: 16 * 1024 * 1024,
            max_deliveries: None,
        }
    }
}

/// How to create a session. What is left open comes from the [`Sessions`](crate::Sessions).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SessionOptions {
    /// Idle time to live: silence after which the session expires. `Duration::MAX` means never.
    pub ttl: Option<Duration>,
    /// Absolute lifetime: time after its creation at which the session expires whatever happens in it.
    /// No bound if none.
    pub lifetime: Option<Duration>,
    /// Most events to retain.
    pub max_events: Option<usize>,
    /// Most bytes to retain.
    pub max_bytes: Option<usize>,
    /// How often an event is delivered to a group on lease before it is set aside as a
    /// [dead letter](crate::SessionLog::dead_letters).
    pub max_deliveries: Option<u32>,
}

impl SessionOptions {
    /// With this idle time to live.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Expiring this long after its creation, however much happens in it.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// Retaining at most this many events.
    #[must_use]
    pub fn max_events(mut self, events: usize) -> Self {
        self.max_events = Some(events);
        self
    }

    /// Retaining at most this many bytes.
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// Setting an event aside when it has been delivered on lease this often and comes back.
    #[must_use]
    pub fn max_deliveries(mut self, deliveries: u32) -> Self {
        self.max_deliveries = Some(deliveries);
        self
    }

    /// Refuses a zero, which would mean "nothing" to one reader and "no bound" to another.
    pub(crate) fn check(&self) -> Result<(), Invalid> {
        let zero = |field: &'static str| Err(Invalid::form(field, "is 0"));
        if self.ttl == Some(Duration::ZERO) {
            return zero("ttl");
        }
        if self.lifetime == Some(Duration::ZERO) {
            return zero("lifetime");
        }
        if self.max_events == Some(0) {
            return zero("max_events");
        }
        if self.max_bytes == Some(0) {
            return zero("max_bytes");
        }
        if self.max_deliveries == Some(0) {
            return zero("max_deliveries");
        }
        Ok(())
    }
}

/// On which conditions to append.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct AppendOptions {
    /// Append only if the log ends here.
    pub expected: Option<Position>,
    /// The least that the events must survive; the backend's default if none.
    pub durability: Option<Durability>,
}

impl AppendOptions {
    /// Append only if the log ends here (compare and append).
    #[must_use]
    pub fn expecting(mut self, position: Position) -> Self {
        self.expected = Some(position);
        self
    }
}

/// What to wait for.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WaitOptions {
    /// What must be matched. Never empty.
    pub filters: Vec<Filter>,
    /// How many of the filters must have been matched; 1 means any of them.
    pub needed: usize,
    /// Where to begin looking.
    pub start: Start,
    /// After how long to give up; never if none.
    pub timeout: Option<Duration>,
}

impl WaitOptions {
    /// One event that matches `filter`, from the beginning of the log, however long it takes.
    #[must_use]
    pub fn any(filter: Filter) -> Self {
        Self::n_of(1, vec![filter])
    }

    /// One event that matches any of `filters`.
    #[must_use]
    pub fn any_of(filters: Vec<Filter>) -> Self {
        Self::n_of(1, filters)
    }

    /// An event for each of this many of `filters`, whichever come first; one event may match several
    /// of them.
    #[must_use]
    pub fn n_of(needed: usize, filters: Vec<Filter>) -> Self {
        Self {
            filters,
            needed,
            start: Start::Earliest,
            timeout: None,
        }
    }

    /// An event for each of `filters`; one event may match several of them.
    #[must_use]
    pub fn all(filters: Vec<Filter>) -> Self {
        Self::n_of(filters.len(), filters)
    }

    /// Looking from here on.
    #[must_use]
    pub fn from(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// Giving up after this time.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    pub(crate) fn check(&self) -> Result<(), Invalid> {
        if self.filters.is_empty() {
            return Err(Invalid::Empty {
                field: "match".into(),
            });
        }
        if self.needed == 0 || self.needed > self.filters.len() {
            return Err(Invalid::form("needed", "is not between 1 and the filters"));
        }
        Ok(())
    }
}

/// The group of takers who name none.
const DEFAULT_GROUP: &str = "default";

/// What to take.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TakeOptions {
    /// The group that consumes.
    pub group: Label,
    /// Which events.
    pub filter: Filter,
    /// Only events from this position on; the others stay for others of the group.
    pub from: Position,
    /// Most events to take at once.
    pub max: usize,
    /// How long the events stay with the taker before they are offered again; for good if none.
    pub lease: Option<Duration>,
    /// After how long to give up; never if none.
    pub timeout: Option<Duration>,
}

impl Default for TakeOptions {
    fn default() -> Self {
        // A constant that keeps the rules of a label.
        static GROUP: LazyLock<Label> =
            LazyLock::new(|| Label::parse(DEFAULT_GROUP).unwrap_or_else(|_| unreachable!()));
        Self {
            group: GROUP.clone(),
            filter: Filter::all(),
            from: Position::START,
            max: 1,
            lease: None,
            timeout: None,
        }
    }
}

impl TakeOptions {
    /// One event, any, for the default group, for good, however long it takes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// For this group.
    #[must_use]
    pub fn group(mut self, group: Label) -> Self {
        self.group = group;
        self
    }

    /// Only events that match.
    #[must_use]
    pub fn matching(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }

    /// Only events from this position on.
    #[must_use]
    pub fn from(mut self, position: Position) -> Self {
        self.from = position;
        self
    }

    /// At most this many events at once.
    #[must_use]
    pub fn max(mut self, events: usize) -> Self {
        self.max = events;
        self
    }

    /// To be acknowledged within this time.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease);
        self
    }

    /// Giving up after this time.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    pub(crate) fn check(&self) -> Result<(), Invalid> {
        if self.group.as_str().len() > limits::GROUP_BYTES {
            return Err(Invalid::TooLarge {
                field: "group".into(),
                limit: limits::GROUP_BYTES as u64,
                actual: self.group.as_str().len() as u64,
                unit: "bytes",
            });
        }
        if self.max == 0 {
            return Err(Invalid::form("max", "is 0"));
        }
        if self.lease == Some(Duration::ZERO) {
            return Err(Invalid::form("lease", "is 0"));
        }
        Ok(())
    }
}

/// What to follow.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct SubscribeOptions {
    /// Which events.
    pub filter: Filter,
    /// Where to begin.
    pub start: Start,
}

impl SubscribeOptions {
    /// Every event from here on.
    #[must_use]
    pub fn from(start: Start) -> Self {
        Self {
            filter: Filter::all(),
            start,
        }
    }

    /// Only events that match.
    #[must_use]
    pub fn matching(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }
}

/// What to read at once.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PageOptions {
    /// Which events.
    pub filter: Filter,
    /// Where to begin.
    pub start: Start,
    /// Most events.
    pub limit: usize,
}

impl PageOptions {
    /// At most `limit` events from here on.
    #[must_use]
    pub fn from(start: Start, limit: usize) -> Self {
        Self {
            filter: Filter::all(),
            start,
            limit,
        }
    }

    /// Only events that match.
    #[must_use]
    pub fn matching(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }
}
