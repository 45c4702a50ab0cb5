//! What the writer is asked for, and what it answers.

use std::sync::Arc;

use reveille_backend::{
    AppendError, BackendError, IdempotencyKey, OpenOptions, Seal, Slot, Watermark,
};
use reveille_types::{EndReason, Epoch, Position, Seq, SessionKey, Tenant};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::shared::Shared;

/// An event as it is stored, but for its place.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) record: Vec<u8>,
    pub(crate) key: Option<IdempotencyKey>,
}

/// A batch to append.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) log: Arc<Shared>,
    pub(crate) entries: Vec<Encoded>,
    pub(crate) expected: Option<Position>,
    /// Why the log ends with this batch, if it does.
    pub(crate) seal: Option<EndReason>,
    /// Unix milliseconds.
    pub(crate) at: i64,
}

/// What comes next in the order of a bus.
#[derive(Debug)]
pub(crate) struct ShownBatch {
    pub(crate) tenant: Tenant,
    pub(crate) epoch: Epoch,
    pub(crate) after: Seq,
    pub(crate) places: Vec<NewPlace>,
}

/// A place of the archive port, but for its position.
#[derive(Debug)]
pub(crate) struct NewPlace {
    pub(crate) through: Seq,
    pub(crate) kind: i64,
    pub(crate) body: Vec<u8>,
}

/// A change.
#[derive(Debug)]
pub(crate) enum Change {
    Open(SessionKey, OpenOptions),
    Append(Batch),
    Seal(Arc<Shared>, Seal),
    Trim(Arc<Shared>, Position),
    Remove(SessionKey),
    Show(ShownBatch),
}

impl Change {
    /// How many bytes it adds to a commit, about.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Append(batch) => batch.entries.iter().map(|e| e.record.len() + 8).sum(),
            Self::Show(batch) => batch.places.iter().map(|place| place.body.len() + 64).sum(),
            _ => 256,
        }
    }
}

/// A log that was opened, and whether it was made.
pub(crate) type OpenedLog = (Arc<Shared>, bool);

/// What came of a change, as far as the store did not fail.
#[derive(Debug)]
pub(crate) enum Answer {
    Opened(Result<OpenedLog, BackendError>),
    Appended(Result<Vec<Slot>, AppendError>),
    /// Of a seal, a trim or a removal: whether something changed.
    Changed(Result<bool, BackendError>),
    /// The end of the archive port, or where it had ended if the batch begins elsewhere.
    Shown(Result<u64, Option<Watermark>>),
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The store failed, and nothing was stored.
    Store(BackendError),
    /// It may be stored or not.
    Unknown,
}

/// A change, and who waits for what came of it.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) change: Change,
    pub(crate) reply: oneshot::Sender<Result<Answer, Failure>>,
    /// The command's share of what may be under way.
    pub(crate) _permit: OwnedSemaphorePermit,
}
