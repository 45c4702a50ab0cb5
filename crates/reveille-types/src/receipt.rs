//! What a producer learns from an append.

use serde::{Deserialize, Serialize};

use crate::cursor::Cursor;
use crate::event::EventId;
use crate::place::{Position, Seq};

/// What survives which failure. A partial order: `volatile < os < fsync < replicated_fsync` and
/// `volatile < replicated < replicated_fsync`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// Lost with the process.
    Volatile,
    /// Handed to the operating system: survives the process, not the machine.
    Os,
    /// On disk: survives the machine's power.
    Fsync,
    /// On several machines, in their memory at least.
    Replicated,
    /// On disk on several machines.
    ReplicatedFsync,
}

impl Durability {
    /// Whether everything that survives under `other` survives under this level, too.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        use Durability::{Fsync, Os, Replicated, ReplicatedFsync, Volatile};
        matches!(
            (self, other),
            (_, Volatile)
                | (ReplicatedFsync, _)
                | (Os | Fsync, Os)
                | (Fsync, Fsync)
                | (Replicated, Replicated)
        )
    }

    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Volatile => "volatile",
            Self::Os => "os",
            Self::Fsync => "fsync",
            Self::Replicated => "replicated",
            Self::ReplicatedFsync => "replicated_fsync",
        }
    }
}

/// Where one event of a batch ended up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Placed {
    /// The event's id.
    pub id: EventId,
    /// Its position in the session log.
    pub position: Position,
    /// Its place in the order of the tenant.
    pub seq: Seq,
    /// The cursor of a reader that has read up to and including it.
    pub cursor: Cursor,
    /// Whether an earlier append with the same idempotency key had stored it already.
    pub deduplicated: bool,
}

/// What append returns: proof that the batch is in the log, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Receipt {
    /// The cursor of a reader that has read up to and including the last event of the batch.
    pub cursor: Cursor,
    /// What the events survive.
    pub durability: Durability,
    /// One row an event, in the order of the batch. Never empty.
    pub results: Vec<Placed>,
}

impl Receipt {
    /// The position of the first event of the batch.
    #[must_use]
    pub fn first(&self) -> Position {
        self.results.first().map_or(Position::START, |p| p.position)
    }

    /// The position of the last event of the batch.
    #[must_use]
    pub fn last(&self) -> Position {
        self.results.last().map_or(Position::START, |p| p.position)
    }

    /// Whether the whole batch had been stored by an earlier append.
    #[must_use]
    pub fn deduplicated(&self) -> bool {
        self.results.iter().all(|p| p.deduplicated)
    }
}
