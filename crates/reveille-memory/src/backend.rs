//! The backend and its log handles.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use async_trait::async_trait;
use reveille_backend::{
    AppendError, AppendOptions, Backend, BackendError, Capabilities, Entry, ImmediateLog,
    Incarnation, ListOptions, LogHandle, OpenOptions, Opened, OrderPage, ReadLimit, Slot, Slots,
    StoredPage,
};
use reveille_types::{Durability, Epoch, Position, Seq, SessionKey, Tenant};

use crate::idempotency::{Keys, Known, LogId};

const NAME: &str = "memory";

/// Session logs in memory.
#[derive(Debug, Default)]
pub struct MemoryBackend {
    tenants: Mutex<HashMap<Tenant, Arc<TenantOrder>>>,
    logs: AtomicU64,
}

/// What the logs of one tenant share.
#[derive(Debug, Default)]
struct TenantOrder {
    /// The last sequence number given out. Relaxed is enough: it publishes nothing but itself, and
    /// each number is handed out once by the atomicity of the increment.
    seq: AtomicU64,
    epoch: OnceLock<Epoch>,
    keys: Mutex<Keys>,
}

impl MemoryBackend {
    /// A backend without logs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn order_of(&self, tenant: &Tenant) -> Arc<TenantOrder> {
        let mut tenants = lock(&self.tenants);
        Arc::clone(tenants.entry(tenant.clone()).or_default())
    }
}

/// Locks without regard to poisoning: nothing that runs under these locks can leave them half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Backend for MemoryBackend {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::volatile(NAME);
        capabilities.immediate = true;
        capabilities
    }

    async fn open(&self, key: &SessionKey, options: OpenOptions) -> Result<Opened, BackendError> {
        if options.incarnation == Incarnation::Current {
            return Err(BackendError::NotFound);
        }
        let log = MemoryLog {
            id: self.logs.fetch_add(1, Ordering::Relaxed),
            order: self.order_of(&key.tenant),
            latest: Position::START,
        };
        Ok(Opened {
            epoch: options.new_epoch,
            created: true,
            oldest: Position::START,
            latest: Position::START,
            seal: None,
            attributes: options.attributes,
            log: LogHandle::Immediate(Box::new(log)),
        })
    }

    async fn last_seq(&self, tenant: &Tenant) -> Result<Seq, BackendError> {
        Ok(Seq(self.order_of(tenant).seq.load(Ordering::Relaxed)))
    }

    async fn order_epoch(&self, tenant: &Tenant, new_epoch: Epoch) -> Result<Epoch, BackendError> {
        Ok(*self.order_of(tenant).epoch.get_or_init(|| new_epoch))
    }

    async fn read_order(
        &self,
        _: &Tenant,
        _: Seq,
        _: ReadLimit,
    ) -> Result<OrderPage, BackendError> {
        Err(BackendError::NotSupported {
            backend: NAME,
            operation: "read_order",
        })
    }

    async fn list(&self, _: &Tenant, _: ListOptions) -> Result<StoredPage, BackendError> {
        Ok(StoredPage {
            keys: Vec::new(),
            more: false,
        })
    }

    async fn remove(&self, _: &SessionKey) -> Result<bool, BackendError> {
        Ok(false)
    }

    async fn health(&self) -> Result<(), BackendError> {
        Ok(())
    }
}

/// One log: where it ends, and what it shares with its tenant's others.
#[derive(Debug)]
struct MemoryLog {
    id: LogId,
    order: Arc<TenantOrder>,
    latest: Position,
}

impl ImmediateLog for MemoryLog {
    fn try_append(
        &mut self,
        entries: &[Entry],
        options: &AppendOptions,
    ) -> Result<Slots, AppendError> {
        if let Some(wanted) = options.durability
            && !Durability::Volatile.covers(wanted)
        {
            return Err(AppendError::Durability { wanted });
        }
        if entries.iter().all(|entry| entry.key.is_none()) {
            self.check_expected(options)?;
            return Ok(self.place(entries.len()));
        }
        let order = Arc::clone(&self.order);
        let mut keys = lock(&order.keys);
        keys.expire(options.now);
        let mut known = Vec::with_capacity(entries.len());
        let mut in_batch: HashMap<&str, u64> = HashMap::new();
        let mut new = 0_usize;
        for entry in entries {
            let Some(key) = &entry.key else {
                known.push(None);
                new += 1;
                continue;
            };
            let found = keys.get(self.id, &key.key);
            let repeated = in_batch.get(&*key.key).copied();
            let was = found.map(|known| known.fingerprint).or(repeated);
            if was.is_some_and(|was| was != key.fingerprint) {
                return Err(AppendError::IdempotencyConflict {
                    key: key.key.clone(),
                });
            }
            in_batch.insert(&key.key, key.fingerprint);
            // A number for each event that will be stored, so that the order has no holes.
            new += usize::from(was.is_none());
            known.push(found);
        }
        // A repeated batch is recognised before its condition is looked at: the condition held when
        // the batch was stored.
        if new > 0 {
            self.check_expected(options)?;
        }
        let mut new = self.place(new).into_iter();
        let mut slots = Slots::with_capacity(entries.len());
        for (entry, known) in entries.iter().zip(known) {
            // A key that stands twice in the batch became known by its first entry.
            let known = known.or_else(|| {
                let key = entry.key.as_ref()?;
                keys.get(self.id, &key.key)
            });
            let Some(known) = known else {
                // One was made for each entry that is not known.
                let Some(slot) = new.next() else { continue };
                if let Some(key) = &entry.key {
                    let known = Known {
                        fingerprint: key.fingerprint,
                        position: slot.position,
                        seq: slot.seq,
                    };
                    keys.insert(options.now, self.id, key.key.clone(), known);
                }
                slots.push(slot);
                continue;
            };
            slots.push(Slot {
                position: known.position,
                seq: known.seq,
                deduplicated: true,
            });
        }
        Ok(slots)
    }
}

impl MemoryLog {
    fn check_expected(&self, options: &AppendOptions) -> Result<(), AppendError> {
        match options.expected {
            Some(expected) if expected != self.latest => Err(AppendError::PositionConflict {
                expected,
                actual: self.latest,
            }),
            _ => Ok(()),
        }
    }

    /// The next places of the log and of its tenant's order.
    fn place(&mut self, count: usize) -> Slots {
        let seq = Seq(self.order.seq.fetch_add(count as u64, Ordering::Relaxed));
        let first = self.latest;
        self.latest = first.plus(count);
        (0..count)
            .map(|n| Slot {
                position: first.plus(n),
                seq: seq.plus(n).next(),
                deduplicated: false,
            })
            .collect()
    }
}
