//! The order of a tenant over all its logs.

use std::collections::HashMap;
use std::hash::Hasher;
use std::sync::Arc;

use reveille_backend::{OrderPage, ReadLimit};
use reveille_types::{Epoch, Event, Fingerprint, Position, Seq, Tenant};
use rusqlite::Connection;

use crate::codec::Decoder;
use crate::error::StoreError;
use crate::store::{self, LogId};

/// Most bytes of bodies that are looked at for a page, the commit aside in which they are exceeded.
const LOOKED: usize = 4 * 1024 * 1024;

/// The epoch of a tenant's order, which is as old as the archive and goes on as long as its logs do.
/// Two tenants whose names digest alike have one, which tells neither anything of the other.
pub(crate) fn epoch(archive: Epoch, tenant: &Tenant) -> Epoch {
    let mut digest = Fingerprint::default();
    for text in [archive.as_str(), tenant.as_str()] {
        digest.write(text.as_bytes());
    }
    let first = digest.finish();
    digest.write(b"again");
    let [a, b, c, d, ..] = digest.finish().to_le_bytes();
    Epoch::from_parts(first, u32::from_le_bytes([a, b, c, d]))
}

/// How to read the rows of a log, and what of them is still there.
struct Log {
    decoder: Decoder,
    oldest: Position,
}

/// Reads what follows `after`, in one snapshot. The rows of one commit are read together, since their
/// numbers lie among each other.
pub(crate) fn read(
    db: &Connection,
    tenant: &Tenant,
    after: Seq,
    limit: ReadLimit,
) -> Result<OrderPage, StoreError> {
    let Some((id, last)) = store::tenant_by_name(db, tenant)? else {
        return Ok(OrderPage::first_of(Vec::new(), after, limit));
    };
    let mut logs: HashMap<LogId, Option<Log>> = HashMap::new();
    let mut events: Vec<Event> = Vec::new();
    let (mut commit, mut bytes, mut looked) = (Seq(0), 0, 0);
    let mut through = last.max(after);
    store::events_from_seq(db, id, after.next(), |log, row| {
        let is_enough = events.len() >= limit.events || bytes > limit.bytes || looked > LOOKED;
        if row.low > commit && is_enough {
            through = Seq(row.low.0 - 1);
            return Ok(false);
        }
        commit = row.low;
        looked += row.body.len();
        let log = match logs.entry(log) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(new) => {
                let found = store::log_by_id(db, log)?.map(|row| Log {
                    decoder: Decoder::new(Arc::new(row.key), row.epoch),
                    oldest: row.oldest,
                });
                new.insert(found)
            }
        };
        // What is left of a log that was removed.
        let Some(Log { decoder, oldest }) = log else {
            return Ok(true);
        };
        let place = || StoreError::damaged(format!("position {}", row.first.0));
        let take = |event: Event| {
            if event.place().seq > after {
                bytes += event.weight();
                events.push(event);
            }
            true
        };
        decoder
            .body(row.body, row.first, row.low, *oldest, take)
            .map_err(|_| place())?;
        Ok(true)
    })?;
    Ok(OrderPage::first_of(events, through, limit))
}
