//! What the tests of the archive share.

#![allow(dead_code, reason = "each test takes what it needs")]
#![allow(
    clippy::print_stdout,
    reason = "seeds are told, so that a failure can be repeated"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use reveille_archive::{ArchiveBackend, ArchiveDurability, ArchiveOptions};
use reveille_backend::{
    AppendError, AppendOptions, Backend, Entry, IdempotencyKey, Incarnation, LogHandle,
    OpenOptions, ReadLimit, Slot, StoredLog,
};
use reveille_types::{
    DraftDefaults, Epoch, Event, EventDraft, EventId, KindRegistry, Payload, Position, SessionKey,
    Source, Tenant,
};

pub(crate) fn options(durability: ArchiveDurability) -> ArchiveOptions {
    let mut options = ArchiveOptions::default();
    options.durability = durability;
    options
}

pub(crate) fn archive(dir: &Path) -> ArchiveBackend {
    ArchiveBackend::open(dir, options(ArchiveDurability::Fsync)).unwrap()
}

pub(crate) fn key(name: &str) -> SessionKey {
    SessionKey::in_tenant(Tenant::default_tenant(), name).unwrap()
}

pub(crate) async fn log(archive: &ArchiveBackend, name: &str) -> Arc<dyn StoredLog> {
    let epoch = Epoch::from_parts(1_700_000_000_000, 1);
    let options = OpenOptions::new(Incarnation::CurrentOrNew, epoch);
    match archive.open(&key(name), options).await.unwrap().log {
        LogHandle::Stored(log) => log,
        LogHandle::Immediate(_) => panic!("an archive stores"),
    }
}

/// An event with this id and so many bytes.
pub(crate) fn entry(id: &str, bytes: usize) -> Entry {
    let draft = EventDraft::parse("test.event").unwrap();
    let payload = Payload::bytes(None, vec![b'x'; bytes]).unwrap();
    let event = draft.with_payload(payload).complete(DraftDefaults {
        id: EventId::parse(id).unwrap(),
        time: Timestamp::UNIX_EPOCH,
        source: &Source::of_session(&key("s")),
        registry: &KindRegistry::empty(),
    });
    Entry { event, key: None }
}

pub(crate) fn keyed(id: &str, fingerprint: u64) -> Entry {
    let key = IdempotencyKey {
        key: id.into(),
        fingerprint,
    };
    Entry {
        key: Some(key),
        ..entry(id, 10)
    }
}

pub(crate) async fn append(
    log: &dyn StoredLog,
    entries: Vec<Entry>,
) -> Result<Vec<Slot>, AppendError> {
    log.append(entries, AppendOptions::at(Instant::now())).await
}

/// All events of a log, a page at a time.
pub(crate) async fn contents(log: &dyn StoredLog) -> Vec<Event> {
    let limit = ReadLimit {
        events: 100,
        bytes: usize::MAX,
    };
    let mut events: Vec<Event> = Vec::new();
    let mut from = log.info().await.unwrap().oldest;
    loop {
        let page = log.read(from, limit).await.unwrap();
        let Some(last) = page.events.last() else {
            return events;
        };
        from = last.position().next();
        events.extend(page.events);
    }
}

pub(crate) fn ids(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.id().as_str()).collect()
}

/// Asserts that the positions follow each other from `first` on.
pub(crate) fn assert_dense(events: &[Event], first: u64) {
    for (n, event) in events.iter().enumerate() {
        assert_eq!(event.position(), Position(first).plus(n));
    }
}

/// The seed of a test, of `REVEILLE_SEED` or of the time; printed, so that a failure can be repeated.
pub(crate) fn seed() -> u64 {
    let seed = std::env::var("REVEILLE_SEED").ok();
    let seed = seed.and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.unwrap().as_nanos() as u64
    });
    println!("REVEILLE_SEED={seed}");
    seed
}

/// Numbers that look random, the same for the same seed (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }
}

/// This test program again, to run one ignored test of it in a process of its own.
pub(crate) fn child(test: &str, dir: &Path) -> std::process::Command {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args([
        "--exact",
        test,
        "--ignored",
        "--nocapture",
        "--test-threads=1",
    ]);
    command.env("REVEILLE_TEST_DIR", dir);
    command
}

/// The directory that the parent names.
pub(crate) fn dir_of_child() -> std::path::PathBuf {
    std::env::var_os("REVEILLE_TEST_DIR").unwrap().into()
}
