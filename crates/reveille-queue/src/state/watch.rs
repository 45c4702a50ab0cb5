//! Those who look without consuming: waits and subscriptions.

use std::sync::Arc;

use reveille_types::{Event, Filter, Position};

/// One who looks. Registered at the applied position, so that it is offered every later event.
#[derive(Debug)]
pub(crate) enum Watcher {
    /// A wait, which keeps what it was offered.
    Look(Look),
    /// A subscription, which reads the log itself once it is woken.
    Follow(Follow),
}

impl Watcher {
    /// Whether the event is a reason to wake.
    pub(crate) fn offer(&mut self, event: &Event) -> bool {
        match self {
            Self::Look(look) => look.offer(event),
            Self::Follow(follow) => follow.offer(event),
        }
    }

    /// Learns that events are missing before the next one; whether it must look for itself.
    pub(crate) fn skip(&mut self) -> bool {
        match self {
            Self::Look(_) => false,
            // It stays where it is, and reads the gap from there.
            Self::Follow(follow) => !std::mem::replace(&mut follow.found, true),
        }
    }
}

/// A subscription that has read all there is.
#[derive(Debug)]
pub(crate) struct Follow {
    filter: Filter,
    /// No event before it matches, from where the subscription stood on. So what retention drops
    /// before it is nothing that the reader misses.
    next: Position,
    /// Whether the event at `next` matches: the reader is woken and reads on from there itself.
    found: bool,
}

impl Follow {
    /// Of a reader that stands at the end of the log.
    pub(crate) fn new(filter: Filter, latest: Position) -> Self {
        Self {
            filter,
            next: latest,
            found: false,
        }
    }

    pub(crate) fn next(&self) -> Position {
        self.next
    }

    /// The reader has read up to the end of the log once more.
    pub(crate) fn caught_up(&mut self, latest: Position) {
        self.next = latest;
        self.found = false;
    }

    fn offer(&mut self, event: &Event) -> bool {
        if self.found {
            return false;
        }
        self.found = self.filter.matches(event);
        self.next = match self.found {
            true => event.position(),
            false => event.position().next(),
        };
        self.found
    }
}

/// What a wait has found so far.
#[derive(Debug)]
pub(crate) struct Look {
    filters: Arc<[Filter]>,
    /// The first event that matched each filter. Kept here, so that retention cannot take it away.
    hits: Box<[Option<Event>]>,
    missing: usize,
}

impl Look {
    pub(crate) fn new(filters: Arc<[Filter]>, needed: usize) -> Self {
        Self {
            hits: vec![None; filters.len()].into(),
            filters,
            missing: needed,
        }
    }

    /// Looks at an event; whether the wait is over.
    pub(crate) fn offer(&mut self, event: &Event) -> bool {
        for (filter, hit) in self.filters.iter().zip(&mut self.hits) {
            if self.missing == 0 {
                break;
            }
            if hit.is_none() && filter.matches(event) {
                *hit = Some(event.clone());
                self.missing -= 1;
            }
        }
        self.missing == 0
    }

    pub(crate) fn is_done(&self) -> bool {
        self.missing == 0
    }

    /// The first of the events found so far.
    pub(crate) fn first_hit(&self) -> Option<Position> {
        self.hits.iter().flatten().map(Event::position).min()
    }

    /// The events found, in log order, each once, and the position after the last.
    pub(crate) fn into_events(self) -> (Vec<Event>, Position) {
        let mut events: Vec<Event> = self.hits.into_iter().flatten().collect();
        events.sort_by_key(Event::position);
        events.dedup_by_key(|event| event.position());
        let after = events
            .last()
            .map_or(Position::START, |e| e.position().next());
        (events, after)
    }
}
