//! How an archive is opened.

use std::num::NonZeroUsize;
use std::time::Duration;

use reveille_types::Durability;

/// What an acknowledged event survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ArchiveDurability {
    /// The end of the process, however it comes. What the power of the machine takes is at most what was
    /// appended since the last sync, which follows every [`ArchiveOptions::sync_every`].
    Os,
    /// The power of the machine: an append is answered after the disk has it.
    #[default]
    Fsync,
}

impl ArchiveDurability {
    /// The level that receipts name.
    #[must_use]
    pub fn level(self) -> Durability {
        match self {
            Self::Os => Durability::Os,
            Self::Fsync => Durability::Fsync,
        }
    }
}

/// What each log retains at most. Older events are dropped a row at a time, a row being what was committed
/// to a log at once, so that a little more than the bound stays. Nothing is dropped by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Retention {
    /// Most events of a log.
    pub events: Option<u64>,
    /// Most bytes of a log, as they are stored.
    pub bytes: Option<u64>,
    /// How old an event may be, by the clock of the machine when it was appended.
    pub age: Option<Duration>,
}

/// How to open an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchiveOptions {
    /// What an acknowledged event survives.
    pub durability: ArchiveDurability,
    /// What each log retains.
    pub retention: Retention,
    /// How often what was appended is synced when appends do not wait for it.
    pub sync_every: Duration,
    /// Threads that read.
    pub readers: NonZeroUsize,
}

impl Default for ArchiveOptions {
    fn default() -> Self {
        Self {
            durability: ArchiveDurability::default(),
            retention: Retention::default(),
            sync_every: Duration::from_secs(1),
            readers: NonZeroUsize::MIN.saturating_add(1),
        }
    }
}
