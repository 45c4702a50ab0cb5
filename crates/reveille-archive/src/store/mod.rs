//! The database: its form, how it is opened, and the statements about logs and tenants.

mod rows;
pub(crate) mod shown;
mod sums;

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use crate::directory::Directory;
use crate::error::{OpenError, StoreError};
use crate::options::ArchiveDurability;

pub(crate) use rows::{
    LogRow, NewBatch, collect_garbage, delete_key, delete_log, events_from, events_from_seq,
    expired, first_bytes, insert_batch, insert_key, insert_log, insert_tenant, keys, leave_garbage,
    list, log_by_id, log_by_key, stored_bytes, tenant_by_name, tenant_id, tenant_seq, tenants,
    update_log, update_tenant,
};

/// The identity of a log's incarnation in this archive. Never given twice.
pub(crate) type LogId = i64;
/// The identity of a tenant in this archive.
pub(crate) type TenantId = i64;

/// The form that is written: `user_version` of the database.
pub(crate) const FORMAT: i64 = 1;
/// Says that the database is an archive: `application_id`, "Rvle".
const APPLICATION: i64 = 0x5276_6C65;

/// How the file of a database begins.
const MAGIC: &[u8] = b"SQLite format 3\0";

/// Bodies of events stand in `batches` in the order in which they were committed, so that writing is
/// appending; `by_log` and `by_seq` find them. `low` is the first sequence number of the tenant in the
/// commit: rows of one commit have it in common, those of the next have a higher one. What is no longer
/// retained is found in `garbage` and deleted little by little.
const SCHEMA: &str = "
create table tenants (
    id integer primary key, name text not null unique, last_seq integer not null,
    sum integer not null
) strict;
create table logs (
    id integer primary key autoincrement, tenant integer not null, namespace text not null,
    session text not null, epoch text not null, oldest integer not null, latest integer not null,
    seal text, message text, attributes text not null, sum integer not null,
    unique (tenant, namespace, session)
) strict;
create table batches (
    id integer primary key, log integer not null, first integer not null, count integer not null,
    tenant integer not null, low integer not null, at integer not null, sum integer not null,
    body blob not null
) strict;
create unique index by_log on batches (log, first);
create index by_seq on batches (tenant, low);
create table keys (
    id integer primary key, tenant integer not null, log integer not null, key text not null,
    fingerprint integer not null, position integer not null, seq integer not null,
    at integer not null, sum integer not null
) strict;
create table garbage (log integer primary key, below integer not null) strict;
";

/// Opens the database for the one writer, and makes it if the file is empty.
pub(crate) fn open_writer(
    directory: &Directory,
    durability: ArchiveDurability,
) -> Result<Connection, OpenError> {
    let store = |error: StoreError| match error {
        StoreError::Damaged { place } => OpenError::Damaged {
            path: directory.database(),
            place,
        },
        source => OpenError::Store {
            dir: directory.path().to_owned(),
            source,
        },
    };
    let foreign = || OpenError::Foreign {
        path: directory.database(),
    };
    let begin = directory.beginning(MAGIC.len())?;
    if !begin.is_empty() && begin != MAGIC {
        return Err(foreign());
    }
    let db = connect(directory).map_err(store)?;
    let version = |name: &str| -> Result<i64, StoreError> {
        Ok(db.pragma_query_value(None, name, |row| row.get(0))?)
    };
    let application = version("application_id").map_err(store)?;
    let is_empty = db
        .query_row("select count(*) = 0 from sqlite_schema", [], |r| r.get(0))
        .map_err(|error| store(error.into()))?;
    match (application, version("user_version").map_err(store)?) {
        (0, 0) if is_empty => create(&db).map_err(store)?,
        (APPLICATION, FORMAT) => {}
        (APPLICATION, found) => {
            return Err(OpenError::Format {
                dir: directory.path().to_owned(),
                found,
                supported: FORMAT,
            });
        }
        _ => return Err(foreign()),
    }
    check(&db).map_err(store)?;
    let synchronous = match durability {
        ArchiveDurability::Os => "NORMAL",
        ArchiveDurability::Fsync => "FULL",
    };
    db.pragma_update(None, "synchronous", synchronous)
        .map_err(|error| store(error.into()))?;
    Ok(db)
}

/// Looks whether every log and tenant can be found: events are checked when they are read.
fn check(db: &Connection) -> Result<(), StoreError> {
    for table in ["tenants", "logs"] {
        let found: String = db.query_row(&format!("pragma integrity_check({table})"), [], |r| {
            r.get(0)
        })?;
        if found != "ok" {
            return Err(StoreError::damaged(format!("table {table}: {found}")));
        }
    }
    Ok(())
}

/// Opens the database for readers, and for what moves commits into the database file.
pub(crate) fn connect(directory: &Directory) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(directory.database(), flags)?;
    // Only for the moments in which the file of commits begins anew.
    db.busy_timeout(std::time::Duration::from_secs(10))?;
    db.pragma_update(None, "synchronous", "NORMAL")?;
    // A thread of its own moves commits into the database file.
    db.pragma_update(None, "wal_autocheckpoint", 0)?;
    db.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    db.pragma_update(None, "cache_size", -4096)?;
    db.pragma_update(None, "cell_size_check", true)?;
    db.pragma_update(None, "trusted_schema", false)?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(db)
}

fn create(db: &Connection) -> Result<(), StoreError> {
    let mode: String = db.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(StoreError::damaged(format!("the journal mode {mode:?}")));
    }
    db.pragma_update(None, "synchronous", "FULL")?;
    db.execute_batch(&format!(
        "begin; {SCHEMA} pragma application_id = {APPLICATION}; pragma user_version = {FORMAT}; commit;"
    ))?;
    Ok(())
}

/// Moves what was committed into the database file, as far as no reader needs it where it is.
pub(crate) fn checkpoint(db: &Connection, restart: bool) -> Result<(), StoreError> {
    let mode = if restart { "RESTART" } else { "PASSIVE" };
    db.query_row(&format!("pragma wal_checkpoint({mode})"), [], |_| Ok(()))
        .optional()?;
    Ok(())
}
