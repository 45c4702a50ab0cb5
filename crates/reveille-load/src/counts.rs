//! What came through, and what is on its way.

use std::collections::VecDeque;

use hdrhistogram::Histogram;

use crate::error::LoadError;
use crate::report::{Latency, Report};

/// The longest time that is told exactly, in nanoseconds.
const LONGEST: u64 = 600_000_000_000;

/// What came through in one run.
#[derive(Debug)]
pub(crate) struct Counts {
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    pub(crate) unanswered: u64,
    /// Deliveries that the accepted events should make.
    pub(crate) expected: u64,
    /// Deliveries, each event and reader once.
    pub(crate) delivered: u64,
    pub(crate) duplicates: u64,
    pub(crate) gaps: u64,
    pub(crate) lost: u64,
    /// The first refusal.
    pub(crate) refusal: Option<String>,
    /// When the last delivery or answer came, in nanoseconds on the clock of the load.
    pub(crate) last: u64,
    pub(crate) delays: Histogram<u64>,
    pub(crate) answers: Histogram<u64>,
}

impl Counts {
    pub(crate) fn new() -> Result<Self, LoadError> {
        let histogram = || {
            Histogram::new_with_bounds(1, LONGEST, 3).map_err(|error| LoadError::System {
                what: "memory for a histogram",
                source: std::io::Error::other(error),
            })
        };
        Ok(Self {
            accepted: 0,
            refused: 0,
            unanswered: 0,
            expected: 0,
            delivered: 0,
            duplicates: 0,
            gaps: 0,
            lost: 0,
            refusal: None,
            last: 0,
            delays: histogram()?,
            answers: histogram()?,
        })
    }

    /// A frame with a stamp was read.
    pub(crate) fn read(&mut self, is_new: bool, at: u64, now: u64) {
        if !is_new {
            self.duplicates += 1;
            return;
        }
        self.delivered += 1;
        self.last = now;
        self.delays.saturating_record(now.saturating_sub(at).max(1));
    }

    /// Whether all that was accepted has been delivered.
    pub(crate) fn is_whole(&self) -> bool {
        self.delivered >= self.expected
    }

    pub(crate) fn report(self, begun: u64) -> Report {
        let nanos = self.last.saturating_sub(begun).max(1);
        let seconds = nanos as f64 / 1e9;
        Report {
            seconds,
            published: self.accepted,
            published_per_second: self.accepted as f64 / seconds,
            deliveries: self.delivered,
            deliveries_per_second: self.delivered as f64 / seconds,
            missing: self.expected.saturating_sub(self.delivered),
            duplicates: self.duplicates,
            gaps: self.gaps,
            lost_streams: self.lost,
            refused: self.refused,
            unanswered: self.unanswered,
            first_refusal: self.refusal,
            latency: Latency::of(&self.delays),
            answer: Latency::of(&self.answers),
        }
    }
}

/// Events that have been sent and that not all their readers have: in the order in which they were sent.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    /// The number of the first.
    first: u64,
    /// How many readers each of them still has to reach.
    left: VecDeque<usize>,
    /// How many of them have any left.
    open: u64,
}

impl Flight {
    /// The number that the next event gets.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.left.len() as u64
    }

    /// How many events are on their way.
    pub(crate) fn open(&self) -> u64 {
        self.open
    }

    pub(crate) fn sent(&mut self, readers: usize) {
        self.left.push_back(readers);
        self.open += u64::from(readers > 0);
        self.land();
    }

    /// One reader has the event.
    pub(crate) fn reached(&mut self, number: u64) {
        self.take(number, 1);
    }

    /// Nobody will get the event.
    pub(crate) fn refused(&mut self, number: u64) {
        self.take(number, usize::MAX);
    }

    fn take(&mut self, number: u64, readers: usize) {
        let place = number.checked_sub(self.first);
        let place = place.and_then(|place| usize::try_from(place).ok());
        let Some(left) = place.and_then(|place| self.left.get_mut(place)) else {
            return;
        };
        let before = *left;
        *left = before.saturating_sub(readers);
        self.open -= u64::from(before > 0 && *left == 0);
        self.land();
    }

    fn land(&mut self) {
        while self.left.front() == Some(&0) {
            self.left.pop_front();
            self.first += 1;
        }
    }

    /// Waits for none of them any more.
    pub(crate) fn give_up(&mut self) {
        self.first = self.next();
        self.left.clear();
        self.open = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_on_its_way_until_all_its_readers_have_it() {
        let mut flight = Flight::default();
        for readers in [2, 0, 1] {
            flight.sent(readers);
        }
        assert_eq!((flight.next(), flight.open()), (3, 2));
        flight.reached(2);
        flight.reached(0);
        assert_eq!(flight.open(), 1);
        flight.reached(0);
        assert_eq!((flight.open(), flight.left.len()), (0, 0));
        // Late ones change nothing.
        flight.reached(0);
        flight.sent(3);
        flight.refused(3);
        assert_eq!((flight.next(), flight.open()), (4, 0));
        flight.sent(1);
        flight.give_up();
        flight.reached(4);
        assert_eq!((flight.next(), flight.open()), (5, 0));
    }

    #[test]
    fn what_is_not_delivered_is_missing_and_what_came_twice_is_told() {
        let mut counts = Counts::new().unwrap();
        counts.accepted = 2;
        counts.expected = 4;
        for new in [true, true, false, true] {
            counts.read(new, 1_000, 3_000);
        }
        assert!(!counts.is_whole());
        let report = counts.report(1_000);
        assert_eq!(
            (report.deliveries, report.missing, report.duplicates),
            (3, 1, 1)
        );
        assert_eq!(report.latency.max_us.round() as u64, 2);
    }
}
