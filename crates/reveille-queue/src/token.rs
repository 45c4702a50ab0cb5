//! The cancel token of a session, made when it is first asked for.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use jiff::Timestamp;
use reveille_core::{CancelToken, Clock};

/// A session's cancel token and its clock.
#[derive(Debug)]
pub(crate) struct SessionToken {
    token: CancelToken,
    clock: Arc<TokenClock>,
}

impl SessionToken {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let clock = Arc::new(TokenClock {
            clock,
            cancelled_at: OnceLock::new(),
        });
        Self {
            token: CancelToken::new(Arc::clone(&clock) as Arc<dyn Clock>),
            clock,
        }
    }

    pub(crate) fn token(&self) -> &CancelToken {
        &self.token
    }

    /// The time of the cancel: this one, unless another was noted before.
    pub(crate) fn note(&self, time: Timestamp) -> Timestamp {
        *self.clock.cancelled_at.get_or_init(|| time)
    }
}

/// The clock of a session's cancel token, so that token and session tell the same time of a cancel: the
/// one that the session notes.
#[derive(Debug)]
struct TokenClock {
    clock: Arc<dyn Clock>,
    cancelled_at: OnceLock<Timestamp>,
}

impl Clock for TokenClock {
    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn wall(&self) -> Timestamp {
        let noted = self.cancelled_at.get().copied();
        noted.unwrap_or_else(|| self.clock.wall())
    }
}
