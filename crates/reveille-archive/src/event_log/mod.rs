//! A log to read with the eyes: events as lines of JSON, one file per agent.
//!
//! Sessions do not need it; it is for people and their tools (`tail -f`, `jq`), and for what reads
//! files. A line is an event as [`Event::json`] writes it, so the id of a line is the id in the receipt.
//! One thread writes, whatever was appended meanwhile at once, so that no async thread waits for a disk.

mod file_name;
mod reader;
mod writer;

use std::fmt;
use std::fs;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use reveille_types::{Event, Invalid, Label};
use tokio::sync::{mpsc, oneshot};

use crate::directory::Claim;
use crate::error::OpenError;
use crate::options::ArchiveDurability;

pub use reader::EventLines;
use writer::{Request, Writer};

/// How to open an event log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventLogOptions {
    /// What a line survives once [`flush`](EventLog::flush) has answered: the end of the process, or
    /// the power of the machine. By default the end of the process.
    pub durability: ArchiveDurability,
    /// Most events that wait to be written. Then an append waits.
    pub queue: NonZeroUsize,
}

impl Default for EventLogOptions {
    fn default() -> Self {
        const QUEUE: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");
        Self {
            durability: ArchiveDurability::Os,
            queue: QUEUE,
        }
    }
}

/// Why an event log says no.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum EventLogError {
    /// Lines could not be written. Nothing of them is in the file; later ones are tried again.
    #[error("{lost} events are not in the log: {} cannot be written", path.display())]
    NotWritten {
        /// The first file that could not be written.
        path: PathBuf,
        /// How many events are missing since the last flush, in all files.
        lost: u64,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// A file cannot be read.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// A line is no event.
    #[error("line {line} of {} is no event", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: u64,
        /// What is wrong with it.
        #[source]
        source: Invalid,
    },
    /// The thread that writes is gone.
    #[error("the event log is closed")]
    Closed,
}

impl EventLogError {
    /// Stable name of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotWritten { .. } => "event_log_not_written",
            Self::Unreadable { .. } => "event_log_unreadable",
            Self::Damaged { .. } => "event_log_damaged",
            Self::Closed => "event_log_closed",
        }
    }
}

/// Events as lines of JSON in a directory, one file per agent, and one for events without an agent.
/// Cheap to clone. What was appended is written also when the last clone is dropped.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use reveille_archive::{EventLog, EventLogOptions};
/// use reveille_types::Label;
///
/// # let dir = tempfile::tempdir()?;
/// let log = EventLog::open(dir.path(), EventLogOptions::default())?;
/// // for event in ... { log.append(&event).await?; }
/// log.flush().await?;
/// let builder = Label::parse("feature/bug")?;
/// assert_eq!(log.read(Some(&builder))?.count(), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct EventLog {
    dir: Arc<Path>,
    requests: mpsc::Sender<Request>,
}

impl fmt::Debug for EventLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventLog")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

impl EventLog {
    /// Opens the log in this directory, which it makes if it is not there. A line that an earlier
    /// process did not write to its end is cut off.
    ///
    /// # Errors
    /// [`OpenError`] when the directory is in use, can be written by others, or a file cannot be used.
    pub fn open(dir: impl AsRef<Path>, options: EventLogOptions) -> Result<Self, OpenError> {
        let dir: Arc<Path> = dir.as_ref().into();
        let claim = Claim::on(&dir)?;
        let failed = |source| OpenError::Io {
            path: dir.to_path_buf(),
            source,
        };
        for entry in fs::read_dir(&dir).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if file_name::is_log(&path) {
                writer::cut_torn_line(&path).map_err(|source| OpenError::Io { path, source })?;
            }
        }
        let (requests, taken) = mpsc::channel(options.queue.get());
        let writer = Writer::new(Arc::clone(&dir), claim, options.durability);
        let thread = thread::Builder::new().name("event-log".into());
        thread.spawn(move || writer.run(taken)).map_err(failed)?;
        Ok(Self { dir, requests })
    }

    /// Appends an event to the file of its agent. Waits while too many are to be written; whether they
    /// were is what [`flush`](Self::flush) tells.
    ///
    /// # Errors
    /// [`Closed`](EventLogError::Closed) when the thread that writes is gone.
    ///
    /// # Cancel safety
    /// A dropped future has appended the event or not.
    pub async fn append(&self, event: &Event) -> Result<(), EventLogError> {
        let request = Request::Append(event.clone());
        let sent = self.requests.send(request).await;
        sent.map_err(|_| EventLogError::Closed)
    }

    /// Waits until everything that was appended before is written, as durable as the options say.
    ///
    /// # Errors
    /// [`NotWritten`](EventLogError::NotWritten) when some of it, since the last flush, is not.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing but its answer.
    pub async fn flush(&self) -> Result<(), EventLogError> {
        let (answer, answered) = oneshot::channel();
        let request = Request::Flush(answer);
        let sent = self.requests.send(request).await;
        sent.map_err(|_| EventLogError::Closed)?;
        answered.await.map_err(|_| EventLogError::Closed)?
    }

    /// The file of an agent, or of events without one. Different agents have different files.
    #[must_use]
    pub fn file(&self, agent: Option<&Label>) -> PathBuf {
        self.dir.join(file_name::of(agent))
    }

    /// Reads what is written of an agent, or of events without one, oldest first. Blocks on the disk.
    ///
    /// # Errors
    /// [`Unreadable`](EventLogError::Unreadable). No file is an empty log.
    pub fn read(&self, agent: Option<&Label>) -> Result<EventLines, EventLogError> {
        EventLines::open(self.file(agent))
    }
}
