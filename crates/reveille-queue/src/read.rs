//! Reading what is there, without waiting.

use reveille_core::WakeBatch;
use reveille_types::Filter;

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
        let now = self.now();
        let mut batch = WakeBatch::new();
        let state = self.lock_due(now, &mut batch);
        let filter = &options.filter;
        let (from, gap) = state.start(options.start, !filter.is_all())?;
        let (events, next) = state.read(from, filter, options.limit, READ_BYTES);
        let caught_up = next >= state.window.latest();
        Ok(Page {
            events,
            cursor: state.cursor(next),
            gap,
            caught_up,
            ended: state.ended.as_ref().filter(|_| caught_up).map(|e| e.reason),
        })
    }

    /// How many events of the log match, among those that are retained.
    #[must_use]
    pub fn count(&self, filter: &Filter) -> usize {
        let state = self.0.state.lock();
        let oldest = state.window.oldest();
        state
            .window
            .from(oldest)
            .filter(|e| filter.matches(e))
            .count()
    }
}
