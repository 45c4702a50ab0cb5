//! What a group keeps although retention has dropped it, and the bounds of that.

use reveille_core::WakeBatch;
use reveille_types::{Event, Position};

use super::{Group, GroupTerms, Holder};
use crate::state::Litter;
use crate::window::Window;

/// How much a group keeps for itself: leased, reserved and orphaned events that have left the window,
/// and dead letters.
#[derive(Debug, Default)]
pub(super) struct Kept {
    events: usize,
    bytes: usize,
}

impl Kept {
    pub(super) fn add(&mut self, event: &Event) {
        self.events += 1;
        self.bytes += event.weight();
    }

    pub(super) fn remove(&mut self, event: &Event) {
        self.events -= 1;
        self.bytes -= event.weight();
    }

    fn is_within(&self, terms: &GroupTerms) -> bool {
        self.events <= terms.kept_events && self.bytes <= terms.kept_bytes
    }
}

impl Group {
    /// How many bytes only this group keeps.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.kept.bytes
    }

    /// These events, ascending, have left the window.
    pub(crate) fn evicted(
        &mut self,
        events: &[Event],
        window: &Window,
        batch: &mut WakeBatch,
        litter: &mut Litter,
    ) {
        let (Some(first), Some(last)) = (events.first(), events.last()) else {
            return;
        };
        let (first, last) = (first.position(), last.position());
        for (position, held) in self.held.range(first..=last) {
            if let Some(event) = &held.event
                && self.outside.insert(*position)
            {
                self.kept.add(event);
            }
        }
        self.shed(window, batch, litter);
    }

    /// Lets go of what is too much, oldest first: what is available, then what is dead, then what
    /// somebody has.
    pub(super) fn shed(&mut self, window: &Window, batch: &mut WakeBatch, litter: &mut Litter) {
        if self.kept.is_within(&self.terms) {
            return;
        }
        self.account(window);
        let mut took_from_takers = false;
        while !self.kept.is_within(&self.terms) {
            if let Some((position, event)) = self.orphans.pop_first() {
                self.kept.remove(&event);
                self.lose(position);
                litter.push(event);
            } else if let Some((_, letter)) = self.dead.pop_first() {
                self.kept.remove(&letter.event);
                self.counts.dead_dropped += 1;
                litter.push(letter.event);
            } else if let Some(&position) = self.outside.first() {
                took_from_takers |= self.let_go(position, litter);
            } else {
                break;
            }
        }
        if took_from_takers {
            self.refill(window, batch);
        }
    }

    /// Lets go of an event that somebody has; whether it was reserved for a taker, which loses it. An
    /// event on lease can still be settled.
    fn let_go(&mut self, position: Position, litter: &mut Litter) -> bool {
        match self.held.get_mut(&position) {
            Some(held) if matches!(held.by, Holder::Lease { .. }) => {
                self.outside.remove(&position);
                if let Some(event) = held.event.take() {
                    self.kept.remove(&event);
                    litter.push(event);
                }
                false
            }
            _ => {
                litter.extend(self.unreserve(position));
                self.lose(position);
                true
            }
        }
    }

    /// Lets go of everything that only this group keeps.
    pub(crate) fn shed_all(&mut self, window: &Window, batch: &mut WakeBatch, litter: &mut Litter) {
        let terms = self.terms;
        (self.terms.kept_events, self.terms.kept_bytes) = (0, 0);
        self.shed(window, batch, litter);
        self.terms = terms;
    }

    /// Forgets every event: the log is gone. What was lost with it is no gap, since there is nobody
    /// left to mend it.
    pub(crate) fn clear(&mut self, latest: Position, litter: &mut Litter) {
        let mut at = self.takers.first();
        while let Some(key) = at {
            if let Some(taker) = self.takers.get_mut(key) {
                taker.reserved.clear();
            }
            at = self.takers.next_after(key);
        }
        let next = Self {
            next: latest,
            takers: std::mem::take(&mut self.takers),
            counts: self.counts,
            returned: self.returned,
            ..Self::new(self.terms)
        };
        let old = std::mem::replace(self, next);
        litter.extend(old.held.into_values().filter_map(|held| held.event));
        litter.extend(old.orphans.into_values());
        litter.extend(old.dead.into_values().map(|letter| letter.event));
    }
}
