//! What buses have shown: the rows of the archive port, in the order of each tenant.
//!
//! A place is an event, events that are missing, or nothing but the end of a batch. Its position counts
//! the places of the tenant; within one order (an epoch) `through` ascends with it.

use reveille_backend::Watermark;
use reveille_types::{Epoch, Seq};
use rusqlite::{Connection, OptionalExtension, params};

use super::TenantId;
use super::sums::Sum;
use crate::error::StoreError;

type Result<T> = std::result::Result<T, StoreError>;

/// Made when the archive port is used first, so that other archives stay as they are.
const SCHEMA: &str = "
create table if not exists shown (
    tenant integer not null, position integer not null, epoch text not null,
    through integer not null, kind integer not null, body blob not null, sum integer not null,
    primary key (tenant, position)
) strict, without rowid;
create index if not exists by_order on shown (tenant, epoch, through);
create table if not exists archive (id text not null) strict;
";

/// What a place is.
pub(crate) mod kind {
    pub(crate) const EVENT: i64 = 0;
    pub(crate) const MISSING: i64 = 1;
    pub(crate) const NOTHING: i64 = 2;
}

/// One place.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    pub(crate) tenant: TenantId,
    pub(crate) position: u64,
    pub(crate) epoch: Epoch,
    pub(crate) through: Seq,
    pub(crate) kind: i64,
    pub(crate) body: &'a [u8],
}

fn sum(place: &Place<'_>) -> i64 {
    Sum::default()
        .number(place.tenant)
        .number(place.position.cast_signed())
        .text(place.epoch.as_str())
        .number(place.through.0.cast_signed())
        .number(place.kind)
        .bytes(place.body)
        .finish()
}

/// Makes the tables if they are not there, and gives the archive's name, which is made with them.
pub(crate) fn prepare(conn: &Connection, new_id: Epoch) -> Result<Epoch> {
    let transaction = conn.unchecked_transaction()?;
    transaction.execute_batch(SCHEMA)?;
    let id: Option<String> = transaction
        .query_row("select id from archive", [], |row| row.get(0))
        .optional()?;
    let id = match id {
        Some(id) => id
            .parse()
            .map_err(|_| StoreError::damaged("the name of the archive"))?,
        None => {
            transaction.execute("insert into archive (id) values (?1)", [new_id.as_str()])?;
            new_id
        }
    };
    transaction.commit()?;
    Ok(id)
}

pub(crate) fn insert(conn: &Connection, place: &Place<'_>) -> Result<()> {
    conn.prepare_cached(
        "insert into shown (tenant, position, epoch, through, kind, body, sum)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        place.tenant,
        place.position.cast_signed(),
        place.epoch.as_str(),
        place.through.0.cast_signed(),
        place.kind,
        place.body,
        sum(place),
    ])?;
    Ok(())
}

/// How many places there are, and how far the last one reaches.
pub(crate) fn end(conn: &Connection, tenant: TenantId) -> Result<(u64, Option<Watermark>)> {
    let mut last = (0, None);
    each_from(conn, tenant, None, |place| {
        let watermark = Watermark {
            epoch: place.epoch,
            seq: place.through,
        };
        last = (place.position + 1, Some(watermark));
        Ok(false)
    })?;
    Ok(last)
}

/// The position behind everything up to this place of an order; nothing if the order does not reach it.
pub(crate) fn find(conn: &Connection, tenant: TenantId, after: Watermark) -> Result<Option<u64>> {
    let (epoch, seq) = (after.epoch.as_str(), after.seq.0.cast_signed());
    // A place that reaches beyond is where to go on; if none does, the last one must reach as far.
    let beyond: Option<i64> = conn
        .prepare_cached(
            "select min(position) from shown
             where tenant = ?1 and epoch = ?2 and through = (
                 select min(through) from shown where tenant = ?1 and epoch = ?2 and through > ?3)",
        )?
        .query_row(params![tenant, epoch, seq], |row| row.get(0))?;
    if let Some(position) = beyond {
        return Ok(Some(position.cast_unsigned()));
    }
    let at: Option<i64> = conn
        .prepare_cached(
            "select max(position) from shown where tenant = ?1 and epoch = ?2 and through = ?3",
        )?
        .query_row(params![tenant, epoch, seq], |row| row.get(0))?;
    Ok(at.map(|position| position.cast_unsigned() + 1))
}

/// The places from a position on in order, or from the last one backwards, as long as `each` wants more.
pub(crate) fn each_from(
    conn: &Connection,
    tenant: TenantId,
    from: Option<u64>,
    mut each: impl FnMut(Place<'_>) -> Result<bool>,
) -> Result<()> {
    let order = if from.is_some() { "asc" } else { "desc" };
    let mut statement = conn.prepare_cached(&format!(
        "select position, epoch, through, kind, body, sum from shown
         where tenant = ?1 and position >= ?2 order by position {order}"
    ))?;
    let from = from.unwrap_or(0).cast_signed();
    let mut rows = statement.query(params![tenant, from])?;
    while let Some(row) = rows.next()? {
        let position: i64 = row.get(0)?;
        let wrong = || StoreError::damaged(format!("place {position} of tenant {tenant}"));
        let epoch: String = row.get(1)?;
        let place = Place {
            tenant,
            position: position.cast_unsigned(),
            epoch: epoch.parse().map_err(|_| wrong())?,
            through: Seq(row.get::<_, i64>(2)?.cast_unsigned()),
            kind: row.get(3)?,
            body: row.get_ref(4)?.as_blob().map_err(|_| wrong())?,
        };
        if sum(&place) != row.get::<_, i64>(5)? {
            return Err(wrong());
        }
        if !each(place)? {
            break;
        }
    }
    Ok(())
}
