//! One function a statement. Rows that are read are checked before anything is made of them.

use reveille_backend::Seal;
use reveille_types::{EndReason, Epoch, Namespace, Position, Seq, SessionId, SessionKey, Tenant};
use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};

use super::sums::Sum;
use super::{LogId, TenantId};
use crate::error::StoreError;
use crate::keys::{Known, KnownKey};

type Result<T> = std::result::Result<T, StoreError>;

/// What is stored of a log besides its events.
#[derive(Debug, Clone)]
pub(crate) struct LogRow {
    pub(crate) id: LogId,
    pub(crate) tenant: TenantId,
    pub(crate) key: SessionKey,
    pub(crate) epoch: Epoch,
    pub(crate) oldest: Position,
    /// The end of the log: where its last row of events ends.
    pub(crate) latest: Position,
    pub(crate) seal: Option<Seal>,
    /// What was kept with it when it was made.
    pub(crate) attributes: Box<str>,
}

/// A row of events to be written.
#[derive(Debug)]
pub(crate) struct NewBatch<'a> {
    pub(crate) log: LogId,
    pub(crate) tenant: TenantId,
    pub(crate) first: Position,
    pub(crate) count: u64,
    pub(crate) low: Seq,
    /// Unix milliseconds.
    pub(crate) at: i64,
    pub(crate) body: &'a [u8],
}

/// A row of events that was read and is what was written.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    pub(crate) first: Position,
    pub(crate) count: u64,
    pub(crate) low: Seq,
    pub(crate) body: &'a [u8],
}

/// As the database has it. Positions, sequence numbers and fingerprints keep their bits.
fn db(number: u64) -> i64 {
    number.cast_signed()
}

fn batch_sum(batch: &NewBatch<'_>) -> i64 {
    Sum::default()
        .number(batch.log)
        .number(batch.tenant)
        .number(db(batch.first.0))
        .number(db(batch.count))
        .number(db(batch.low.0))
        .number(batch.at)
        .bytes(batch.body)
        .finish()
}

pub(crate) fn insert_batch(conn: &Connection, batch: &NewBatch<'_>) -> Result<()> {
    conn.prepare_cached(
        "insert into batches (log, first, count, tenant, low, at, sum, body)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        batch.log,
        db(batch.first.0),
        db(batch.count),
        batch.tenant,
        db(batch.low.0),
        batch.at,
        batch_sum(batch),
        batch.body,
    ])?;
    Ok(())
}

/// A row of `batches` that says what was written, with its log: log, first, count, tenant, low, at, sum,
/// body.
fn batch_row<'a>(row: &'a SqlRow<'_>) -> Result<(LogId, Row<'a>)> {
    let (log, first): (LogId, i64) = (row.get(0)?, row.get(1)?);
    let place = || StoreError::damaged(format!("log {log}, position {first}"));
    let body = row.get_ref(7)?.as_blob().map_err(|_| place())?;
    let batch = NewBatch {
        log,
        first: Position(first.cast_unsigned()),
        count: row.get::<_, i64>(2)?.cast_unsigned(),
        tenant: row.get(3)?,
        low: Seq(row.get::<_, i64>(4)?.cast_unsigned()),
        at: row.get(5)?,
        body,
    };
    if batch_sum(&batch) != row.get::<_, i64>(6)? {
        return Err(place());
    }
    let row = Row {
        first: batch.first,
        count: batch.count,
        low: batch.low,
        body,
    };
    Ok((log, row))
}

/// The rows of a log from the one that holds `from` on, as long as `each` wants more.
pub(crate) fn events_from(
    conn: &Connection,
    log: LogId,
    from: Position,
    mut each: impl FnMut(Row<'_>) -> Result<bool>,
) -> Result<()> {
    let mut statement = conn.prepare_cached(
        "select log, first, count, tenant, low, at, sum, body from batches
         where log = ?1 and first >= coalesce(
             (select first from batches where log = ?1 and first <= ?2 order by first desc limit 1),
             ?2)
         order by first",
    )?;
    let mut rows = statement.query(params![log, db(from.0)])?;
    while let Some(row) = rows.next()? {
        if !each(batch_row(row)?.1)? {
            break;
        }
    }
    Ok(())
}

/// The rows of a tenant from the commit on that holds `from`, commit by commit, as long as `each` wants
/// more.
pub(crate) fn events_from_seq(
    conn: &Connection,
    tenant: TenantId,
    from: Seq,
    mut each: impl FnMut(LogId, Row<'_>) -> Result<bool>,
) -> Result<()> {
    let mut statement = conn.prepare_cached(
        "select log, first, count, tenant, low, at, sum, body from batches
         where tenant = ?1 and low >= coalesce(
             (select max(low) from batches where tenant = ?1 and low <= ?2), ?2)
         order by low",
    )?;
    let mut rows = statement.query(params![tenant, db(from.0)])?;
    while let Some(row) = rows.next()? {
        let (log, row) = batch_row(row)?;
        if !each(log, row)? {
            break;
        }
    }
    Ok(())
}

/// How many bytes the events of a log take.
pub(crate) fn stored_bytes(conn: &Connection, log: LogId, from: Position) -> Result<u64> {
    let bytes: i64 = conn
        .prepare_cached(
            "select coalesce(sum(length(body)), 0) from batches
             where log = ?1 and first + count > ?2",
        )?
        .query_row(params![log, db(from.0)], |row| row.get(0))?;
    Ok(bytes.cast_unsigned())
}

/// Where the oldest rows of a log end that take `bytes` together, and what they take.
pub(crate) fn first_bytes(
    conn: &Connection,
    log: LogId,
    from: Position,
    bytes: u64,
) -> Result<(Position, u64)> {
    let mut statement = conn.prepare_cached(
        "select first + count, length(body) from batches
         where log = ?1 and first + count > ?2 order by first",
    )?;
    let mut rows = statement.query(params![log, db(from.0)])?;
    let (mut end, mut freed) = (from, 0);
    while freed < bytes
        && let Some(row) = rows.next()?
    {
        end = Position(row.get::<_, i64>(0)?.cast_unsigned());
        freed += row.get::<_, i64>(1)?.cast_unsigned();
    }
    Ok((end, freed))
}

/// The oldest rows that were committed before a time: log, and the position behind the row.
pub(crate) fn expired(
    conn: &Connection,
    before: i64,
    limit: u32,
) -> Result<Vec<(LogId, Position)>> {
    let mut statement =
        conn.prepare_cached("select log, first + count, at from batches order by id limit ?1")?;
    let mut rows = statement.query([limit])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        if row.get::<_, i64>(2)? >= before {
            break;
        }
        found.push((row.get(0)?, Position(row.get::<_, i64>(1)?.cast_unsigned())));
    }
    Ok(found)
}

fn tenant_sum(id: TenantId, name: &str, last: Seq) -> i64 {
    Sum::default()
        .number(id)
        .text(name)
        .number(db(last.0))
        .finish()
}

/// A tenant that appends for the first time.
pub(crate) fn insert_tenant(conn: &Connection, tenant: &Tenant) -> Result<TenantId> {
    let mut statement = conn.prepare_cached(
        "insert into tenants (name, last_seq, sum) values (?1, 0, 0) returning id",
    )?;
    let id = statement.query_row([tenant.as_str()], |row| row.get(0))?;
    update_tenant(conn, id, tenant, Seq(0))?;
    Ok(id)
}

pub(crate) fn update_tenant(
    conn: &Connection,
    id: TenantId,
    tenant: &Tenant,
    last: Seq,
) -> Result<()> {
    conn.prepare_cached("update tenants set last_seq = ?2, sum = ?3 where id = ?1")?
        .execute(params![
            id,
            db(last.0),
            tenant_sum(id, tenant.as_str(), last)
        ])?;
    Ok(())
}

fn tenant_row(row: &SqlRow<'_>) -> Result<(TenantId, Tenant, Seq)> {
    let (id, name): (TenantId, String) = (row.get(0)?, row.get(1)?);
    let last = Seq(row.get::<_, i64>(2)?.cast_unsigned());
    let place = || StoreError::damaged(format!("tenant {id}"));
    if tenant_sum(id, &name, last) != row.get::<_, i64>(3)? {
        return Err(place());
    }
    Ok((id, Tenant::parse(&name).map_err(|_| place())?, last))
}

pub(crate) fn tenants(conn: &Connection) -> Result<Vec<(TenantId, Tenant, Seq)>> {
    let mut statement = conn.prepare("select id, name, last_seq, sum from tenants")?;
    let mut rows = statement.query([])?;
    let mut tenants = Vec::new();
    while let Some(row) = rows.next()? {
        tenants.push(tenant_row(row)?);
    }
    Ok(tenants)
}

pub(crate) fn tenant_by_name(
    conn: &Connection,
    tenant: &Tenant,
) -> Result<Option<(TenantId, Seq)>> {
    let mut statement =
        conn.prepare_cached("select id, name, last_seq, sum from tenants where name = ?1")?;
    let mut rows = statement.query([tenant.as_str()])?;
    let row = rows.next()?.map(tenant_row).transpose()?;
    Ok(row.map(|(id, _, last)| (id, last)))
}

pub(crate) fn tenant_seq(conn: &Connection, tenant: &Tenant) -> Result<Seq> {
    let found = tenant_by_name(conn, tenant)?;
    Ok(found.map_or(Seq(0), |(_, last)| last))
}

pub(crate) fn tenant_id(conn: &Connection, tenant: &Tenant) -> Result<Option<TenantId>> {
    Ok(tenant_by_name(conn, tenant)?.map(|(id, _)| id))
}

fn log_sum(log: &LogRow) -> i64 {
    Sum::default()
        .number(log.id)
        .number(log.tenant)
        .text(log.key.namespace.as_str())
        .text(log.key.id.as_str())
        .text(log.epoch.as_str())
        .number(db(log.oldest.0))
        .number(db(log.latest.0))
        .optional(log.seal.as_ref().map(|seal| seal.reason.as_str()))
        .optional(log.seal.as_ref().and_then(|seal| seal.message.as_deref()))
        .text(&log.attributes)
        .finish()
}

/// Stores a new log, and gives its identity.
pub(crate) fn insert_log(
    conn: &Connection,
    tenant: TenantId,
    key: &SessionKey,
    epoch: Epoch,
    attributes: &str,
) -> Result<LogRow> {
    let mut statement = conn.prepare_cached(
        "insert into logs (tenant, namespace, session, epoch, attributes, oldest, latest, sum)
         values (?1, ?2, ?3, ?4, ?5, 0, 0, 0) returning id",
    )?;
    let (namespace, session) = (key.namespace.as_str(), key.id.as_str());
    let new = params![tenant, namespace, session, epoch.as_str(), attributes];
    let id = statement.query_row(new, |row| row.get(0))?;
    let log = LogRow {
        id,
        tenant,
        key: key.clone(),
        epoch,
        oldest: Position::START,
        latest: Position::START,
        seal: None,
        attributes: attributes.into(),
    };
    update_log(conn, &log)?;
    Ok(log)
}

/// Writes where a log begins and ends and whether it is sealed.
pub(crate) fn update_log(conn: &Connection, log: &LogRow) -> Result<()> {
    conn.prepare_cached(
        "update logs set oldest = ?2, latest = ?3, seal = ?4, message = ?5, sum = ?6 where id = ?1",
    )?
    .execute(params![
        log.id,
        db(log.oldest.0),
        db(log.latest.0),
        log.seal.as_ref().map(|seal| seal.reason.as_str()),
        log.seal.as_ref().and_then(|seal| seal.message.as_deref()),
        log_sum(log),
    ])?;
    Ok(())
}

pub(crate) fn delete_log(conn: &Connection, id: LogId) -> Result<()> {
    conn.prepare_cached("delete from logs where id = ?1")?
        .execute([id])?;
    Ok(())
}

const LOG: &str = "
    select l.id, l.tenant, t.name, l.namespace, l.session, l.epoch, l.oldest, l.latest, l.seal,
        l.message, l.sum, l.attributes
    from logs l join tenants t on t.id = l.tenant";

fn log_row(row: &SqlRow<'_>) -> Result<LogRow> {
    let id: LogId = row.get(0)?;
    let place = || StoreError::damaged(format!("log {id}"));
    let texts: [String; 4] = [row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?];
    let [tenant, namespace, session, epoch] = &texts;
    let key = SessionKey::new(
        Tenant::parse(tenant).map_err(|_| place())?,
        Namespace::parse(namespace).map_err(|_| place())?,
        SessionId::parse(session).map_err(|_| place())?,
    );
    let seal = match (
        row.get::<_, Option<String>>(8)?,
        row.get::<_, Option<String>>(9)?,
    ) {
        (Some(reason), message) => Some(Seal {
            reason: end_reason(&reason).ok_or_else(place)?,
            message: message.map(Into::into),
        }),
        (None, Some(_)) => return Err(place()),
        (None, None) => None,
    };
    let log = LogRow {
        id,
        tenant: row.get(1)?,
        key,
        epoch: epoch.parse().map_err(|_| place())?,
        oldest: Position(row.get::<_, i64>(6)?.cast_unsigned()),
        latest: Position(row.get::<_, i64>(7)?.cast_unsigned()),
        seal,
        attributes: row.get::<_, String>(11)?.into(),
    };
    if log_sum(&log) != row.get::<_, i64>(10)? {
        return Err(place());
    }
    Ok(log)
}

fn end_reason(text: &str) -> Option<EndReason> {
    [
        EndReason::Completed,
        EndReason::Failed,
        EndReason::Cancelled,
        EndReason::Rejected,
        EndReason::Closed,
        EndReason::Expired,
        EndReason::Deleted,
    ]
    .into_iter()
    .find(|reason| reason.as_str() == text)
}

pub(crate) fn log_by_key(conn: &Connection, key: &SessionKey) -> Result<Option<LogRow>> {
    let mut statement = conn.prepare_cached(&format!(
        "{LOG} where t.name = ?1 and l.namespace = ?2 and l.session = ?3"
    ))?;
    let (tenant, namespace) = (key.tenant.as_str(), key.namespace.as_str());
    let mut rows = statement.query([tenant, namespace, key.id.as_str()])?;
    rows.next()?.map(log_row).transpose()
}

pub(crate) fn log_by_id(conn: &Connection, id: LogId) -> Result<Option<LogRow>> {
    let mut statement = conn.prepare_cached(&format!("{LOG} where l.id = ?1"))?;
    let mut rows = statement.query([id])?;
    rows.next()?.map(log_row).transpose()
}

/// The addresses of a tenant's logs by namespace and id, behind `after`.
pub(crate) fn list(
    conn: &Connection,
    tenant: &Tenant,
    after: Option<&SessionKey>,
    limit: usize,
) -> Result<Vec<SessionKey>> {
    let mut statement = conn.prepare_cached(
        "select namespace, session from logs
         where tenant = (select id from tenants where name = ?1) and (namespace, session) > (?2, ?3)
         order by namespace, session limit ?4",
    )?;
    let after = after.map_or(("", ""), |key| (key.namespace.as_str(), key.id.as_str()));
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![tenant.as_str(), after.0, after.1, limit])?;
    let mut keys = Vec::new();
    while let Some(row) = rows.next()? {
        let (namespace, session): (String, String) = (row.get(0)?, row.get(1)?);
        let place = || StoreError::damaged(format!("the log {namespace}/{session}"));
        keys.push(SessionKey::new(
            tenant.clone(),
            Namespace::parse(&namespace).map_err(|_| place())?,
            SessionId::parse(&session).map_err(|_| place())?,
        ));
    }
    Ok(keys)
}

fn key_sum(tenant: TenantId, key: &KnownKey) -> i64 {
    Sum::default()
        .number(tenant)
        .number(key.log)
        .text(&key.key)
        .number(db(key.known.fingerprint))
        .number(db(key.known.position.0))
        .number(db(key.known.seq.0))
        .number(key.at)
        .finish()
}

/// Stores an idempotency key, and gives the row.
pub(crate) fn insert_key(conn: &Connection, tenant: TenantId, key: &KnownKey) -> Result<i64> {
    conn.prepare_cached(
        "insert into keys (tenant, log, key, fingerprint, position, seq, at, sum)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        tenant,
        key.log,
        key.key,
        db(key.known.fingerprint),
        db(key.known.position.0),
        db(key.known.seq.0),
        key.at,
        key_sum(tenant, key),
    ])?;
    Ok(conn.last_insert_rowid())
}

pub(crate) fn delete_key(conn: &Connection, row: i64) -> Result<()> {
    conn.prepare_cached("delete from keys where id = ?1")?
        .execute([row])?;
    Ok(())
}

/// The idempotency keys of a tenant in the order in which they were used, with their rows.
pub(crate) fn keys(conn: &Connection, mut each: impl FnMut(TenantId, KnownKey)) -> Result<()> {
    let mut statement = conn.prepare(
        "select id, tenant, log, key, fingerprint, position, seq, at, sum from keys order by id",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        let tenant = row.get(1)?;
        let key = KnownKey {
            row: id,
            log: row.get(2)?,
            key: row.get::<_, String>(3)?.into(),
            known: Known {
                fingerprint: row.get::<_, i64>(4)?.cast_unsigned(),
                position: Position(row.get::<_, i64>(5)?.cast_unsigned()),
                seq: Seq(row.get::<_, i64>(6)?.cast_unsigned()),
            },
            at: row.get(7)?,
        };
        if key_sum(tenant, &key) != row.get::<_, i64>(8)? {
            return Err(StoreError::damaged(format!("idempotency key {id}")));
        }
        each(tenant, key);
    }
    Ok(())
}

/// Notes that the rows of a log which end at or before `below` are not wanted any more.
pub(crate) fn leave_garbage(conn: &Connection, log: LogId, below: Option<Position>) -> Result<()> {
    let below = below.map_or(i64::MAX, |below| db(below.0));
    conn.prepare_cached(
        "insert into garbage (log, below) values (?1, ?2)
         on conflict (log) do update set below = max(below, excluded.below)",
    )?
    .execute(params![log, below])?;
    Ok(())
}

/// Deletes up to `limit` rows that are not wanted any more. Whether there may be more.
pub(crate) fn collect_garbage(conn: &Connection, limit: u32) -> Result<bool> {
    let next: Option<(LogId, i64)> = conn
        .prepare_cached("select log, below from garbage limit 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((log, below)) = next else {
        return Ok(false);
    };
    let deleted = conn
        .prepare_cached(
            "delete from batches where id in (
                 select id from batches where log = ?1 and first < ?2 and first + count <= ?2
                 order by first limit ?3)",
        )?
        .execute(params![log, below, limit])?;
    if deleted < limit as usize {
        conn.prepare_cached("delete from garbage where log = ?1")?
            .execute([log])?;
    }
    Ok(true)
}
