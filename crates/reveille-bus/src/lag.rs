//! A subscriber that is beyond its bound: the machine, fed from the tail.
//!
//! While a subscriber keeps up there is nothing here. Once more lies between its cursor and the end of
//! the tail than it may lag behind, the machine is told of what matches in between: each event once,
//! its place and rank only. From then on the subscriber reads the places that the machine gives it,
//! and fetches each event when it hands it out; what comes meanwhile is left in the tail until the
//! bound is reached again. When the machine is empty, the subscriber is back in the log, behind
//! everything that the machine was told of.
//!
//! So a subscriber that stands still costs nothing at all, and one that reads slowly costs its
//! capacity in places, not in events.

use std::hash::{BuildHasher, RandomState};

use reveille_queue::Tail;
use reveille_types::sets::OverflowPolicy;
use reveille_types::{Event, Filter, PositionRanges, Seq};

use crate::overflow::{LagBound, Loss, Offer, OverflowMachine, Rank, Turn, Verdict};

/// Most matching events of which the machine is told while the tail is locked.
const SCAN_EVENTS: usize = 1_024;

/// What a subscriber that lags gets next.
#[derive(Debug)]
pub(crate) enum Found {
    Event(Event),
    /// The policy gave these up.
    Missing(Loss),
    /// The policy kept these, and retention took them before the subscriber came.
    Gone(PositionRanges),
    Failed,
}

/// A subscriber that is beyond its bound.
#[derive(Debug)]
pub(crate) struct Lag {
    bound: LagBound,
    machine: OverflowMachine,
    /// The machine was told of everything up to here.
    scanned_to: Seq,
    /// Found, but not asked for: something else had to be told first.
    held: Option<Found>,
    keys: RandomState,
}

impl Lag {
    pub(crate) fn new(bound: LagBound, after: Seq) -> Self {
        Self {
            bound,
            machine: OverflowMachine::new(bound),
            scanned_to: after,
            held: None,
            keys: RandomState::new(),
        }
    }

    /// Everything up to here was looked through.
    pub(crate) fn scanned_to(&self) -> Seq {
        self.scanned_to
    }

    /// Whether there is nothing left to hand out.
    pub(crate) fn is_done(&self) -> bool {
        self.held.is_none() && self.machine.is_empty()
    }

    /// Tells the machine of what came, if the subscriber lags beyond its bound.
    pub(crate) fn scan(&mut self, tail: &Tail, filter: &Filter) {
        let latest = tail.info().latest;
        let ahead = latest.0.saturating_sub(self.scanned_to.0);
        if self.machine.kept() as u64 + ahead <= self.bound.capacity() as u64 {
            return;
        }
        while self.scanned_to < latest && !self.machine.has_failed() {
            let page = tail.read(self.scanned_to, filter, SCAN_EVENTS, usize::MAX);
            if !page.missing.is_empty() {
                // Nobody knows what of it would have matched: the subscriber learns of it from the
                // log, after what lies before it.
                return;
            }
            for event in &page.events {
                if self.machine.offer(self.offer(event)) == Verdict::Failed {
                    return;
                }
            }
            self.scanned_to = page.read_to;
        }
    }

    fn offer(&self, event: &Event) -> Offer {
        let key = match self.bound.policy() {
            // Two keys are taken for one once in 2^64; then the wrong one of two events goes.
            OverflowPolicy::LatestOnly => {
                let subject = &event.envelope().subject;
                self.keys
                    .hash_one((&**event.session(), event.kind(), subject))
            }
            _ => 0,
        };
        Offer {
            seq: event.place().seq.0,
            rank: Rank::of(event),
            key,
        }
    }

    /// What comes next; `None` when the subscriber is back in the log.
    pub(crate) fn next(&mut self, tail: &Tail) -> Option<Found> {
        if let Some(held) = self.held.take() {
            return Some(held);
        }
        let mut gone = PositionRanges::new();
        let found = loop {
            match self.machine.next() {
                None => break None,
                Some(Turn::Fail) => break Some(Found::Failed),
                Some(Turn::Missing(loss)) => break Some(Found::Missing(loss)),
                Some(Turn::Deliver(seq)) => match tail.get(Seq(seq)) {
                    Some(event) => break Some(Found::Event(event)),
                    None => gone.insert(seq, seq),
                },
            }
        };
        if gone.is_empty() {
            return found;
        }
        self.held = found;
        Some(Found::Gone(gone))
    }
}
