//! The directory of an archive: who may see it, and who has it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::OpenError;

/// The database.
const DATABASE: &str = "archive.db";
/// What the one writer has locked. Empty; the lock goes with the process.
const LOCK: &str = "lock";

/// That a directory is this process's alone, as long as the value lives.
#[derive(Debug)]
pub(crate) struct Claim {
    /// Holds the lock.
    _lock: File,
}

/// The directory of a database, which this process has for itself as long as the value lives.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    _claim: Claim,
}

impl Claim {
    /// Makes the directory if it is not there, and locks it.
    pub(crate) fn on(path: &Path) -> Result<Self, OpenError> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(path).map_err(failed(path))?;
        let mode = fs::metadata(path).map_err(failed(path))?.mode();
        if mode & 0o022 != 0 {
            return Err(OpenError::Exposed {
                dir: path.to_owned(),
            });
        }
        let lock_path = path.join(LOCK);
        let lock = private(&lock_path).map_err(failed(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(OpenError::Locked {
                dir: path.to_owned(),
            }),
            Err(TryLockError::Error(source)) => Err(failed(&lock_path)(source)),
        }
    }
}

impl Directory {
    /// Makes the directory and its database file if they are not there, and locks it.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let this = Self {
            path: path.to_owned(),
            _claim: Claim::on(path)?,
        };
        let database = this.database();
        if !database.exists() {
            private(&database).map_err(failed(&database))?;
            // The database is there after the loss of power only if its name is.
            let synced = File::open(path).and_then(|dir| dir.sync_all());
            synced.map_err(failed(path))?;
        }
        Ok(this)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The database file.
    pub(crate) fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    /// The first bytes of the database file. Only before the database is opened: closing the file gives up
    /// the locks that this process has on it.
    pub(crate) fn beginning(&self, bytes: usize) -> Result<Vec<u8>, OpenError> {
        let path = self.database();
        let mut begin = Vec::with_capacity(bytes);
        let read = File::open(&path).and_then(|file| {
            let most = u64::try_from(bytes).unwrap_or(u64::MAX);
            file.take(most).read_to_end(&mut begin)
        });
        match read {
            Ok(_) => Ok(begin),
            Err(source) => Err(OpenError::Io { path, source }),
        }
    }

    /// What was committed and has not been moved into the database file.
    pub(crate) fn wal(&self) -> PathBuf {
        self.path.join(format!("{DATABASE}-wal"))
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Io { path, source }
}

/// Opens a file that only its owner may read, or makes it.
fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}
