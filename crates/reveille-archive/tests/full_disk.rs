//! A full disk refuses appends by a typed error, hurts no reader, and is forgotten once there is room.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{append, archive, assert_dense, contents, dir_of_child, entry, log};
use reveille_archive::StoreError;
use reveille_backend::{AppendError, Backend, BackendError};
use tempfile::TempDir;

/// The source of an error of the backend.
fn store_error(error: &AppendError) -> &StoreError {
    let AppendError::Backend(BackendError::Full { source, .. }) = error else {
        panic!("{error:?}");
    };
    source.downcast_ref().unwrap()
}

/// Runs on a file system of its own, of eight megabytes.
#[tokio::test]
#[ignore = "is started by the test below"]
async fn child_fills_the_disk() {
    let dir = dir_of_child();
    let archive_dir = dir.join("archive");
    let archive = archive(&archive_dir);
    let log = log(&archive, "s").await;
    // A file that gives room when it is removed.
    let ballast = dir.join("ballast");
    fs::write(&ballast, vec![0; 2 << 20]).unwrap();
    let mut stored = 0;
    let error = loop {
        match append(&*log, vec![entry(&stored.to_string(), 20_000)]).await {
            Ok(slots) => {
                assert_eq!(slots[0].position.0, stored);
                stored += 1;
            }
            Err(error) => break error,
        }
        assert!(stored < 1000, "the disk has no end");
    };
    assert!(stored > 10);
    assert!(
        matches!(store_error(&error), StoreError::DiskFull),
        "{error:?}"
    );
    assert_eq!(store_error(&error).code(), "archive_disk_full");

    // Readers go on, nothing is half there, and the refusal is always the same.
    for _ in 0..3 {
        let events = contents(&*log).await;
        assert_dense(&events, 0);
        assert_eq!(events.len() as u64, stored);
        assert_eq!(log.info().await.unwrap().latest.0, stored);
        archive.health().await.unwrap();
        let batch = vec![entry("refused", 20_000), entry("refused", 20_000)];
        let error = append(&*log, batch).await.unwrap_err();
        assert!(
            matches!(store_error(&error), StoreError::DiskFull),
            "{error:?}"
        );
    }

    // With room, appends go on where they ended.
    fs::remove_file(&ballast).unwrap();
    for at in stored..stored + 5 {
        let slots = append(&*log, vec![entry(&at.to_string(), 20_000)])
            .await
            .unwrap();
        assert_eq!((slots[0].position.0, slots[0].seq.0), (at, at + 1));
    }
    drop((log, archive));
    let archive = common::archive(&archive_dir);
    let events = contents(&*common::log(&archive, "s").await).await;
    assert_dense(&events, 0);
    assert_eq!(events.len() as u64, stored + 5);
}

/// The child has a mount namespace of its own, so that the file system goes with it. Who is not root is
/// root in a user namespace.
#[test]
fn full_disk_is_a_typed_error_and_readers_go_on() {
    let dir = TempDir::new().unwrap();
    let child = common::child("child_fills_the_disk", dir.path());
    let mount = r#"mount -t tmpfs -o size=8m,mode=700 tmpfs "$REVEILLE_TEST_DIR" && exec "$@""#;
    let namespaces: &[&str] = match is_root() {
        true => &["--mount"],
        false => &["--user", "--map-root-user", "--mount"],
    };
    let status = Command::new("unshare")
        .args(namespaces)
        .args(["sh", "-c", mount, "sh"])
        .arg(child.get_program())
        .args(child.get_args())
        .env("REVEILLE_TEST_DIR", dir.path())
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
    let left = fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(left, 0, "the child had a disk of its own");
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(Path::new("/proc/self")).is_ok_and(|meta| meta.uid() == 0)
}
