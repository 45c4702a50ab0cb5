//! A group's consumption of one log: who has what, and who is next.
//!
//! ```text
//! available ──offer──▶ reserved ──claim──▶ settled ◀──────── skip, discard
//!     ▲                   │  └────claim────▶ leased ──ack──▶ settled
//!     ├──────drop─────────┘                     │
//!     ├──────nack, lease over───────────────────┤
//!     │                                         └──once too often──▶ dead
//!     └──────────────────────retry────────────────────────────────────┘
//! ```
//!
//! Invariants: an event is reserved for or leased to at most one taker; an available event matches no
//! taker that waits with room left (it would have been offered to the first of them), so that a taker
//! who comes later cannot overtake.

mod keeping;
mod replaying;
mod settling;
mod taking;

use std::collections::{BTreeMap, BTreeSet};
use std::task::Waker;
use std::time::{Duration, Instant};

use reveille_core::{Removed, WaitList, WaiterKey, WakeBatch};
use reveille_types::{Event, Filter, Position, PositionRanges};

use crate::outcome::DeadLetter;
use crate::state::Litter;
use crate::window::Window;
use keeping::Kept;
pub(crate) use replaying::{GroupRecord, Leased};
pub(crate) use taking::{Looked, TakeStep};

/// What a taker wants.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) filter: Filter,
    pub(crate) from: Position,
    pub(crate) max: usize,
    pub(crate) lease: Option<Duration>,
}

impl Wanted {
    fn wants(&self, event: &Event) -> bool {
        event.position() >= self.from && self.filter.matches(event)
    }
}

/// The bounds of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupTerms {
    /// Most events on lease at once.
    pub(crate) leases: usize,
    /// Most events that are kept although retention has dropped them.
    pub(crate) kept_events: usize,
    /// Most bytes of those.
    pub(crate) kept_bytes: usize,
    /// How often an event is delivered on lease before it is set aside; without end if none.
    pub(crate) deliveries: Option<u32>,
    /// Whether the group's steps are kept in a store, and count once they are there.
    pub(crate) stored: bool,
}

/// A taker that waits, with what has been reserved for it.
#[derive(Debug)]
pub(crate) struct Taker {
    wanted: Wanted,
    reserved: Vec<Position>,
}

/// An event that is not available, since somebody has it.
#[derive(Debug)]
struct Held {
    /// None if the event was let go of while it was on lease: it can be settled and not come back.
    event: Option<Event>,
    by: Holder,
}

#[derive(Debug)]
enum Holder {
    Taker(WaiterKey),
    Lease { delivery: u32, until: Instant },
}

/// One group's consumption.
#[derive(Debug)]
pub(crate) struct Group {
    terms: GroupTerms,
    /// Every event before it is settled, lost, held, orphaned or dead.
    next: Position,
    /// Settled positions from `next` on.
    settled: PositionRanges,
    /// The group wants nothing that is before.
    skipped: Position,
    held: BTreeMap<Position, Held>,
    /// The events in `held` that only the group has.
    outside: BTreeSet<Position>,
    /// When each lease in `held` is over.
    leases: BTreeSet<(Instant, Position)>,
    /// Leases in `held` that are not in the store yet, where the group's steps are kept in one.
    unconfirmed: BTreeSet<Position>,
    /// Available, and not found in the window: given back after retention had dropped them, or once
    /// dead.
    orphans: BTreeMap<Position, Event>,
    /// Delivered too often. Settled, as far as the rest of the group is concerned.
    dead: BTreeMap<Position, DeadLetter>,
    /// How often events that are not settled have been delivered on lease.
    deliveries: BTreeMap<Position, u32>,
    /// After how many deliveries an event that was dead once is dead again.
    pardoned: BTreeMap<Position, u32>,
    /// Lost to retention, and not told yet.
    lost: PositionRanges,
    takers: WaitList<Taker>,
    /// How often an event was given back and no taker waited for it.
    returned: u64,
    kept: Kept,
    counts: Counts,
}

/// What has happened in a group so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) lost: u64,
    pub(crate) dead: u64,
    pub(crate) dead_dropped: u64,
}

impl Group {
    /// A group that has taken nothing.
    pub(crate) fn new(terms: GroupTerms) -> Self {
        Self {
            terms,
            next: Position::START,
            settled: PositionRanges::new(),
            skipped: Position::START,
            held: BTreeMap::new(),
            outside: BTreeSet::new(),
            leases: BTreeSet::new(),
            unconfirmed: BTreeSet::new(),
            orphans: BTreeMap::new(),
            dead: BTreeMap::new(),
            deliveries: BTreeMap::new(),
            pardoned: BTreeMap::new(),
            lost: PositionRanges::new(),
            takers: WaitList::new(),
            returned: 0,
            kept: Kept::default(),
            counts: Counts::default(),
        }
    }

    /// How far the group has settled its events without a hole.
    pub(crate) fn next(&self) -> Position {
        self.next
    }

    pub(crate) fn waiting(&self) -> usize {
        self.takers.len()
    }

    pub(crate) fn leased(&self) -> usize {
        self.leases.len()
    }

    pub(crate) fn dead(&self) -> &BTreeMap<Position, DeadLetter> {
        &self.dead
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// How many events wait to be taken, those reserved for a taker included and those on lease not.
    pub(crate) fn pending(&self, window: &Window) -> u64 {
        let held = self.held.range(self.next..);
        let held = held.filter(|(position, _)| !self.settled.contains(position.0));
        let not_retained = self.settled.count() + held.count() as u64;
        let retained = window.latest().since(self.next) - not_retained;
        let reserved = self.held.len() - self.leases.len();
        retained + (reserved + self.orphans.len()) as u64
    }

    /// What the group lost since it was last told.
    pub(crate) fn told_lost(&mut self) -> PositionRanges {
        std::mem::take(&mut self.lost)
    }

    /// Notes what retention has taken from this group.
    pub(crate) fn account(&mut self, window: &Window) {
        let oldest = window.oldest();
        if self.next < oldest {
            let mut lost = PositionRanges::half_open(self.next, oldest);
            lost.subtract(&self.settled);
            let held = self.held.range(..oldest).map(|(position, _)| position);
            let orphans = self.orphans.range(..oldest).map(|(position, _)| position);
            for position in held.chain(orphans) {
                lost.remove(position.0, position.0);
            }
            self.counts.lost += lost.count();
            self.lost.merge(&lost);
            self.next = oldest;
            self.settled.remove(0, oldest.0 - 1);
            self.forget_settled();
        }
        self.advance();
    }

    /// Forgets how often those were delivered that cannot be delivered any more.
    fn forget_settled(&mut self) {
        let (held, orphans, dead) = (&self.held, &self.orphans, &self.dead);
        let next = self.next;
        let may_be_delivered = |position: &Position| {
            *position >= next
                || held.contains_key(position)
                || orphans.contains_key(position)
                || dead.contains_key(position)
        };
        self.deliveries.retain(|p, _| may_be_delivered(p));
        self.pardoned.retain(|p, _| may_be_delivered(p));
    }

    fn advance(&mut self) {
        if let Some(&(first, last)) = self.settled.as_slice().first()
            && first == self.next.0
        {
            self.settled.remove(first, last);
            self.next = Position(last).next();
        }
    }

    fn settle(&mut self, position: Position) {
        self.deliveries.remove(&position);
        self.pardoned.remove(&position);
        if position == self.next {
            self.next = position.next();
            self.advance();
        } else if position > self.next {
            self.settled.insert(position.0, position.0);
        }
    }

    /// Offers an event that was just appended to the first waiting taker that wants it and has room.
    pub(crate) fn offer(&mut self, event: &Event, batch: &mut WakeBatch) {
        self.reserve(event, false, batch);
    }

    /// Reserves an available event for the first waiting taker that wants it and has room.
    fn reserve(&mut self, event: &Event, kept: bool, batch: &mut WakeBatch) -> bool {
        let mut at = self.takers.first();
        while let Some(key) = at {
            if let Some(taker) = self.takers.get_mut(key)
                && taker.reserved.len() < taker.wanted.max
                && taker.wanted.wants(event)
            {
                taker.reserved.push(event.position());
                if kept && self.outside.insert(event.position()) {
                    self.kept.add(event);
                }
                let held = Held {
                    event: Some(event.clone()),
                    by: Holder::Taker(key),
                };
                self.held.insert(event.position(), held);
                self.takers.wake(key, batch);
                return true;
            }
            at = self.takers.next_after(key);
        }
        false
    }

    /// Whether an event of the window is nobody's.
    fn is_available(&self, event: &Event) -> bool {
        let position = event.position();
        !self.settled.contains(position.0) && !self.held.contains_key(&position)
    }

    /// Whether the group has moved on over this event, and has not asked for it since.
    fn is_skipped(&self, position: Position) -> bool {
        position < self.skipped && !self.pardoned.contains_key(&position)
    }

    /// Registers a taker behind all others.
    pub(crate) fn register(&mut self, waker: Waker, wanted: Wanted) -> WaiterKey {
        let taker = Taker {
            wanted,
            reserved: Vec::new(),
        };
        self.takers.insert(Some(waker), taker)
    }

    /// Makes `waker` the one of a waiting taker. What is handed back is to be dropped after the lock.
    pub(crate) fn set_waker(&mut self, key: WaiterKey, waker: Waker) -> Option<Waker> {
        self.takers.set_waker(key, waker)
    }

    /// Takes a waiting taker out; what was reserved for it goes to the next.
    pub(crate) fn leave(
        &mut self,
        key: WaiterKey,
        window: &Window,
        batch: &mut WakeBatch,
        litter: &mut Litter,
    ) -> Option<Removed<Taker>> {
        let mut removed = self.takers.remove(key)?;
        // The oldest goes to the first.
        removed.data.reserved.sort_unstable();
        for position in &removed.data.reserved {
            self.give_back(*position, window, batch, litter);
        }
        Some(removed)
    }

    /// Wakes all takers, so that they see that the session is over.
    pub(crate) fn wake_all(&mut self, batch: &mut WakeBatch) {
        self.takers.wake_all(batch);
    }
}
