//! A group whose steps are kept in a store: what others did is replayed here, and what is done here
//! counts once it is stored.
//!
//! Whatever stands in the log of steps was decided by whoever appended it, knowing all steps before, so
//! it is replayed without asking whether it may be. What was claimed here and is not stored yet gives
//! way.

use std::collections::BTreeSet;
use std::time::Instant;

use reveille_core::WakeBatch;
use reveille_types::{Event, Position, PositionRanges};

use super::{Group, Held, Holder};
use crate::outcome::{DeadLetter, LeaseId};
use crate::state::Litter;
use crate::window::Window;

/// A lease that somebody has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leased {
    pub(crate) position: Position,
    pub(crate) delivery: u32,
    pub(crate) until: Instant,
}

/// All that a group has done, without its events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct GroupRecord {
    pub(crate) next: Position,
    pub(crate) skipped: Position,
    pub(crate) settled: PositionRanges,
    pub(crate) leases: Vec<Leased>,
    /// Given back after retention had dropped them, or once dead.
    pub(crate) returned: Vec<Position>,
    /// What is dead, and how often it was delivered.
    pub(crate) dead: Vec<(Position, u32)>,
    pub(crate) deliveries: Vec<(Position, u32)>,
    pub(crate) pardoned: Vec<(Position, u32)>,
}

impl Group {
    /// Whether a claim is neither stored nor lost to somebody else.
    pub(crate) fn is_unconfirmed(&self, lease: LeaseId) -> bool {
        self.unconfirmed.contains(&lease.position) && self.held_by(lease).is_ok()
    }

    /// A claim is stored: the event is on lease, or, taken for good, settled.
    pub(crate) fn confirm(&mut self, lease: LeaseId, for_good: bool, litter: &mut Litter) {
        if for_good && self.held_by(lease).is_ok() {
            let released = self.release(lease.position);
            litter.extend(released.and_then(|(event, _)| event));
            self.settle(lease.position);
        }
        self.unconfirmed.remove(&lease.position);
    }

    /// Takes a claim back that is not stored, as if it had not been made.
    pub(crate) fn withdraw(
        &mut self,
        lease: LeaseId,
        window: &Window,
        batch: &mut WakeBatch,
        litter: &mut Litter,
    ) {
        if self.is_unconfirmed(lease) {
            self.undeliver(lease.position);
            self.give_back(lease.position, window, batch, litter);
        }
    }

    /// What was told as lost was not heard.
    pub(crate) fn untell(&mut self, lost: &PositionRanges) {
        self.lost.merge(lost);
    }

    /// The last delivery has not taken place.
    fn undeliver(&mut self, position: Position) {
        if let Some(count) = self.deliveries.get_mut(&position) {
            *count = count.saturating_sub(1);
        }
    }

    /// Takes an event from wherever it is; it is in the window, kept here, or gone. The other answer is
    /// whether a waiting taker lost it.
    fn extract(&mut self, position: Position, window: &Window) -> (Option<Event>, bool) {
        let reserved = matches!(
            self.held.get(&position),
            Some(Held {
                by: Holder::Taker(_),
                ..
            })
        );
        if let Some(event) = self.unreserve(position) {
            return (Some(event), reserved);
        }
        if let Some(event) = self.orphans.remove(&position) {
            self.kept.remove(&event);
            return (Some(event), reserved);
        }
        let event = match self.unbury(position) {
            Some(letter) => Some(letter.event),
            None => window.get(position).cloned(),
        };
        (event, reserved)
    }

    /// Somebody took events on lease.
    pub(crate) fn replay_leased(
        &mut self,
        leases: &[Leased],
        window: &Window,
        batch: &mut WakeBatch,
        litter: &mut Litter,
    ) {
        self.account(window);
        let mut reserved = false;
        for lease in leases {
            let (event, was_reserved) = self.extract(lease.position, window);
            reserved |= was_reserved;
            self.hold(*lease, event, window);
        }
        self.refill_after(reserved, window, batch);
        self.shed(window, batch, litter);
    }

    fn hold(&mut self, lease: Leased, event: Option<Event>, window: &Window) {
        let Leased {
            position,
            delivery,
            until,
        } = lease;
        self.deliveries.insert(position, delivery);
        if let Some(event) = &event
            && window.get(position).is_none()
            && self.outside.insert(position)
        {
            self.kept.add(event);
        }
        let by = Holder::Lease { delivery, until };
        self.held.insert(position, Held { event, by });
        self.leases.insert((until, position));
    }

    /// Takers who lost what was reserved for them have room.
    fn refill_after(&mut self, reserved: bool, window: &Window, batch: &mut WakeBatch) {
        if reserved {
            self.refill(window, batch);
        }
    }

    /// Somebody settled events.
    pub(crate) fn replay_settled(
        &mut self,
        positions: &[Position],
        window: &Window,
        batch: &mut WakeBatch,
        litter: &mut Litter,
    ) {
        self.account(window);
        let mut reserved = false;
        for position in positions {
            let (event, was_reserved) = self.extract(*position, window);
            reserved |= was_reserved;
            litter.extend(event);
            self.settle(*position);
        }
        self.refill_after(reserved, window, batch);
    }

    /// Somebody gave a leased event back. Here the lease may be over already.
    pub(crate) fn replay_given_back(
        &mut self,
        position: Position,
        delivery: u32,
        window: &Window,
        batch: &mut WakeBatch,
        litter: &mut Litter,
    ) {
        if self.is_leased(position, delivery) {
            self.give_back(position, window, batch, litter);
        }
    }

    /// Somebody did not get what was taken for him.
    pub(crate) fn replay_undone(
        &mut self,
        positions: &[Position],
        window: &Window,
        batch: &mut WakeBatch,
        litter: &mut Litter,
    ) {
        self.account(window);
        for &position in positions {
            self.undeliver(position);
            if self.held.contains_key(&position) {
                self.give_back(position, window, batch, litter);
                continue;
            }
            if self.is_skipped(position) {
                continue;
            }
            match window.get(position).cloned() {
                Some(event) => {
                    self.settled.remove(position.0, position.0);
                    self.make_available(event, window, batch, litter);
                }
                None => self.lose(position),
            }
        }
    }

    /// All that the group has done.
    pub(crate) fn record(&self) -> GroupRecord {
        let stored = |position: &Position| !self.unconfirmed.contains(position);
        let leases = self
            .held
            .iter()
            .filter_map(|(position, held)| match held.by {
                Holder::Lease { delivery, until } if stored(position) => Some(Leased {
                    position: *position,
                    delivery,
                    until,
                }),
                _ => None,
            });
        let counts = |counts: &std::collections::BTreeMap<Position, u32>| {
            counts.iter().map(|(p, n)| (*p, *n)).collect()
        };
        let kept = self.held.iter().filter(|(position, held)| {
            let is_lease = matches!(held.by, Holder::Lease { .. });
            (!is_lease || !stored(position)) && self.outside.contains(position)
        });
        let returned: BTreeSet<Position> = kept
            .map(|(position, _)| *position)
            .chain(self.orphans.keys().copied())
            .collect();
        GroupRecord {
            next: self.next,
            skipped: self.skipped,
            settled: self.settled.clone(),
            leases: leases.collect(),
            returned: returned.into_iter().collect(),
            dead: self.dead.iter().map(|(p, l)| (*p, l.deliveries)).collect(),
            deliveries: counts(&self.deliveries),
            pardoned: counts(&self.pardoned),
        }
    }

    /// Goes on from what was recorded. Events that are not in the window are gone.
    pub(crate) fn restore(
        &mut self,
        record: &GroupRecord,
        window: &Window,
        batch: &mut WakeBatch,
        litter: &mut Litter,
    ) {
        self.clear(Position::START, litter);
        self.next = record.next;
        self.skipped = record.skipped;
        self.settled = record.settled.clone();
        self.deliveries = record.deliveries.iter().copied().collect();
        self.pardoned = record.pardoned.iter().copied().collect();
        for lease in &record.leases {
            self.hold(*lease, window.get(lease.position).cloned(), window);
        }
        for &(position, deliveries) in &record.dead {
            match window.get(position).cloned() {
                Some(event) => {
                    self.kept.add(&event);
                    self.dead.insert(position, DeadLetter { event, deliveries });
                }
                None => self.counts.dead_dropped += 1,
            }
        }
        for &position in &record.returned {
            match window.get(position).cloned() {
                Some(event) => self.make_available(event, window, batch, litter),
                None => self.lose(position),
            }
        }
        self.account(window);
        self.refill(window, batch);
        self.shed(window, batch, litter);
    }
}
