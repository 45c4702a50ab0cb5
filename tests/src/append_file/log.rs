//! The handle of one log.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use reveille_backend::{
    AppendError, AppendOptions, BackendError, Entry, LogInfo, LogPage, ReadLimit, Seal, Slot,
    StoredLog, Watch,
};
use reveille_core::WaiterKey;
use reveille_types::{Durability, Epoch, Position, SessionKey};

use super::record::{Record, StoredEvent};
use super::{AppendFile, Log, State};

/// The handle of one incarnation of one log.
pub(super) struct AppendFileLog {
    file: AppendFile,
    key: SessionKey,
    epoch: Epoch,
}

impl fmt::Debug for AppendFileLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppendFileLog")
            .field("key", &format_args!("{}", self.key))
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

impl AppendFileLog {
    pub(super) fn new(file: &AppendFile, key: &SessionKey, epoch: Epoch) -> Self {
        Self {
            file: file.clone(),
            key: key.clone(),
            epoch,
        }
    }

    /// The log, unless it was removed or replaced by a new incarnation.
    fn log<'a>(&self, state: &'a State) -> Result<&'a Log, BackendError> {
        let log = state.logs.get(&self.key);
        log.filter(|log| log.epoch == self.epoch)
            .ok_or(BackendError::NotFound)
    }

    /// Where each entry goes, if the conditions hold.
    fn place(
        &self,
        state: &State,
        entries: &[Entry],
        options: &AppendOptions,
    ) -> Result<Vec<Slot>, AppendError> {
        let log = self.log(state)?;
        let mut seq = state
            .seqs
            .get(&self.key.tenant)
            .copied()
            .unwrap_or_default();
        let mut position = log.latest();
        let mut in_batch: HashMap<&str, (u64, Slot)> = HashMap::new();
        let mut slots = Vec::with_capacity(entries.len());
        for entry in entries {
            let known = entry.key.as_ref().and_then(|key| {
                let stored = log.keys.get(&key.key).map(|known| {
                    let slot = Slot {
                        position: known.position,
                        seq: known.seq,
                        deduplicated: true,
                    };
                    (known.fingerprint, slot)
                });
                stored.or_else(|| in_batch.get(&*key.key).copied())
            });
            let slot = match (&entry.key, known) {
                (Some(key), Some((fingerprint, _))) if fingerprint != key.fingerprint => {
                    return Err(AppendError::IdempotencyConflict {
                        key: key.key.clone(),
                    });
                }
                (_, Some((_, slot))) => slot,
                (key, None) => {
                    seq = seq.next();
                    let slot = Slot {
                        position,
                        seq,
                        deduplicated: false,
                    };
                    position = position.next();
                    if let Some(key) = key {
                        let repeated = Slot {
                            deduplicated: true,
                            ..slot
                        };
                        in_batch.insert(&key.key, (key.fingerprint, repeated));
                    }
                    slot
                }
            };
            slots.push(slot);
        }
        // A repeated batch is answered whatever has happened since.
        if position == log.latest() {
            return Ok(slots);
        }
        if let Some(seal) = &log.seal {
            return Err(AppendError::Sealed {
                reason: seal.reason,
            });
        }
        match options.expected {
            Some(expected) if expected != log.latest() => Err(AppendError::PositionConflict {
                expected,
                actual: log.latest(),
            }),
            _ => Ok(slots),
        }
    }

    fn commit(&self, record: Record) -> Result<(), BackendError> {
        let mut state = self.file.lock();
        self.log(&state)?;
        let batch = state.commit(record)?;
        drop(state);
        batch.wake_all();
        Ok(())
    }
}

#[async_trait]
impl StoredLog for AppendFileLog {
    async fn append(
        &self,
        entries: Vec<Entry>,
        options: AppendOptions,
    ) -> Result<Vec<Slot>, AppendError> {
        if let Some(wanted) = options.durability
            && !Durability::Os.covers(wanted)
        {
            return Err(AppendError::Durability { wanted });
        }
        let mut state = self.file.lock();
        let slots = self.place(&state, &entries, &options)?;
        let events: Vec<StoredEvent> = entries
            .iter()
            .zip(&slots)
            .filter(|(_, slot)| !slot.deduplicated)
            .map(|(entry, slot)| StoredEvent::new(entry, *slot, &self.key, self.epoch))
            .collect();
        if events.is_empty() {
            return Ok(slots);
        }
        let batch = state.commit(Record::Append {
            key: self.key.clone(),
            events,
            seal: options.seal,
        })?;
        drop(state);
        batch.wake_all();
        Ok(slots)
    }

    async fn read(&self, from: Position, limit: ReadLimit) -> Result<LogPage, BackendError> {
        let state = self.file.lock();
        let log = self.log(&state)?;
        let skip = usize::try_from(from.since(log.oldest)).unwrap_or(usize::MAX);
        let mut bytes = 0;
        let mut events = Vec::new();
        for event in log.events.iter().skip(skip) {
            bytes += event.weight();
            let full = events.len() == limit.events || bytes > limit.bytes;
            if full && !events.is_empty() {
                break;
            }
            events.push(event.clone());
        }
        Ok(LogPage {
            oldest: log.oldest,
            events,
        })
    }

    async fn watch(&self, after: Position) -> Result<Watch, BackendError> {
        self.log(&self.file.lock())?;
        // The future looks at the log whenever it is polled, so it is armed from the start.
        Ok(Box::pin(Watching {
            log: Self::new(&self.file, &self.key, self.epoch),
            after,
            waiter: None,
        }))
    }

    async fn seal(&self, seal: Seal) -> Result<bool, BackendError> {
        let mut state = self.file.lock();
        if self.log(&state)?.seal.is_some() {
            return Ok(false);
        }
        let key = self.key.clone();
        let batch = state.commit(Record::Seal { key, seal })?;
        drop(state);
        batch.wake_all();
        Ok(true)
    }

    async fn trim(&self, before: Position) -> Result<(), BackendError> {
        let key = self.key.clone();
        self.commit(Record::Trim { key, before })
    }

    async fn info(&self) -> Result<LogInfo, BackendError> {
        let state = self.file.lock();
        let log = self.log(&state)?;
        Ok(LogInfo {
            epoch: log.epoch,
            oldest: log.oldest,
            latest: log.latest(),
            seal: log.seal.clone(),
        })
    }
}

/// Resolves once the log has grown past `after`, is sealed, or is gone.
struct Watching {
    log: AppendFileLog,
    after: Position,
    waiter: Option<WaiterKey>,
}

impl Future for Watching {
    type Output = Result<(), BackendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let waker = cx.waker().clone();
        // What is not needed any more is dropped after the lock: see `WaitList`.
        let _replaced;
        let mut state = this.log.file.lock();
        let log = this.log.log(&state)?;
        if log.latest() > this.after || log.seal.is_some() {
            return Poll::Ready(Ok(()));
        }
        if let Some(log) = state.logs.get_mut(&this.log.key) {
            _replaced = match this.waiter {
                Some(key) => log.waiters.set_waker(key, waker),
                None => {
                    this.waiter = Some(log.waiters.insert(Some(waker), ()));
                    None
                }
            };
        }
        Poll::Pending
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let Some(waiter) = self.waiter else {
            return;
        };
        let removed = {
            let mut state = self.log.file.lock();
            let log = state.logs.get_mut(&self.log.key);
            log.filter(|log| log.epoch == self.log.epoch)
                .and_then(|log| log.waiters.remove(waiter))
        };
        drop(removed);
    }
}
