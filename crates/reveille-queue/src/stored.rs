//! Sessions whose events are kept by a store.
//!
//! The window holds what the store retains, so that all ways to read are the same as on an immediate
//! backend. A commit happens in the store, without any lock held; its events are applied here in
//! position order, under the lock, by whoever learns of them first: the append that has the answer, or
//! the feeder, which also sees commits whose answer was lost or whose append was dropped.

use std::sync::{Arc, Weak};
use std::time::Duration;

use reveille_backend::{BackendError, Entry, ReadLimit, Seal, StoredLog};
use reveille_core::WakeBatch;
use reveille_types::{Event, Kind, Position, Receipt};

use crate::error::{AppendError, SessionError};
use crate::log::{SessionLog, Shared, cancelled_before};
use crate::options::AppendOptions;
use crate::outcome::CancelOutcome;
use crate::state::Cancelled;

/// What is read from a store at once.
const READ: ReadLimit = ReadLimit {
    events: 1_000,
    bytes: 4 * 1024 * 1024,
};
/// How long the feeder waits after the store failed.
const PAUSE: Duration = Duration::from_secs(1);
/// A store is told what may go after this many evictions.
const TRIM_EVENTS: u64 = 256;

impl SessionLog {
    /// Loads what the store retains, and begins to follow it. Needs a tokio runtime.
    pub(crate) async fn load(&self, seal: Option<Seal>) -> Result<(), SessionError> {
        let Some(stored) = &self.0.stored else {
            return Ok(());
        };
        while self.catch_up(&**stored).await? {}
        if let Some(seal) = seal {
            self.apply_seal(seal);
        }
        let feeding = feed(Arc::downgrade(&self.0), Arc::clone(stored));
        // There is one load of a session, so the place is free.
        let _ = self.0.feeder.set(tokio::spawn(feeding).abort_handle());
        Ok(())
    }

    /// Reads what follows the window from the store, and applies it. Whether there was anything.
    async fn catch_up(&self, stored: &dyn StoredLog) -> Result<bool, BackendError> {
        let from = self.0.state.lock().window.latest();
        let page = stored.read(from, READ).await?;
        if page.events.is_empty() {
            return Ok(false);
        }
        self.apply_stored(page.events);
        Ok(true)
    }

    fn apply_stored(&self, events: Vec<Event>) {
        let now = self.now();
        let mut batch = WakeBatch::new();
        let cancel = events
            .iter()
            .find(|event| event.kind().as_str() == Kind::CANCEL_REQUESTED)
            .cloned();
        let mut state = self.0.state.lock();
        state.apply_stored(events, &self.0.environment.registry, now, &mut batch);
        let mut cancelled = None;
        if let Some(event) = cancel
            && state.cancelled.is_none()
        {
            let reason = reason_of(&event);
            state.cancelled = Some(Cancelled {
                reason: reason.as_deref().map(Into::into),
                wall: event.envelope().time,
                grace_until: None,
            });
            cancelled = Some(reason);
        }
        self.remind(&mut state);
        drop(state);
        batch.wake_all();
        if let Some(reason) = cancelled {
            self.0.token.cancel(reason.as_deref());
        }
    }

    fn apply_seal(&self, seal: Seal) {
        let now = self.now();
        let mut batch = WakeBatch::new();
        let mut state = self.0.state.lock();
        state.seal(seal.reason, seal.message, now, &mut batch);
        self.remind(&mut state);
    }

    /// Appends in the store, then here.
    pub(crate) async fn append_stored(
        &self,
        stored: &dyn StoredLog,
        entries: Vec<Entry>,
        options: AppendOptions,
    ) -> Result<Receipt, AppendError> {
        let now = self.now();
        let ended = {
            let mut batch = WakeBatch::new();
            let state = self.lock_due(now, &mut batch);
            state.ended.as_ref().map(|ended| ended.reason)
        };
        // A repeated append is answered even after the end: the store looks at its keys.
        if let Some(reason) = ended
            && entries.iter().any(|e| e.key.is_none())
        {
            return Err(AppendError::Ended { reason });
        }
        let mut conditions = reveille_backend::AppendOptions::at(now.monotonic);
        conditions.durability = options.durability;
        conditions.expected = match ended {
            None => options.expected,
            // Only what is known already may pass: nothing ends at an impossible position.
            Some(_) => Some(Position(u64::MAX)),
        };
        let slots =
            stored
                .append(entries.clone(), conditions)
                .await
                .map_err(|error| match ended {
                    None => self.refused(error),
                    Some(reason) => AppendError::Ended { reason },
                })?;
        let receipt = self.receipt(&entries, &slots);
        let events = self.0.state.lock().events(entries, &slots);
        self.apply_stored(events);
        if let Some(before) = self.trim_due() {
            // What may go stays a little longer if the store cannot let go of it now.
            let _ = stored.trim(before).await;
        }
        Ok(receipt)
    }

    /// The place before which the store may let go, if it is time to say so.
    fn trim_due(&self) -> Option<Position> {
        let mut state = self.0.state.lock();
        let oldest = state.window.oldest();
        if oldest.since(state.trimmed) < TRIM_EVENTS {
            return None;
        }
        state.trimmed = oldest;
        Some(oldest)
    }

    /// Asks the producer to stop: noted at once, so that the first cancel wins, and taken back if the
    /// store refuses the event that tells of it.
    pub(crate) async fn cancel_stored(
        &self,
        stored: &dyn StoredLog,
        entry: Entry,
        reason: Option<&str>,
        grace: Option<Duration>,
    ) -> Result<CancelOutcome, AppendError> {
        let now = self.now();
        let outcome = {
            let mut batch = WakeBatch::new();
            let mut state = self.lock_due(now, &mut batch);
            if let Some(known) = cancelled_before(&state)? {
                return Ok(known);
            }
            self.note_cancel(&mut state, reason, grace, now)
        };
        let options = AppendOptions::default();
        let appended = self.append_stored(stored, vec![entry], options).await;
        if let Err(error) = appended {
            self.0.state.lock().cancelled = None;
            return Err(error);
        }
        self.0.token.cancel(reason);
        Ok(outcome)
    }
}

/// The reason in the event that tells of a cancel.
fn reason_of(event: &Event) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Reason {
        reason: Option<String>,
    }
    event.payload().parse::<Reason>().ok()?.reason
}

/// Applies what the store commits, until the session is dropped. A failing store is asked again.
async fn feed(session: Weak<Shared>, stored: Arc<dyn StoredLog>) {
    while let Some(shared) = session.upgrade() {
        let log = SessionLog(shared);
        let latest = log.0.state.lock().window.latest();
        // Armed before the log is read: what is appended from then on is not missed.
        let fed = match stored.watch(latest).await {
            Err(error) => Err(error),
            Ok(watch) => log.catch_up(&*stored).await.map(|more| (watch, more)),
        };
        match fed {
            Ok((_, true)) => {}
            Ok((watch, false)) => {
                drop(log);
                if watch.await.is_ok()
                    && let (Some(shared), Ok(info)) = (session.upgrade(), stored.info().await)
                    && let Some(seal) = info.seal
                {
                    let log = SessionLog(shared);
                    // What was appended before the seal comes before the end.
                    while let Ok(true) = log.catch_up(&*stored).await {}
                    log.apply_seal(seal);
                    return;
                }
            }
            Err(_) => {
                drop(log);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
