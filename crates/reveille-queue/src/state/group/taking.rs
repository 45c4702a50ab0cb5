//! How a taker gets events: what is available now, or what was reserved for it.

use std::time::{Duration, Instant};

use reveille_core::{Removed, WaiterKey, WakeBatch};
use reveille_types::{Epoch, Event, Position, PositionRanges};
use smallvec::SmallVec;

use super::super::reading::SCAN;
use super::{Group, Held, Holder, Taker, Wanted};
use crate::outcome::{Lease, LeaseId, Taken};
use crate::state::Litter;
use crate::window::Window;

/// What a lease lasts that is too long for the clock: 30 years.
const LONGEST_LEASE: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// How far a taker has looked for what is available.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    /// Everything before it is not for this taker, unless it was given back since.
    at: Position,
    /// What the group had counted by then.
    returned: u64,
    restarts: u32,
}

impl Looked {
    /// Begins anew if events were given back since. Answers how many events may be passed over under
    /// this lock: all of them after a number of new beginnings, so that there is an end to it.
    fn resume(&mut self, returned: u64) -> usize {
        const RESTARTS: u32 = 8;
        if self.returned != returned {
            self.at = Position::START;
            self.returned = returned;
            self.restarts += 1;
        }
        match self.restarts > RESTARTS {
            true => usize::MAX,
            false => SCAN,
        }
    }
}

/// Whether a take is over.
#[derive(Debug)]
pub(crate) enum TakeStep {
    Taken {
        taken: Vec<Taken>,
        /// How far the group has settled its events without a hole.
        next: Position,
        /// What it lost since it was last told.
        lost: PositionRanges,
    },
    /// Nothing is available now.
    Nothing,
    /// Nothing has been found so far, and not all has been looked at.
    More,
    /// Something is available, and too much is on lease.
    TooManyLeases,
}

impl Group {
    /// Takes what is available now, as far as one lock may go.
    pub(crate) fn take_now(
        &mut self,
        wanted: &Wanted,
        looked: &mut Looked,
        window: &Window,
        epoch: Epoch,
        now: Instant,
    ) -> TakeStep {
        self.account(window);
        let budget = looked.resume(self.returned);
        let orphans = self.orphans.values().filter(|e| wanted.wants(e));
        let mut found: SmallVec<[Event; 1]> = orphans.take(wanted.max).cloned().collect();
        let (mut retained, mut passed) = (0, 0);
        let mut at = self.next.max(wanted.from).max(looked.at);
        for event in window.from(at) {
            if retained == wanted.max || passed == budget {
                break;
            }
            at = event.position().next();
            if self.is_available(event) && wanted.wants(event) {
                found.push(event.clone());
                retained += 1;
            } else {
                passed += 1;
            }
        }
        if found.is_empty() {
            looked.at = at;
            return match at < window.latest() {
                true => TakeStep::More,
                false => TakeStep::Nothing,
            };
        }
        found.sort_unstable_by_key(Event::position);
        found.truncate(wanted.max);
        found.truncate(self.room(wanted));
        if found.is_empty() {
            return TakeStep::TooManyLeases;
        }
        let taken = found
            .into_iter()
            .map(|event| {
                let kept = self.orphans.remove(&event.position()).is_some();
                if kept {
                    self.kept.remove(&event);
                }
                self.claim(event, kept, wanted, epoch, now)
            })
            .collect();
        self.taken(taken)
    }

    fn taken(&mut self, taken: Vec<Taken>) -> TakeStep {
        TakeStep::Taken {
            taken,
            next: self.next,
            lost: self.told_lost(),
        }
    }

    /// How many events may be claimed.
    fn room(&self, wanted: &Wanted) -> usize {
        match wanted.lease {
            Some(_) => self.terms.leases.saturating_sub(self.leases.len()),
            None => usize::MAX,
        }
    }

    /// Whether an event that matches may come back from another taker.
    pub(crate) fn may_come_back(&self, wanted: &Wanted) -> bool {
        let mut held = self.held.values().filter_map(|held| held.event.as_ref());
        held.any(|event| wanted.wants(event) && !self.is_skipped(event.position()))
    }

    fn claim(
        &mut self,
        event: Event,
        kept: bool,
        wanted: &Wanted,
        epoch: Epoch,
        now: Instant,
    ) -> Taken {
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
            if kept && self.outside.insert(position) {
                self.kept.add(&event);
            }
            let event = Some(event.clone());
            self.held.insert(position, Held { event, by });
            self.leases.insert((until, position));
            if self.terms.stored {
                self.unconfirmed.insert(position);
            }
            Lease { id, until }
        });
        if lease.is_none() {
            self.settle(position);
        }
        Taken { event, lease }
    }

    /// Claims what is reserved for a waiting taker, which then leaves; if nothing is, it keeps
    /// waiting. What it may not lease goes to the next.
    pub(crate) fn take_reserved(
        &mut self,
        key: WaiterKey,
        window: &Window,
        epoch: Epoch,
        now: Instant,
        batch: &mut WakeBatch,
        litter: &mut Litter,
    ) -> (TakeStep, Option<Removed<Taker>>) {
        let nothing = (TakeStep::Nothing, None);
        self.account(window);
        if self.takers.get(key).is_none_or(|t| t.reserved.is_empty()) {
            return nothing;
        }
        let Some(mut removed) = self.takers.remove(key) else {
            return nothing;
        };
        let mut positions = std::mem::take(&mut removed.data.reserved);
        positions.sort_unstable();
        let wanted = &removed.data.wanted;
        let too_many = positions.split_off(self.room(wanted).min(positions.len()));
        let mut taken = Vec::with_capacity(positions.len());
        for position in positions {
            if let Some(event) = self.held.remove(&position).and_then(|held| held.event) {
                let kept = self.outside.remove(&position);
                if kept {
                    self.kept.remove(&event);
                }
                taken.push(self.claim(event, kept, wanted, epoch, now));
            }
        }
        for position in too_many {
            self.give_back(position, window, batch, litter);
        }
        let step = match taken.is_empty() {
            true => TakeStep::TooManyLeases,
            false => self.taken(taken),
        };
        (step, Some(removed))
    }
}
