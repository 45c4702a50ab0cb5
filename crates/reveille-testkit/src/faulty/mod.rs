//! A backend that fails as planned, for tests of what stands on it.

mod log;
mod script;

use std::sync::Arc;

use async_trait::async_trait;
use reveille_backend::{
    Backend, BackendError, Capabilities, ListOptions, LogHandle, OpenOptions, Opened, OrderPage,
    ReadLimit, StoredPage, Watch,
};
use reveille_types::{Epoch, Seq, SessionKey, Tenant};

use log::{FaultyImmediate, FaultyStored};
use script::unavailable;
pub use script::{Fault, Faults, Gate, Operation};

/// A backend whose calls go wrong by a script, and are the sound backend's otherwise. There are no
/// timers in it: what is delayed waits for a [`Gate`].
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// use reveille_queue::{AppendOptions, SessionOptions, Sessions};
/// use reveille_testkit::{Fault, Faulty, MemoryStore, Operation};
/// use reveille_types::{EventDraft, SessionKey, Tenant};
///
/// let backend = Faulty::new(MemoryStore::new());
/// let faults = backend.faults().clone();
/// let sessions = Sessions::builder(backend).build();
/// let key = SessionKey::in_tenant(Tenant::default_tenant(), "build")?;
/// let log = sessions.create(key, SessionOptions::default()).await?;
///
/// faults.plan(Operation::Append, Fault::Refuse);
/// let draft = EventDraft::parse("a")?;
/// let refused = log.append([draft.clone()], AppendOptions::default()).await;
/// assert_eq!(refused.unwrap_err().code(), "backend_unavailable");
/// assert_eq!(faults.outstanding(), 0);
/// assert!(log.append([draft], AppendOptions::default()).await.is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Faulty<B> {
    sound: Arc<B>,
    faults: Faults,
}

impl<B: Backend> Faulty<B> {
    /// This backend, with nothing planned.
    #[must_use]
    pub fn new(sound: B) -> Self {
        Self {
            sound: Arc::new(sound),
            faults: Faults::default(),
        }
    }

    /// The script: keep a clone of it to plan what goes wrong.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    async fn around<T: Send + 'static>(
        &self,
        operation: Operation,
        call: impl Future<Output = Result<T, BackendError>> + Send + 'static,
    ) -> Result<T, BackendError> {
        let lost = unavailable("the answer is lost");
        self.faults.next(operation).befall(lost, call).await
    }
}

#[async_trait]
impl<B: Backend> Backend for Faulty<B> {
    fn capabilities(&self) -> Capabilities {
        self.sound.capabilities()
    }

    async fn open(&self, key: &SessionKey, options: OpenOptions) -> Result<Opened, BackendError> {
        let (sound, key) = (Arc::clone(&self.sound), key.clone());
        let call = async move { sound.open(&key, options).await };
        let mut opened = self.around(Operation::Open, call).await?;
        let faults = self.faults.clone();
        opened.log = match opened.log {
            LogHandle::Immediate(sound) => {
                LogHandle::Immediate(Box::new(FaultyImmediate { sound, faults }))
            }
            LogHandle::Stored(sound) => LogHandle::Stored(Arc::new(FaultyStored { sound, faults })),
        };
        Ok(opened)
    }

    async fn last_seq(&self, tenant: &Tenant) -> Result<Seq, BackendError> {
        let (sound, tenant) = (Arc::clone(&self.sound), tenant.clone());
        let call = async move { sound.last_seq(&tenant).await };
        self.around(Operation::LastSeq, call).await
    }

    async fn order_epoch(&self, tenant: &Tenant, new_epoch: Epoch) -> Result<Epoch, BackendError> {
        let (sound, tenant) = (Arc::clone(&self.sound), tenant.clone());
        let call = async move { sound.order_epoch(&tenant, new_epoch).await };
        self.around(Operation::OrderEpoch, call).await
    }

    async fn read_order(
        &self,
        tenant: &Tenant,
        after: Seq,
        limit: ReadLimit,
    ) -> Result<OrderPage, BackendError> {
        let (sound, tenant) = (Arc::clone(&self.sound), tenant.clone());
        let call = async move { sound.read_order(&tenant, after, limit).await };
        self.around(Operation::ReadOrder, call).await
    }

    async fn watch_order(&self, tenant: &Tenant, after: Seq) -> Result<Watch, BackendError> {
        self.sound.watch_order(tenant, after).await
    }

    async fn list(
        &self,
        tenant: &Tenant,
        options: ListOptions,
    ) -> Result<StoredPage, BackendError> {
        let (sound, tenant) = (Arc::clone(&self.sound), tenant.clone());
        let call = async move { sound.list(&tenant, options).await };
        self.around(Operation::List, call).await
    }

    async fn remove(&self, key: &SessionKey) -> Result<bool, BackendError> {
        let (sound, key) = (Arc::clone(&self.sound), key.clone());
        let call = async move { sound.remove(&key).await };
        self.around(Operation::Remove, call).await
    }

    async fn remove_incarnation(
        &self,
        key: &SessionKey,
        epoch: Epoch,
    ) -> Result<bool, BackendError> {
        let (sound, key) = (Arc::clone(&self.sound), key.clone());
        let call = async move { sound.remove_incarnation(&key, epoch).await };
        self.around(Operation::Remove, call).await
    }

    async fn health(&self) -> Result<(), BackendError> {
        let sound = Arc::clone(&self.sound);
        let call = async move { sound.health().await };
        self.around(Operation::Health, call).await
    }
}
