//! What an archive implements: everything that a bus has shown, kept in order beyond its retention.
//!
//! An archive holds the events of each tenant in the order of the bus on which they were shown, with
//! the bus's epoch and the events' sequence numbers. It counts its own positions, so that it can hold
//! the orders of one bus after another; its cursors name the archive that they belong to.

mod cursor;

use std::fmt;

use async_trait::async_trait;
use reveille_types::{Cursor, Epoch, Event, Filter, PositionRanges, Seq, Tenant};

use crate::error::BackendError;

pub use cursor::{ArchiveCursor, ArchiveId};

/// What comes next in the order of a bus.
#[derive(Debug, Clone)]
pub struct ArchiveBatch {
    /// Whose bus it is.
    pub tenant: Tenant,
    /// The incarnation of the order.
    pub epoch: Epoch,
    /// The archive holds the order up to here.
    pub after: Seq,
    /// With this batch it does up to here.
    pub through: Seq,
    /// The events in between, ascending.
    pub events: Vec<Event>,
    /// The sequence numbers in between whose events are gone.
    pub missing: PositionRanges,
}

/// How far an archive holds the order of a bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermark {
    /// The incarnation of the order.
    pub epoch: Epoch,
    /// Everything up to this sequence number is in the archive, or is known to be gone.
    pub seq: Seq,
}

/// Where a replay begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayFrom {
    /// With the oldest event that is archived. What the archive dropped before is not missing.
    Earliest,
    /// After this place of the archive.
    After(ArchiveCursor),
    /// After this place in the order of a bus.
    AfterSeq(Watermark),
}

/// What to replay.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ReplayQuery {
    /// Whose events.
    pub tenant: Tenant,
    /// Which events.
    pub filter: Filter,
    /// From where.
    pub from: ReplayFrom,
    /// Most events in the page.
    pub limit: usize,
    /// Most bytes in the page, one event aside.
    pub bytes: usize,
}

impl ReplayQuery {
    /// The first 256 events that match, as far as they are not more than 256 KiB.
    #[must_use]
    pub fn new(tenant: Tenant, filter: Filter, from: ReplayFrom) -> Self {
        Self {
            tenant,
            filter,
            from,
            limit: 256,
            bytes: 256 * 1024,
        }
    }
}

/// What stands in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Archived {
    /// An event.
    Event {
        /// The event.
        event: Event,
        /// The incarnation of the order in which its sequence number counts.
        epoch: Epoch,
        /// Where to go on after it.
        cursor: ArchiveCursor,
    },
    /// Events that were gone before they could be archived, or that the archive has dropped.
    Missing {
        /// The incarnation of the order in which the sequence numbers count.
        epoch: Epoch,
        /// Their sequence numbers.
        ranges: PositionRanges,
        /// Where to go on after them.
        cursor: ArchiveCursor,
    },
}

/// A page of a replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivePage {
    /// What was found, in order.
    pub items: Vec<Archived>,
    /// Where the next page begins: everything before was looked through.
    pub next: ArchiveCursor,
    /// If the page reaches the end of the archive: how far that is in the order of the last bus;
    /// nothing of an archive that holds nothing of the tenant.
    pub end: Option<Option<Watermark>>,
}

/// Why an archive says no.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The cursor belongs to another archive.
    #[error("the cursor is of archive {got}, this is {expected}")]
    ArchiveMismatch {
        /// This archive.
        expected: ArchiveId,
        /// The cursor's.
        got: ArchiveId,
    },
    /// The cursor lies beyond the end of the archive.
    #[error("the cursor is ahead of the archive, which ends at {latest}")]
    Ahead {
        /// The end.
        latest: ArchiveCursor,
    },
    /// The archive holds nothing of the order of this incarnation, or not as far.
    #[error("the archive does not reach {wanted}")]
    UnknownPlace {
        /// The place that was asked for.
        wanted: Cursor,
    },
    /// The batch does not begin where the archive ends. Nothing was stored.
    #[error("the batch does not begin where the archive ends")]
    OutOfOrder {
        /// Where it ends.
        watermark: Option<Watermark>,
    },
    /// The store refused or could not be reached.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

impl ArchiveError {
    /// Stable name of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::ArchiveMismatch { .. } => "archive_mismatch",
            Self::Ahead { .. } => "archive_cursor_ahead",
            Self::UnknownPlace { .. } => "archive_unknown_place",
            Self::OutOfOrder { .. } => "archive_out_of_order",
            Self::Backend(_) => "archive_unavailable",
        }
    }
}

/// Keeps what the buses of tenants have shown, in order.
///
/// # Contract
/// Tenants are walls. Readers see a batch entirely or not at all. Positions ascend and are never given
/// twice. The futures may be dropped at any point: an `append` has taken place then or has not.
#[async_trait]
pub trait Archive: fmt::Debug + Send + Sync + 'static {
    /// What its cursors say that they belong to: as long as the archive is the same, so is this.
    fn id(&self) -> ArchiveId;

    /// How far it holds the order of the last bus of the tenant that was archived.
    ///
    /// # Errors
    /// [`ArchiveError::Backend`].
    async fn watermark(&self, tenant: &Tenant) -> Result<Option<Watermark>, ArchiveError>;

    /// Adds what comes next; all or nothing. A batch of another epoch than the last one begins a new
    /// order, wherever in it. Costs the same however much is stored.
    ///
    /// # Errors
    /// [`ArchiveError::OutOfOrder`] unless the batch begins at the watermark of its epoch.
    async fn append(&self, batch: ArchiveBatch) -> Result<ArchiveCursor, ArchiveError>;

    /// Reads a page of what matches.
    ///
    /// # Errors
    /// [`ArchiveError`].
    async fn replay(&self, query: &ReplayQuery) -> Result<ArchivePage, ArchiveError>;
}
