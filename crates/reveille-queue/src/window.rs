//! The part of a log that is in memory: a run of events without holes, bounded by number and bytes.

use std::collections::VecDeque;

use reveille_types::{Event, Position};

/// A run of events without holes. The event at position `oldest + n` is the n-th of `events`, and
/// `bytes` is the sum of their weights.
#[derive(Debug, Default)]
pub(crate) struct Window {
    oldest: Position,
    events: VecDeque<Event>,
    bytes: usize,
}

/// How much a window may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) events: usize,
    pub(crate) bytes: usize,
}

impl Window {
    /// An empty window at this place.
    pub(crate) fn at(position: Position) -> Self {
        Self {
            oldest: position,
            ..Self::default()
        }
    }

    pub(crate) fn oldest(&self) -> Position {
        self.oldest
    }

    /// The end of the log.
    pub(crate) fn latest(&self) -> Position {
        self.oldest.plus(self.events.len())
    }

    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds the event that follows.
    pub(crate) fn push(&mut self, event: Event) {
        debug_assert_eq!(
            event.position(),
            self.latest(),
            "log order is position order"
        );
        self.bytes += event.weight();
        self.events.push_back(event);
    }

    /// Drops the oldest event if the bounds do not hold; the newest always stays.
    pub(crate) fn evict(&mut self, bounds: Bounds) -> Option<Event> {
        let over = self.events.len() > bounds.events || self.bytes > bounds.bytes;
        (over && self.events.len() > 1).then(|| self.pop())?
    }

    /// Drops the oldest until at most this many bytes are left. Hands back what was dropped.
    pub(crate) fn cut_to(&mut self, bytes: usize) -> Vec<Event> {
        let mut dropped = Vec::new();
        while self.bytes > bytes {
            dropped.extend(self.pop());
        }
        dropped
    }

    /// The events from `from` on, or from the oldest if that is later.
    pub(crate) fn from(&self, from: Position) -> impl Iterator<Item = &Event> {
        let skip = index(from, self.oldest).unwrap_or(usize::MAX);
        self.events.range(skip.min(self.events.len())..)
    }

    /// The event at this position, if it is here.
    pub(crate) fn get(&self, position: Position) -> Option<&Event> {
        let found = self.from(position).next();
        found.filter(|event| event.position() == position)
    }

    /// Takes the oldest event out.
    fn pop(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        self.bytes -= event.weight();
        self.oldest = self.oldest.next();
        Some(event)
    }

    pub(crate) fn into_events(self) -> VecDeque<Event> {
        self.events
    }
}

fn index(position: Position, oldest: Position) -> Option<usize> {
    usize::try_from(position.since(oldest)).ok()
}
