//! When every directory is done: one signal each, merged into one.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use reveille_core::{Completion, Signal, SignalError, SignalSystem};

/// The directories that hold files, with a signal each: triggered once all its files have been looked
/// at, poisoned when the run is cancelled.
#[derive(Debug)]
pub(super) struct Directories {
    system: SignalSystem,
    pending: HashMap<PathBuf, Pending>,
    count: usize,
    all: Option<Completion>,
}

#[derive(Debug)]
struct Pending {
    files: usize,
    signal: Signal,
}

impl Directories {
    /// The directories of these files.
    ///
    /// # Errors
    /// When there are more of them than a system of signals can hold.
    pub(super) fn of(files: &[PathBuf]) -> Result<Self, SignalError> {
        // One more for the merge.
        let system = SignalSystem::builder().max_signals(files.len() + 1).build();
        let mut pending: HashMap<PathBuf, Pending> = HashMap::new();
        for file in files {
            let directory = directory(file);
            match pending.get_mut(directory) {
                Some(known) => known.files += 1,
                None => {
                    let name = directory.to_string_lossy().into_owned();
                    let signal = system.create()?.named(name);
                    pending.insert(directory.to_owned(), Pending { files: 1, signal });
                }
            }
        }
        let signals: Vec<_> = pending.values().map(|p| p.signal.handle()).collect();
        let all = match signals.is_empty() {
            true => None,
            false => Some(system.completion(system.merge(&signals)?)?),
        };
        Ok(Self {
            system,
            count: signals.len(),
            pending,
            all,
        })
    }

    /// A file has been looked at.
    pub(super) fn file_done(&mut self, file: &Path) {
        let directory = directory(file);
        let Some(pending) = self.pending.get_mut(directory) else {
            return;
        };
        pending.files -= 1;
        if pending.files == 0
            && let Some(done) = self.pending.remove(directory)
        {
            // Only the end of the system could have completed it before.
            let _ = done.signal.trigger(());
        }
    }

    /// The run was cancelled: what is not done will not be.
    pub(super) fn cancel(&self) {
        self.system.force_shutdown("the run was cancelled");
    }

    /// Waits until all directories are done, and gives their number; `None` if some never will be.
    ///
    /// # Cancel safety
    /// Dropped, it waits no more.
    pub(super) async fn all_done(self) -> Option<usize> {
        // No more files come. Were one missing, its signal would be poisoned here.
        drop(self.pending);
        match self.all {
            Some(all) => all.await.ok().map(|()| self.count),
            None => Some(0),
        }
    }
}

fn directory(file: &Path) -> &Path {
    file.parent().unwrap_or(file)
}
