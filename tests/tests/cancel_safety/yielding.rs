//! A store that takes its time: each operation is pending once before and once after its effect.

use std::sync::Arc;

use async_trait::async_trait;
use reveille_backend::{
    AppendError, AppendOptions, Backend, BackendError, Capabilities, Entry, ListOptions, LogHandle,
    LogInfo, LogPage, OpenOptions, Opened, OrderPage, ReadLimit, Seal, Slot, StoredLog, StoredPage,
    Watch,
};
use reveille_testkit::MemoryStore;
use reveille_types::{Epoch, Position, Seq, SessionKey, Tenant};
use tokio::task::yield_now;

/// A store that takes its time. Clones are the same store.
#[derive(Debug, Clone, Default)]
pub(crate) struct Yielding(MemoryStore);

async fn slowly<T>(operation: impl Future<Output = T>) -> T {
    yield_now().await;
    let answer = operation.await;
    yield_now().await;
    answer
}

#[async_trait]
impl Backend for Yielding {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    async fn open(&self, key: &SessionKey, options: OpenOptions) -> Result<Opened, BackendError> {
        let mut opened = slowly(self.0.open(key, options)).await?;
        if let LogHandle::Stored(log) = opened.log {
            opened.log = LogHandle::Stored(Arc::new(YieldingLog(log)));
        }
        Ok(opened)
    }

    async fn last_seq(&self, tenant: &Tenant) -> Result<Seq, BackendError> {
        slowly(self.0.last_seq(tenant)).await
    }

    async fn order_epoch(&self, tenant: &Tenant, new_epoch: Epoch) -> Result<Epoch, BackendError> {
        slowly(self.0.order_epoch(tenant, new_epoch)).await
    }

    async fn read_order(
        &self,
        tenant: &Tenant,
        after: Seq,
        limit: ReadLimit,
    ) -> Result<OrderPage, BackendError> {
        slowly(self.0.read_order(tenant, after, limit)).await
    }

    async fn list(
        &self,
        tenant: &Tenant,
        options: ListOptions,
    ) -> Result<StoredPage, BackendError> {
        slowly(self.0.list(tenant, options)).await
    }

    async fn remove(&self, key: &SessionKey) -> Result<bool, BackendError> {
        slowly(self.0.remove(key)).await
    }

    async fn health(&self) -> Result<(), BackendError> {
        slowly(self.0.health()).await
    }
}

#[derive(Debug)]
struct YieldingLog(Arc<dyn StoredLog>);

#[async_trait]
impl StoredLog for YieldingLog {
    async fn append(
        &self,
        entries: Vec<Entry>,
        options: AppendOptions,
    ) -> Result<Vec<Slot>, AppendError> {
        slowly(self.0.append(entries, options)).await
    }

    async fn read(&self, from: Position, limit: ReadLimit) -> Result<LogPage, BackendError> {
        slowly(self.0.read(from, limit)).await
    }

    async fn watch(&self, after: Position) -> Result<Watch, BackendError> {
        slowly(self.0.watch(after)).await
    }

    async fn seal(&self, seal: Seal) -> Result<bool, BackendError> {
        slowly(self.0.seal(seal)).await
    }

    async fn trim(&self, before: Position) -> Result<(), BackendError> {
        slowly(self.0.trim(before)).await
    }

    async fn info(&self) -> Result<LogInfo, BackendError> {
        slowly(self.0.info()).await
    }
}
