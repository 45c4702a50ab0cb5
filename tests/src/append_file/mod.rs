//! A storage backend as a stranger would write it: an append-only file.
//!
//! It stands on `reveille-types`, `reveille-core` and `reveille-backend` alone. Every change is one
//! line of JSON at the end of one file, handed to the operating system before it counts; opening the
//! file reads the lines again, up to the last whole one. What is retained is in memory, too, behind one
//! mutex. Simple, not fast: it is here to show that the traits are enough.

mod log;
mod record;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::{File, OpenOptions as FileOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use reveille_backend::{
    Backend, BackendError, Capabilities, Incarnation, ListOptions, LogHandle, OpenOptions, Opened,
    OrderPage, ReadLimit, Seal, StoredPage,
};
use reveille_core::{WaitList, WakeBatch};
use reveille_types::{Durability, Epoch, Event, Position, Seq, SessionKey, Tenant};

use log::AppendFileLog;
use record::Record;

const NAME: &str = "append_file";

/// Session logs in one append-only file.
#[derive(Debug, Clone)]
pub struct AppendFile(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    file: File,
    logs: BTreeMap<SessionKey, Log>,
    seqs: HashMap<Tenant, Seq>,
    order_epochs: HashMap<Tenant, Epoch>,
}

/// One log, as the file says.
#[derive(Debug)]
struct Log {
    epoch: Epoch,
    attributes: Box<str>,
    oldest: Position,
    events: VecDeque<Event>,
    seal: Option<Seal>,
    /// What was appended under each idempotency key. Never forgotten.
    keys: HashMap<Box<str>, Known>,
    waiters: WaitList<()>,
}

/// What was appended under an idempotency key.
#[derive(Debug, Clone, Copy)]
struct Known {
    fingerprint: u64,
    position: Position,
    seq: Seq,
}

impl Log {
    fn new(epoch: Epoch, attributes: Box<str>) -> Self {
        Self {
            epoch,
            attributes,
            oldest: Position::START,
            events: VecDeque::new(),
            seal: None,
            keys: HashMap::new(),
            waiters: WaitList::new(),
        }
    }

    fn latest(&self) -> Position {
        self.oldest.plus(self.events.len())
    }
}

impl AppendFile {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// What the system says; [`io::ErrorKind::InvalidData`] when a line is damaged. A last line that
    /// was not written to its end is cut off.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = FileOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        file.set_len(whole as u64)?;
        let mut state = State {
            file,
            logs: BTreeMap::new(),
            seqs: HashMap::new(),
            order_epochs: HashMap::new(),
        };
        for line in text[..whole].lines() {
            let record = Record::parse(line)?;
            // Nobody waits yet.
            drop(state.apply(record)?);
        }
        Ok(Self(Arc::new(Mutex::new(state))))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Writes a record, and applies it once the system has it.
    fn commit(&mut self, record: Record) -> Result<WakeBatch, BackendError> {
        self.file
            .write_all(record.line().as_bytes())
            .and_then(|()| self.apply(record))
            .map_err(unavailable)
    }

    /// Makes the change that a record tells of.
    fn apply(&mut self, record: Record) -> io::Result<WakeBatch> {
        let mut batch = WakeBatch::new();
        if let Record::Open {
            key,
            epoch,
            attributes,
        } = record
        {
            if let Some(mut replaced) = self.logs.insert(key, Log::new(epoch, attributes)) {
                replaced.waiters.wake_all(&mut batch);
            }
            return Ok(batch);
        }
        if let Record::Order { tenant, epoch } = record {
            self.order_epochs.insert(tenant, epoch);
            return Ok(batch);
        }
        let Some(log) = record.key().and_then(|key| self.logs.get_mut(key)) else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a record of a log that is not open",
            ));
        };
        log.waiters.wake_all(&mut batch);
        match record {
            Record::Open { .. } | Record::Order { .. } => {}
            Record::Append { key, events, seal } => {
                for event in events {
                    let event = event.into_event(&key, log.epoch)?;
                    let place = event.0.place();
                    self.seqs.insert(key.tenant.clone(), place.seq);
                    if let Some((idempotency_key, fingerprint)) = event.1 {
                        let known = Known {
                            fingerprint,
                            position: place.position,
                            seq: place.seq,
                        };
                        log.keys.insert(idempotency_key, known);
                    }
                    log.events.push_back(event.0);
                }
                log.seal = seal.map(|reason| Seal {
                    reason,
                    message: None,
                });
            }
            Record::Seal { seal, .. } => log.seal = Some(seal),
            Record::Trim { before, .. } => {
                while log.oldest < before && log.events.pop_front().is_some() {
                    log.oldest = log.oldest.next();
                }
            }
            Record::Remove { key } => {
                self.logs.remove(&key);
            }
        }
        Ok(batch)
    }
}

fn unavailable(source: io::Error) -> BackendError {
    BackendError::Unavailable {
        backend: NAME,
        source: source.into(),
    }
}

#[async_trait]
impl Backend for AppendFile {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::volatile(NAME);
        capabilities.durability = Durability::Os;
        capabilities.survives_restart = true;
        capabilities.reads_order = true;
        capabilities
    }

    async fn open(&self, key: &SessionKey, options: OpenOptions) -> Result<Opened, BackendError> {
        let mut state = self.lock();
        let is_there = state.logs.contains_key(key);
        let created = match options.incarnation {
            Incarnation::Current if !is_there => return Err(BackendError::NotFound),
            Incarnation::Current => false,
            Incarnation::CurrentOrNew => !is_there,
            Incarnation::New => true,
        };
        // Wakes after the lock, when it is dropped.
        let _batch = match created {
            true => Some(state.commit(Record::Open {
                key: key.clone(),
                epoch: options.new_epoch,
                attributes: options.attributes,
            })?),
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
            log: LogHandle::Stored(Arc::new(AppendFileLog::new(self, key, log.epoch))),
        };
        drop(state);
        Ok(opened)
    }

    async fn last_seq(&self, tenant: &Tenant) -> Result<Seq, BackendError> {
        Ok(self.lock().seqs.get(tenant).copied().unwrap_or_default())
    }

    async fn order_epoch(&self, tenant: &Tenant, new_epoch: Epoch) -> Result<Epoch, BackendError> {
        let mut state = self.lock();
        if let Some(epoch) = state.order_epochs.get(tenant) {
            return Ok(*epoch);
        }
        let begin = Record::Order {
            tenant: tenant.clone(),
            epoch: new_epoch,
        };
        drop(state.commit(begin)?);
        Ok(new_epoch)
    }

    async fn read_order(
        &self,
        tenant: &Tenant,
        after: Seq,
        limit: ReadLimit,
    ) -> Result<OrderPage, BackendError> {
        let state = self.lock();
        let of_tenant = state.logs.iter().filter(|(key, _)| key.tenant == *tenant);
        let events = of_tenant.flat_map(|(_, log)| &log.events);
        let following = events.filter(|event| event.place().seq > after).cloned();
        let last = state.seqs.get(tenant).copied().unwrap_or_default();
        Ok(OrderPage::first_of(
            following.collect(),
            last.max(after),
            limit,
        ))
    }

    async fn list(
        &self,
        tenant: &Tenant,
        options: ListOptions,
    ) -> Result<StoredPage, BackendError> {
        let state = self.lock();
        let mut keys: Vec<SessionKey> = state
            .logs
            .keys()
            .filter(|key| key.tenant == *tenant)
            .filter(|key| options.after.as_ref().is_none_or(|after| *key > after))
            .take(options.limit.saturating_add(1))
            .cloned()
            .collect();
        let more = keys.len() > options.limit;
        keys.truncate(options.limit);
        Ok(StoredPage { keys, more })
    }

    async fn remove(&self, key: &SessionKey) -> Result<bool, BackendError> {
        let mut state = self.lock();
        if !state.logs.contains_key(key) {
            return Ok(false);
        }
        let batch = state.commit(Record::Remove { key: key.clone() })?;
        drop(state);
        batch.wake_all();
        Ok(true)
    }

    async fn health(&self) -> Result<(), BackendError> {
        self.lock().file.metadata().map(drop).map_err(unavailable)
    }
}
