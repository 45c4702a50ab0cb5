//! What is written: JSON lines on standard output, words on standard error.

use std::io::{self, Write};

use serde::Serialize;

/// Standard output takes no more: whoever read it has gone.
#[derive(Debug, thiserror::Error)]
#[error("standard output is closed")]
pub(crate) struct OutputClosed(#[source] io::Error);

/// Writes one line, whole, at once.
pub(crate) fn line(text: &str) -> Result<(), OutputClosed> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush())
        .map_err(OutputClosed)
}

/// Writes a value as one line of JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<(), OutputClosed> {
    line(&reveille_types::json_line(value))
}

/// A word to people. A standard error that is closed is no reason to stop.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
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
