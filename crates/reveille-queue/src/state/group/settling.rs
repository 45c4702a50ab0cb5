//! How events that somebody had are settled, come back, or are set aside.

use std::time::Instant;

use reveille_core::WakeBatch;
use reveille_types::{Event, Position};

use super::{Group, Held, Holder};
use crate::error::SettleError;
use crate::outcome::{DeadLetter, LeaseId};
use crate::state::Litter;
use crate::window::Window;

impl Group {
    /// Whether the lease is held: neither settled, nor over, nor fenced by a later one.
    pub(crate) fn held_by(&self, lease: LeaseId) -> Result<(), SettleError> {
        match self.is_leased(lease.position, lease.delivery) {
            true => Ok(()),
            false => Err(SettleError::Fenced),
        }
    }

    /// Whether an event is on lease for this delivery of it.
    pub(super) fn is_leased(&self, position: Position, delivery: u32) -> bool {
        match self.held.get(&position).map(|held| &held.by) {
            Some(Holder::Lease { delivery: held, .. }) => *held == delivery,
            _ => false,
        }
    }

    /// Takes a held event out of the hands of whoever has it; whether it was on lease.
    pub(super) fn release(&mut self, position: Position) -> Option<(Option<Event>, bool)> {
        let held = self.held.remove(&position)?;
        self.unconfirmed.remove(&position);
        let leased = match held.by {
            Holder::Lease { until, .. } => self.leases.remove(&(until, position)),
            Holder::Taker(_) => false,
        };
        if self.outside.remove(&position)
            && let Some(event) = &held.event
        {
            self.kept.remove(event);
        }
        Some((held.event, leased))
    }

    /// Makes a held event available again, or sets it aside if it was delivered too often.
    pub(super) fn give_back(
        &mut self,
        position: Position,
        window: &Window,
        batch: &mut WakeBatch,
        litter: &mut Litter,
    ) {
        // What retention has taken is noted while this one is still held, so that it is lost only once.
        self.account(window);
        let Some((event, leased)) = self.release(position) else {
            return;
        };
        match event {
            event if self.is_skipped(position) => {
                self.settle(position);
                litter.extend(event);
            }
            // It was let go of meanwhile.
            None => self.lose(position),
            Some(event) if leased && self.is_worn_out(position) => {
                self.bury(event);
                self.shed(window, batch, litter);
            }
            Some(event) => self.make_available(event, window, batch, litter),
        }
    }

    pub(super) fn lose(&mut self, position: Position) {
        self.deliveries.remove(&position);
        self.pardoned.remove(&position);
        self.counts.lost += 1;
        self.lost.insert(position.0, position.0);
    }

    pub(super) fn make_available(
        &mut self,
        event: Event,
        window: &Window,
        batch: &mut WakeBatch,
        litter: &mut Litter,
    ) {
        let position = event.position();
        let found_in_window =
            position >= self.next.max(window.oldest()) && !self.settled.contains(position.0);
        let reserved = self.reserve(&event, !found_in_window, batch);
        self.returned += u64::from(!reserved);
        if !reserved && !found_in_window {
            self.kept.add(&event);
            self.orphans.insert(position, event);
        } else {
            litter.push(event);
        }
        self.shed(window, batch, litter);
    }

    fn is_worn_out(&self, position: Position) -> bool {
        let most = self.pardoned.get(&position).copied();
        most.or(self.terms.deliveries)
            .is_some_and(|most| self.deliveries.get(&position).is_some_and(|n| *n >= most))
    }

    fn bury(&mut self, event: Event) {
        let position = event.position();
        let deliveries = self.deliveries.get(&position).copied();
        self.settle(position);
        self.kept.add(&event);
        self.counts.dead += 1;
        let letter = DeadLetter {
            event,
            deliveries: deliveries.unwrap_or_default(),
        };
        self.dead.insert(position, letter);
    }

    /// Takes a dead letter out.
    pub(super) fn unbury(&mut self, position: Position) -> Option<DeadLetter> {
        let letter = self.dead.remove(&position)?;
        self.kept.remove(&letter.event);
        Some(letter)
    }

    /// Makes a dead letter available for as many deliveries again; whether there is such a letter.
    pub(crate) fn retry(
        &mut self,
        position: Position,
        window: &Window,
        batch: &mut WakeBatch,
        litter: &mut Litter,
    ) -> bool {
        let Some(letter) = self.unbury(position) else {
            return false;
        };
        // Counting goes on, so that no old lease becomes valid again.
        self.deliveries.insert(position, letter.deliveries);
        if let Some(most) = self.terms.deliveries {
            let most = letter.deliveries.saturating_add(most);
            self.pardoned.insert(position, most);
        }
        self.make_available(letter.event, window, batch, litter);
        true
    }

    /// Lets go of a dead letter; whether there was one.
    pub(crate) fn discard(&mut self, position: Position, litter: &mut Litter) -> bool {
        let letter = self.unbury(position);
        let found = letter.is_some();
        litter.extend(letter.map(|letter| letter.event));
        found
    }

    /// Settles a leased event.
    pub(crate) fn ack(&mut self, lease: LeaseId, litter: &mut Litter) -> Result<(), SettleError> {
        self.held_by(lease)?;
        let released = self.release(lease.position);
        litter.extend(released.and_then(|(event, _)| event));
        self.settle(lease.position);
        Ok(())
    }

    /// Gives a leased event back.
    pub(crate) fn nack(
        &mut self,
        lease: LeaseId,
        window: &Window,
        batch: &mut WakeBatch,
        litter: &mut Litter,
    ) -> Result<(), SettleError> {
        self.held_by(lease)?;
        self.give_back(lease.position, window, batch, litter);
        Ok(())
    }

    /// Gives back what was leased until now or before.
    pub(crate) fn expire_leases(
        &mut self,
        now: Instant,
        window: &Window,
        batch: &mut WakeBatch,
        litter: &mut Litter,
    ) {
        let over = self.leases.iter().take_while(|(until, _)| *until <= now);
        let mut over: Vec<Position> = over.map(|(_, position)| *position).collect();
        // The oldest goes to the first.
        over.sort_unstable();
        for position in over {
            self.give_back(position, window, batch, litter);
        }
    }

    /// When the first lease is over.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.leases.first().map(|(until, _)| *until)
    }

    /// Settles everything before `to`. What is on lease there can still be settled, and does not come
    /// back.
    pub(crate) fn skip_to(
        &mut self,
        to: Position,
        window: &Window,
        batch: &mut WakeBatch,
        litter: &mut Litter,
    ) {
        self.account(window);
        self.skipped = self.skipped.max(to);
        let reserved: Vec<Position> = self
            .held
            .range(..to)
            .filter(|(_, held)| matches!(held.by, Holder::Taker(_)))
            .map(|(position, _)| *position)
            .collect();
        for position in &reserved {
            litter.extend(self.unreserve(*position));
        }
        let later = self.orphans.split_off(&to);
        for event in std::mem::replace(&mut self.orphans, later).into_values() {
            self.kept.remove(&event);
            litter.push(event);
        }
        if to > Position::START {
            self.lost.remove(0, to.0 - 1);
            self.settled.remove(0, to.0 - 1);
        }
        self.next = self.next.max(to);
        self.pardoned = self.pardoned.split_off(&to);
        self.advance();
        self.forget_settled();
        if !reserved.is_empty() {
            self.refill(window, batch);
        }
    }

    /// Takes a reserved event from its taker.
    pub(super) fn unreserve(&mut self, position: Position) -> Option<Event> {
        if let Some(Held {
            by: Holder::Taker(key),
            ..
        }) = self.held.get(&position)
            && let Some(taker) = self.takers.get_mut(*key)
        {
            taker.reserved.retain(|reserved| *reserved != position);
        }
        self.release(position).and_then(|(event, _)| event)
    }

    /// Offers what is available to takers that have got room.
    pub(super) fn refill(&mut self, window: &Window, batch: &mut WakeBatch) {
        for event in self.orphans.values().cloned().collect::<Vec<_>>() {
            if self.reserve(&event, true, batch) {
                self.orphans.remove(&event.position());
                self.kept.remove(&event);
            }
        }
        for event in window.from(self.next) {
            if self.is_available(event) {
                self.reserve(event, false, batch);
            }
        }
    }
}
