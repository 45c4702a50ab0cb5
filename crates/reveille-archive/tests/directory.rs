//! A directory has one writer, one owner and one format.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]
#![expect(
    clippy::print_stdout,
    reason = "a child tells its parent that it is there"
)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use common::{append, archive, child, contents, dir_of_child, entry, ids, log};
use reveille_archive::{ArchiveBackend, ArchiveOptions, OpenError};
use tempfile::TempDir;

fn refused(dir: &Path) -> OpenError {
    ArchiveBackend::open(dir, ArchiveOptions::default()).unwrap_err()
}

#[test]
#[ignore = "is started by the test below"]
fn child_holds_the_archive() {
    let _archive = archive(&dir_of_child());
    println!("\nopen");
    // Until it is killed.
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
}

#[test]
fn second_writer_is_refused_until_the_first_is_killed() {
    let dir = TempDir::new().unwrap();
    for _ in 0..200 {
        let mut first = child("child_holds_the_archive", dir.path());
        first.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut first = first.spawn().unwrap();
        let mut lines = BufReader::new(first.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap() == "open"));
        let error = refused(dir.path());
        assert_eq!(error.code(), "archive_locked");
        assert!(
            error.to_string().contains(dir.path().to_str().unwrap()),
            "{error}"
        );
        first.kill().unwrap();
        first.wait().unwrap();
        drop(archive(dir.path()));
    }
}

#[tokio::test]
async fn archive_stays_open_as_long_as_a_handle() {
    let dir = TempDir::new().unwrap();
    let handle = {
        let archive = archive(dir.path());
        log(&archive, "s").await
    };
    assert_eq!(refused(dir.path()).code(), "archive_locked");
    append(&*handle, vec![entry("a", 1)]).await.unwrap();
    drop(handle);
    let archive = archive(dir.path());
    assert_eq!(ids(&contents(&*log(&archive, "s").await).await), ["a"]);
}

#[test]
fn directory_that_others_can_write_is_refused() {
    let dir = TempDir::new().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o770)).unwrap();
    assert_eq!(refused(dir.path()).code(), "archive_exposed");
}

#[test]
fn files_are_the_owners_alone() {
    let dir = TempDir::new().unwrap();
    let made = dir.path().join("a/b");
    let _archive = archive(&made);
    assert_eq!(
        fs::metadata(&made).unwrap().permissions().mode() & 0o777,
        0o700
    );
    for file in fs::read_dir(&made).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", file.path());
    }
}

#[test]
fn file_of_something_else_is_refused_and_left_alone() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("archive.db");
    for text in ["something else entirely".repeat(1000), "x".into()] {
        fs::write(&file, &text).unwrap();
        let error = refused(dir.path());
        assert_eq!(error.code(), "archive_foreign", "{error}");
        assert!(error.to_string().contains("archive.db"), "{error}");
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
    fs::remove_file(&file).unwrap();
    let other = rusqlite::Connection::open(&file).unwrap();
    other.execute_batch("create table t (a)").unwrap();
    drop(other);
    assert_eq!(refused(dir.path()).code(), "archive_foreign");
}

#[test]
fn later_format_is_refused_by_its_number() {
    let dir = TempDir::new().unwrap();
    drop(archive(dir.path()));
    let db = rusqlite::Connection::open(dir.path().join("archive.db")).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    drop(db);
    let error = refused(dir.path());
    assert_eq!(error.code(), "archive_format");
    assert!(error.to_string().contains("99"), "{error}");
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-1.db")
}

/// Writes the fixture of the format of now, when there is a new one.
#[tokio::test]
#[ignore = "writes into the tree"]
async fn write_fixture() {
    let dir = TempDir::new().unwrap();
    {
        let archive = archive(dir.path());
        let log = log(&archive, "s").await;
        append(&*log, vec![entry("a", 3), common::keyed("b", 7)])
            .await
            .unwrap();
        append(&*log, vec![entry("c", 3)]).await.unwrap();
        log.trim(reveille_types::Position(1)).await.unwrap();
    }
    fs::copy(dir.path().join("archive.db"), fixture()).unwrap();
}

#[tokio::test]
async fn archive_of_format_1_opens_and_goes_on() {
    let dir = TempDir::new().unwrap();
    fs::copy(fixture(), dir.path().join("archive.db")).unwrap();
    let archive = archive(dir.path());
    let log = log(&archive, "s").await;
    let events = contents(&*log).await;
    assert_eq!(ids(&events), ["b", "c"]);
    common::assert_dense(&events, 1);
    assert_eq!(events[0].payload().len(), 10);
    let slots = append(&*log, vec![entry("d", 1)]).await.unwrap();
    assert_eq!((slots[0].position.0, slots[0].seq.0), (3, 4));
}
