//! An archive in memory: gone with the process, bounded, for tests and for short memories.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use reveille_backend::types::{
    Cursor, Epoch, Event, Filter, Position, PositionRanges, Seq, Tenant,
};
use reveille_backend::{
    Archive, ArchiveBatch, ArchiveCursor, ArchiveError, ArchiveId, ArchivePage, Archived,
    ReplayFrom, ReplayQuery, Watermark,
};

/// Most places that are looked at under one lock.
const SCAN: usize = 1_024;

/// An archive in memory. It holds events by reference count, and of each tenant the newest ones up to
/// its capacity.
pub struct MemoryArchive {
    id: ArchiveId,
    capacity: usize,
    tenants: Mutex<HashMap<Tenant, Shelf>>,
}

/// What is archived of one tenant. The n-th place has the position `dropped + n`.
#[derive(Debug, Default)]
struct Shelf {
    places: VecDeque<Place>,
    dropped: u64,
    /// The orders that follow one another, each with its first position.
    orders: VecDeque<(Epoch, u64)>,
    watermark: Option<Watermark>,
}

#[derive(Debug)]
struct Place {
    epoch: Epoch,
    /// Up to where it reaches in the order.
    through: Seq,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Event(Event),
    Missing(PositionRanges),
    /// The order goes on to its end without an event.
    Nothing,
}

impl MemoryArchive {
    /// An empty archive of this id that holds at most a million events of each tenant.
    #[must_use]
    pub fn new(id: ArchiveId) -> Self {
        Self::with_capacity(id, 1_000_000)
    }

    /// An empty archive of this id that holds at most so many events of each tenant, and at least one.
    #[must_use]
    pub fn with_capacity(id: ArchiveId, events: usize) -> Self {
        Self {
            id,
            capacity: events.max(1),
            tenants: Mutex::default(),
        }
    }

    fn tenants(&self) -> MutexGuard<'_, HashMap<Tenant, Shelf>> {
        // Nothing that panics runs under the lock.
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cursor(&self, position: u64) -> ArchiveCursor {
        ArchiveCursor {
            archive: self.id,
            position: Position(position),
        }
    }
}

impl fmt::Debug for MemoryArchive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryArchive")
            .field("id", &self.id)
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

impl Shelf {
    fn latest(&self) -> u64 {
        self.dropped + self.places.len() as u64
    }

    fn add(&mut self, batch: ArchiveBatch) {
        let ArchiveBatch { epoch, through, .. } = batch;
        if self.orders.back().is_none_or(|(last, _)| *last != epoch) {
            self.orders.push_back((epoch, self.latest()));
        }
        let mut missing = batch.missing.as_slice().iter().copied().peekable();
        let mut gone = PositionRanges::new();
        let mut events = batch.events.into_iter().peekable();
        loop {
            let next_event = events.peek().map(|event| event.place().seq);
            if let Some(range) =
                missing.next_if(|(first, _)| next_event.is_none_or(|seq| *first < seq.0))
            {
                gone.insert(range.0, range.1);
                continue;
            }
            if !gone.is_empty() {
                let through = Seq(gone.as_slice().last().map_or(0, |range| range.1));
                let content = Content::Missing(std::mem::take(&mut gone));
                self.places.push_back(Place {
                    epoch,
                    through,
                    content,
                });
            }
            let Some(event) = events.next() else { break };
            self.places.push_back(Place {
                epoch,
                through: event.place().seq,
                content: Content::Event(event),
            });
        }
        let reaches = self.places.back().map(|place| (place.epoch, place.through));
        if reaches != Some((epoch, through)) {
            let content = Content::Nothing;
            self.places.push_back(Place {
                epoch,
                through,
                content,
            });
        }
        self.watermark = Some(Watermark {
            epoch,
            seq: through,
        });
    }

    /// The position behind everything up to this place of an order.
    fn find(&self, after: Watermark) -> Option<u64> {
        let order = self
            .orders
            .iter()
            .position(|(epoch, _)| *epoch == after.epoch)?;
        let index = |position: u64| usize::try_from(position.saturating_sub(self.dropped));
        let first = index(self.orders[order].1).ok()?;
        let end = match self.orders.get(order + 1) {
            Some((_, position)) => index(*position).ok()?,
            None => self.places.len(),
        };
        if self.places.get(end.checked_sub(1)?)?.through < after.seq {
            return None;
        }
        // Within an order places ascend.
        let mut passed = (first, end);
        while passed.0 < passed.1 {
            let middle = usize::midpoint(passed.0, passed.1);
            match self.places[middle].through <= after.seq {
                true => passed.0 = middle + 1,
                false => passed.1 = middle,
            }
        }
        Some(self.dropped + passed.0 as u64)
    }

    /// What the archive has dropped behind this place of an order.
    fn dropped_behind(&self, after: Watermark) -> PositionRanges {
        let begin = match self.places.front() {
            Some(place) if place.epoch == after.epoch && self.dropped > 0 => place.begin(),
            _ => 0,
        };
        let is_behind = after.seq.0 < begin;
        is_behind
            .then_some((after.seq.0 + 1, begin))
            .into_iter()
            .collect()
    }

    /// Drops the oldest places beyond the capacity, into `litter`.
    fn keep(&mut self, capacity: usize, litter: &mut Vec<Place>) {
        while self.places.len() > capacity {
            litter.extend(self.places.pop_front());
            self.dropped += 1;
        }
        while self
            .orders
            .get(1)
            .is_some_and(|(_, first)| *first <= self.dropped)
        {
            self.orders.pop_front();
        }
    }
}

impl Place {
    /// The sequence number behind which it is.
    fn begin(&self) -> u64 {
        match &self.content {
            Content::Event(event) => event.place().seq.0.saturating_sub(1),
            Content::Missing(ranges) => ranges.as_slice().first().map_or(0, |range| range.0 - 1),
            Content::Nothing => 0,
        }
    }
}

impl Content {
    fn shown(&self, filter: &Filter, epoch: Epoch, cursor: ArchiveCursor) -> Option<Archived> {
        match self {
            Self::Event(event) if filter.matches(event) => Some(Archived::Event {
                event: event.clone(),
                epoch,
                cursor,
            }),
            Self::Missing(ranges) => Some(Archived::Missing {
                epoch,
                ranges: ranges.clone(),
                cursor,
            }),
            _ => None,
        }
    }
}

#[async_trait]
impl Archive for MemoryArchive {
    fn id(&self) -> ArchiveId {
        self.id
    }

    async fn watermark(&self, tenant: &Tenant) -> Result<Option<Watermark>, ArchiveError> {
        let tenants = self.tenants();
        Ok(tenants.get(tenant).and_then(|shelf| shelf.watermark))
    }

    async fn append(&self, batch: ArchiveBatch) -> Result<ArchiveCursor, ArchiveError> {
        let mut dropped = Vec::new();
        let mut tenants = self.tenants();
        let shelf = tenants.entry(batch.tenant.clone()).or_default();
        let watermark = shelf.watermark;
        if watermark.is_some_and(|mark| mark.epoch == batch.epoch && mark.seq != batch.after) {
            return Err(ArchiveError::OutOfOrder { watermark });
        }
        shelf.add(batch);
        shelf.keep(self.capacity, &mut dropped);
        let latest = shelf.latest();
        // Events are dropped after the lock.
        drop(tenants);
        drop(dropped);
        Ok(self.cursor(latest))
    }

    async fn replay(&self, query: &ReplayQuery) -> Result<ArchivePage, ArchiveError> {
        let tenants = self.tenants();
        let nothing = Shelf::default();
        let shelf = tenants.get(&query.tenant).unwrap_or(&nothing);
        let latest = shelf.latest();
        let mut missing = None;
        let from = match query.from {
            ReplayFrom::Earliest => shelf.dropped,
            ReplayFrom::After(cursor) => {
                let (expected, got) = (self.id, cursor.archive);
                if got != expected {
                    return Err(ArchiveError::ArchiveMismatch { expected, got });
                }
                if cursor.position.0 > latest {
                    let latest = self.cursor(latest);
                    return Err(ArchiveError::Ahead { latest });
                }
                cursor.position.0
            }
            ReplayFrom::AfterSeq(after) => {
                let wanted = Cursor::bus(after.epoch, after.seq);
                missing = Some(shelf.dropped_behind(after));
                shelf
                    .find(after)
                    .ok_or(ArchiveError::UnknownPlace { wanted })?
            }
        };
        let mut items = Vec::new();
        let mut position = from.max(shelf.dropped);
        if from < shelf.dropped {
            // Which of the order they were is forgotten with them.
            missing = Some(PositionRanges::new());
        } else if missing.as_ref().is_some_and(PositionRanges::is_empty) {
            missing = None;
        }
        if let Some((first, ranges)) = shelf.places.front().zip(missing) {
            items.push(Archived::Missing {
                epoch: first.epoch,
                ranges,
                cursor: self.cursor(position),
            });
        }
        let (mut events, mut weight) = (0, 0);
        let skip = usize::try_from(position - shelf.dropped).unwrap_or(usize::MAX);
        for place in shelf.places.iter().skip(skip).take(SCAN) {
            let shown = place
                .content
                .shown(&query.filter, place.epoch, self.cursor(position + 1));
            if let Some(Archived::Event { event, .. }) = &shown {
                weight += event.weight();
                let is_full = events == query.limit || weight > query.bytes;
                if is_full && events > 0 {
                    break;
                }
                events += 1;
            }
            items.extend(shown);
            position += 1;
        }
        Ok(ArchivePage {
            items,
            next: self.cursor(position),
            end: (position == latest).then_some(shelf.watermark),
        })
    }
}
