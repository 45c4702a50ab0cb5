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

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        match *metadata.level() > Level::WARN {
            true => Interest::always(),
            // What `event_enabled` says is kept only for events that `enabled` is asked for.
            false => Interest::sometimes(),
        }
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
        drop(kinds);
        if let Fate::WrittenAfter(lines) = fate {
            let kind = metadata.name();
            // An event within an event would spoil what the thread knows of this one.
            std::thread::spawn(move || {
                tracing::warn!(lines, kind, "lines of one kind were left out");
            });
        }
        fate != Fate::LeftOut
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use tracing_subscriber::filter::{EnvFilter, FilterExt};
    use tracing_subscriber::layer::{Layer, SubscriberExt};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn s42_what_is_left_out_of_the_log_harms_nothing_else() {
        let written = Written::default();
        let writer = written.clone();
        let log = tracing_subscriber::fmt::layer();
        let log = log.with_ansi(false).with_writer(move || writer.clone());
        let filter = EnvFilter::new("info").and(Calm::default());
        let subscriber = tracing_subscriber::registry().with(log.with_filter(filter));
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..3 * LINES {
                tracing::warn!("often");
                tracing::info!("asked for");
                tracing::debug!("not asked for");
            }
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let count = |line: &str| text.lines().filter(|l| l.ends_with(line)).count() as u64;
        assert_eq!((count(": often"), count(": asked for")), (LINES, 3 * LINES));
        assert_eq!(count(": not asked for"), 0);
    }

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
