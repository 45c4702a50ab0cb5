//! The loss of power at any moment: what was acknowledged is there, and nothing in part.
//!
//! The archive runs on real files. After every acknowledged change an image of them is what the disk is
//! known to have. What power loss leaves is such an image with any part of what was written after it: the
//! sectors of the log of commits, in any choice, since nothing orders writes between two syncs. While
//! commits are moved into the database file the log stands, synced, and any of the pages may have moved.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]
#![expect(clippy::print_stdout, reason = "tells how many states were tried")]

mod common;

use std::fs;
use std::path::Path;

use common::{Random, append, archive, assert_dense, contents, entry, log};
use reveille_types::{Position, SessionKey};
use tempfile::TempDir;

const SECTOR: usize = 512;
/// Of the log of commits.
const HEADER: usize = 32;

#[derive(Clone, Default)]
struct Image {
    db: Vec<u8>,
    wal: Vec<u8>,
}

impl Image {
    fn of(dir: &Path) -> Self {
        let read = |name: &str| fs::read(dir.join(name)).unwrap_or_default();
        // The database first: what is moved into it while this reads stands in the other file.
        Self {
            db: read("archive.db"),
            wal: read("archive.db-wal"),
        }
    }

    /// What can be on the disk between this image and a later one with one commit more.
    fn torn(&self, later: &Self, random: &mut Random) -> Self {
        let salt = |image: &Self| image.wal.get(16..24).map(<[u8]>::to_owned);
        if self.db == later.db {
            let db = self.db.clone();
            if salt(self) != salt(later) && random.below(4) == 0 {
                let wal = self.wal.clone();
                return Self { db, wal };
            }
            // The header of a log that begins anew is synced before anything is written behind it.
            let header = later.wal.len().min(HEADER);
            let mut wal = torn(&self.wal, &later.wal, random);
            wal.resize(wal.len().max(header), 0);
            wal[..header].copy_from_slice(&later.wal[..header]);
            return Self { db, wal };
        }
        // Commits are moved only from a log that was synced, and it begins anew only once they have
        // moved and the database was synced.
        let wal = later.wal.clone();
        let db = match salt(self) == salt(later) {
            true => torn(&self.db, &later.db, random),
            false => later.db.clone(),
        };
        Self { db, wal }
    }

    fn put(&self) -> TempDir {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("archive.db"), &self.db).unwrap();
        fs::write(dir.path().join("archive.db-wal"), &self.wal).unwrap();
        dir
    }
}

fn torn(before: &[u8], after: &[u8], random: &mut Random) -> Vec<u8> {
    // The length is written at any time, too.
    let length = match random.below(3) {
        0 => before.len(),
        1 => after.len(),
        _ => {
            let (least, most) = (before.len().min(after.len()), before.len().max(after.len()));
            least + usize::try_from(random.below((most - least) as u64 + 1)).unwrap()
        }
    };
    let mut torn = vec![0; length];
    let common = length.min(before.len());
    torn[..common].copy_from_slice(&before[..common]);
    let chance = random.below(4);
    for (at, sector) in after.chunks(SECTOR).enumerate() {
        let start = at * SECTOR;
        let end = (start + sector.len()).min(length);
        if start < end && random.below(4) <= chance {
            torn[start..end].copy_from_slice(&sector[..end - start]);
        }
    }
    torn
}

fn seeds() -> u64 {
    let seeds = std::env::var("REVEILLE_ROUNDS").ok();
    seeds.and_then(|seeds| seeds.parse().ok()).unwrap_or(4)
}

#[tokio::test]
async fn every_acknowledged_event_is_there_after_a_loss_of_power() {
    let first = common::seed();
    let mut images = 0;
    for seed in first..first + seeds() {
        let mut random = Random(seed);
        let dir = TempDir::new().unwrap();
        let archive = archive(dir.path());
        let log = log(&archive, "s").await;
        let mut acknowledged = 0;
        let mut synced = Image::of(dir.path());
        for change in 0..8 {
            let count = 1 + random.below(3);
            // Large ones make the archive move its commits into the database file.
            let bytes = match random.below(4) {
                0 => 1_500_000,
                _ => random.below(5000) as usize,
            };
            let batch = (0..count)
                .map(|_| entry(&format!("{change}"), bytes))
                .collect();
            append(&*log, batch).await.unwrap();
            let now = Image::of(dir.path());
            images += 4;
            for _ in 0..3 {
                let torn = synced.torn(&now, &mut random);
                let left = recovered(&torn, seed).await;
                let whole = [acknowledged, acknowledged + count];
                assert!(whole.contains(&left), "seed {seed}: {left} of {whole:?}");
            }
            acknowledged += count;
            assert_eq!(recovered(&now, seed).await, acknowledged, "seed {seed}");
            // What was moved meanwhile is on the disk, too, or may be.
            synced = Image::of(dir.path());
        }
    }
    println!("{images} images");
}

/// How many events an image has; they are dense, and more can be appended.
async fn recovered(image: &Image, seed: u64) -> u64 {
    let dir = image.put();
    let archive = archive(dir.path());
    let log = log(&archive, "s").await;
    let events = contents(&*log).await;
    assert_dense(&events, 0);
    let count = events.len() as u64;
    let slots = append(&*log, vec![entry("next", 1)]).await.unwrap();
    assert_eq!(slots[0].position, Position(count), "seed {seed}");
    let session: &SessionKey = &common::key("s");
    assert!(events.iter().all(|event| **event.session() == *session));
    count
}
