//! The handle of one session log: append, read, cancel, close.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use reveille_backend::{LogHandle, Seal, StoredLog};
use reveille_core::sync::{Mutex, MutexGuard};
use reveille_core::{CancelToken, WakeBatch};
use reveille_types::{
    Class, Cursor, EndReason, Epoch, EventDraft, Filter, Invalid, Kind, Payload, Placed, Receipt,
    SessionKey, limits, wire,
};
use tokio::task::AbortHandle;

use crate::environment::Environment;
use crate::error::{AppendError, ReadError, SessionError, SettleError};
use crate::options::{AppendOptions, PageOptions};
use crate::outcome::{CancelOutcome, LeaseId, Page};
use crate::prepare::{Preparing, complete, prepare};
use crate::reminders::Reminders;
use crate::state::{Cancelled, Now, SessionState};
use crate::tail::Tail;

/// Most bytes that one read hands out, so that a reader never holds more than it will soon use.
const READ_BYTES: usize = 1024 * 1024;

/// One session log. Cheap to clone; all clones are the same log.
#[derive(Clone)]
pub struct SessionLog(pub(crate) Arc<Shared>);

/// What the clones share.
pub(crate) struct Shared {
    pub(crate) key: Arc<SessionKey>,
    pub(crate) epoch: Epoch,
    pub(crate) created_at: jiff::Timestamp,
    /// Most bytes of one event: by the limits, and by what the session retains.
    event_bytes: usize,
    pub(crate) state: Mutex<SessionState>,
    pub(crate) token: CancelToken,
    /// The log in its store, if the backend commits elsewhere.
    pub(crate) stored: Option<Arc<dyn StoredLog>>,
    /// Ends with the session: applies what became committed without an answer here.
    pub(crate) feeder: OnceLock<AbortHandle>,
    /// Held while a cancel is appended to the store, so that there is one.
    pub(crate) cancelling: tokio::sync::Mutex<()>,
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

    /// Appends a batch: all of it or nothing, in one piece, in its order. The receipt says where.
    ///
    /// # Errors
    /// [`AppendError`]; nothing was stored, but for
    /// [`OutcomeUnknown`](AppendError::OutcomeUnknown).
    ///
    /// # Cancel safety
    /// A dropped future has appended the whole batch or nothing; an idempotency key settles which.
    pub async fn append(
        &self,
        drafts: impl IntoIterator<Item = EventDraft>,
        options: AppendOptions,
    ) -> Result<Receipt, AppendError> {
        match &self.0.stored {
            None => self.try_append(drafts, options),
            Some(stored) => {
                let drafts = drafts.into_iter().collect();
                let entries = prepare(drafts, self.preparing(self.now()))?;
                self.append_stored(&**stored, entries, options).await
            }
        }
    }

    /// As [`append`](Self::append) without waiting, from any thread, with or without a runtime.
    ///
    /// # Errors
    /// [`AppendError`]; [`NotImmediate`](AppendError::NotImmediate) when the backend cannot.
    pub fn try_append(
        &self,
        drafts: impl IntoIterator<Item = EventDraft>,
        options: AppendOptions,
    ) -> Result<Receipt, AppendError> {
        let now = self.now();
        let entries = prepare(drafts.into_iter().collect(), self.preparing(now))?;
        let mut batch = WakeBatch::new();
        let mut state = self.lock_due(now, &mut batch);
        self.commit(&mut state, entries, options, now, &mut batch)
    }

    fn preparing(&self, now: Now) -> Preparing<'_> {
        let environment = &*self.0.environment;
        Preparing {
            session: &self.0.key,
            registry: &environment.registry,
            ids: &*environment.ids,
            limits: &environment.limits,
            event_bytes: self.0.event_bytes,
            wall: now.wall,
        }
    }

    fn commit(
        &self,
        state: &mut SessionState,
        entries: Vec<reveille_backend::Entry>,
        options: AppendOptions,
        now: Now,
        batch: &mut WakeBatch,
    ) -> Result<Receipt, AppendError> {
        // A repeated append is answered even after the end: its keys are looked at by the backend.
        if let Some(ended) = &state.ended
            && entries.iter().any(|e| e.key.is_none())
        {
            return Err(AppendError::Ended {
                reason: ended.reason,
            });
        }
        let ended = state.ended.as_ref().map(|e| e.reason);
        let log = state.immediate.as_mut().ok_or(AppendError::NotImmediate)?;
        let mut conditions = reveille_backend::AppendOptions::at(now.monotonic);
        conditions.durability = options.durability;
        conditions.expected = options.expected;
        if let Some(reason) = ended {
            // Only what is known already may pass: nothing ends at an impossible position.
            conditions.expected = Some(reveille_types::Position(u64::MAX));
            let slots = log
                .try_append(&entries, &conditions)
                .map_err(|_| AppendError::Ended { reason })?;
            return Ok(self.receipt(&entries, &slots));
        }
        let slots = log
            .try_append(&entries, &conditions)
            .map_err(|e| self.refused(e))?;
        self.check_contract(state, &entries, &slots)?;
        let receipt = self.receipt(&entries, &slots);
        state.apply(entries, &slots, &self.0.environment.registry, now, batch);
        if state.ended.is_some() {
            self.remind(state);
        }
        Ok(receipt)
    }

    /// A backend that gives a place twice or leaves one out would shift every later event.
    fn check_contract(
        &self,
        state: &SessionState,
        entries: &[reveille_backend::Entry],
        slots: &[reveille_backend::Slot],
    ) -> Result<(), AppendError> {
        let mut next = state.window.latest();
        let dense = slots.iter().filter(|slot| !slot.deduplicated).all(|slot| {
            let expected = next;
            next = next.next();
            slot.position == expected
        });
        let known = |slot: &reveille_backend::Slot| !slot.deduplicated || slot.position < next;
        if dense && slots.len() == entries.len() && slots.iter().all(known) {
            return Ok(());
        }
        let corrupt = reveille_backend::BackendError::Corrupt {
            backend: self.0.environment.backend,
            place: format!("the end of session {:?}", self.0.key.name()),
        };
        Err(AppendError::Backend(corrupt.into()))
    }

    pub(crate) fn receipt(
        &self,
        entries: &[reveille_backend::Entry],
        slots: &[reveille_backend::Slot],
    ) -> Receipt {
        let results: Vec<Placed> = entries
            .iter()
            .zip(slots)
            .map(|(entry, slot)| Placed {
                id: entry.envelope.id.clone(),
                position: slot.position,
                seq: slot.seq,
                cursor: Cursor::session(self.0.epoch, slot.position.next()),
                deduplicated: slot.deduplicated,
            })
            .collect();
        let last = slots.iter().map(|slot| slot.position.next()).max();
        Receipt {
            cursor: Cursor::session(self.0.epoch, last.unwrap_or_default()),
            durability: self.0.environment.durability,
            results,
        }
    }

    pub(crate) fn refused(&self, error: reveille_backend::AppendError) -> AppendError {
        match error {
            reveille_backend::AppendError::PositionConflict { expected, actual } => {
                AppendError::PositionConflict {
                    expected,
                    actual: Cursor::session(self.0.epoch, actual),
                }
            }
            reveille_backend::AppendError::IdempotencyConflict { key } => {
                AppendError::IdempotencyConflict { key }
            }
            reveille_backend::AppendError::Sealed { reason } => AppendError::Ended { reason },
            reveille_backend::AppendError::OutcomeUnknown => AppendError::OutcomeUnknown,
            other => AppendError::Backend(other),
        }
    }

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

    /// Asks the producer to stop. The first cancel wins: it sets the [token](Self::cancel_token) and
    /// appends one `task.status.cancel_requested` event. The producer has the last word; if `grace` is
    /// given and it has not ended the session by then, the session ends as cancelled.
    ///
    /// # Errors
    /// [`AppendError::Ended`] when the session is over, [`AppendError::InvalidEvent`] when the reason
    /// is too long.
    ///
    /// # Cancel safety
    /// A dropped future has cancelled or has not.
    pub async fn cancel(
        &self,
        reason: Option<&str>,
        grace: Option<Duration>,
    ) -> Result<CancelOutcome, AppendError> {
        let invalid = |source| AppendError::InvalidEvent { index: 0, source };
        let now = self.now();
        if let Some(reason) = reason {
            check_reason(reason).map_err(invalid)?;
        }
        let mut draft = EventDraft::new(Kind::parse(Kind::CANCEL_REQUESTED).map_err(invalid)?);
        draft.class = Some(Class::Control);
        draft.payload = Payload::json(&reason_payload(reason)).map_err(invalid)?;
        let entry = complete(draft, self.preparing(now))?;
        if let Some(stored) = &self.0.stored {
            return self.cancel_stored(&**stored, entry, reason, grace).await;
        }

        let mut batch = WakeBatch::new();
        let outcome = {
            let mut state = self.lock_due(now, &mut batch);
            if let Some(known) = cancelled_before(&state)? {
                return Ok(known);
            }
            let options = AppendOptions::default();
            self.commit(&mut state, vec![entry], options, now, &mut batch)?;
            self.note_cancel(&mut state, reason, grace, now)
        };
        self.0.token.cancel(reason);
        batch.wake_all();
        Ok(outcome)
    }

    /// The token that a cancel sets: for producers to look at between units of work, or to await.
    #[must_use]
    pub fn cancel_token(&self) -> &CancelToken {
        &self.0.token
    }

    /// Seals the session: what is in the log is still delivered, then streams end. Idempotent.
    /// Answers whether this call ended it.
    ///
    /// # Errors
    /// [`SessionError::InvalidOption`] when the message is too long, [`SessionError::Backend`] when the
    /// store fails.
    ///
    /// # Cancel safety
    /// A dropped future has sealed or has not.
    pub async fn close(&self, message: Option<&str>) -> Result<bool, SessionError> {
        if let Some(message) = message {
            check_reason(message).map_err(SessionError::InvalidOption)?;
        }
        if let Some(stored) = &self.0.stored {
            let seal = Seal {
                reason: EndReason::Closed,
                message: message.map(Into::into),
            };
            return self.close_stored(&**stored, seal).await;
        }
        let now = self.now();
        let mut batch = WakeBatch::new();
        let mut state = self.lock_due(now, &mut batch);
        let sealed = state.seal(EndReason::Closed, message.map(Into::into), now, &mut batch);
        self.remind(&mut state);
        Ok(sealed)
    }

    /// Counts as activity: the idle time to live begins anew.
    pub fn touch(&self) {
        let now = self.now();
        let mut batch = WakeBatch::new();
        let mut state = self.lock_due(now, &mut batch);
        if state.ended.is_none() {
            state.touch(now);
        }
    }

    /// Settles a leased event: it is done.
    ///
    /// # Errors
    /// [`SettleError::Fenced`] when the lease is over or settled.
    ///
    /// # Cancel safety
    /// A dropped future has settled or has not.
    pub async fn ack(
        &self,
        group: &reveille_types::Label,
        lease: LeaseId,
    ) -> Result<(), SettleError> {
        self.settle(group, lease, true)
    }

    /// Gives a leased event back: it is offered again at once.
    ///
    /// # Errors
    /// [`SettleError::Fenced`] when the lease is over or settled.
    ///
    /// # Cancel safety
    /// A dropped future has given it back or has not.
    pub async fn nack(
        &self,
        group: &reveille_types::Label,
        lease: LeaseId,
    ) -> Result<(), SettleError> {
        self.settle(group, lease, false)
    }

    fn settle(
        &self,
        group: &reveille_types::Label,
        lease: LeaseId,
        done: bool,
    ) -> Result<(), SettleError> {
        let now = self.now();
        let mut batch = WakeBatch::new();
        let mut state = self.lock_due(now, &mut batch);
        state.settle(group, lease, done, now, &mut batch)
    }

    /// What is known of the session.
    #[must_use]
    pub fn info(&self) -> wire::SessionInfo {
        let now = self.now();
        let mut batch = WakeBatch::new();
        let state = self.lock_due(now, &mut batch);
        let key = &self.0.key;
        let millis = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        wire::SessionInfo {
            session: key.name(),
            namespace: key.namespace.to_string(),
            id: key.id.to_string(),
            state: match state.ended {
                None => wire::SessionState::Open,
                Some(_) => wire::SessionState::Ended,
            },
            reason: state.ended.as_ref().map(|e| e.reason),
            message: state
                .ended
                .as_ref()
                .and_then(|e| e.message.as_deref().map(str::to_owned)),
            oldest: state.oldest(),
            latest: state.latest(),
            retained: state.window.len() as u64,
            bytes: state.window.bytes() as u64,
            dropped: state.dropped,
            subscribers: state.subscribers as u64,
            waiters: state.waiters() as u64,
            cancel: state.cancelled.as_ref().map(|c| wire::CancelInfo {
                reason: c.reason.as_deref().map(str::to_owned),
                time: c.wall,
            }),
            created_at: self.0.created_at,
            last_activity_at: state.last_activity.wall,
            ended_at: state.ended.as_ref().map(|e| e.wall),
            expires_at: state.expires_wall(),
            ttl_ms: state.terms.ttl.map(millis),
            max_events: state.terms.bounds.events as u64,
            max_bytes: state.terms.bounds.bytes as u64,
        }
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

    /// Notes that the session is cancelled, from now on.
    pub(crate) fn note_cancel(
        &self,
        state: &mut SessionState,
        reason: Option<&str>,
        grace: Option<Duration>,
        now: Now,
    ) -> CancelOutcome {
        state.cancelled = Some(Cancelled {
            reason: reason.map(Into::into),
            wall: now.wall,
            grace_until: grace.and_then(|grace| now.monotonic.checked_add(grace)),
        });
        self.remind(state);
        CancelOutcome {
            already_cancelled: false,
            reason: reason.map(str::to_owned),
            time: now.wall,
        }
    }

    /// The wall time of a deadline of this session, for display.
    #[must_use]
    pub fn wall_time_of(&self, deadline: Instant) -> jiff::Timestamp {
        let now = self.now();
        let ahead = deadline.saturating_duration_since(now.monotonic);
        jiff::SignedDuration::try_from(ahead)
            .ok()
            .and_then(|ahead| now.wall.checked_add(ahead).ok())
            .unwrap_or(now.wall)
    }

    // ---- for the rest of the crate --------------------------------------------------------------

    pub(crate) fn now(&self) -> Now {
        self.0.environment.now()
    }

    /// Locks the state after doing what is due by now.
    pub(crate) fn lock_due(&self, now: Now, batch: &mut WakeBatch) -> MutexGuard<'_, SessionState> {
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
        if let Some(feeder) = self.feeder.get() {
            feeder.abort();
        }
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

fn check_reason(text: &str) -> Result<(), Invalid> {
    if text.len() > limits::REASON_BYTES {
        return Err(Invalid::TooLarge {
            field: "reason".into(),
            limit: limits::REASON_BYTES as u64,
            actual: text.len() as u64,
            unit: "bytes",
        });
    }
    Ok(())
}

/// The payload of a cancel request.
fn reason_payload(reason: Option<&str>) -> std::collections::BTreeMap<&'static str, Option<&str>> {
    [("reason", reason)].into()
}

impl Shared {
    pub(crate) fn new(
        key: Arc<SessionKey>,
        opened: reveille_backend::Opened,
        terms: crate::state::Terms,
        tail: Option<Tail>,
        environment: Arc<Environment>,
        reminders: Arc<Reminders>,
    ) -> Self {
        let now = environment.now();
        let (immediate, stored) = match opened.log {
            LogHandle::Immediate(log) => (Some(log), None),
            LogHandle::Stored(log) => (None, Some(log)),
        };
        // What is in a store is loaded from its begin; see `stored.rs`.
        let at = match stored {
            None => opened.latest,
            Some(_) => opened.oldest,
        };
        let mut state =
            SessionState::new(Arc::clone(&key), opened.epoch, terms, at, immediate, now);
        state.tail = tail;
        Self {
            key,
            epoch: opened.epoch,
            created_at: now.wall,
            event_bytes: environment.limits.event_bytes.min(terms.bounds.bytes),
            state: Mutex::new(state),
            token: CancelToken::new(Arc::clone(&environment.clock)),
            stored,
            feeder: OnceLock::new(),
            cancelling: tokio::sync::Mutex::default(),
            environment,
            reminders,
        }
    }
}
