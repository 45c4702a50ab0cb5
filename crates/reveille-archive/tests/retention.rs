//! What is retained: by count, bytes and age, across restarts; and what was dropped gives its room back.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::path::Path;
use std::time::Duration;

use common::{append, assert_dense, contents, entry, keyed, log};
use reveille_archive::{ArchiveBackend, ArchiveDurability, ArchiveOptions, Retention};
use reveille_backend::{AppendError, Backend};
use reveille_types::Position;
use tempfile::TempDir;

fn open(dir: &Path, retain: impl FnOnce(&mut Retention)) -> ArchiveBackend {
    let mut options = ArchiveOptions::default();
    options.durability = ArchiveDurability::Os;
    retain(&mut options.retention);
    ArchiveBackend::open(dir, options).unwrap()
}

#[tokio::test]
async fn log_keeps_its_newest_events() {
    let dir = TempDir::new().unwrap();
    for round in 0..2 {
        let archive = open(dir.path(), |retain| retain.events = Some(80));
        let log = log(&archive, "s").await;
        for n in 0..100 {
            append(&*log, vec![entry(&n.to_string(), 10), entry("x", 10)])
                .await
                .unwrap();
            let info = log.info().await.unwrap();
            assert!(info.latest.since(info.oldest) <= 90, "{info:?}");
        }
        let info = log.info().await.unwrap();
        assert_eq!(info.latest.0, 200 * (round + 1));
        assert!(info.latest.since(info.oldest) >= 80);
        let events = contents(&*log).await;
        assert_dense(&events, info.oldest.0);
        assert_eq!(events.len() as u64, info.latest.since(info.oldest));
    }
}

#[tokio::test]
async fn log_keeps_its_newest_bytes() {
    let dir = TempDir::new().unwrap();
    for _ in 0..2 {
        let archive = open(dir.path(), |retain| retain.bytes = Some(100_000));
        let log = log(&archive, "s").await;
        for n in 0..100 {
            append(&*log, vec![entry(&n.to_string(), 5_000)])
                .await
                .unwrap();
        }
        let events = contents(&*log).await;
        assert_dense(&events, log.info().await.unwrap().oldest.0);
        assert!((15..=25).contains(&events.len()), "{}", events.len());
    }
}

#[tokio::test]
async fn log_drops_what_is_too_old() {
    let dir = TempDir::new().unwrap();
    {
        let archive = open(dir.path(), |_| {});
        append(&*log(&archive, "closed").await, vec![entry("a", 1)])
            .await
            .unwrap();
        append(&*log(&archive, "s").await, vec![entry("a", 1)])
            .await
            .unwrap();
    }
    let archive = open(dir.path(), |retain| retain.age = Some(Duration::ZERO));
    for name in ["s", "closed"] {
        let log = log(&archive, name).await;
        let dropped = async {
            while log.info().await.unwrap().oldest.0 < 1 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), dropped)
            .await
            .unwrap();
        assert!(contents(&*log).await.is_empty());
        assert_eq!(log.info().await.unwrap().latest.0, 1);
    }
}

/// A key is known for as long as it is promised, though its event was trimmed and the process ended.
#[tokio::test]
async fn key_outlives_its_event_and_the_process() {
    let dir = TempDir::new().unwrap();
    let slot = {
        let archive = open(dir.path(), |_| {});
        let log = log(&archive, "s").await;
        append(&*log, vec![entry("a", 1)]).await.unwrap();
        let slots = append(&*log, vec![keyed("k", 1)]).await.unwrap();
        log.trim(Position(2)).await.unwrap();
        slots[0]
    };
    let archive = open(dir.path(), |_| {});
    let log = log(&archive, "s").await;
    let again = append(&*log, vec![keyed("k", 1)]).await.unwrap();
    assert!(again[0].deduplicated);
    assert_eq!((again[0].position, again[0].seq), (slot.position, slot.seq));
    let conflict = append(&*log, vec![keyed("k", 2)]).await.unwrap_err();
    assert!(matches!(conflict, AppendError::IdempotencyConflict { .. }));
}

#[tokio::test]
async fn room_of_what_was_dropped_is_used_again() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("archive.db");
    let mut sizes = Vec::new();
    for round in 0..6 {
        // Closed each time, so that all is in the file.
        let archive = open(dir.path(), |_| {});
        let name = format!("s{round}");
        let log = log(&archive, &name).await;
        for n in 0..50 {
            append(&*log, vec![entry(&n.to_string(), 20_000)])
                .await
                .unwrap();
        }
        if round % 2 == 0 {
            log.trim(Position(50)).await.unwrap();
        } else {
            assert!(archive.remove(&common::key(&name)).await.unwrap());
        }
        drop((log, archive));
        sizes.push(std::fs::metadata(&file).unwrap().len());
    }
    assert!(sizes[5] < sizes[1] * 2, "{sizes:?}");
}
