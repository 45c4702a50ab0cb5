//! Log lines that come too often are left out: a store that is gone, or a client that fails over and
//! over, must not fill a disk.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, callsite};
use tracing_subscriber::layer::{Context, Filter};

/// So many lines of one kind in this time.
const LINES: u64 = 20;
const TIME: Duration = Duration::from_secs(10);

/// Lets so many warnings and errors of each kind through, one kind being one place in the program. What
/// is less than a warning was asked for, and passes.
#[derive(Debug, Default)]
pub(super) struct Calm(Mutex<HashMap<callsite::Identifier, Window>>);

#[derive(Debug, Clone, Copy)]
struct Window {
    begun: Instant,
    lines: u64,
}

/// What becomes of a line.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Written,
    LeftOut,
    /// So many were left out before it.
    WrittenAfter(u64),
}

impl Window {
    fn add(&mut self, now: Instant) -> Fate {
        if now.saturating_duration_since(self.begun) >= TIME {
            let left_out = self.lines.saturating_sub(LINES);
            (self.begun, self.lines) = (now, 1);
            return match left_out {
                0 => Fate::Written,
                some => Fate::WrittenAfter(some),
            };
        }
        self.lines += 1;
        match self.lines <= LINES {
            true => Fate::Written,
            false => Fate::LeftOut,
        }
    }
}

impl<S> Filter<S> for Calm {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn callsite_enabled(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::always()
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::WARN {
            return true;
        }
        let now = Instant::now();
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = Window {
            begun: now,
            lines: 0,
        };
        let kind = kinds.entry(metadata.callsite()).or_insert(fresh);
        let fate = kind.add(now);
        // What is logged below comes through here again.
        drop(kinds);
        if let Fate::WrittenAfter(lines) = fate {
            let kind = metadata.name();
            tracing::warn!(lines, kind, "lines of one kind were left out");
        }
        fate != Fate::LeftOut
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s42_of_one_kind_a_few_lines_are_written_and_the_others_counted() {
        let begun = Instant::now();
        let mut window = Window { begun, lines: 0 };
        for _ in 0..LINES {
            assert_eq!(window.add(begun), Fate::Written);
        }
        for _ in 0..5 {
            assert_eq!(window.add(begun), Fate::LeftOut);
        }
        let later = begun + TIME;
        assert_eq!(window.add(later), Fate::WrittenAfter(5));
        assert_eq!(window.add(later), Fate::Written);
        assert_eq!(window.add(later + TIME), Fate::Written);
    }
}
