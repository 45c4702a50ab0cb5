//! Reading and waiting: where a reader begins, and what is there.

use reveille_types::{Event, Filter, Gap, Position, Start};

use super::{Group, Look, SessionState};
use crate::error::ReadError;

/// Most events that are looked at under one lock.
pub(crate) const SCAN: usize = 1_024;

/// What one look at the log gave.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) events: Vec<Event>,
    /// Everything before it has been looked through.
    pub(crate) next: Position,
    /// The weight of the events.
    pub(crate) bytes: usize,
    /// Whether an event that matches did not fit.
    pub(crate) full: bool,
}

impl SessionState {
    /// The position at which a reader begins, and what it misses there.
    pub(crate) fn start(
        &self,
        start: Start,
        filtered: bool,
    ) -> Result<(Position, Option<Gap>), ReadError> {
        let (oldest, latest) = (self.window.oldest(), self.window.latest());
        let at = start.resolve(self.epoch, oldest, latest)?;
        let gap = Gap::expired(self.cursor(at), oldest, filtered);
        Ok((at.max(oldest), gap))
    }

    /// Events from `from` on that match, at most `limit` events and about `bytes` bytes. Looks at no
    /// more than [`SCAN`] events, so that a filter that matches nothing does not hold the lock for
    /// long.
    pub(crate) fn read(&self, from: Position, filter: &Filter, limit: usize, bytes: usize) -> Read {
        let mut read = Read {
            events: Vec::new(),
            next: from,
            bytes: 0,
            full: false,
        };
        for event in self.window.from(from).take(SCAN) {
            if filter.matches(event) {
                let bytes_then = read.bytes + event.weight();
                let none_yet = read.events.is_empty();
                if read.events.len() == limit || (bytes_then > bytes && !none_yet) {
                    read.full = true;
                    return read;
                }
                read.bytes = bytes_then;
                read.events.push(event.clone());
            }
            read.next = event.position().next();
        }
        read
    }

    /// Offers what is retained from `at` on to a look, as far as one lock may go. Answers the place to
    /// go on from.
    pub(crate) fn scan(&self, at: Position, look: &mut Look) -> Position {
        let mut at = at;
        for event in self.window.from(at).take(SCAN) {
            at = event.position().next();
            if look.offer(event) {
                break;
            }
        }
        at
    }

    /// How many events from `from` on match, as far as one lock may go, and the place to go on from.
    pub(crate) fn count(&self, from: Position, filter: &Filter) -> (usize, Position) {
        let (mut count, mut next) = (0, from.max(self.window.oldest()));
        for event in self.window.from(from).take(SCAN) {
            count += usize::from(filter.matches(event));
            next = event.position().next();
        }
        (count, next)
    }

    pub(crate) fn waiters(&self) -> usize {
        self.watchers.len() + self.groups.values().map(Group::waiting).sum::<usize>()
    }

    /// Refuses a place beyond the end, where a reader would wait in silence.
    pub(crate) fn check_ahead(&self, from: Position) -> Result<(), ReadError> {
        let (oldest, latest) = (self.window.oldest(), self.window.latest());
        Start::At(from).resolve(self.epoch, oldest, latest)?;
        Ok(())
    }

    /// Whether one more may wait. A call of its own before registering, so that the waker of one who
    /// may not is dropped by its owner, after the lock.
    pub(crate) fn check_waiters(&self) -> Result<(), ReadError> {
        let limit = self.terms.max_waiters;
        if self.waiters() >= limit {
            return Err(ReadError::TooManyWaiters { limit });
        }
        Ok(())
    }
}
