//! What groups do, as it is kept: a line of JSON a step.

use std::time::{Duration, Instant};

use reveille_backend::{Entry, IdempotencyKey};
use reveille_types::{
    DraftDefaults, EventDraft, EventId, Invalid, KindRegistry, Label, Payload, Position,
    PositionRanges, Source,
};
use serde::{Deserialize, Serialize};

use crate::state::{GroupRecord, Leased, Now};

/// The kind of a step. It is in no log that anybody but the queue reads.
const KIND: &str = "reveille.group";

/// What stands in the log of a session's groups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Record {
    /// A group has done something.
    Step {
        /// The group.
        group: Label,
        /// What it has done.
        did: Did,
    },
    /// All that all groups have done until here.
    Snapshot(Vec<Snapshot>),
}

/// What a group has done. Positions are those of the session's log, times wall time in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Did {
    /// Took events on lease.
    Lease(Vec<KeptLease>),
    /// Took events for good, or settled what it had on lease.
    Settle(Vec<u64>),
    /// Gave a leased event back.
    GiveBack { position: u64, delivery: u32 },
    /// Took events, and the taker was gone by then: they were not delivered.
    Undo(Vec<u64>),
    /// Moved on.
    SkipTo(u64),
    /// Offers a dead letter again.
    Retry(u64),
    /// Lets go of a dead letter.
    Discard(u64),
}

/// A lease: position, delivery, and when it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptLease(u64, u32, i64);

/// All that a group has done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    pub(crate) group: Label,
    next: u64,
    skipped: u64,
    settled: Vec<(u64, u64)>,
    leases: Vec<KeptLease>,
    returned: Vec<u64>,
    dead: Vec<(u64, u32)>,
    deliveries: Vec<(u64, u32)>,
    pardoned: Vec<(u64, u32)>,
}

impl KeptLease {
    pub(crate) fn keep(lease: Leased, now: Now<'_>) -> Self {
        let left = lease.until.saturating_duration_since(now.monotonic);
        let left = i64::try_from(left.as_millis()).unwrap_or(i64::MAX);
        let until = now.wall().as_millisecond().saturating_add(left);
        Self(lease.position.0, lease.delivery, until)
    }

    pub(crate) fn read(self, now: Now<'_>) -> Leased {
        let Self(position, delivery, until) = self;
        // What is over by the wall clock is over now.
        let left = until.saturating_sub(now.wall().as_millisecond());
        let left = Duration::from_millis(u64::try_from(left).unwrap_or_default());
        Leased {
            position: Position(position),
            delivery,
            until: far(now.monotonic, left),
        }
    }
}

/// So long after now, or as long as the clock can tell.
fn far(now: Instant, left: Duration) -> Instant {
    const LONGEST: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
    now.checked_add(left.min(LONGEST)).unwrap_or(now)
}

fn numbers(positions: &[Position]) -> Vec<u64> {
    positions.iter().map(|position| position.0).collect()
}

fn positions(numbers: &[u64]) -> Vec<Position> {
    numbers.iter().copied().map(Position).collect()
}

fn pairs(counts: &[(Position, u32)]) -> Vec<(u64, u32)> {
    counts.iter().map(|(p, n)| (p.0, *n)).collect()
}

fn counts(pairs: &[(u64, u32)]) -> Vec<(Position, u32)> {
    pairs.iter().map(|(p, n)| (Position(*p), *n)).collect()
}

impl Snapshot {
    pub(crate) fn keep(group: Label, record: &GroupRecord, now: Now<'_>) -> Self {
        let leases = record.leases.iter().copied();
        Self {
            group,
            next: record.next.0,
            skipped: record.skipped.0,
            settled: record.settled.as_slice().to_vec(),
            leases: leases.map(|lease| KeptLease::keep(lease, now)).collect(),
            returned: numbers(&record.returned),
            dead: pairs(&record.dead),
            deliveries: pairs(&record.deliveries),
            pardoned: pairs(&record.pardoned),
        }
    }

    pub(crate) fn read(&self, now: Now<'_>) -> GroupRecord {
        let mut settled = PositionRanges::new();
        for &(first, last) in &self.settled {
            settled.insert(first, last.max(first));
        }
        GroupRecord {
            next: Position(self.next),
            skipped: Position(self.skipped),
            settled,
            leases: self.leases.iter().map(|lease| lease.read(now)).collect(),
            returned: positions(&self.returned),
            dead: counts(&self.dead),
            deliveries: counts(&self.deliveries),
            pardoned: counts(&self.pardoned),
        }
    }
}

impl Record {
    /// The entry under which the record is appended, recognised when it is appended again.
    pub(crate) fn entry(
        &self,
        id: EventId,
        source: &Source,
        now: Now<'_>,
    ) -> Result<Entry, Invalid> {
        let mut draft = EventDraft::parse(KIND)?;
        draft.payload = Payload::json(self)?;
        let key = Some(IdempotencyKey {
            key: id.as_str().into(),
            fingerprint: 0,
        });
        let event = draft.complete(DraftDefaults {
            id,
            time: now.wall(),
            source,
            registry: &KindRegistry::empty(),
        });
        Ok(Entry { event, key })
    }

    /// Reads a record back; `None` if this program does not know it.
    pub(crate) fn read(payload: &Payload) -> Option<Self> {
        payload.parse().ok()
    }
}
