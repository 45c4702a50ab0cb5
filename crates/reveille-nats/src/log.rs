//! The handle of one log.

use std::sync::Arc;

use async_trait::async_trait;
use reveille_backend::types::Position;
use reveille_backend::{
    AppendError, AppendOptions, BackendError, Entry, LogInfo, LogPage, ReadLimit, Seal, Slot,
    StoredLog, Watch,
};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::core::Core;
use crate::error::unavailable;
use crate::message::Ready;
use crate::writer::Job;

/// The handle of one incarnation of one log.
#[derive(Debug)]
pub(crate) struct NatsLog {
    pub(crate) core: Arc<Core>,
    /// When the stream of its events was made.
    pub(crate) made: String,
}

impl NatsLog {
    /// Hands a job in; it is done whether or not somebody waits for it.
    fn hand_in(&self, job: Job) {
        if self.core.hand_in(job) {
            tokio::spawn(Arc::clone(&self.core).work());
        }
    }
}

#[async_trait]
impl StoredLog for NatsLog {
    async fn append(
        &self,
        entries: Vec<Entry>,
        options: AppendOptions,
    ) -> Result<Vec<Slot>, AppendError> {
        let shared = &self.core.shared;
        if let Some(wanted) = options.durability
            && !shared.durability.covers(wanted)
        {
            return Err(AppendError::Durability { wanted });
        }
        let ready = |entry| Ready::new(entry, &self.core.key, self.core.epoch);
        let batch: Vec<Ready> = entries.into_iter().map(ready).collect();
        let (limit, actual) = (
            shared.max_batch_bytes,
            batch.iter().map(Ready::weight).sum(),
        );
        if actual > limit {
            return Err(AppendError::TooLarge { limit, actual });
        }
        let (answer, told) = oneshot::channel();
        self.hand_in(Job::Append {
            batch,
            options,
            since: Instant::now(),
            answer,
        });
        // Without an answer the task has ended, with its runtime.
        told.await.unwrap_or(Err(AppendError::OutcomeUnknown))
    }

    async fn read(&self, from: Position, limit: ReadLimit) -> Result<LogPage, BackendError> {
        self.core.read(from, limit).await
    }

    async fn watch(&self, after: Position) -> Result<Watch, BackendError> {
        let look = async {
            let facts = self.core.facts().await?;
            let (stream, made) = (self.core.stream.clone(), self.made.clone());
            self.core.shared.listen(stream, made).await?;
            Ok(facts.latest > after || facts.seal.is_some())
        };
        let wakes = &self.core.shared.wakes;
        wakes.watch(&self.core.name, after.0, look).await
    }

    async fn seal(&self, seal: Seal) -> Result<bool, BackendError> {
        let (answer, told) = oneshot::channel();
        let since = Instant::now();
        self.hand_in(Job::Seal {
            seal,
            since,
            answer,
        });
        told.await
            .unwrap_or_else(|_| Err(unavailable("the runtime has ended")))
    }

    async fn trim(&self, before: Position) -> Result<(), BackendError> {
        self.core.trim(before).await
    }

    async fn info(&self) -> Result<LogInfo, BackendError> {
        let facts = self.core.facts().await?;
        Ok(LogInfo {
            epoch: self.core.epoch,
            oldest: facts.oldest,
            latest: facts.latest,
            seal: facts.seal,
        })
    }
}
