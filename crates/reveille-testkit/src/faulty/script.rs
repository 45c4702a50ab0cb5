//! Which calls go wrong, and how.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use reveille_backend::BackendError;
use tokio::sync::watch;

/// A call to a backend or to one of its logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// [`Backend::open`](reveille_backend::Backend::open).
    Open,
    /// [`Backend::last_seq`](reveille_backend::Backend::last_seq).
    LastSeq,
    /// [`Backend::order_epoch`](reveille_backend::Backend::order_epoch).
    OrderEpoch,
    /// [`Backend::read_order`](reveille_backend::Backend::read_order).
    ReadOrder,
    /// [`Backend::list`](reveille_backend::Backend::list).
    List,
    /// [`Backend::remove`](reveille_backend::Backend::remove).
    Remove,
    /// [`Backend::health`](reveille_backend::Backend::health).
    Health,
    /// An append to any log, immediate ones included.
    Append,
    /// [`StoredLog::read`](reveille_backend::StoredLog::read).
    Read,
    /// [`StoredLog::watch`](reveille_backend::StoredLog::watch).
    Watch,
    /// [`StoredLog::seal`](reveille_backend::StoredLog::seal).
    Seal,
    /// [`StoredLog::trim`](reveille_backend::StoredLog::trim).
    Trim,
    /// [`StoredLog::info`](reveille_backend::StoredLog::info).
    Info,
}

/// What goes wrong with a call.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing: the call passes. It keeps the place of a call before the one that goes wrong.
    Pass,
    /// The store cannot be reached. Nothing has happened.
    Refuse,
    /// It happens, but nobody is told: an append ends as
    /// [`OutcomeUnknown`](reveille_backend::AppendError::OutcomeUnknown), anything else as unavailable.
    LoseAnswer,
    /// The request is under way until the gate opens; then it happens, though whoever sent it may have
    /// been dropped. Needs a tokio runtime, and a log that is not immediate.
    Delay(Gate),
    /// It happens at once, and the answer comes when the gate opens. Not on an immediate log.
    DelayAnswer(Gate),
    /// Of an append only so many entries are stored, from the first, and nobody is told. Another
    /// operation passes.
    Tear(usize),
    /// A watch resolves at once, as if the wake-up before it was delivered twice. Another operation
    /// passes.
    WakeAgain,
}

impl Fault {
    /// Makes a call, or what the fault makes of it. `lost` tells that the answer is lost.
    pub(super) async fn befall<T, E>(
        self,
        lost: E,
        call: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<BackendError> + Send + 'static,
    {
        match self {
            Self::Pass | Self::Tear(_) | Self::WakeAgain => call.await,
            Self::Refuse => Err(unavailable("refused by the script").into()),
            Self::LoseAnswer => {
                call.await?;
                Err(lost)
            }
            Self::Delay(gate) => {
                // A task of its own goes on when this future is dropped.
                let under_way = tokio::spawn(async move {
                    gate.pass().await;
                    call.await
                });
                under_way.await.unwrap_or(Err(lost))
            }
            Self::DelayAnswer(gate) => {
                let answer = call.await;
                gate.pass().await;
                answer
            }
        }
    }
}

/// Holds a call until it is opened. Clones are the same gate.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<watch::Sender<Passage>>);

#[derive(Debug, Default)]
struct Passage {
    reached: bool,
    open: bool,
}

impl Gate {
    /// A closed gate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets through whoever is held, and whoever comes.
    pub fn open(&self) {
        self.0.send_modify(|passage| passage.open = true);
    }

    /// Waits until a call stands at the gate, or has passed it.
    ///
    /// # Cancel safety
    /// Looks only.
    pub async fn reached(&self) {
        self.until(|passage| passage.reached).await;
    }

    pub(super) async fn pass(&self) {
        self.0.send_modify(|passage| passage.reached = true);
        self.until(|passage| passage.open).await;
    }

    async fn until(&self, holds: impl FnMut(&Passage) -> bool) {
        // The sender lives as long as this gate, so there is no error.
        let _ = self.0.subscribe().wait_for(holds).await;
    }
}

/// The script of a [`Faulty`](super::Faulty) backend. Clones are the same script.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<HashMap<Operation, VecDeque<Fault>>>>);

impl Faults {
    /// The next call of this operation that nothing is planned for yet goes wrong like this.
    pub fn plan(&self, operation: Operation, fault: Fault) {
        let mut planned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        planned.entry(operation).or_default().push_back(fault);
    }

    /// How many planned faults have not happened yet.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        let planned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        planned.values().map(VecDeque::len).sum()
    }

    pub(super) fn next(&self, operation: Operation) -> Fault {
        let mut planned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let planned = planned.get_mut(&operation);
        planned.and_then(VecDeque::pop_front).unwrap_or(Fault::Pass)
    }
}

pub(super) fn unavailable(reason: &'static str) -> BackendError {
    BackendError::Unavailable {
        backend: "faulty",
        source: reason.into(),
    }
}
