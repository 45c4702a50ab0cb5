//! The archive port: what buses have shown, beyond what they retain, in the same directory.

use std::sync::Arc;

use async_trait::async_trait;
use reveille_backend::{
    Archive, ArchiveBatch, ArchiveCursor, ArchiveError, ArchiveId, ArchivePage, Archived,
    BackendError, ReplayFrom, ReplayQuery, Watermark,
};
use reveille_types::{
    Cursor, Epoch, Event, Position, PositionRanges, Seq, SessionKey, Tenant, UnplacedEvent,
};
use rusqlite::Connection;

use crate::backend::ArchiveBackend;
use crate::codec::{self, Decoder};
use crate::error::StoreError;
use crate::store::shown::{self, Place, kind};
use crate::writer::{Answer, Change, NewPlace, ShownBatch};

/// Most places that are looked at for one page.
const SCAN: usize = 1024;

/// Archives what a bus shows. There is no bound on it but the disk.
#[async_trait]
impl Archive for ArchiveBackend {
    fn id(&self) -> ArchiveId {
        ArchiveId(self.inner().id())
    }

    async fn watermark(&self, tenant: &Tenant) -> Result<Option<Watermark>, ArchiveError> {
        let tenant = tenant.clone();
        let read = self
            .inner()
            .readers()
            .read(move |db| Ok(end(db, &tenant)?.1));
        Ok(read.await.map_err(BackendError::from)?)
    }

    async fn append(&self, batch: ArchiveBatch) -> Result<ArchiveCursor, ArchiveError> {
        let batch = ShownBatch {
            tenant: batch.tenant.clone(),
            epoch: batch.epoch,
            after: batch.after,
            places: places(&batch),
        };
        match self.inner().ask_store(Change::Show(batch)).await? {
            Answer::Shown(Ok(latest)) => Ok(self.cursor(latest)),
            Answer::Shown(Err(watermark)) => Err(ArchiveError::OutOfOrder { watermark }),
            _ => Err(BackendError::from(StoreError::Closed).into()),
        }
    }

    async fn replay(&self, query: &ReplayQuery) -> Result<ArchivePage, ArchiveError> {
        let (query, id) = (query.clone(), self.id());
        let page = self
            .inner()
            .readers()
            .read(move |db| Ok(replay(db, id, &query)));
        page.await.map_err(BackendError::from)?
    }
}

impl ArchiveBackend {
    fn cursor(&self, position: u64) -> ArchiveCursor {
        ArchiveCursor {
            archive: self.id(),
            position: Position(position),
        }
    }
}

impl From<StoreError> for ArchiveError {
    fn from(error: StoreError) -> Self {
        BackendError::from(error).into()
    }
}

fn end(db: &Connection, tenant: &Tenant) -> Result<(u64, Option<Watermark>), StoreError> {
    match crate::store::tenant_id(db, tenant)? {
        Some(tenant) => shown::end(db, tenant),
        None => Ok((0, None)),
    }
}

/// The places of a batch: its events and what is missing between them, in order, and its end.
fn places(batch: &ArchiveBatch) -> Vec<NewPlace> {
    let mut missing = batch.missing.as_slice().iter().copied().peekable();
    let mut places = Vec::with_capacity(batch.events.len());
    let mut gone = Vec::new();
    let mut events = batch.events.iter().peekable();
    loop {
        let next_event = events.peek().map(|event| event.place().seq);
        if let Some(range) =
            missing.next_if(|(first, _)| next_event.is_none_or(|seq| *first < seq.0))
        {
            gone.push(range);
            continue;
        }
        if let Some((_, last)) = gone.last() {
            let through = Seq(*last);
            let numbers = gone.iter().flat_map(|(first, last)| [*first, *last]);
            let body = numbers.flat_map(u64::to_le_bytes).collect();
            gone.clear();
            places.push(NewPlace {
                through,
                kind: kind::MISSING,
                body,
            });
        }
        let Some(event) = events.next() else { break };
        places.push(NewPlace {
            through: event.place().seq,
            kind: kind::EVENT,
            body: encode(event),
        });
    }
    if places
        .last()
        .is_none_or(|place| place.through != batch.through)
    {
        places.push(NewPlace {
            through: batch.through,
            kind: kind::NOTHING,
            body: Vec::new(),
        });
    }
    places
}

/// An event with its place: the log's name and epoch, the two numbers, then as in a log.
fn encode(event: &Event) -> Vec<u8> {
    let place = event.place();
    let unplaced = UnplacedEvent::new(event.envelope().clone(), event.payload().clone());
    let name = place.session.to_string();
    let mut body = Vec::new();
    body.extend_from_slice(&(name.len() as u64).to_le_bytes());
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(place.epoch.as_str().as_bytes());
    body.extend_from_slice(&place.position.0.to_le_bytes());
    body.extend_from_slice(&place.seq.0.to_le_bytes());
    let mut record = codec::start();
    codec::push(&mut record, 0, &codec::encode(&unplaced));
    body.extend_from_slice(&record);
    body
}

fn decode(body: &[u8]) -> Option<Event> {
    let number = |bytes: &[u8]| Some(u64::from_le_bytes(bytes.try_into().ok()?));
    let (length, rest) = body.split_at_checked(8)?;
    let (name, rest) = rest.split_at_checked(usize::try_from(number(length)?).ok()?)?;
    let (epoch, rest) = rest.split_at_checked(Epoch::LEN)?;
    let (position, rest) = rest.split_at_checked(8)?;
    let (seq, record) = rest.split_at_checked(8)?;
    let session: SessionKey = std::str::from_utf8(name).ok()?.parse().ok()?;
    let epoch: Epoch = std::str::from_utf8(epoch).ok()?.parse().ok()?;
    let position = Position(number(position)?);
    let mut found = None;
    let mut decoder = Decoder::new(Arc::new(session), epoch);
    decoder
        .body(record, position, Seq(number(seq)?), position, |event| {
            found = Some(event);
            false
        })
        .ok()?;
    found
}

fn ranges(body: &[u8]) -> PositionRanges {
    let number = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
    body.chunks_exact(16)
        .map(|pair| (number(&pair[..8]), number(&pair[8..])))
        .collect()
}

fn replay(
    db: &Connection,
    id: ArchiveId,
    query: &ReplayQuery,
) -> Result<ArchivePage, ArchiveError> {
    let cursor = |position: u64| ArchiveCursor {
        archive: id,
        position: Position(position),
    };
    let tenant = crate::store::tenant_id(db, &query.tenant)?;
    let (latest, watermark) = end(db, &query.tenant)?;
    let from = match query.from {
        ReplayFrom::Earliest => 0,
        ReplayFrom::After(after) if after.archive != id => {
            return Err(ArchiveError::ArchiveMismatch {
                expected: id,
                got: after.archive,
            });
        }
        ReplayFrom::After(after) if after.position.0 > latest => {
            let latest = cursor(latest);
            return Err(ArchiveError::Ahead { latest });
        }
        ReplayFrom::After(after) => after.position.0,
        ReplayFrom::AfterSeq(after) => {
            let found = match tenant {
                Some(tenant) => shown::find(db, tenant, after)?,
                None => None,
            };
            let wanted = Cursor::bus(after.epoch, after.seq);
            found.ok_or(ArchiveError::UnknownPlace { wanted })?
        }
    };
    let mut position = from;
    let mut items = Vec::new();
    let (mut events, mut weight, mut looked) = (0, 0, 0);
    let mut look = |place: Place<'_>| {
        let wrong = || StoreError::damaged(format!("place {} of the archive", place.position));
        if place.position != position {
            return Err(wrong());
        }
        let (epoch, cursor) = (place.epoch, cursor(position + 1));
        match place.kind {
            kind::EVENT => {
                let event = decode(place.body).ok_or_else(wrong)?;
                if query.filter.matches(&event) {
                    weight += event.weight();
                    if events > 0 && (events >= query.limit || weight > query.bytes) {
                        return Ok(false);
                    }
                    events += 1;
                    items.push(Archived::Event {
                        event,
                        epoch,
                        cursor,
                    });
                }
            }
            kind::MISSING => items.push(Archived::Missing {
                epoch,
                ranges: ranges(place.body),
                cursor,
            }),
            _ => {}
        }
        position += 1;
        looked += 1;
        Ok(looked < SCAN)
    };
    if let Some(tenant) = tenant {
        shown::each_from(db, tenant, Some(from), &mut look)?;
    }
    Ok(ArchivePage {
        items,
        next: cursor(position),
        end: (position == latest).then_some(watermark),
    })
}
