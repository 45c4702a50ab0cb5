//! Reading what is there, without waiting.

use reveille_core::WakeBatch;
use reveille_types::{Cursor, EndReason, Event, Filter, Gap, Position};

use crate::error::ReadError;
use crate::log::SessionLog;
use crate::options::PageOptions;
use crate::outcome::Page;

/// Most bytes that one read hands out, so that a reader never holds more than it will soon use.
const READ_BYTES: usize = 1024 * 1024;

impl SessionLog {
    /// Reads a page without waiting: as many events as asked for, or about 1 MiB of them.
    ///
    /// # Errors
    /// [`ReadError::Cursor`] when the start cannot be followed.
    pub fn page(&self, options: &PageOptions) -> Result<Page, ReadError> {
        let filter = &options.filter;
        let filtered = !filter.is_all();
        let mut batch = WakeBatch::new();
        let now = self.now();
        let (mut at, mut gap) = self
            .lock_due(now, &mut batch)
            .start(options.start, filtered)?;
        batch.wake_all();
        let (mut events, mut bytes) = (Vec::new(), 0);
        loop {
            let state = self.0.state.lock();
            if let Some(more) = Gap::expired(state.cursor(at), state.window.oldest(), filtered) {
                // What went missing behind an event is for the next page to tell.
                if !events.is_empty() {
                    break;
                }
                at = state.window.oldest();
                join(&mut gap, more);
            }
            let read = state.read(at, filter, options.limit - events.len(), READ_BYTES - bytes);
            let latest = state.window.latest();
            let ended = state.ended.as_ref().map(|e| e.reason);
            drop(state);
            at = read.next;
            bytes += read.bytes;
            events.extend(read.events);
            let caught_up = at >= latest;
            if caught_up || read.full || bytes >= READ_BYTES {
                return Ok(self.page_of(events, at, gap, caught_up, ended));
            }
        }
        Ok(self.page_of(events, at, gap, false, None))
    }

    fn page_of(
        &self,
        events: Vec<Event>,
        next: Position,
        gap: Option<Gap>,
        caught_up: bool,
        ended: Option<EndReason>,
    ) -> Page {
        Page {
            events,
            cursor: Cursor::session(self.epoch(), next),
            gap,
            caught_up,
            ended: ended.filter(|_| caught_up),
        }
    }

    /// How many events of the log match, among those that are retained.
    #[must_use]
    pub fn count(&self, filter: &Filter) -> usize {
        let (mut count, mut at) = (0, Position::START);
        loop {
            let state = self.0.state.lock();
            let (more, next) = state.count(at, filter);
            count += more;
            at = next;
            if at >= state.window.latest() {
                return count;
            }
        }
    }
}

/// Adds what went missing later to what was missing before.
pub(crate) fn join(gap: &mut Option<Gap>, more: Gap) {
    match gap {
        None => *gap = Some(more),
        Some(gap) => {
            gap.missed = gap
                .missed
                .zip(more.missed)
                .map(|(a, b)| a.saturating_add(b));
            gap.ranges.merge(&more.ranges);
            gap.resumes_at = more.resumes_at;
        }
    }
}
