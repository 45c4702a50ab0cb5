//! Damaged files: a tail that was not written to its end is cut, anything else is told by its place. What is
//! served is what was stored.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::fs;
use std::path::Path;

use common::{Random, append, archive, contents, entry, ids, log, options};
use reveille_archive::{ArchiveBackend, ArchiveDurability, OpenError};
use reveille_backend::{
    Backend, BackendError, Incarnation, LogHandle, OpenOptions, ReadLimit, StoredLog,
};
use reveille_types::{Epoch, Event, Position};
use tempfile::TempDir;

const ALL: ReadLimit = ReadLimit {
    events: usize::MAX,
    bytes: usize::MAX,
};

/// What the files of an archive are: the database, and the commits that are not in it yet.
#[derive(Clone)]
struct Files {
    db: Vec<u8>,
    wal: Vec<u8>,
}

impl Files {
    fn of(dir: &Path) -> Self {
        Self {
            db: fs::read(dir.join("archive.db")).unwrap(),
            wal: fs::read(dir.join("archive.db-wal")).unwrap_or_default(),
        }
    }

    /// A directory with these files.
    fn put(&self) -> TempDir {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("archive.db"), &self.db).unwrap();
        fs::write(dir.path().join("archive.db-wal"), &self.wal).unwrap();
        dir
    }
}

fn open(dir: &Path) -> Result<ArchiveBackend, OpenError> {
    ArchiveBackend::open(dir, options(ArchiveDurability::Fsync))
}

/// Ten commits of an event each, as they are while the archive is open.
async fn ten_commits() -> (Files, Vec<usize>) {
    let dir = TempDir::new().unwrap();
    let archive = archive(dir.path());
    let log = log(&archive, "s").await;
    let mut ends = Vec::new();
    for n in 0..10 {
        append(&*log, vec![entry(&n.to_string(), 5000)])
            .await
            .unwrap();
        ends.push(Files::of(dir.path()).wal.len());
    }
    (Files::of(dir.path()), ends)
}

/// How many events are there; they are the first ones that were stored.
async fn count(archive: &ArchiveBackend) -> usize {
    let events = contents(&*log(archive, "s").await).await;
    let expected: Vec<String> = (0..events.len()).map(|n| n.to_string()).collect();
    assert_eq!(ids(&events), expected);
    events.len()
}

#[tokio::test]
async fn tail_that_was_not_written_to_its_end_is_cut() {
    let (files, ends) = ten_commits().await;
    let mut random = Random(common::seed());
    for _ in 0..40 {
        let last = ends[8];
        let cut = last + usize::try_from(random.below((ends[9] - last) as u64)).unwrap();
        let mut files = files.clone();
        files.wal.truncate(cut);
        if random.below(2) == 0 {
            // The file had grown, what stands in it had not been written.
            files.wal.resize(ends[9], 0);
        }
        let dir = files.put();
        let archive = open(dir.path()).unwrap();
        assert_eq!(count(&archive).await, 9, "cut at {cut}");
        // What is appended next takes the place.
        let log = log(&archive, "s").await;
        let slots = append(&*log, vec![entry("9", 1)]).await.unwrap();
        assert_eq!(slots[0].position.0, 9);
        drop((log, archive));
        assert_eq!(count(&open(dir.path()).unwrap()).await, 10);
    }
}

#[tokio::test]
async fn what_was_cut_is_told() {
    let (files, ends) = ten_commits().await;
    let whole = files.put();
    assert_eq!(open(whole.path()).unwrap().recovery().cut_pages, 0);
    let mut files = files;
    files.wal.truncate(ends[9] - 1);
    let cut = files.put();
    let recovery = open(cut.path()).unwrap().recovery();
    assert!(
        recovery.cut_pages > 0 && recovery.kept_pages > 0,
        "{recovery:?}"
    );
}

#[tokio::test]
async fn damage_before_the_tail_is_told_by_its_place() {
    let (files, ends) = ten_commits().await;
    let mut random = Random(common::seed());
    for _ in 0..60 {
        let mut files = files.clone();
        let at = 32 + usize::try_from(random.below((ends[7] - 32) as u64)).unwrap();
        files.wal[at] ^= 1 << random.below(8);
        let dir = files.put();
        let error = open(dir.path()).unwrap_err();
        assert_eq!(error.code(), "archive_damaged", "bit at {at}: {error}");
        assert!(error.to_string().contains("frame"), "{error}");
    }
}

/// Without a sync an unfinished commit and damage look alike: what is before it is kept, and told.
#[tokio::test]
async fn os_archive_keeps_what_is_before_the_damage() {
    let (mut files, ends) = ten_commits().await;
    files.wal[ends[4] - 100] ^= 1;
    let dir = files.put();
    let archive = ArchiveBackend::open(dir.path(), options(ArchiveDurability::Os)).unwrap();
    assert!(archive.recovery().cut_pages > 0);
    assert_eq!(count(&archive).await, 4);
}

async fn stored(dir: &Path) -> Vec<Vec<Event>> {
    let archive = archive(dir);
    let mut all = Vec::new();
    for name in ["a", "b", "c"] {
        let log = log(&archive, name).await;
        for n in 0..30 {
            let batch = (0..=n % 3).map(|at| entry(&format!("{name}-{n}-{at}"), 50 * n));
            append(&*log, batch.collect()).await.unwrap();
        }
        all.push(contents(&*log).await);
    }
    all
}

/// What is read of a damaged archive is what was stored, or an error.
async fn served(dir: &Path, all: &[Vec<Event>]) -> Result<bool, BackendError> {
    let Ok(archive) = open(dir) else {
        return Ok(false);
    };
    for (name, events) in ["a", "b", "c"].iter().zip(all) {
        let epoch = Epoch::from_parts(1, 1);
        let options = OpenOptions::new(Incarnation::Current, epoch);
        let opened = archive.open(&common::key(name), options).await?;
        let LogHandle::Stored(log) = opened.log else {
            panic!("an archive stores");
        };
        assert_eq!(opened.latest.0, events.len() as u64);
        let log: &dyn StoredLog = &*log;
        let page = log.read(Position::START, ALL).await?;
        assert!(page.events == *events, "something else is served of {name}");
    }
    Ok(true)
}

#[tokio::test]
async fn damaged_database_serves_what_was_stored_or_an_error() {
    let dir = TempDir::new().unwrap();
    let all = stored(dir.path()).await;
    // Closed, so that all is in the database file.
    let files = Files::of(dir.path());
    assert!(files.wal.is_empty());
    let mut random = Random(common::seed());
    let (mut errors, mut whole) = (0, 0);
    for round in 0..250 {
        let mut files = files.clone();
        let at = usize::try_from(random.below(files.db.len() as u64)).unwrap();
        match round % 4 {
            0 => files.db[at & !511..]
                .iter_mut()
                .take(512)
                .for_each(|byte| *byte = 0),
            1 => {
                let other = usize::try_from(random.below(files.db.len() as u64)).unwrap();
                let (at, other) = (at & !4095, other & !4095);
                let page = files.db[at..at + 4096].to_owned();
                files.db.copy_within(other..other + 4096, at);
                files.db[other..other + 4096].copy_from_slice(&page);
            }
            _ => files.db[at] ^= 1 << random.below(8),
        }
        let dir = files.put();
        match served(dir.path(), &all).await {
            Ok(true) => whole += 1,
            Ok(false) | Err(_) => errors += 1,
        }
    }
    assert!(errors > 50, "{errors} errors, {whole} whole");
}

#[tokio::test]
async fn changed_event_is_told_by_its_log_and_position() {
    let dir = TempDir::new().unwrap();
    stored(dir.path()).await;
    let mut files = Files::of(dir.path());
    // One whose id is in one piece: a long row goes over pages, and where it is cut depends on the time.
    let found = [17, 16, 14, 13].into_iter().find_map(|n: u64| {
        let id = format!("b-{n}-1");
        let mut places = files.db.windows(id.len());
        Some((n, places.position(|w| w == id.as_bytes())?))
    });
    let (n, at) = found.unwrap();
    files.db[at] = b'c';
    let dir = files.put();
    let archive = open(dir.path()).unwrap();
    assert!(!contents(&*log(&archive, "a").await).await.is_empty());
    let error = log(&archive, "b").await.read(Position::START, ALL).await;
    let error = error.unwrap_err();
    let BackendError::Corrupt { place, .. } = &error else {
        panic!("{error:?}");
    };
    let begin: u64 = (0..n).map(|n| n % 3 + 1).sum();
    assert!(place.contains(&format!("position {begin}")), "{place}");
}
