//! What all sessions of one manager share.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use reveille_core::{Clock, IdSource};
use reveille_types::{Durability, KindRegistry};

use crate::options::QueueLimits;
use crate::state::Now;

/// Clock, ids, known kinds, bounds, and what the backend says of itself.
#[derive(Debug)]
pub(crate) struct Environment {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdSource>,
    pub(crate) registry: KindRegistry,
    pub(crate) limits: QueueLimits,
    pub(crate) durability: Durability,
    /// The backend's name.
    pub(crate) backend: &'static str,
}

impl Environment {
    pub(crate) fn now(&self) -> Now {
        Now {
            monotonic: self.clock.now(),
            wall: whole_millis(self.clock.wall()),
        }
    }
}

/// Times on the wire have milliseconds; so have times in memory, and both compare equal.
fn whole_millis(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}

/// The clock of tokio's timers: they and all deadlines of the queue move together, also when a test
/// pauses them. Works without a runtime, too.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokioClock;

impl Clock for TokioClock {
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }
}
