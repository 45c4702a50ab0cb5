//! How long an archive takes to be read again after its process was killed. `REVEILLE_FULL=1` fills it with ten
//! million events.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]
#![expect(
    clippy::print_stdout,
    reason = "what it measures is told; the child reports to its parent"
)]

mod common;

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Instant;

use common::{append, child, dir_of_child, entry, log, options};
use reveille_archive::{ArchiveBackend, ArchiveDurability};
use reveille_backend::{Backend, ReadLimit};
use reveille_types::{Position, Seq, Tenant};
use tempfile::TempDir;

const LOGS: u64 = 1_000;
/// Events of an append.
const BATCH: u64 = 200;

/// How many batches each log gets.
fn batches() -> u64 {
    match std::env::var_os("REVEILLE_FULL") {
        Some(_) => 50,
        None => 1,
    }
}

/// Fills the archive, says so, and holds it until it is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "is started by the test below"]
async fn child_fills_the_archive() {
    let archive = ArchiveBackend::open(dir_of_child(), options(ArchiveDurability::Os)).unwrap();
    let archive = Arc::new(archive);
    for _ in 0..batches() {
        let mut appends = tokio::task::JoinSet::new();
        for n in 0..LOGS {
            let archive = Arc::clone(&archive);
            appends.spawn(async move {
                let log = log(&archive, &n.to_string()).await;
                let entries = (0..BATCH).map(|_| entry("e", 200)).collect();
                append(&*log, entries).await.unwrap();
            });
        }
        while let Some(appended) = appends.join_next().await {
            appended.unwrap();
        }
    }
    println!("\nfull");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
}

#[tokio::test]
async fn a_full_archive_is_read_again_after_a_kill() {
    let dir = TempDir::new().unwrap();
    let mut child = child("child_fills_the_archive", dir.path());
    child.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = child.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "full"));
    child.kill().unwrap();
    child.wait().unwrap();

    let begin = Instant::now();
    let archive = ArchiveBackend::open(dir.path(), options(ArchiveDurability::Os)).unwrap();
    let read = log(&archive, "500").await;
    let limit = ReadLimit {
        events: 10,
        bytes: usize::MAX,
    };
    let page = read.read(Position::START, limit).await.unwrap();
    let took = begin.elapsed();
    assert_eq!(page.events.len(), 10);
    let stored = LOGS * BATCH * batches();
    println!("{stored} events; first read after {took:?}");
    let tenant = Tenant::default_tenant();
    assert_eq!(archive.last_seq(&tenant).await.unwrap(), Seq(stored));
    for n in 0..LOGS {
        let info = log(&archive, &n.to_string()).await.info().await.unwrap();
        assert_eq!(info.latest, Position(BATCH * batches()));
    }
}
