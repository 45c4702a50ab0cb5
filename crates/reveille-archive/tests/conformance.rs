//! The archive keeps the contract of a backend, on both levels of durability, and over restarts.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::sync::Arc;

use reveille_archive::{ArchiveBackend, ArchiveDurability, ArchiveOptions};
use reveille_backend::Backend;
use tempfile::TempDir;

fn options(durability: ArchiveDurability) -> ArchiveOptions {
    let mut options = ArchiveOptions::default();
    options.durability = durability;
    options
}

/// The directory is removed when the test ends: it outlives the archive in a handle of its own.
fn fresh(durability: ArchiveDurability) -> Arc<dyn Backend> {
    let dir = TempDir::new().unwrap();
    Arc::new(ArchiveBackend::open(dir.path(), options(durability)).unwrap())
}

async fn fsync() -> Arc<dyn Backend> {
    fresh(ArchiveDurability::Fsync)
}

async fn os() -> Arc<dyn Backend> {
    fresh(ArchiveDurability::Os)
}

reveille_testkit::backend_conformance!(fsync_archive_keeps_the_contract, fsync);
reveille_testkit::backend_conformance!(os_archive_keeps_the_contract, os);

fn reopened() -> impl AsyncFn() -> Arc<dyn Backend> {
    let dir = TempDir::new().unwrap();
    async move || {
        let options = options(ArchiveDurability::Fsync);
        Arc::new(ArchiveBackend::open(dir.path(), options).unwrap()) as Arc<dyn Backend>
    }
}

reveille_testkit::restart_conformance!(archive_survives_a_restart, reopened);
