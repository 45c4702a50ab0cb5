//! The handle of one log: the immediate and the stored shape.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use reveille_types::{EndReason, Epoch, Event, Position};

use crate::append::{AppendOptions, Entry, Slot, Slots};
use crate::error::{AppendError, BackendError};

/// The handle of one log.
#[derive(Debug)]
pub enum LogHandle {
    /// Commits without waiting, inside the session's critical section.
    Immediate(Box<dyn ImmediateLog>),
    /// Commits elsewhere.
    Stored(Arc<dyn StoredLog>),
}

/// The handle of one log whose backend commits without waiting.
///
/// # Contract
/// Called by one session only, under its lock: must not block, must not call back, must not run user
/// code. Committed events are kept by the session.
pub trait ImmediateLog: fmt::Debug + Send {
    /// Gives each entry its place, all or nothing. Entries whose key is known keep the place they
    /// have, as does a key that stands twice in the batch; the others get positions that follow the end of the log without a hole, in the order of
    /// the batch, and sequence numbers that follow the tenant's last without a hole.
    ///
    /// # Errors
    /// [`AppendError`]; then nothing has changed.
    fn try_append(
        &mut self,
        entries: &[Entry],
        options: &AppendOptions,
    ) -> Result<Slots, AppendError>;
}

/// That a log takes no more events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// Why.
    pub reason: EndReason,
    /// What whoever sealed it said, for people.
    pub message: Option<Box<str>>,
}

/// What is known of a stored log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogInfo {
    /// Its incarnation.
    pub epoch: Epoch,
    /// The first position that can be read.
    pub oldest: Position,
    /// The end: how many events were ever appended.
    pub latest: Position,
    /// That it takes no more events, if so.
    pub seal: Option<Seal>,
}

/// How much to read at most. At least one event is read if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimit {
    /// Most events.
    pub events: usize,
    /// Most bytes, by [`Event::weight`].
    pub bytes: usize,
}

/// Events read from a stored log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPage {
    /// The first position that can be read at all: what was asked for below it is gone.
    pub oldest: Position,
    /// The events in position order without holes, starting at the position asked for or at `oldest`,
    /// whichever is later.
    pub events: Vec<Event>,
}

/// Resolves once the log has grown past a position or was sealed.
pub type Watch = Pin<Box<dyn Future<Output = Result<(), BackendError>> + Send>>;

/// The handle of one log in a store.
///
/// # Contract
/// - Log order is position order; positions are dense; every reader sees the same.
/// - Several handles of the same log, in one process or several, act as one.
/// - A handle belongs to one incarnation. Once that is removed or replaced, every operation answers
///   [`BackendError::NotFound`] and changes nothing.
/// - The futures may be dropped at any point (see the crate's documentation).
#[async_trait]
pub trait StoredLog: fmt::Debug + Send + Sync {
    /// Appends a batch, all or nothing: each entry whose key is known keeps the place it has, as does a
    /// key that stands twice in the batch; the others get contiguous positions in the order of the
    /// batch. The answer means that the entries survive what the backend's durability says, and that
    /// whoever reads from now on sees them, every field as it was given.
    ///
    /// A batch whose keys are all known is answered whatever has happened since, even when the log is
    /// sealed or does not end where the batch expects it. Any other batch is refused by a sealed log,
    /// whatever it expects. What is refused uses up no position, and no sequence number unless the
    /// backend is [shared](crate::Capabilities::shared).
    ///
    /// A batch that [seals](AppendOptions::seal) is stored together with its seal: there is neither
    /// without the other, for readers, after a crash, and when the future is dropped.
    ///
    /// # Errors
    /// [`AppendError`]; nothing was stored, but for
    /// [`OutcomeUnknown`](AppendError::OutcomeUnknown).
    async fn append(
        &self,
        entries: Vec<Entry>,
        options: AppendOptions,
    ) -> Result<Vec<Slot>, AppendError>;

    /// Reads events from `from` on; none from the end on. Never waits for new ones.
    ///
    /// # Errors
    /// [`BackendError`].
    async fn read(&self, from: Position, limit: ReadLimit) -> Result<LogPage, BackendError>;

    /// Arms a watch that resolves when the log ends past `after`, is sealed, or is gone; at once, if
    /// that is so already. It is armed when this returns: what happens from then on is not missed,
    /// however late the watch is first polled. All watches are woken.
    ///
    /// It may resolve for no reason, but not every time: whoever watches looks and watches again. That
    /// the log is gone is told as [`BackendError::NotFound`], by the watch or by the next call after it.
    /// A dropped watch leaves nothing behind, its waker included, though nothing is ever appended.
    ///
    /// # Errors
    /// [`BackendError`].
    async fn watch(&self, after: Position) -> Result<Watch, BackendError>;

    /// Seals the log: nothing is appended behind an answered seal, reading and trimming go on. The first
    /// seal stays; sealing again is no error. Whether this call sealed it: of several concurrent calls
    /// exactly one.
    ///
    /// # Errors
    /// [`BackendError`].
    async fn seal(&self, seal: Seal) -> Result<bool, BackendError>;

    /// Drops the events before `before`, all of them if it lies beyond the end. Positions do not
    /// change, the end of the log does not move, and what has been dropped stays so. A backend that
    /// keeps batches in one piece may keep the whole of the batch that `before` falls into.
    ///
    /// # Errors
    /// [`BackendError`].
    async fn trim(&self, before: Position) -> Result<(), BackendError>;

    /// What is known of the log now.
    ///
    /// # Errors
    /// [`BackendError`].
    async fn info(&self) -> Result<LogInfo, BackendError>;
}
