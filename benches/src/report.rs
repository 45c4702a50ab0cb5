//! The form of what is printed: one line for each contender of each row.
//!
//! A line is `row`, `unit`, `contender`, `role` and the samples, with tabs between the five and
//! blanks between the samples. Standard output carries nothing else.

use std::fmt;
use std::io::{self, Write};

/// Who a contender is in its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Reveille.
    Own,
    /// Does the same; the best of these is what Reveille is compared with.
    Peer,
    /// Does less, or something else: shown beside the others, and never compared with.
    Info,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own => "own",
            Self::Peer => "peer",
            Self::Info => "info",
        })
    }
}

/// Where the samples go.
pub struct Report<'a> {
    out: &'a mut dyn Write,
}

impl<'a> Report<'a> {
    /// A report that is written to `out`.
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self { out }
    }

    /// Writes the samples of one contender.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn line(
        &mut self,
        row: &str,
        unit: &str,
        contender: (&str, Role),
        samples: &[f64],
    ) -> io::Result<()> {
        let (name, role) = contender;
        let samples: Vec<_> = samples.iter().map(ToString::to_string).collect();
        let samples = samples.join(" ");
        writeln!(self.out, "{row}\t{unit}\t{name}\t{role}\t{samples}")?;
        self.out.flush()
    }
}

impl fmt::Debug for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report").finish_non_exhaustive()
    }
}
