//! What is appended, on which conditions, and where it ended up.

use std::time::Instant;

use reveille_types::{Durability, EndReason, Position, Seq, UnplacedEvent};
use smallvec::SmallVec;

/// One event of a batch: complete but for its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The event.
    pub event: UnplacedEvent,
    /// Under which a repeated append of it is recognised.
    pub key: Option<IdempotencyKey>,
}

/// Recognises a repeated append. Scoped by tenant, session and incarnation. A backend knows a key for
/// ten minutes at least, unless the tenant has used 100 000 newer ones since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The producer's key.
    pub key: Box<str>,
    /// A digest of what was appended under it: the same key with another digest is a conflict.
    pub fingerprint: u64,
}

/// On which conditions a batch is appended.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct AppendOptions {
    /// Append only if the log ends here (compare and append). Not looked at when the keys of all entries
    /// are known.
    pub expected: Option<Position>,
    /// The least that the events must survive; the backend's default if none.
    pub durability: Option<Durability>,
    /// Seal the log for this reason, without a message, in the same step that stores the batch, so that
    /// nothing lands behind it. A batch that is refused, or whose keys are all known, seals nothing. Only
    /// a [stored log](crate::StoredLog) is asked to: the session seals an immediate one by itself.
    pub seal: Option<EndReason>,
    /// Now, on the monotonic clock: what idempotency windows count from.
    pub now: Instant,
}

impl AppendOptions {
    /// No conditions.
    #[must_use]
    pub fn at(now: Instant) -> Self {
        Self {
            expected: None,
            durability: None,
            seal: None,
            now,
        }
    }
}

/// Where one entry of a batch ended up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Its position in the log.
    pub position: Position,
    /// Its place in the order of the tenant.
    pub seq: Seq,
    /// Whether an earlier append with the same key had stored it: it was not stored again.
    pub deduplicated: bool,
}

/// Where the entries of a batch ended up, in the order of the batch. One needs no allocation.
pub type Slots = SmallVec<[Slot; 1]>;
