//! Places in an archive, as text that any client can carry.

use std::fmt;
use std::str::FromStr;

use reveille_types::{Epoch, Invalid, Position};

/// Which archive it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ArchiveId(pub Epoch);

impl fmt::Display for ArchiveId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A place in an archive: everything before it has been read. Text form `a.<archive>.<position>`, so
/// that it is never taken for a cursor of a session or a bus.
///
/// ```
/// use reveille_backend::ArchiveCursor;
///
/// let text = "a.01hkzz5rr0000001.00000000000000000042";
/// let cursor: ArchiveCursor = text.parse()?;
/// assert_eq!(cursor.position.0, 42);
/// assert_eq!(cursor.to_string(), text);
/// assert!("01hkzz5rr0000001.42".parse::<ArchiveCursor>().is_err());
/// # Ok::<(), reveille_backend::types::Invalid>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ArchiveCursor {
    /// The archive.
    pub archive: ArchiveId,
    /// How many places precede it. Counted for each tenant.
    pub position: Position,
}

impl fmt::Display for ArchiveCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a.{}.{}", self.archive, self.position)
    }
}

impl FromStr for ArchiveCursor {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let malformed = || Invalid::form("archive_cursor", "is no place in an archive");
        let (archive, position) = text
            .strip_prefix("a.")
            .and_then(|rest| rest.split_once('.'))
            .ok_or_else(malformed)?;
        Ok(Self {
            archive: ArchiveId(archive.parse().map_err(|_| malformed())?),
            position: position.parse().map_err(|_| malformed())?,
        })
    }
}
