//! Cancelling, closing and keeping alive.

use std::time::Duration;

use reveille_backend::Seal;
use reveille_core::{CancelToken, WakeBatch};
use reveille_types::{Class, EndReason, EventDraft, Invalid, Kind, Payload, limits};
use serde::{Deserialize, Serialize};

use crate::error::{AppendError, SessionError};
use crate::log::{SessionLog, cancelled_before};
use crate::options::AppendOptions;
use crate::outcome::CancelOutcome;
use crate::prepare::{Entries, complete};
use crate::state::{Cancelled, Now, SessionState};
use crate::stored::CANCEL_KEY;

impl SessionLog {
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
        // The event and the session tell one time.
        let now = self.now().with_wall();
        if let Some(reason) = reason {
            check_reason(reason).map_err(invalid)?;
        }
        let mut draft = EventDraft::new(Kind::parse(Kind::CANCEL_REQUESTED).map_err(invalid)?);
        draft.class = Some(Class::Control);
        draft.idempotency_key = self.0.stored.as_ref().map(|_| CANCEL_KEY.into());
        let request = CancelRequest {
            reason: reason.map(str::to_owned),
            grace_ms: grace.map(|grace| u64::try_from(grace.as_millis()).unwrap_or(u64::MAX)),
        };
        draft.payload = Payload::json(&request).map_err(invalid)?;
        let entry = complete(draft, self.preparing(now));
        if let Some(stored) = &self.0.stored {
            return self.cancel_stored(stored, entry, reason, grace).await;
        }

        let mut entries = Entries::from_elem(entry, 1);
        let mut batch = WakeBatch::new();
        let outcome = {
            let mut state = self.lock_due(now, &mut batch);
            if let Some(known) = cancelled_before(&state)? {
                return Ok(known);
            }
            let options = AppendOptions::default();
            self.commit(&mut state, &mut entries, options, now, &mut batch)?;
            self.note_cancel(&mut state, reason, grace, now)
        };
        self.0.token().token().cancel(reason);
        batch.wake_all();
        self.0.budget.keep();
        Ok(outcome)
    }

    /// The token that a cancel sets: for producers to look at between units of work, or to await.
    #[must_use]
    pub fn cancel_token(&self) -> &CancelToken {
        self.0.token().token()
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
            return self.close_stored(&*stored.log, seal).await;
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

    /// Notes that the session is cancelled, from now on.
    pub(crate) fn note_cancel(
        &self,
        state: &mut SessionState,
        reason: Option<&str>,
        grace: Option<Duration>,
        now: Now<'_>,
    ) -> CancelOutcome {
        let time = self.0.token().note(now.wall());
        state.cancelled = Some(Box::new(Cancelled {
            reason: reason.map(Into::into),
            wall: time,
            grace_until: grace.and_then(|grace| now.monotonic.checked_add(grace)),
        }));
        self.remind(state);
        CancelOutcome {
            already_cancelled: false,
            reason: reason.map(str::to_owned),
            time,
        }
    }
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

/// The payload of the event that tells of a cancel: all that another process needs to act on it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct CancelRequest {
    pub(crate) reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) grace_ms: Option<u64>,
}
