//! Backends that break their word, one flaw each, to show that the kit finds it.

mod flaw;
mod log;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;

use async_trait::async_trait;
use reveille_backend::{
    Backend, BackendError, Capabilities, Incarnation, ListOptions, LogHandle, OpenOptions, Opened,
    OrderPage, ReadLimit, Seal, StoredPage, Watch,
};
use reveille_types::{Epoch, Position, Seq, SessionId, SessionKey, Tenant};
use tokio::task::yield_now;

pub use flaw::Flaw;
use log::{BrokenImmediate, BrokenStored, Spoiler};

/// Most bytes of a batch, says a backend that does not look.
const LIMIT: u64 = 256 * 1024;

/// A sound backend with one flaw. Flaws of what an immediate backend does not have, as watches, need a
/// backend that stores.
#[derive(Debug, Clone)]
pub struct Broken {
    sound: Arc<dyn Backend>,
    flaw: Flaw,
    memory: Arc<Mutex<Memory>>,
    /// Which backend this is of all broken ones.
    nth: u64,
}

/// What flaws remember, over all logs.
#[derive(Debug, Default)]
struct Memory {
    /// The first epoch that was given.
    epoch: Option<Epoch>,
    /// The first one that was given for an order.
    order_epoch: Option<Epoch>,
    /// When the first append was.
    begin: Option<Instant>,
    keys: HashMap<Box<str>, u64>,
    opens: u64,
    watches: u64,
    living_watches: usize,
    wakers: Vec<Waker>,
    seal: Option<Seal>,
    last_trim: Position,
}

impl Broken {
    /// This backend with this flaw.
    #[must_use]
    pub fn new(flaw: Flaw, sound: impl Backend) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        Self {
            sound: Arc::new(sound),
            flaw,
            memory: Arc::default(),
            nth: COUNT.fetch_add(1, Ordering::Relaxed),
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key under which the sound backend knows a log.
    fn key(&self, key: &SessionKey) -> SessionKey {
        let mut key = key.clone();
        if self.flaw == Flaw::TearsDownTheWalls {
            key.tenant = Tenant::default_tenant();
        }
        key
    }

    /// The seal that is told of a log.
    fn seal(&self, sound: Option<Seal>) -> Option<Seal> {
        match self.flaw {
            Flaw::LastSealStays | Flaw::SealsNothing => self.memory().seal.clone(),
            _ => sound,
        }
    }
}

#[async_trait]
impl Backend for Broken {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.sound.capabilities();
        match self.flaw {
            Flaw::IgnoresItsLimit => capabilities.max_batch_bytes = Some(LIMIT),
            Flaw::SurvivesOnPaper
            | Flaw::ForgetsKeysAtRestart
            | Flaw::ForgetsAttributesAtRestart
            | Flaw::ForgetsTheOrderAtRestart => {
                capabilities.survives_restart = true;
            }
            Flaw::PromisesTheOrder => capabilities.reads_order = !capabilities.reads_order,
            Flaw::DeniesItsShape => capabilities.immediate = !capabilities.immediate,
            _ => {}
        }
        capabilities
    }

    async fn open(
        &self,
        key: &SessionKey,
        mut options: OpenOptions,
    ) -> Result<Opened, BackendError> {
        let mut key = self.key(key);
        match self.flaw {
            Flaw::FindsWhatIsNotThere => options.incarnation = Incarnation::CurrentOrNew,
            Flaw::KeepsTheEpoch => {
                let mut memory = self.memory();
                options.new_epoch = *memory.epoch.get_or_insert(options.new_epoch);
            }
            Flaw::OpensAnotherLog => {
                options.incarnation = Incarnation::CurrentOrNew;
                let mut memory = self.memory();
                memory.opens += 1;
                let id = format!("{}~{}", key.id, memory.opens);
                key.id = SessionId::parse(id).unwrap();
            }
            Flaw::CreatesTwice if options.incarnation == Incarnation::CurrentOrNew => {
                let current = OpenOptions::new(Incarnation::Current, options.new_epoch);
                options.incarnation = match self.sound.open(&key, current).await {
                    Err(BackendError::NotFound) => Incarnation::New,
                    _ => Incarnation::Current,
                };
                yield_now().await;
            }
            _ => {}
        }
        let brought = options.attributes.clone();
        let mut opened = self.sound.open(&key, options).await?;
        opened.seal = self.seal(opened.seal);
        match self.flaw {
            Flaw::LosesAttributes => opened.attributes = Box::default(),
            Flaw::TellsTheLastAttributes => opened.attributes = brought,
            Flaw::ForgetsAttributesAtRestart if !opened.created => {
                opened.attributes = Box::default();
            }
            _ => {}
        }
        let spoiler = Spoiler::new(self.clone(), key, opened.latest);
        opened.log = match opened.log {
            LogHandle::Immediate(sound) => {
                LogHandle::Immediate(Box::new(BrokenImmediate { sound, spoiler }))
            }
            LogHandle::Stored(sound) => {
                LogHandle::Stored(Arc::new(BrokenStored { sound, spoiler }))
            }
        };
        Ok(opened)
    }

    async fn last_seq(&self, tenant: &Tenant) -> Result<Seq, BackendError> {
        self.sound.last_seq(tenant).await
    }

    async fn order_epoch(&self, tenant: &Tenant, new_epoch: Epoch) -> Result<Epoch, BackendError> {
        match self.flaw {
            Flaw::BeginsTheOrderAnew => Ok(new_epoch),
            Flaw::ForgetsTheOrderAtRestart | Flaw::OneOrderForAll => {
                Ok(*self.memory().order_epoch.get_or_insert(new_epoch))
            }
            _ => self.sound.order_epoch(tenant, new_epoch).await,
        }
    }

    async fn read_order(
        &self,
        tenant: &Tenant,
        after: Seq,
        limit: ReadLimit,
    ) -> Result<OrderPage, BackendError> {
        let mut page = self.sound.read_order(tenant, after, limit).await?;
        match self.flaw {
            Flaw::ReadsOneLogAfterTheOther => {
                page.events.sort_by(|a, b| a.session().cmp(b.session()));
            }
            Flaw::SkipsInTheOrder if page.events.len() > 1 => {
                page.events.pop();
            }
            _ => {}
        }
        Ok(page)
    }

    async fn watch_order(&self, tenant: &Tenant, after: Seq) -> Result<Watch, BackendError> {
        self.sound.watch_order(tenant, after).await
    }

    async fn list(
        &self,
        tenant: &Tenant,
        mut options: ListOptions,
    ) -> Result<StoredPage, BackendError> {
        let tenant = match self.flaw {
            Flaw::TearsDownTheWalls => &Tenant::default_tenant(),
            _ => tenant,
        };
        if self.flaw == Flaw::ListsFromTheFirst {
            options.after = None;
        }
        let mut page = self.sound.list(tenant, options).await?;
        if self.flaw == Flaw::ListsGhosts {
            page.keys
                .extend(SessionKey::in_tenant(tenant.clone(), "ghost"));
        }
        Ok(page)
    }

    async fn remove(&self, key: &SessionKey) -> Result<bool, BackendError> {
        if self.flaw == Flaw::RemovesNothing {
            return Ok(true);
        }
        let removed = self.sound.remove(&self.key(key)).await?;
        Ok(removed || self.flaw == Flaw::RemovesGhosts)
    }

    async fn remove_incarnation(
        &self,
        key: &SessionKey,
        epoch: Epoch,
    ) -> Result<bool, BackendError> {
        match self.flaw {
            Flaw::RemovesAnyIncarnation => self.remove(key).await,
            _ => self.sound.remove_incarnation(&self.key(key), epoch).await,
        }
    }

    async fn health(&self) -> Result<(), BackendError> {
        match self.flaw {
            Flaw::IsUnwell => Err(unavailable("it is unwell")),
            _ => self.sound.health().await,
        }
    }
}

fn unavailable(reason: &'static str) -> BackendError {
    BackendError::Unavailable {
        backend: "broken",
        source: reason.into(),
    }
}
