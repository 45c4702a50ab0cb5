//! What callers get.

use std::time::{Duration, Instant};

use reveille_types::{Cursor, EndReason, Epoch, Event, Gap, Invalid, Position};

/// How a wait came out. A time-out is an outcome, neither an event nor an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WaitOutcome {
    /// The events are here.
    Matched {
        /// The matching events in log order, each once.
        events: Vec<Event>,
        /// Where to go on: after the last of them.
        cursor: Cursor,
        /// What is missing before the first.
        gap: Option<Gap>,
    },
    /// The time was up.
    TimedOut {
        /// Where to go on: nothing before it matches. Never behind the start that was given.
        next: Cursor,
        /// How long was waited.
        waited: Duration,
    },
    /// The session is over without a match.
    Ended {
        /// Why.
        reason: EndReason,
        /// The end of the log.
        cursor: Cursor,
        /// What is missing before the end.
        gap: Option<Gap>,
    },
}

/// How a take came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TakeOutcome {
    /// The events are this taker's.
    Taken {
        /// The events, oldest first.
        taken: Vec<Taken>,
        /// How far the group has settled the events that are retained, without a hole.
        cursor: Cursor,
        /// What the group lost to retention since its last take.
        gap: Option<Gap>,
    },
    /// The time was up.
    TimedOut {
        /// How far the group has settled the events that are retained, without a hole.
        next: Cursor,
        /// How long was waited.
        waited: Duration,
    },
    /// The session is over, and nothing that matches is left or may come back.
    Ended {
        /// Why.
        reason: EndReason,
        /// The end of the log.
        cursor: Cursor,
        /// What the group lost to retention since its last take.
        gap: Option<Gap>,
    },
}

/// An event that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The event.
    pub event: Event,
    /// The right to settle it, if it was taken on lease.
    pub lease: Option<Lease>,
}

/// The right to settle one taken event before it is offered again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Names the lease.
    pub id: LeaseId,
    /// When the event is offered again.
    pub until: Instant,
}

/// Names a lease: one delivery of one event of one incarnation of a log. Text form
/// `<epoch>.<position>.<delivery>`. A later delivery of the same event fences the earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LeaseId {
    pub(crate) epoch: Epoch,
    pub(crate) position: Position,
    pub(crate) delivery: u32,
}

impl LeaseId {
    /// How often the event has been delivered to the group, this time included.
    #[must_use]
    pub fn delivery(&self) -> u32 {
        self.delivery
    }
}

impl std::fmt::Display for LeaseId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.epoch, self.position, self.delivery)
    }
}

impl std::str::FromStr for LeaseId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong = || Invalid::form("leases", "holds a text that is no lease");
        let mut parts = text.split('.');
        let (Some(epoch), Some(position), Some(delivery), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(wrong());
        };
        Ok(Self {
            epoch: epoch.parse().map_err(|_| wrong())?,
            position: position.parse().map_err(|_| wrong())?,
            delivery: delivery.parse().map_err(|_| wrong())?,
        })
    }
}

/// An event that a group was delivered too often without settling it, and that is set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The event.
    pub event: Event,
    /// How often it has been delivered.
    pub deliveries: u32,
}

/// What is known of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupInfo {
    /// How far the group has settled the events that are retained, without a hole.
    pub cursor: Cursor,
    /// Events that wait to be taken: neither settled, nor lost, nor on lease, nor dead. Those reserved
    /// for a taker that has not been polled since count.
    pub pending: u64,
    /// Events on lease.
    pub leased: usize,
    /// Takers that wait.
    pub waiting: usize,
    /// Dead letters.
    pub dead: usize,
    /// Bytes of events that are kept for this group alone: leased, reserved or given back after
    /// retention had dropped them, and dead letters.
    pub kept_bytes: usize,
    /// Events that the group has lost to a bound, so far.
    pub lost: u64,
    /// Events that have been set aside as dead letters, so far.
    pub died: u64,
    /// Dead letters that were dropped since the group kept too much, so far.
    pub dead_dropped: u64,
}

/// Events read at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The events, oldest first.
    pub events: Vec<Event>,
    /// Where the next page begins.
    pub cursor: Cursor,
    /// What is missing before the first event.
    pub gap: Option<Gap>,
    /// Whether the page reaches the end of the log.
    pub caught_up: bool,
    /// Why the session is over, if it is and the page reaches its end.
    pub ended: Option<EndReason>,
}

/// What a subscription yields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamItem {
    /// Events are missing exactly here.
    Gap(Gap),
    /// An event.
    Event(Event),
    /// History is done, live begins. Comes once.
    CaughtUp(Cursor),
    /// The session is over. Nothing follows.
    Ended {
        /// Why.
        reason: EndReason,
        /// The end of the log.
        cursor: Cursor,
    },
}

/// How far a subscription is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscriptionInfo {
    /// Everything before it has been handed out, told as missing, or passed over by the filter.
    pub cursor: Cursor,
    /// How many events lie between that and the end of the log.
    pub lag: u64,
    /// How many events it was told as missing, so far.
    pub missed: u64,
}

/// The answer to a cancel: the first one wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelOutcome {
    /// Whether an earlier cancel had been asked for.
    pub already_cancelled: bool,
    /// The reason that counts.
    pub reason: Option<String>,
    /// When it was asked for.
    pub time: jiff::Timestamp,
}
