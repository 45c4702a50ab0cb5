//! A store in this process: what `docs/custom-backend.md` builds step by step.
//!
//! It is a backend as a stranger writes it, on `reveille-backend` alone, and the sound one that
//! [`Broken`](crate::Broken) spoils. Unlike the default backend it stores its events behind
//! asynchronous handles, so that it stands for any store in a user's tests.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use reveille_backend::types::{Durability, Epoch, Event, Place, Position, Seq, SessionKey, Tenant};
use reveille_backend::{
    AppendError, AppendOptions, Backend, BackendError, Capabilities, Entry, IdempotencyKey,
    Incarnation, ListOptions, LogHandle, LogInfo, LogPage, OpenOptions, Opened, ReadLimit, Seal,
    Slot, StoredLog, StoredPage, Watch,
};
use tokio::sync::watch;

/// How long an idempotency key is known.
const KEY_WINDOW: Duration = Duration::from_secs(600);
/// How many idempotency keys of one log are known.
const KEYS: usize = 100_000;

/// Session logs in this process. Clones are the same store.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore(Arc<Mutex<State>>);

/// Everything that is stored, behind one lock: whatever happens under it happens in one step.
#[derive(Debug, Default)]
struct State {
    logs: BTreeMap<SessionKey, Log>,
    /// The last sequence number of each tenant. Outlives the tenant's logs.
    seqs: HashMap<Tenant, Seq>,
}

/// One incarnation of one log.
#[derive(Debug)]
struct Log {
    epoch: Epoch,
    attributes: Box<str>,
    oldest: Position,
    events: VecDeque<Event>,
    seal: Option<Seal>,
    keys: HashMap<Box<str>, Known>,
    /// The keys, oldest first.
    key_order: VecDeque<Box<str>>,
    /// Tells whoever watches to look again. Dropped with the log.
    changed: watch::Sender<()>,
}

/// What was appended under an idempotency key.
#[derive(Debug, Clone, Copy)]
struct Known {
    fingerprint: u64,
    slot: Slot,
    at: Instant,
}

impl MemoryStore {
    /// A store without logs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many logs there are, of all tenants, those of groups included.
    #[must_use]
    pub fn log_count(&self) -> usize {
        self.lock().logs.len()
    }

    /// Locks without regard to poisoning: nothing that runs under the lock can leave it half done.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Backend for MemoryStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities::volatile("memory_store")
    }

    async fn open(&self, key: &SessionKey, options: OpenOptions) -> Result<Opened, BackendError> {
        let mut state = self.lock();
        let stored = state.logs.contains_key(key);
        let created = match options.incarnation {
            Incarnation::Current if !stored => return Err(BackendError::NotFound),
            Incarnation::Current => false,
            Incarnation::CurrentOrNew => !stored,
            Incarnation::New => true,
        };
        let replaced = match created {
            true => state.logs.insert(key.clone(), Log::new(options)),
            false => None,
        };
        let log = state.logs.get(key).ok_or(BackendError::NotFound)?;
        let opened = Opened {
            epoch: log.epoch,
            created,
            oldest: log.oldest,
            latest: log.latest(),
            seal: log.seal.clone(),
            attributes: log.attributes.clone(),
            log: LogHandle::Stored(Arc::new(MemoryLog {
                store: self.clone(),
                key: key.clone(),
                epoch: log.epoch,
            })),
        };
        // Whoever watches the replaced log is woken when it is dropped: not under the lock.
        drop(state);
        drop(replaced);
        Ok(opened)
    }

    async fn last_seq(&self, tenant: &Tenant) -> Result<Seq, BackendError> {
        Ok(self.lock().seqs.get(tenant).copied().unwrap_or_default())
    }

    async fn list(
        &self,
        tenant: &Tenant,
        options: ListOptions,
    ) -> Result<StoredPage, BackendError> {
        let state = self.lock();
        let is_listed = |key: &&SessionKey| {
            key.tenant == *tenant && options.after.as_ref().is_none_or(|after| *key > after)
        };
        let mut following = state.logs.keys().filter(is_listed);
        let keys = following.by_ref().take(options.limit).cloned().collect();
        let more = following.next().is_some();
        Ok(StoredPage { keys, more })
    }

    async fn remove(&self, key: &SessionKey) -> Result<bool, BackendError> {
        let removed = self.lock().logs.remove(key);
        Ok(removed.is_some())
    }

    async fn health(&self) -> Result<(), BackendError> {
        Ok(())
    }
}

impl Log {
    fn new(options: OpenOptions) -> Self {
        Self {
            epoch: options.new_epoch,
            attributes: options.attributes,
            oldest: Position::START,
            events: VecDeque::new(),
            seal: None,
            keys: HashMap::new(),
            key_order: VecDeque::new(),
            changed: watch::Sender::new(()),
        }
    }

    fn latest(&self) -> Position {
        self.oldest.plus(self.events.len())
    }

    /// Where each entry goes, if it may go there. Changes nothing.
    fn place(
        &self,
        entries: &[Entry],
        options: &AppendOptions,
        last_seq: Seq,
    ) -> Result<Vec<Slot>, AppendError> {
        let (mut position, mut seq) = (self.latest(), last_seq);
        let mut in_batch: HashMap<&str, (u64, Slot)> = HashMap::new();
        let mut slots = Vec::with_capacity(entries.len());
        for entry in entries {
            let known = entry.key.as_ref().and_then(|key| {
                let stored = self.keys.get(&key.key).map(|k| (k.fingerprint, k.slot));
                stored.or_else(|| in_batch.get(&*key.key).copied())
            });
            slots.push(match (&entry.key, known) {
                (Some(IdempotencyKey { key, fingerprint }), Some((of, _)))
                    if of != *fingerprint =>
                {
                    return Err(AppendError::IdempotencyConflict { key: key.clone() });
                }
                (_, Some((_, slot))) => Slot {
                    deduplicated: true,
                    ..slot
                },
                (key, None) => {
                    seq = seq.next();
                    let slot = Slot {
                        position,
                        seq,
                        deduplicated: false,
                    };
                    position = position.next();
                    if let Some(key) = key {
                        in_batch.insert(&key.key, (key.fingerprint, slot));
                    }
                    slot
                }
            });
        }
        // A batch that is known as a whole is answered whatever has happened since.
        if position == self.latest() {
            return Ok(slots);
        }
        if let Some(Seal { reason, .. }) = self.seal {
            return Err(AppendError::Sealed { reason });
        }
        match options.expected {
            Some(expected) if expected != self.latest() => Err(AppendError::PositionConflict {
                expected,
                actual: self.latest(),
            }),
            _ => Ok(slots),
        }
    }

    fn remember(&mut self, key: IdempotencyKey, slot: Slot, at: Instant) {
        let IdempotencyKey { key, fingerprint } = key;
        self.key_order.push_back(key.clone());
        let known = Known {
            fingerprint,
            slot,
            at,
        };
        self.keys.insert(key, known);
    }

    /// Forgets the keys that are too old or too many.
    fn forget_keys(&mut self, now: Instant) {
        while let Some(oldest) = self.key_order.front() {
            let age = |known: &Known| now.saturating_duration_since(known.at);
            let is_young = self.keys.get(oldest).is_some_and(|k| age(k) < KEY_WINDOW);
            if is_young && self.key_order.len() <= KEYS {
                return;
            }
            self.keys.remove(oldest);
            self.key_order.pop_front();
        }
    }
}

/// The handle of one incarnation of one log.
#[derive(Debug, Clone)]
struct MemoryLog {
    store: MemoryStore,
    key: SessionKey,
    epoch: Epoch,
}

impl MemoryLog {
    /// Looks at the log, unless it was removed or replaced.
    fn look<T>(&self, look: impl FnOnce(&Log) -> T) -> Result<T, BackendError> {
        let state = self.store.lock();
        let log = state.logs.get(&self.key);
        let log = log.filter(|log| log.epoch == self.epoch);
        log.map(look).ok_or(BackendError::NotFound)
    }

    /// Changes the log, unless it was removed or replaced, and wakes whoever watches it.
    fn change<T, E: From<BackendError>>(
        &self,
        change: impl FnOnce(&mut Log, &mut Seq) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut state = self.store.lock();
        let State { logs, seqs } = &mut *state;
        let log = logs.get_mut(&self.key);
        let log = log.filter(|log| log.epoch == self.epoch);
        let log = log.ok_or(BackendError::NotFound)?;
        let seq = seqs.entry(self.key.tenant.clone()).or_default();
        let answer = change(log, seq)?;
        let changed = log.changed.clone();
        // Waking runs other people's code: not under the lock.
        drop(state);
        changed.send_replace(());
        Ok(answer)
    }
}

#[async_trait]
impl StoredLog for MemoryLog {
    async fn append(
        &self,
        entries: Vec<Entry>,
        options: AppendOptions,
    ) -> Result<Vec<Slot>, AppendError> {
        if let Some(wanted) = options.durability
            && !Durability::Volatile.covers(wanted)
        {
            return Err(AppendError::Durability { wanted });
        }
        self.change(|log, seq| {
            log.forget_keys(options.now);
            let slots = log.place(&entries, &options, *seq)?;
            // Nothing from here on can fail, so the batch is stored as a whole.
            for (entry, slot) in entries.into_iter().zip(&slots) {
                if slot.deduplicated {
                    continue;
                }
                *seq = slot.seq;
                let place = Place {
                    session: Arc::new(self.key.clone()),
                    epoch: self.epoch,
                    position: slot.position,
                    seq: slot.seq,
                };
                log.events.push_back(entry.event.at(place));
                if let Some(key) = entry.key {
                    log.remember(key, *slot, options.now);
                }
            }
            // A batch that was known as a whole has ended nothing.
            if let Some(reason) = options.seal
                && slots.iter().any(|slot| !slot.deduplicated)
            {
                log.seal = Some(Seal {
                    reason,
                    message: None,
                });
            }
            Ok(slots)
        })
    }

    async fn read(&self, from: Position, limit: ReadLimit) -> Result<LogPage, BackendError> {
        self.look(|log| {
            let skip = usize::try_from(from.since(log.oldest)).unwrap_or(usize::MAX);
            let mut events: Vec<Event> = Vec::new();
            let mut bytes = 0;
            for event in log.events.iter().skip(skip) {
                bytes += event.weight();
                let is_full = events.len() >= limit.events || bytes > limit.bytes;
                // At least one, so that the reader gets on.
                if is_full && !events.is_empty() {
                    break;
                }
                events.push(event.clone());
            }
            let oldest = log.oldest;
            LogPage { oldest, events }
        })
    }

    async fn watch(&self, after: Position) -> Result<Watch, BackendError> {
        // From here on every change counts: the receiver remembers what it has seen.
        let mut changed = self.look(|log| log.changed.subscribe())?;
        let log = self.clone();
        Ok(Box::pin(async move {
            while !log.look(|log| log.latest() > after || log.seal.is_some())? {
                // An error says that the log is gone, as the next look does.
                let _ = changed.changed().await;
            }
            Ok(())
        }))
    }

    async fn seal(&self, seal: Seal) -> Result<bool, BackendError> {
        self.change(|log, _| {
            let is_first = log.seal.is_none();
            log.seal.get_or_insert(seal);
            Ok(is_first)
        })
    }

    async fn trim(&self, before: Position) -> Result<(), BackendError> {
        self.change(|log, _| {
            while log.oldest < before && log.events.pop_front().is_some() {
                log.oldest = log.oldest.next();
            }
            Ok(())
        })
    }

    async fn info(&self) -> Result<LogInfo, BackendError> {
        self.look(|log| LogInfo {
            epoch: log.epoch,
            oldest: log.oldest,
            latest: log.latest(),
            seal: log.seal.clone(),
        })
    }
}
