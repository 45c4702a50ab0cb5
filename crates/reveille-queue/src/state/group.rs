//! A group's consumption of one log: who has what, and who is next.
//!
//! ```text
//! available ──offer──▶ reserved ──claim──▶ settled
//!     ▲                   │  └────claim────▶ leased ──ack──▶ settled
//!     ├──────drop─────────┘                     │
//!     └──────nack, lease over───────────────────┘
//! ```
//!
//! Invariants: an event is reserved for or leased to at most one taker; an available event matches no
//! taker that waits with room left (it would have been offered to the first of them), so that a taker
//! who comes later cannot overtake.

use std::collections::BTreeMap;
use std::task::Waker;
use std::time::{Duration, Instant};

use reveille_core::{Removed, WaitList, WaiterKey, WakeBatch};
use reveille_types::{Epoch, Event, Filter, Position, PositionRanges};

use crate::error::SettleError;
use crate::outcome::{Lease, LeaseId, Taken};
use crate::window::Window;

/// What a lease lasts that is too long for the clock: 30 years.
const LONGEST_LEASE: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

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

/// A taker that waits, with what has been reserved for it.
#[derive(Debug)]
pub(crate) struct Taker {
    wanted: Wanted,
    reserved: Vec<Position>,
}

#[derive(Debug)]
struct Held {
    event: Event,
    by: Holder,
}

#[derive(Debug, PartialEq, Eq)]
enum Holder {
    Taker,
    Lease { delivery: u32, until: Instant },
}

/// One group's consumption.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// Every event before it is settled, lost, held or orphaned.
    next: Position,
    /// Settled positions from `next` on.
    settled: PositionRanges,
    held: BTreeMap<Position, Held>,
    /// Given back after retention had dropped them from the window. All are before its oldest.
    orphans: BTreeMap<Position, Event>,
    /// How often events that are not settled have been delivered on lease.
    deliveries: BTreeMap<Position, u32>,
    /// Lost to retention, and not told yet.
    lost: PositionRanges,
    takers: WaitList<Taker>,
}

/// Whether a take is over.
#[derive(Debug)]
pub(crate) enum TakeStep {
    Taken(Vec<Taken>),
    /// Nothing is available now.
    Nothing {
        /// Whether an event that matches may come back from another taker.
        may_come_back: bool,
    },
}

impl Group {
    /// How far the group has settled its events without a hole.
    pub(crate) fn next(&self) -> Position {
        self.next
    }

    pub(crate) fn waiting(&self) -> usize {
        self.takers.len()
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
            for position in self.held.keys().chain(self.orphans.keys()) {
                lost.remove(position.0, position.0);
            }
            self.lost.merge(&lost);
            self.deliveries.retain(|p, _| {
                *p >= oldest || self.held.contains_key(p) || self.orphans.contains_key(p)
            });
            self.settled.remove(0, oldest.0 - 1);
            self.next = oldest;
        }
        self.advance();
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
        if position >= self.next {
            self.settled.insert(position.0, position.0);
            self.advance();
        }
    }

    /// Offers an event to the first waiting taker that wants it and has room.
    pub(crate) fn offer(&mut self, event: &Event, batch: &mut WakeBatch) -> bool {
        let mut at = self.takers.first();
        while let Some(key) = at {
            if let Some(taker) = self.takers.get_mut(key)
                && taker.reserved.len() < taker.wanted.max
                && taker.wanted.wants(event)
            {
                taker.reserved.push(event.position());
                self.held.insert(
                    event.position(),
                    Held {
                        event: event.clone(),
                        by: Holder::Taker,
                    },
                );
                self.takers.wake(key, batch);
                return true;
            }
            at = self.takers.next_after(key);
        }
        false
    }

    /// Makes a held event available again.
    fn give_back(&mut self, position: Position, window: &Window, batch: &mut WakeBatch) {
        let Some(held) = self.held.remove(&position) else {
            return;
        };
        if !self.offer(&held.event, batch) && position < window.oldest() {
            self.orphans.insert(position, held.event);
        }
    }

    /// Takes what is available now.
    pub(crate) fn take_now(
        &mut self,
        wanted: &Wanted,
        window: &Window,
        epoch: Epoch,
        now: Instant,
    ) -> TakeStep {
        self.account(window);
        let orphans = self.orphans.values();
        let retained = window
            .from(self.next.max(wanted.from))
            .filter(|e| !self.settled.contains(e.position().0))
            .filter(|e| !self.held.contains_key(&e.position()));
        let found: Vec<Event> = orphans
            .chain(retained)
            .filter(|e| wanted.wants(e))
            .take(wanted.max)
            .cloned()
            .collect();
        if found.is_empty() {
            return TakeStep::Nothing {
                may_come_back: self.may_come_back(wanted),
            };
        }
        let taken = found
            .into_iter()
            .map(|event| {
                self.orphans.remove(&event.position());
                self.claim(event, wanted, epoch, now)
            })
            .collect();
        TakeStep::Taken(taken)
    }

    fn may_come_back(&self, wanted: &Wanted) -> bool {
        self.held.values().any(|held| wanted.wants(&held.event))
    }

    fn claim(&mut self, event: Event, wanted: &Wanted, epoch: Epoch, now: Instant) -> Taken {
        let position = event.position();
        let lease = wanted.lease.map(|lease| {
            let delivery = self.deliveries.entry(position).or_default();
            *delivery = delivery.saturating_add(1);
            let until = now
                .checked_add(lease)
                .or_else(|| now.checked_add(LONGEST_LEASE))
                .unwrap_or(now);
            let by = Holder::Lease {
                delivery: *delivery,
                until,
            };
            let id = LeaseId {
                epoch,
                position,
                delivery: *delivery,
            };
            let event = event.clone();
            self.held.insert(position, Held { event, by });
            Lease { id, until }
        });
        if lease.is_none() {
            self.settle(position);
        }
        Taken { event, lease }
    }

    /// Registers a taker behind all others.
    pub(crate) fn register(&mut self, waker: Waker, wanted: Wanted) -> WaiterKey {
        let taker = Taker {
            wanted,
            reserved: Vec::new(),
        };
        self.takers.insert(Some(waker), taker)
    }

    /// Claims what is reserved for a waiting taker, which then leaves; if nothing is, it keeps
    /// waiting.
    pub(crate) fn take_reserved(
        &mut self,
        key: WaiterKey,
        epoch: Epoch,
        now: Instant,
    ) -> (TakeStep, Option<Removed<Taker>>) {
        let nothing = |may_come_back| (TakeStep::Nothing { may_come_back }, None);
        match self.takers.get(key) {
            None => return nothing(false),
            Some(taker) if taker.reserved.is_empty() => {
                return nothing(self.may_come_back(&taker.wanted));
            }
            Some(_) => {}
        }
        let Some(mut removed) = self.takers.remove(key) else {
            return nothing(false);
        };
        let mut positions = std::mem::take(&mut removed.data.reserved);
        positions.sort_unstable();
        let reserved: Vec<Held> = positions
            .into_iter()
            .filter_map(|position| self.held.remove(&position))
            .collect();
        let wanted = &removed.data.wanted;
        let taken = reserved
            .into_iter()
            .map(|held| self.claim(held.event, wanted, epoch, now))
            .collect();
        (TakeStep::Taken(taken), Some(removed))
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
    ) -> Option<Removed<Taker>> {
        let mut removed = self.takers.remove(key)?;
        // The oldest goes to the first.
        removed.data.reserved.sort_unstable();
        for position in &removed.data.reserved {
            self.give_back(*position, window, batch);
        }
        Some(removed)
    }

    /// Forgets every event: the log is gone. What was lost with it is no gap, since there is nobody
    /// left to mend it.
    pub(crate) fn clear(&mut self, latest: Position) {
        let mut at = self.takers.first();
        while let Some(key) = at {
            if let Some(taker) = self.takers.get_mut(key) {
                taker.reserved.clear();
            }
            at = self.takers.next_after(key);
        }
        *self = Self {
            next: latest,
            takers: std::mem::take(&mut self.takers),
            ..Self::default()
        };
    }

    /// Wakes all takers, so that they see that the session is over.
    pub(crate) fn wake_all(&mut self, batch: &mut WakeBatch) {
        self.takers.wake_all(batch);
    }

    fn held_by(&self, lease: LeaseId) -> Result<(), SettleError> {
        match self.held.get(&lease.position) {
            Some(Held {
                by: Holder::Lease { delivery, .. },
                ..
            }) if *delivery == lease.delivery => Ok(()),
            _ => Err(SettleError::Fenced),
        }
    }

    /// Settles a leased event.
    pub(crate) fn ack(&mut self, lease: LeaseId) -> Result<(), SettleError> {
        self.held_by(lease)?;
        self.held.remove(&lease.position);
        self.settle(lease.position);
        Ok(())
    }

    /// Gives a leased event back.
    pub(crate) fn nack(
        &mut self,
        lease: LeaseId,
        window: &Window,
        batch: &mut WakeBatch,
    ) -> Result<(), SettleError> {
        self.held_by(lease)?;
        self.give_back(lease.position, window, batch);
        Ok(())
    }

    /// Gives back what was leased until now or before.
    pub(crate) fn expire_leases(&mut self, now: Instant, window: &Window, batch: &mut WakeBatch) {
        let over: Vec<Position> = self
            .held
            .iter()
            .filter(|(_, held)| matches!(held.by, Holder::Lease { until, .. } if until <= now))
            .map(|(position, _)| *position)
            .collect();
        for position in over {
            self.give_back(position, window, batch);
        }
    }

    /// When the first lease is over.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.held
            .values()
            .filter_map(|held| match held.by {
                Holder::Lease { until, .. } => Some(until),
                Holder::Taker => None,
            })
            .min()
    }
}
