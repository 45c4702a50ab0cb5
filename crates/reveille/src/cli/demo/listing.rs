//! Which files there are to read: what `find DIR -type f` lists.

use std::io;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

/// What a directory holds.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// The directory.
    pub(super) root: PathBuf,
    /// Regular files below it, as paths relative to it, in the order of their names.
    pub(super) files: Vec<PathBuf>,
    /// What could not be listed or leads nowhere.
    pub(super) failures: Vec<Failure>,
}

/// Something that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// Relative to the directory.
    pub(super) path: PathBuf,
    /// What went wrong.
    pub(super) message: String,
}

impl Listing {
    /// Lists a directory. Symbolic links are not followed; one that leads nowhere is a failure, as is
    /// a directory below that cannot be opened.
    ///
    /// # Errors
    /// When the directory itself cannot be opened.
    pub(super) fn of(root: &Path) -> io::Result<Self> {
        std::fs::read_dir(root)?;
        let mut listing = Self {
            root: root.to_owned(),
            ..Self::default()
        };
        for entry in WalkDir::new(root).sort_by_file_name() {
            match entry {
                Ok(entry) if entry.file_type().is_file() => {
                    listing.files.push(relative(root, entry.path()));
                }
                Ok(entry) if entry.path_is_symlink() => {
                    if let Err(error) = std::fs::metadata(entry.path()) {
                        listing.failures.push(Failure {
                            path: relative(root, entry.path()),
                            message: format!("symbolic link that leads nowhere: {error}"),
                        });
                    }
                }
                Ok(_) => {}
                Err(error) => listing.failures.push(Failure {
                    path: relative(root, error.path().unwrap_or(root)),
                    message: error.to_string(),
                }),
            }
        }
        Ok(listing)
    }
}

fn relative(root: &Path, path: &Path) -> PathBuf {
    path.strip_prefix(root).unwrap_or(path).to_owned()
}
