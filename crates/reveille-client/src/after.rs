//! Where reading begins.

use std::fmt;
use std::str::FromStr;

use reveille_types::{Cursor, CursorError};

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum After {
    /// With the oldest event that is retained.
    #[default]
    Earliest,
    /// With the next event to come.
    Latest,
    /// Exactly after this place.
    Cursor(Cursor),
}

/// As the wire has it.
impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Earliest => f.write_str("earliest"),
            Self::Latest => f.write_str("latest"),
            Self::Cursor(cursor) => cursor.fmt(f),
        }
    }
}

impl FromStr for After {
    type Err = CursorError;

    /// Reads `earliest`, `latest` or a cursor.
    fn from_str(text: &str) -> Result<Self, CursorError> {
        match text {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            text => text.parse().map(Self::Cursor),
        }
    }
}

impl From<Cursor> for After {
    fn from(cursor: Cursor) -> Self {
        Self::Cursor(cursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_again() {
        for text in [
            "earliest",
            "latest",
            "01jx3k9q7m4t8w2p.00000000000000001042",
        ] {
            let after: After = text.parse().unwrap();
            assert_eq!(after.to_string(), text);
        }
        for wrong in ["", "Earliest", "01jx3k9q7m4t8w2p", "01jx3k9q7m4t8w2p.x"] {
            assert!(wrong.parse::<After>().is_err(), "{wrong:?}");
        }
    }
}
