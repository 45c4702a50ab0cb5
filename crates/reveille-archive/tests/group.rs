//! Appends that wait at the same time share one commit.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Instant;

use common::{archive, entry, log};
use reveille_backend::AppendOptions;
use tempfile::TempDir;

const PUBLISHERS: u32 = 64;

#[tokio::test]
async fn one_commit_answers_every_append_that_waited_for_it() {
    let dir = TempDir::new().unwrap();
    let archive = archive(dir.path());
    let mut logs = Vec::new();
    for n in 0..PUBLISHERS {
        logs.push(log(&archive, &format!("s{n}")).await);
    }
    // While somebody else has the right to write, the writer waits with the first of the appends.
    let other = rusqlite::Connection::open(dir.path().join("archive.db")).unwrap();
    other.execute_batch("begin immediate").unwrap();
    let appends: Vec<_> = logs
        .iter()
        .map(|log| {
            let options = AppendOptions::at(Instant::now());
            let mut append = log.append(vec![entry("a", 10)], options);
            // The first poll hands it to the writer.
            let asked = pin!(&mut append).poll(&mut Context::from_waker(Waker::noop()));
            assert!(asked.is_pending());
            append
        })
        .collect();
    other.execute_batch("rollback").unwrap();
    for append in appends {
        append.await.unwrap();
    }
    let commits = "select count(distinct low), count(*) from batches";
    let counts = other.query_row(commits, [], |row| Ok((row.get(0)?, row.get(1)?)));
    let (commits, rows): (u32, u32) = counts.unwrap();
    assert_eq!(rows, PUBLISHERS);
    assert!(commits <= 2, "{commits} commits");
}
