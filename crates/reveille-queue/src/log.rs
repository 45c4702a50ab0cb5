//! The handle of one session log, and how it is locked.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use reveille_backend::LogHandle;
use reveille_core::WakeBatch;
use reveille_types::{Cursor, Epoch, SessionKey, Source};

use crate::budget::{Account, TenantBudget};
use crate::environment::Environment;
use crate::error::AppendError;
use crate::outcome::CancelOutcome;
use crate::reminders::Reminders;
use crate::sessions::Inner;
use crate::state::{Locked, Moment, Now, SessionState, StateLock};
use crate::stored::Stored;
use crate::tail::Tail;
use crate::token::SessionToken;

/// One session log. Cheap to clone; all clones are the same log.
#[derive(Clone)]
pub struct SessionLog(pub(crate) Arc<Shared>);

/// What the clones share.
pub(crate) struct Shared {
    pub(crate) key: Arc<SessionKey>,
    pub(crate) epoch: Epoch,
    pub(crate) created_at: jiff::Timestamp,
    /// The source of events that name none, once there was one.
    pub(crate) source: OnceLock<Source>,
    /// Most bytes of one event: by the limits, and by what the session retains.
    pub(crate) event_bytes: usize,
    pub(crate) state: StateLock,
    token: OnceLock<Box<SessionToken>>,
    /// What is kept in a store, if the backend commits elsewhere.
    pub(crate) stored: Option<Box<Stored>>,
    /// What the sessions of the tenant may hold together. Kept after each append, when the session is
    /// not locked.
    pub(crate) budget: Arc<TenantBudget>,
    pub(crate) environment: Arc<Environment>,
    pub(crate) reminders: Arc<Reminders>,
}

impl fmt::Debug for SessionLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionLog")
            .field("key", &format_args!("{}", self.0.key))
            .field("epoch", &self.0.epoch)
            .finish_non_exhaustive()
    }
}

impl SessionLog {
    /// The session's address.
    #[must_use]
    pub fn key(&self) -> &Arc<SessionKey> {
        &self.0.key
    }

    /// The incarnation of the log.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.0.epoch
    }

    /// The end of the log: a reader that starts here gets what comes from now on. Not the place of any
    /// reader; each event and each outcome carries the cursor to go on with.
    #[must_use]
    pub fn latest(&self) -> Cursor {
        self.0.state.lock().latest()
    }

    /// The oldest place that can be read.
    #[must_use]
    pub fn oldest(&self) -> Cursor {
        self.0.state.lock().oldest()
    }

    // ---- for the rest of the crate --------------------------------------------------------------

    pub(crate) fn now(&self) -> Now<'_> {
        self.0.environment.now()
    }

    /// Locks the state after doing what is due by now.
    pub(crate) fn lock_due(&self, now: Now<'_>, batch: &mut WakeBatch) -> Locked<'_> {
        let mut state = self.0.state.lock();
        // No deadline lies before the reminder, so this is all that must be looked at on every call.
        if state.reminder.is_some_and(|at| at <= now.monotonic) {
            state.tick(now, batch);
            self.renew_reminder(&mut state);
        }
        state
    }

    /// Sees to it that somebody looks at the session when its next deadline has come.
    pub(crate) fn remind(&self, state: &mut SessionState) {
        let next = state.next_deadline();
        if next.is_some_and(|next| state.reminder.is_none_or(|at| next < at)) {
            self.move_reminder(state, next);
        }
    }

    /// As [`remind`](Self::remind), once the present reminder has been answered.
    pub(crate) fn renew_reminder(&self, state: &mut SessionState) {
        let next = state.next_deadline();
        self.move_reminder(state, next);
    }

    fn move_reminder(&self, state: &mut SessionState, next: Option<Instant>) {
        let old = std::mem::replace(&mut state.reminder, next);
        self.0.reminders.set(&self.0, old, next);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.budget.leave(self);
        if let Some(at) = self.state.lock().reminder {
            self.reminders.forget(self, at);
        }
    }
}

/// The cancel that was asked for before, if one was.
pub(crate) fn cancelled_before(state: &SessionState) -> Result<Option<CancelOutcome>, AppendError> {
    if let Some(ended) = &state.ended {
        return Err(AppendError::Ended {
            reason: ended.reason,
        });
    }
    Ok(state.cancelled.as_ref().map(|first| CancelOutcome {
        already_cancelled: true,
        reason: first.reason.as_deref().map(str::to_owned),
        time: first.wall,
    }))
}

impl Shared {
    pub(crate) fn token(&self) -> &SessionToken {
        let clock = &self.environment.clock;
        let new = || Box::new(SessionToken::new(Arc::clone(clock)));
        self.token.get_or_init(new)
    }

    pub(crate) fn new(
        key: Arc<SessionKey>,
        opened: reveille_backend::Opened,
        terms: Arc<crate::state::Terms>,
        created: Moment,
        tail: Option<Tail>,
        sessions: &Inner,
    ) -> Self {
        let environment = Arc::clone(&sessions.environment);
        let reminders = Arc::clone(&sessions.reminders);
        let now = environment.now().moment();
        let (immediate, stored) = match opened.log {
            LogHandle::Immediate(log) => (Some(log), None),
            LogHandle::Stored(log) => (None, Some(Box::new(Stored::new(log, &sessions.backend)))),
        };
        // What is in a store is loaded from its begin; see `stored.rs`.
        let at = match stored {
            None => opened.latest,
            Some(_) => opened.oldest,
        };
        let event_bytes = environment.limits.event_bytes.min(terms.bounds.bytes);
        let mut state =
            SessionState::new(Arc::clone(&key), opened.epoch, terms, at, immediate, now);
        state.created = created;
        state.tail = tail;
        let budget = environment.budget.of(&key.tenant);
        state.account = Some(Account::new(Arc::clone(&budget)));
        Self {
            key,
            epoch: opened.epoch,
            created_at: created.wall,
            source: OnceLock::new(),
            event_bytes,
            state: StateLock::new(state),
            token: OnceLock::new(),
            stored,
            budget,
            environment,
            reminders,
        }
    }
}
