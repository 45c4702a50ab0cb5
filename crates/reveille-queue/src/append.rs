//! Appending: check outside the lock, commit within, wake after it.

use reveille_core::WakeBatch;
use reveille_types::{Cursor, EventDraft, Placed, Receipt, Source};

use crate::error::AppendError;
use crate::log::SessionLog;
use crate::options::AppendOptions;
use crate::prepare::{Entries, Preparing, prepare};
use crate::state::{Now, SessionState};
use crate::window::Window;

impl SessionLog {
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
                let entries = prepare(drafts, self.preparing(self.now()))?;
                self.append_stored(&*stored.log, entries.into_vec(), options)
                    .await
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
        let now = self.now().with_wall();
        let mut entries = prepare(drafts, self.preparing(now))?;
        let receipt = {
            let mut batch = WakeBatch::new();
            let mut state = self.lock_due(now, &mut batch);
            self.commit(&mut state, &mut entries, options, now, &mut batch)?
        };
        self.0.budget.keep();
        Ok(receipt)
    }

    pub(crate) fn preparing(&self, now: Now<'_>) -> Preparing<'_> {
        let environment = &*self.0.environment;
        Preparing {
            session: &self.0.key,
            source: self
                .0
                .source
                .get_or_init(|| Source::of_session(&self.0.key)),
            registry: &environment.registry,
            ids: &*environment.ids,
            limits: &environment.limits,
            event_bytes: self.0.event_bytes,
            wall: now.wall(),
        }
    }

    /// Takes the entries if they are stored; if not, their owner drops them after the lock.
    pub(crate) fn commit(
        &self,
        state: &mut SessionState,
        entries: &mut Entries,
        options: AppendOptions,
        now: Now<'_>,
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
                .try_append(entries, &conditions)
                .map_err(|_| AppendError::Ended { reason })?;
            let mut receipt = self.receipt(entries, &slots);
            name_stored(&mut receipt, &state.window);
            return Ok(receipt);
        }
        let slots = log
            .try_append(entries, &conditions)
            .map_err(|e| self.refused(e))?;
        self.check_contract(state, entries, &slots)?;
        let mut receipt = self.receipt(entries, &slots);
        name_stored(&mut receipt, &state.window);
        let entries = std::mem::take(entries);
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
                id: entry.event.envelope().id.clone(),
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
}

/// Gives what an earlier append stored the id that it got then, as long as the event is here.
pub(crate) fn name_stored(receipt: &mut Receipt, window: &Window) {
    for placed in receipt.results.iter_mut().filter(|p| p.deduplicated) {
        if let Some(event) = window.get(placed.position) {
            placed.id = event.envelope().id.clone();
        }
    }
}
