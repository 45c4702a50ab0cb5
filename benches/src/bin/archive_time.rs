//! The archive beside the bare engine under it, and beside the syncs of the disk.
//!
//! Each row has both on the same disk, in a directory of their own below the one for temporary files.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use reveille_archive::{ArchiveBackend, ArchiveDurability, ArchiveOptions};
use reveille_backend::types::{
    DraftDefaults, Epoch, EventDraft, EventId, KindRegistry, Payload, Position, SessionKey, Source,
    Tenant, UnplacedEvent,
};
use reveille_backend::{
    AppendOptions, Backend, Entry, Incarnation, LogHandle, OpenOptions, ReadLimit, StoredLog,
};
use reveille_bench::harness::{Contender, Effort, compare};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::runtime::Runtime;

const REVEILLE: &str = "reveille";
const SQLITE: &str = "sqlite";
const SYNC: &str = "fdatasync";
/// Who appends at the same time, and how many rows the bare engine commits at once.
const PUBLISHERS: usize = 64;
/// Bytes of a payload.
const PAYLOAD: usize = 200;
/// Events that are replayed.
const STORED: usize = 100_000;

fn main() {
    let effort = Effort::from_args();
    let runtime = Runtime::new().expect("threads can be had");
    append(
        effort,
        &runtime,
        "archive_append_fsync",
        ArchiveDurability::Fsync,
        20_000,
    );
    append(
        effort,
        &runtime,
        "archive_append_os",
        ArchiveDurability::Os,
        100_000,
    );
    commit(effort, &runtime);
    replay(effort, &runtime);
}

fn event() -> UnplacedEvent {
    let payload = format!("{{\"text\":{:?}}}", "x".repeat(PAYLOAD - 11));
    let payload = Payload::json_text(&payload).expect("it is JSON");
    let draft = EventDraft::parse("task.completed").expect("the kind is good");
    draft.with_payload(payload).complete(DraftDefaults {
        id: EventId::parse("0198f0a4-7d3c-7a51-8000-0123456789ab").expect("the id is good"),
        time: "2026-01-31T12:00:00Z".parse().expect("it is a time"),
        source: &Source::of_session(&key("s")),
        registry: &KindRegistry::empty(),
    })
}

fn key(name: &str) -> SessionKey {
    SessionKey::in_tenant(Tenant::default_tenant(), name).expect("the name is good")
}

fn entry(event: &UnplacedEvent) -> Entry {
    Entry {
        event: event.clone(),
        key: None,
    }
}

fn archive(dir: &Path, durability: ArchiveDurability) -> ArchiveBackend {
    let mut options = ArchiveOptions::default();
    options.durability = durability;
    ArchiveBackend::open(dir, options).expect("the archive can be made")
}

async fn log(archive: &ArchiveBackend, name: &str) -> Arc<dyn StoredLog> {
    let options = OpenOptions::new(Incarnation::CurrentOrNew, Epoch::from_parts(1, 1));
    match archive.open(&key(name), options).await {
        Ok(opened) => match opened.log {
            LogHandle::Stored(log) => log,
            LogHandle::Immediate(_) => panic!("an archive stores"),
        },
        Err(error) => panic!("{error}"),
    }
}

/// The bare engine, with one table of rows as anybody would make it.
fn engine(dir: &Path, durability: ArchiveDurability) -> Connection {
    let db = Connection::open(dir.join("bare.db")).expect("the file can be made");
    let synchronous = match durability {
        ArchiveDurability::Os => "NORMAL",
        ArchiveDurability::Fsync => "FULL",
    };
    db.execute_batch(&format!(
        "pragma journal_mode = wal; pragma synchronous = {synchronous};
         create table log (id integer primary key, session int, position int, body blob);
         create unique index by_position on log (session, position);"
    ))
    .expect("the table can be made");
    db
}

fn insert(db: &mut Connection, from: usize, count: usize, body: &[u8]) {
    let transaction = db.transaction().expect("nobody else writes");
    {
        let mut insert = transaction
            .prepare_cached("insert into log (session, position, body) values (?1, ?2, ?3)")
            .expect("the statement is good");
        for position in from..from + count {
            let session = (position % PUBLISHERS) as i64;
            insert
                .execute((session, position as i64, body))
                .expect("there is room");
        }
    }
    transaction.commit().expect("there is room");
}

fn per_second(count: usize, start: Instant) -> f64 {
    count as f64 / start.elapsed().as_secs_f64()
}

/// Many publishers at once, an event at a time, each waiting for its answer; the bare engine commits as
/// many rows at once without anybody waiting.
fn append(
    effort: Effort,
    runtime: &Runtime,
    row: &str,
    durability: ArchiveDurability,
    operations: usize,
) {
    let each = effort.operations(operations) / PUBLISHERS;
    let dir = TempDir::new().expect("there is room");
    let archive = archive(&dir.path().join("archive"), durability);
    let logs: Vec<_> = (0..PUBLISHERS)
        .map(|n| runtime.block_on(log(&archive, &format!("s{n}"))))
        .collect();
    let event = event();
    let mut db = engine(dir.path(), durability);
    let body = event
        .clone()
        .payload()
        .as_bytes()
        .map_or(Vec::new(), |b| b.to_vec());
    let mut next = 0;
    let contenders = vec![
        Contender::new(REVEILLE, || {
            let start = Instant::now();
            let publishers: Vec<_> = logs
                .iter()
                .map(|log| {
                    let (log, event) = (Arc::clone(log), event.clone());
                    runtime.spawn(async move {
                        for _ in 0..each {
                            let options = AppendOptions::at(Instant::now());
                            log.append(vec![entry(&event)], options)
                                .await
                                .expect("there is room");
                        }
                    })
                })
                .collect();
            for publisher in publishers {
                runtime.block_on(publisher).expect("it does not panic");
            }
            per_second(each * PUBLISHERS, start)
        }),
        Contender::new(SQLITE, || {
            let start = Instant::now();
            for _ in 0..each {
                insert(&mut db, next, PUBLISHERS, &body);
                next += PUBLISHERS;
            }
            per_second(each * PUBLISHERS, start)
        }),
    ];
    compare(row, "events/s", effort, contenders);
}

/// One publisher, who waits for the disk; beside one sync of a file that is written over.
fn commit(effort: Effort, runtime: &Runtime) {
    let operations = effort.operations(200);
    let dir = TempDir::new().expect("there is room");
    let archive = archive(&dir.path().join("archive"), ArchiveDurability::Fsync);
    let log = runtime.block_on(log(&archive, "s"));
    let event = event();
    let mut file = File::create(dir.path().join("file")).expect("the file can be made");
    file.write_all(&[0; 1 << 20]).expect("there is room");
    file.sync_all().expect("the disk works");
    let micros = |start: Instant| start.elapsed().as_secs_f64() * 1e6 / operations as f64;
    let contenders = vec![
        Contender::new(REVEILLE, || {
            let start = Instant::now();
            runtime.block_on(async {
                for _ in 0..operations {
                    let options = AppendOptions::at(Instant::now());
                    log.append(vec![entry(&event)], options)
                        .await
                        .expect("there is room");
                }
            });
            micros(start)
        }),
        Contender::new(SYNC, || {
            let start = Instant::now();
            for n in 0..operations as u64 {
                file.seek(SeekFrom::Start(n % 128 * 4096))
                    .expect("it is a file");
                file.write_all(&[1; 4096]).expect("there is room");
                file.sync_data().expect("the disk works");
            }
            micros(start)
        }),
    ];
    compare("archive_commit", "us", effort, contenders);
}

/// All events of a log, decoded; the bare engine gives the bytes of its rows.
fn replay(effort: Effort, runtime: &Runtime) {
    let dir = TempDir::new().expect("there is room");
    let archive = archive(&dir.path().join("archive"), ArchiveDurability::Os);
    let log = runtime.block_on(log(&archive, "s"));
    let event = event();
    let mut db = engine(dir.path(), ArchiveDurability::Os);
    for from in (0..STORED).step_by(PUBLISHERS) {
        let batch = (0..PUBLISHERS).map(|_| entry(&event)).collect();
        let options = AppendOptions::at(Instant::now());
        runtime
            .block_on(log.append(batch, options))
            .expect("there is room");
        let body = event.payload().as_bytes().expect("it has a payload");
        insert(&mut db, from, PUBLISHERS, body);
    }
    let limit = ReadLimit {
        events: 1000,
        bytes: usize::MAX,
    };
    let contenders = vec![
        Contender::new(REVEILLE, || {
            let start = Instant::now();
            let mut from = Position::START;
            runtime.block_on(async {
                loop {
                    let page = log.read(from, limit).await.expect("it is whole");
                    let Some(last) = page.events.last() else {
                        return;
                    };
                    from = last.position().next();
                }
            });
            start.elapsed().as_nanos() as f64 / from.0 as f64
        }),
        Contender::new(SQLITE, || {
            let start = Instant::now();
            let mut scan = db
                .prepare_cached("select body from log order by session, position")
                .expect("the statement is good");
            let mut rows = scan.query([]).expect("the statement is good");
            let (mut count, mut bytes) = (0_usize, 0);
            while let Some(row) = rows.next().expect("it is whole") {
                bytes += row
                    .get_ref(0)
                    .map_or(0, |body| body.as_blob().map_or(0, <[u8]>::len));
                count += 1;
            }
            assert!(bytes > count);
            start.elapsed().as_nanos() as f64 / count as f64
        }),
    ];
    compare("archive_replay", "ns/event", effort, contenders);
}
