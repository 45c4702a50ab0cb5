//! The thread that moves commits into the database file, so that no append waits for it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::Connection;

use crate::directory::Directory;
use crate::error::StoreError;
use crate::options::{ArchiveDurability, ArchiveOptions};
use crate::store;

/// After so many bytes of commits they are moved.
const MOVE_BYTES: usize = 4 * 1024 * 1024;
/// What a commit writes besides its events, about.
const COMMIT_BYTES: usize = 16 * 1024;
/// A file of commits that has grown beyond this is begun anew, and the next append waits for that.
const LARGEST: u64 = 64 * 1024 * 1024;
/// How often the thread looks when nothing is asked of it.
const IDLE: Duration = Duration::from_secs(60);

/// What the writer tells the thread, which ends when this is dropped.
pub(crate) struct Maintenance {
    wake: Sender<()>,
    written: Arc<AtomicUsize>,
    /// A sync has failed, here or at the writer.
    pub(crate) failed: Arc<AtomicBool>,
}

impl fmt::Debug for Maintenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Maintenance").finish_non_exhaustive()
    }
}

impl Maintenance {
    /// Starts the thread.
    pub(crate) fn start(
        directory: &Arc<Directory>,
        options: &ArchiveOptions,
    ) -> Result<(Self, JoinHandle<()>), StoreError> {
        let db = store::connect(directory)?;
        let (wake, woken) = channel();
        let this = Self {
            wake,
            written: Arc::default(),
            failed: Arc::default(),
        };
        let every = match options.durability {
            ArchiveDurability::Os => options.sync_every,
            ArchiveDurability::Fsync => IDLE,
        };
        let (written, failed) = (Arc::clone(&this.written), Arc::clone(&this.failed));
        let directory = Arc::clone(directory);
        let thread = thread::Builder::new().name("archive-sync".to_owned());
        let thread = thread.spawn(move || {
            work(&db, &directory, every, &woken, &written, &failed);
            drop(db);
            drop(directory);
        });
        Ok((this, thread.map_err(|_| StoreError::Closed)?))
    }

    /// Something was committed.
    pub(crate) fn wrote(&self, bytes: usize) {
        let bytes = bytes + COMMIT_BYTES;
        let before = self.written.fetch_add(bytes, Ordering::Relaxed);
        if before < MOVE_BYTES && before + bytes >= MOVE_BYTES {
            // The thread ends after the writer only.
            let _ = self.wake.send(());
        }
    }
}

fn work(
    db: &Connection,
    directory: &Directory,
    every: Duration,
    woken: &Receiver<()>,
    written: &AtomicUsize,
    failed: &AtomicBool,
) {
    let wal = directory.wal();
    loop {
        if let Err(RecvTimeoutError::Disconnected) = woken.recv_timeout(every) {
            return;
        }
        if written.swap(0, Ordering::Relaxed) == 0 {
            continue;
        }
        let is_large = std::fs::metadata(&wal).is_ok_and(|meta| meta.len() > LARGEST);
        // What else fails, a full disk say, leaves the commits where they are.
        if let Err(StoreError::SyncFailed) = store::checkpoint(db, is_large) {
            failed.store(true, Ordering::Release);
        }
    }
}
