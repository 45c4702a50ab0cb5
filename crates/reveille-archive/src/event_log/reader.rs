//! Reading an event log back.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::sync::Arc;

use reveille_types::{EventDraft, Invalid, decode_event};

use super::EventLogError;

/// The events of one file, oldest first, each as it could be published again. Ends with the first
/// error. A last line that is being written is not there yet.
#[derive(Debug)]
pub struct EventLines {
    path: PathBuf,
    /// None when there is no more.
    file: Option<BufReader<File>>,
    line: u64,
}

impl EventLines {
    pub(super) fn open(path: PathBuf) -> Result<Self, EventLogError> {
        let file = match File::open(&path) {
            Ok(file) => Some(BufReader::new(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(unreadable(path, source)),
        };
        Ok(Self {
            path,
            file,
            line: 0,
        })
    }

    fn next_event(&mut self) -> Result<Option<EventDraft>, EventLogError> {
        let Some(file) = &mut self.file else {
            return Ok(None);
        };
        let mut line = Vec::new();
        file.read_until(b'\n', &mut line)
            .map_err(|source| unreadable(self.path.clone(), source))?;
        if line.pop() != Some(b'\n') {
            return Ok(None);
        }
        self.line += 1;
        let read = match str::from_utf8(&line) {
            Ok(json) => decode_event(json),
            Err(_) => Err(Invalid::form("event", "is not UTF-8")),
        };
        let damaged = |source| EventLogError::Damaged {
            path: self.path.clone(),
            line: self.line,
            source,
        };
        read.map(Some).map_err(damaged)
    }
}

fn unreadable(path: PathBuf, source: io::Error) -> EventLogError {
    EventLogError::Unreadable {
        path,
        source: Arc::new(source),
    }
}

impl Iterator for EventLines {
    type Item = Result<EventDraft, EventLogError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_event().transpose();
        if !matches!(next, Some(Ok(_))) {
            self.file = None;
        }
        next
    }
}
