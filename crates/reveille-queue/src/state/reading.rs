//! Reading and waiting: where a reader begins, and what is there.

use reveille_types::{Event, Filter, Gap, Position, Start};

use super::{Group, SessionState};
use crate::error::ReadError;

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

    /// Events from `from` on that match, at most `limit` events and about `bytes` bytes, and the
    /// position up to which the log has been looked through.
    pub(crate) fn read(
        &self,
        from: Position,
        filter: &Filter,
        limit: usize,
        bytes: usize,
    ) -> (Vec<Event>, Position) {
        let (mut events, mut weight) = (Vec::new(), 0);
        for event in self.window.from(from) {
            if !filter.matches(event) {
                continue;
            }
            weight += event.weight();
            if events.len() == limit || (weight > bytes && !events.is_empty()) {
                return (events, event.position());
            }
            events.push(event.clone());
        }
        (events, self.window.latest().max(from))
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
