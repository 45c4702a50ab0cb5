//! The handles of logs whose calls go wrong by a script.

use std::future::ready;
use std::sync::Arc;

use async_trait::async_trait;
use reveille_backend::{
    AppendError, AppendOptions, BackendError, Entry, ImmediateLog, LogInfo, LogPage, ReadLimit,
    Seal, Slot, Slots, StoredLog, Watch,
};
use reveille_types::Position;

use super::script::{Fault, Faults, Operation, unavailable};

#[derive(Debug)]
pub(super) struct FaultyImmediate {
    pub(super) sound: Box<dyn ImmediateLog>,
    pub(super) faults: Faults,
}

impl ImmediateLog for FaultyImmediate {
    fn try_append(
        &mut self,
        entries: &[Entry],
        options: &AppendOptions,
    ) -> Result<Slots, AppendError> {
        let stored = match self.faults.next(Operation::Append) {
            Fault::Pass | Fault::WakeAgain => return self.sound.try_append(entries, options),
            Fault::Refuse => return Err(unavailable("refused by the script").into()),
            Fault::Delay(_) | Fault::DelayAnswer(_) => {
                return Err(AppendError::Backend(BackendError::NotSupported {
                    backend: "faulty",
                    operation: "a delay of an immediate append",
                }));
            }
            Fault::LoseAnswer => entries.len(),
            Fault::Tear(stored) => stored.min(entries.len()),
        };
        self.sound.try_append(&entries[..stored], options)?;
        Err(AppendError::OutcomeUnknown)
    }
}

#[derive(Debug)]
pub(super) struct FaultyStored {
    pub(super) sound: Arc<dyn StoredLog>,
    pub(super) faults: Faults,
}

impl FaultyStored {
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
impl StoredLog for FaultyStored {
    async fn append(
        &self,
        mut entries: Vec<Entry>,
        options: AppendOptions,
    ) -> Result<Vec<Slot>, AppendError> {
        let sound = Arc::clone(&self.sound);
        let fault = self.faults.next(Operation::Append);
        if let Fault::Tear(stored) = fault {
            entries.truncate(stored);
            sound.append(entries, options).await?;
            return Err(AppendError::OutcomeUnknown);
        }
        let call = async move { sound.append(entries, options).await };
        let lost = AppendError::OutcomeUnknown;
        fault.befall(lost, call).await
    }

    async fn read(&self, from: Position, limit: ReadLimit) -> Result<LogPage, BackendError> {
        let sound = Arc::clone(&self.sound);
        let call = async move { sound.read(from, limit).await };
        self.around(Operation::Read, call).await
    }

    async fn watch(&self, after: Position) -> Result<Watch, BackendError> {
        let fault = self.faults.next(Operation::Watch);
        if matches!(fault, Fault::WakeAgain) {
            return Ok(Box::pin(ready(Ok(()))));
        }
        let sound = Arc::clone(&self.sound);
        let call = async move { sound.watch(after).await };
        let lost = unavailable("the answer is lost");
        fault.befall(lost, call).await
    }

    async fn seal(&self, seal: Seal) -> Result<bool, BackendError> {
        let sound = Arc::clone(&self.sound);
        let call = async move { sound.seal(seal).await };
        self.around(Operation::Seal, call).await
    }

    async fn trim(&self, before: Position) -> Result<(), BackendError> {
        let sound = Arc::clone(&self.sound);
        let call = async move { sound.trim(before).await };
        self.around(Operation::Trim, call).await
    }

    async fn info(&self) -> Result<LogInfo, BackendError> {
        let sound = Arc::clone(&self.sound);
        let call = async move { sound.info().await };
        self.around(Operation::Info, call).await
    }
}
