//! What is written: JSON lines on standard output, words on standard error.

use std::error::Error;
use std::io::{self, ErrorKind, Write};
use std::time::Duration;

use serde::Serialize;

/// Why a line could not be written on standard output.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutputError {
    /// Whoever read it has gone, because it has read enough.
    #[error("standard output is closed")]
    Closed,
    #[error("standard output cannot be written")]
    Failed(#[source] io::Error),
}

impl From<io::Error> for OutputError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Failed(error),
        }
    }
}

/// Writes one line, whole, at once.
pub(crate) fn line(text: &str) -> Result<(), OutputError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// Writes a value as one line of JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<(), OutputError> {
    line(&reveille_types::json_line(value))
}

/// A word to people. A standard error that is closed is no reason to stop.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// An error and what caused it, in one line.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let said = source.to_string();
        // A transparent error says what its cause says.
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = source.source();
    }
    text
}

/// What went wrong, and that it goes on.
pub(crate) fn trying_again(error: &dyn Error, retry: Duration) -> String {
    format!(
        "{}; trying again in {} ms",
        with_causes(error),
        retry.as_millis()
    )
}

/// Says that events are missing.
pub(crate) fn gap(gap: &reveille_types::Gap) {
    let missed = match gap.missed {
        Some(1) => "1 event is missing".to_owned(),
        Some(count) => format!("{count} events are missing"),
        None => "events may be missing".to_owned(),
    };
    let ranges: Vec<String> = gap
        .ranges
        .as_slice()
        .iter()
        .map(|(first, last)| format!("{first} to {last}"))
        .collect();
    let reason = match gap.reason {
        reveille_types::GapReason::Expired => "retention dropped them",
        reveille_types::GapReason::Overflow => "this reader was too slow",
        reveille_types::GapReason::Ahead => "the log ends before the cursor",
        reveille_types::GapReason::UnknownCursor => "the server does not know the cursor",
    };
    let at = match ranges.is_empty() {
        true => String::new(),
        false => format!(" at positions {}", ranges.join(", ")),
    };
    note(&format!(
        "gap: {missed}{at} ({reason}); going on at {}",
        gap.resumes_at
    ));
}
