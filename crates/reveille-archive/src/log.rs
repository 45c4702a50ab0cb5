//! The handle of one log.

use std::sync::Arc;

use async_trait::async_trait;
use reveille_backend::{
    AppendError, AppendOptions, BackendError, Entry, LogInfo, LogPage, ReadLimit, Seal, Slot,
    StoredLog, Watch,
};
use reveille_types::{Event, Position};

use crate::backend::Inner;
use crate::codec::{self, Decoder};
use crate::error::StoreError;
use crate::shared::Shared;
use crate::store;
use crate::watch::Watching;
use crate::writer::{Answer, Batch, Change, Encoded, Failure};

/// Most bytes of a batch, as it is stored.
pub(crate) const MAX_BATCH_BYTES: u64 = 16 * 1024 * 1024;

/// The handle of one incarnation of one log.
#[derive(Debug)]
pub(crate) struct ArchiveLog {
    archive: Arc<Inner>,
    log: Arc<Shared>,
}

impl ArchiveLog {
    pub(crate) fn new(archive: Arc<Inner>, log: Arc<Shared>) -> Self {
        Self { archive, log }
    }

    async fn change(&self, change: Change) -> Result<bool, BackendError> {
        match self.archive.ask(change).await {
            Ok(Answer::Changed(changed)) => changed,
            Ok(_) => Err(StoreError::Closed.into()),
            Err(Failure::Store(error)) => Err(error),
            Err(Failure::Unknown) => Err(StoreError::SyncFailed.into()),
        }
    }
}

#[async_trait]
impl StoredLog for ArchiveLog {
    async fn append(
        &self,
        entries: Vec<Entry>,
        options: AppendOptions,
    ) -> Result<Vec<Slot>, AppendError> {
        if let Some(wanted) = options.durability
            && !self.archive.durability().covers(wanted)
        {
            return Err(AppendError::Durability { wanted });
        }
        let encode = |entry: Entry| Encoded {
            record: codec::encode(&entry.event),
            key: entry.key,
        };
        let entries: Vec<Encoded> = entries.into_iter().map(encode).collect();
        let actual = entries.iter().map(|entry| entry.record.len() as u64).sum();
        if actual > MAX_BATCH_BYTES {
            return Err(AppendError::TooLarge {
                limit: MAX_BATCH_BYTES,
                actual,
            });
        }
        let batch = Batch {
            log: Arc::clone(&self.log),
            entries,
            expected: options.expected,
            seal: options.seal,
            at: self.archive.unix_millis(options.now),
        };
        match self.archive.ask(Change::Append(batch)).await {
            Ok(Answer::Appended(slots)) => slots,
            Ok(_) | Err(Failure::Unknown) => Err(AppendError::OutcomeUnknown),
            Err(Failure::Store(error)) => Err(error.into()),
        }
    }

    async fn read(&self, from: Position, limit: ReadLimit) -> Result<LogPage, BackendError> {
        let (oldest, latest) = self.log.latest()?;
        if from >= latest {
            let events = Vec::new();
            return Ok(LogPage { oldest, events });
        }
        let log = Arc::clone(&self.log);
        let page = self
            .archive
            .readers()
            .read(move |db| read(db, &log, from, limit))
            .await?;
        page.ok_or(BackendError::NotFound)
    }

    async fn watch(&self, after: Position) -> Result<Watch, BackendError> {
        self.log.latest()?;
        let watching = Watching::new(Arc::clone(&self.log), after);
        Ok(Box::pin(watching))
    }

    async fn seal(&self, seal: Seal) -> Result<bool, BackendError> {
        self.change(Change::Seal(Arc::clone(&self.log), seal)).await
    }

    async fn trim(&self, before: Position) -> Result<(), BackendError> {
        let change = Change::Trim(Arc::clone(&self.log), before);
        self.change(change).await.map(drop)
    }

    async fn info(&self) -> Result<LogInfo, BackendError> {
        self.log.info()
    }
}

/// Reads a page in one snapshot; nothing if the log is gone.
fn read(
    db: &rusqlite::Connection,
    log: &Shared,
    from: Position,
    limit: ReadLimit,
) -> Result<Option<LogPage>, StoreError> {
    let Some(row) = store::log_by_id(db, log.id)? else {
        return Ok(None);
    };
    let from = from.max(row.oldest);
    let mut events = Vec::new();
    let mut bytes = 0;
    let mut decoder = Decoder::new(Arc::clone(&log.key), log.epoch);
    let mut expected: Option<Position> = None;
    let mut is_full = false;
    store::events_from(db, log.id, from, |row| {
        // The first row may begin before what is wanted, the others follow each other.
        let place = || StoreError::damaged(format!("{}, position {}", log.key, row.first.0));
        if expected.map_or(row.first > from, |expected| row.first != expected) {
            return Err(place());
        }
        let end = row.first.0.checked_add(row.count).ok_or_else(place)?;
        expected = Some(Position(end));
        let mut seen = row.first.max(from);
        decoder
            .body(row.body, row.first, row.low, from, |event| {
                bytes += event.weight();
                is_full = events.len() >= limit.events || bytes > limit.bytes;
                // At least one, so that the reader gets on.
                if is_full && !events.is_empty() {
                    return false;
                }
                is_full = false;
                events.push(event);
                seen = seen.next();
                true
            })
            .map_err(|_| place())?;
        if !is_full && seen.0 != end {
            return Err(place());
        }
        Ok(!is_full)
    })?;
    // The log says where it ends: rows are missing if they do not reach that.
    let next = events.last().map_or(from, |e: &Event| e.position().next());
    if !is_full && next < row.latest {
        let place = format!("{}, position {}", log.key, next.0);
        return Err(StoreError::damaged(place));
    }
    let oldest = row.oldest;
    Ok(Some(LogPage { oldest, events }))
}
