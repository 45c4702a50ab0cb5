//! Why an archive cannot be opened, and what its store says.

use std::io;
use std::path::PathBuf;

use reveille_backend::BackendError;
use rusqlite::ErrorCode;
use rusqlite::ffi;

/// The backend's name in messages.
pub(crate) const NAME: &str = "archive";

/// Why an archive was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process, or another part of this one, has the archive open.
    #[error("archive {} is in use: a directory has one writer", dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// Others than the owner may write into the directory.
    #[error("archive {} can be written by others than its owner", dir.display())]
    Exposed {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory or a file in it cannot be used.
    #[error("{} cannot be used", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is none of an archive.
    #[error("{} is no file of an archive", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The archive was written in another form than this program reads.
    #[error("archive {} has format {found}, this program reads {supported}", dir.display())]
    Format {
        /// The directory.
        dir: PathBuf,
        /// The format of the archive.
        found: i64,
        /// The format that this program writes.
        supported: i64,
    },
    /// What is stored is damaged where no unfinished write can have left it so.
    #[error("{} is damaged at {place}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it.
        place: String,
    },
    /// The store refused.
    #[error("archive {} cannot be opened", dir.display())]
    Store {
        /// The directory.
        dir: PathBuf,
        /// Why.
        #[source]
        source: StoreError,
    },
}

impl OpenError {
    /// Stable name of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Locked { .. } => "archive_locked",
            Self::Exposed { .. } => "archive_exposed",
            Self::Io { .. } => "archive_io",
            Self::Foreign { .. } => "archive_foreign",
            Self::Format { .. } => "archive_format",
            Self::Damaged { .. } => "archive_damaged",
            Self::Store { source, .. } => source.code(),
        }
    }
}

/// What the store said: the source of [`BackendError::Unavailable`] and [`BackendError::Full`] of an
/// archive.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The disk is full. Nothing was stored; readers go on, and so do appends once there is room.
    #[error("the disk is full")]
    DiskFull,
    /// A sync failed. What was being appended may be stored or not; nothing is appended until the archive is
    /// opened again, because the system may have dropped what it could not write.
    #[error("a sync failed; the archive must be opened again")]
    SyncFailed,
    /// What is stored is damaged.
    #[error("the store is damaged at {place}")]
    Damaged {
        /// Where.
        place: String,
    },
    /// The archive was closed.
    #[error("the archive is closed")]
    Closed,
    /// Anything else that the database said.
    #[error("the database refused")]
    Database(#[source] rusqlite::Error),
}

impl StoreError {
    /// Stable name of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::DiskFull => "archive_disk_full",
            Self::SyncFailed => "archive_sync_failed",
            Self::Damaged { .. } => "archive_damaged",
            Self::Closed => "archive_closed",
            Self::Database(_) => "archive_database",
        }
    }

    pub(crate) fn damaged(place: impl Into<String>) -> Self {
        Self::Damaged {
            place: place.into(),
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let Some(code) = error.sqlite_error() else {
            return match error {
                // A value of a row has not the type that was written.
                rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::Utf8Error(..) => Self::damaged(format!("a row: {error}")),
                other => Self::Database(other),
            };
        };
        match (code.code, code.extended_code) {
            (ErrorCode::DiskFull, _) => Self::DiskFull,
            (_, ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC) => Self::SyncFailed,
            (ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase, _) => {
                Self::damaged(format!("the database file: {error}"))
            }
            _ => Self::Database(error),
        }
    }
}

impl From<StoreError> for BackendError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Damaged { place } => Self::Corrupt {
                backend: NAME,
                place,
            },
            StoreError::DiskFull => Self::Full {
                backend: NAME,
                source: Box::new(error),
            },
            other => Self::Unavailable {
                backend: NAME,
                source: Box::new(other),
            },
        }
    }
}
