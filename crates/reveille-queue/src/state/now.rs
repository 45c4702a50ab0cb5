//! Times as the state sees them.

use std::time::Instant;

use jiff::Timestamp;
use reveille_core::Clock;

/// A moment, on both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) monotonic: Instant,
    pub(crate) wall: Timestamp,
}

/// Now. What most calls need is the monotonic time; the wall clock is read when somebody asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now<'a> {
    pub(crate) monotonic: Instant,
    wall: Option<Timestamp>,
    clock: &'a dyn Clock,
}

impl<'a> Now<'a> {
    /// Reads the monotonic clock.
    pub(crate) fn read(clock: &'a dyn Clock) -> Self {
        Self {
            monotonic: clock.now(),
            wall: None,
            clock,
        }
    }

    /// With the wall clock read, once for all who ask.
    pub(crate) fn with_wall(mut self) -> Self {
        self.wall = Some(self.wall());
        self
    }

    /// Calendar time, in whole milliseconds as on the wire, so that both compare equal.
    pub(crate) fn wall(&self) -> Timestamp {
        self.wall.unwrap_or_else(|| whole_millis(self.clock.wall()))
    }

    pub(crate) fn moment(&self) -> Moment {
        Moment {
            monotonic: self.monotonic,
            wall: self.wall(),
        }
    }
}

fn whole_millis(time: Timestamp) -> Timestamp {
    let nanos = time.subsec_nanosecond();
    Timestamp::new(time.as_second(), nanos - nanos % 1_000_000).unwrap_or(time)
}
