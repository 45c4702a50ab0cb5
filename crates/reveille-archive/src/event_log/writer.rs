//! The thread that writes the files of an event log.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reveille_types::Event;
use tokio::sync::{mpsc, oneshot};

use super::{EventLogError, file_name};
use crate::directory::Claim;
use crate::options::ArchiveDurability;

/// Most events that are written at once.
const BATCH: usize = 1024;

pub(super) enum Request {
    Append(Event),
    Flush(oneshot::Sender<Result<(), EventLogError>>),
}

/// Lines of one file that have not been written.
#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    events: u64,
}

pub(super) struct Writer {
    dir: Arc<Path>,
    durability: ArchiveDurability,
    /// Lines by file name.
    waiting: BTreeMap<String, Lines>,
    /// What could not be written since the last flush.
    failure: Option<EventLogError>,
    /// The directory is this writer's until its thread ends.
    _claim: Claim,
}

impl Writer {
    pub(super) fn new(dir: Arc<Path>, claim: Claim, durability: ArchiveDurability) -> Self {
        Self {
            dir,
            durability,
            waiting: BTreeMap::new(),
            failure: None,
            _claim: claim,
        }
    }

    /// Writes until the last handle is dropped and everything is written.
    pub(super) fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut batch = Vec::with_capacity(BATCH);
        while requests.blocking_recv_many(&mut batch, BATCH) > 0 {
            for request in batch.drain(..) {
                match request {
                    Request::Append(event) => self.add(&event),
                    Request::Flush(answer) => {
                        self.write();
                        let result = self.failure.take().map_or(Ok(()), Err);
                        // Who asked may be gone.
                        _ = answer.send(result);
                    }
                }
            }
            self.write();
        }
    }

    fn add(&mut self, event: &Event) {
        let name = file_name::of(event.envelope().agent.as_ref());
        let lines = self.waiting.entry(name).or_default();
        lines.bytes.extend_from_slice(event.json());
        lines.bytes.push(b'\n');
        lines.events += 1;
    }

    fn write(&mut self) {
        for (name, lines) in std::mem::take(&mut self.waiting) {
            let path = self.dir.join(name);
            if let Err(source) = append(&path, &lines.bytes, self.durability) {
                self.lost(path, lines.events, source);
            }
        }
    }

    fn lost(&mut self, path: PathBuf, events: u64, source: io::Error) {
        if let Some(EventLogError::NotWritten { lost, .. }) = &mut self.failure {
            *lost += events;
            return;
        }
        self.failure = Some(EventLogError::NotWritten {
            path,
            lost: events,
            source: Arc::new(source),
        });
    }
}

/// Appends all of it or nothing. Nobody else writes the file.
fn append(path: &Path, bytes: &[u8], durability: ArchiveDurability) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    let before = file.metadata()?.len();
    let written = file.write_all(bytes).and_then(|()| match durability {
        ArchiveDurability::Os => Ok(()),
        ArchiveDurability::Fsync => file.sync_data(),
    });
    if written.is_err() {
        file.set_len(before)?;
    } else if before == 0 && durability == ArchiveDurability::Fsync {
        // A new file is there after the loss of power only if its name is.
        let dir = path.parent().unwrap_or(path);
        File::open(dir).and_then(|dir| dir.sync_all())?;
    }
    written
}

/// Cuts off what stands behind the last end of a line.
pub(super) fn cut_torn_line(path: &Path) -> io::Result<()> {
    const STEP: u64 = 64 * 1024;
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let length = file.metadata()?.len();
    let mut end = length;
    while end > 0 {
        let start = end.saturating_sub(STEP);
        let mut piece = Vec::new();
        file.seek(SeekFrom::Start(start))?;
        (&mut file).take(end - start).read_to_end(&mut piece)?;
        if let Some(at) = piece.iter().rposition(|byte| *byte == b'\n') {
            end = start + at as u64 + 1;
            break;
        }
        end = start;
    }
    match end < length {
        true => file.set_len(end),
        false => Ok(()),
    }
}
