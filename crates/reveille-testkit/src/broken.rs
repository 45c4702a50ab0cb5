//! Backends that break their word, one flaw each, to show that the kit finds it.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use reveille_backend::{
    AppendError, AppendOptions, Backend, BackendError, Capabilities, Entry, ImmediateLog,
    Incarnation, ListOptions, LogHandle, OpenOptions, Opened, Slot, StoredPage,
};
use reveille_memory::MemoryBackend;
use reveille_types::{Durability, Epoch, Position, Seq, SessionKey, Tenant};

/// What is wrong with a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Leaves out the position after each batch.
    LeavesHoles,
    /// Hands out the places of a batch in the reverse order.
    ReversesBatches,
    /// Stores the events of a refused batch that come before the one at fault.
    KeepsHalfABatch,
    /// Gives every incarnation the same epoch.
    KeepsTheEpoch,
    /// Does not look at idempotency keys.
    ForgetsKeys,
    /// Takes every event with a known key for the same event.
    IgnoresWhatAKeyStandsFor,
    /// Appends wherever the log ends.
    IgnoresTheExpectedPosition,
    /// Looks at the expected position of an append that it has stored already.
    ComparesRepeatedAppends,
    /// Promises every durability.
    PromisesEverything,
    /// Makes a log when asked for the one that is stored.
    FindsWhatIsNotThere,
    /// Lists a log that it does not store.
    ListsGhosts,
    /// Says that it removed what it never had.
    RemovesGhosts,
    /// Does not work.
    IsUnwell,
}

/// The memory backend with one flaw.
#[derive(Debug)]
pub struct Broken {
    sound: MemoryBackend,
    flaw: Flaw,
    /// The first epoch that it was given.
    epoch: Mutex<Option<Epoch>>,
}

impl Broken {
    /// A backend with this flaw.
    #[must_use]
    pub fn new(flaw: Flaw) -> Self {
        Self {
            sound: MemoryBackend::new(),
            flaw,
            epoch: Mutex::default(),
        }
    }
}

#[async_trait]
impl Backend for Broken {
    fn capabilities(&self) -> Capabilities {
        self.sound.capabilities()
    }

    async fn open(
        &self,
        key: &SessionKey,
        mut options: OpenOptions,
    ) -> Result<Opened, BackendError> {
        match self.flaw {
            Flaw::FindsWhatIsNotThere => options.incarnation = Incarnation::CurrentOrNew,
            Flaw::KeepsTheEpoch => {
                let mut epoch = self.epoch.lock().unwrap_or_else(PoisonError::into_inner);
                options.new_epoch = *epoch.get_or_insert(options.new_epoch);
            }
            _ => {}
        }
        let mut opened = self.sound.open(key, options).await?;
        if let LogHandle::Immediate(sound) = opened.log {
            opened.log = LogHandle::Immediate(Box::new(BrokenLog {
                sound,
                flaw: self.flaw,
                latest: opened.latest,
            }));
        }
        Ok(opened)
    }

    async fn last_seq(&self, tenant: &Tenant) -> Result<Seq, BackendError> {
        self.sound.last_seq(tenant).await
    }

    async fn list(
        &self,
        tenant: &Tenant,
        options: ListOptions,
    ) -> Result<StoredPage, BackendError> {
        let mut page = self.sound.list(tenant, options).await?;
        if self.flaw == Flaw::ListsGhosts {
            page.keys
                .extend(SessionKey::in_tenant(tenant.clone(), "ghost"));
        }
        Ok(page)
    }

    async fn remove(&self, key: &SessionKey) -> Result<bool, BackendError> {
        Ok(self.sound.remove(key).await? || self.flaw == Flaw::RemovesGhosts)
    }

    async fn health(&self) -> Result<(), BackendError> {
        match self.flaw {
            Flaw::IsUnwell => Err(BackendError::Unavailable {
                backend: "broken",
                source: "it is unwell".into(),
            }),
            _ => self.sound.health().await,
        }
    }
}

#[derive(Debug)]
struct BrokenLog {
    sound: Box<dyn ImmediateLog>,
    flaw: Flaw,
    latest: Position,
}

impl ImmediateLog for BrokenLog {
    fn try_append(
        &mut self,
        entries: &[Entry],
        options: &AppendOptions,
    ) -> Result<Vec<Slot>, AppendError> {
        let mut entries = entries.to_vec();
        let mut options = *options;
        match self.flaw {
            Flaw::ForgetsKeys => entries.iter_mut().for_each(|entry| entry.key = None),
            Flaw::IgnoresWhatAKeyStandsFor => {
                let keys = entries.iter_mut().filter_map(|entry| entry.key.as_mut());
                keys.for_each(|key| key.fingerprint = 0);
            }
            Flaw::IgnoresTheExpectedPosition => options.expected = None,
            Flaw::PromisesEverything => options.durability = Some(Durability::Volatile),
            Flaw::ComparesRepeatedAppends => {
                if let Some(expected) = options.expected
                    && expected != self.latest
                {
                    let actual = self.latest;
                    return Err(AppendError::PositionConflict { expected, actual });
                }
            }
            _ => {}
        }
        let result = self.sound.try_append(&entries, &options);
        if let Ok(slots) = &result {
            let ends = slots.iter().map(|slot| slot.position.next());
            self.latest = ends.fold(self.latest, Position::max);
        }
        match (self.flaw, result) {
            (Flaw::KeepsHalfABatch, Err(error)) => {
                self.sound.try_append(&entries[..1], &options)?;
                Err(error)
            }
            (Flaw::LeavesHoles, Ok(slots)) => {
                entries.truncate(1);
                self.sound.try_append(&entries, &options)?;
                Ok(slots)
            }
            (Flaw::ReversesBatches, Ok(mut slots)) => {
                slots.reverse();
                Ok(slots)
            }
            (_, result) => result,
        }
    }
}
