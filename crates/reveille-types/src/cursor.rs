//! Where a reader stands, as text that any client can carry.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::invalid::Invalid;
use crate::limits;
use crate::place::{Epoch, Position, Seq, padded};

/// Where a reader stands: everything before it has been read, everything after it has not.
///
/// Text form: `<epoch>.<position>` on a session, `<epoch>.<seq>.<scope>` on a bus, numbers with 20
/// digits (fewer are accepted), alphabet `[0-9a-z._-]`, at most 128 bytes, so that a browser may send
/// it as `Last-Event-ID` across origins without a preflight. Sorts as text. Carries no rights.
///
/// ```
/// use reveille_types::{Cursor, Epoch, Position};
///
/// let epoch = Epoch::from_parts(1_700_000_000_000, 7);
/// let cursor = Cursor::session(epoch, Position(42));
/// assert_eq!(cursor.to_string().parse::<Cursor>()?, cursor);
/// # Ok::<(), reveille_types::CursorError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cursor {
    epoch: Epoch,
    place: u64,
    scope: Scope,
}

/// What a cursor counts along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The positions of one session log.
    Session,
    /// The sequence numbers of a tenant's bus, unfiltered.
    All,
    /// The sequence numbers of a tenant's bus behind the filter with this fingerprint.
    Filter(u64),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session => f.write_str("session"),
            Self::All => f.write_str("all"),
            Self::Filter(fingerprint) => write!(f, "{fingerprint:016x}"),
        }
    }
}

/// Why a cursor cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CursorError {
    /// The text is no cursor.
    #[error("cursor is malformed")]
    Malformed(#[source] Invalid),
    /// The cursor belongs to another incarnation of the log.
    #[error("cursor is of another epoch; the log starts at {start}")]
    EpochMismatch {
        /// The oldest place that can be read now.
        start: Cursor,
    },
    /// The cursor counts along something else.
    #[error("cursor is of scope {got}, expected {expected}")]
    ScopeMismatch {
        /// What the reader reads.
        expected: Scope,
        /// What the cursor is of.
        got: Scope,
    },
    /// The cursor lies beyond the end of the log.
    #[error("cursor is ahead of the log, which ends at {latest}")]
    Ahead {
        /// The end of the log.
        latest: Cursor,
    },
}

impl CursorError {
    /// Stable name of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "invalid_cursor",
            Self::EpochMismatch { .. } => "cursor_epoch_mismatch",
            Self::ScopeMismatch { .. } => "cursor_scope_mismatch",
            Self::Ahead { .. } => "cursor_ahead",
        }
    }
}

impl Cursor {
    /// A place in a session log.
    #[must_use]
    pub fn session(epoch: Epoch, position: Position) -> Self {
        Self {
            epoch,
            place: position.0,
            scope: Scope::Session,
        }
    }

    /// A place on a tenant's bus, unfiltered.
    #[must_use]
    pub fn bus(epoch: Epoch, seq: Seq) -> Self {
        Self {
            epoch,
            place: seq.0,
            scope: Scope::All,
        }
    }

    /// A place on a tenant's bus behind the filter with this fingerprint.
    #[must_use]
    pub fn filtered(epoch: Epoch, seq: Seq, fingerprint: u64) -> Self {
        Self {
            epoch,
            place: seq.0,
            scope: Scope::Filter(fingerprint),
        }
    }

    /// Another place in the same order: of the same incarnation and scope.
    #[inline]
    #[must_use]
    pub fn at(self, place: u64) -> Self {
        Self { place, ..self }
    }

    /// The incarnation of the log that it belongs to.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// What it counts along.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// The position, if it is a place in a session log.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        matches!(self.scope, Scope::Session).then_some(Position(self.place))
    }

    /// The sequence number, if it is a place on a bus.
    #[must_use]
    pub fn seq(&self) -> Option<Seq> {
        (!matches!(self.scope, Scope::Session)).then_some(Seq(self.place))
    }

    /// The number, whatever it counts.
    #[must_use]
    pub fn place(&self) -> u64 {
        self.place
    }

    /// The position at which a reader of the session log `epoch` goes on that now holds the events
    /// from `oldest` to just before `latest`. A result below `oldest` means that events are missing.
    ///
    /// # Errors
    /// [`CursorError`] when the cursor is of another scope or epoch, or lies beyond `latest`.
    pub fn resolve(
        &self,
        epoch: Epoch,
        oldest: Position,
        latest: Position,
    ) -> Result<Position, CursorError> {
        let Some(position) = self.position() else {
            return Err(CursorError::ScopeMismatch {
                expected: Scope::Session,
                got: self.scope,
            });
        };
        if self.epoch != epoch {
            return Err(CursorError::EpochMismatch {
                start: Self::session(epoch, oldest),
            });
        }
        if position > latest {
            return Err(CursorError::Ahead {
                latest: Self::session(epoch, latest),
            });
        }
        Ok(position)
    }
}

impl Cursor {
    /// The sequence number after which a reader of the bus `epoch` goes on, behind the filter with
    /// this fingerprint (none for every event). The bus holds what follows `oldest` (exclusive) up to
    /// `latest` (inclusive); a result below `oldest` means that events are missing.
    ///
    /// # Errors
    /// [`CursorError`] when the cursor is of a session, of another filter or epoch, or lies beyond
    /// `latest`. Nothing is widened or narrowed silently.
    pub fn resolve_bus(
        &self,
        epoch: Epoch,
        fingerprint: Option<u64>,
        oldest: Seq,
        latest: Seq,
    ) -> Result<Seq, CursorError> {
        let expected = fingerprint.map_or(Scope::All, Scope::Filter);
        if self.scope != expected {
            return Err(CursorError::ScopeMismatch {
                expected,
                got: self.scope,
            });
        }
        let at = |seq: Seq| Self {
            epoch,
            place: seq.0,
            scope: expected,
        };
        if self.epoch != epoch {
            return Err(CursorError::EpochMismatch { start: at(oldest) });
        }
        if self.place > latest.0 {
            return Err(CursorError::Ahead { latest: at(latest) });
        }
        Ok(Seq(self.place))
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.epoch.as_str())?;
        f.write_str(".")?;
        padded(self.place, f)?;
        match self.scope {
            Scope::Session => Ok(()),
            scope => write!(f, ".{scope}"),
        }
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        parse(text).map_err(CursorError::Malformed)
    }
}

fn parse(text: &str) -> Result<Cursor, Invalid> {
    if text.len() > limits::CURSOR_BYTES {
        return Err(Invalid::TooLarge {
            field: "cursor".into(),
            limit: limits::CURSOR_BYTES as u64,
            actual: text.len() as u64,
            unit: "bytes",
        });
    }
    let mut parts = text.split('.');
    let (Some(epoch), Some(place)) = (parts.next(), parts.next()) else {
        return Err(Invalid::form("cursor", "has no place"));
    };
    let epoch: Epoch = epoch.parse()?;
    let place = place.parse::<Position>()?.0;
    let scope = match (parts.next(), parts.next()) {
        (None, _) => Scope::Session,
        (Some("all"), None) => Scope::All,
        (Some(hex), None)
            if hex.len() == 16
                && hex
                    .bytes()
                    .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) =>
        {
            let wrong = |_| Invalid::form("cursor", "has a damaged scope");
            Scope::Filter(u64::from_str_radix(hex, 16).map_err(wrong)?)
        }
        _ => return Err(Invalid::form("cursor", "has an unknown scope")),
    };
    Ok(Cursor {
        epoch,
        place,
        scope,
    })
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Where a reader of a session log begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// With the oldest event that is retained. What retention dropped before is no gap.
    #[default]
    Earliest,
    /// With the next event to come.
    Latest,
    /// At this position, inclusive: events before it have been read or are not wanted.
    At(Position),
    /// After this cursor: the same number as [`At`](Self::At), with its epoch checked.
    After(Cursor),
}

impl Start {
    /// The position to read from in a log that holds `oldest` to just before `latest`.
    ///
    /// # Errors
    /// As [`Cursor::resolve`].
    pub fn resolve(
        &self,
        epoch: Epoch,
        oldest: Position,
        latest: Position,
    ) -> Result<Position, CursorError> {
        match self {
            Self::Earliest => Ok(oldest),
            Self::Latest => Ok(latest),
            Self::At(position) => Cursor::session(epoch, *position).resolve(epoch, oldest, latest),
            Self::After(cursor) => cursor.resolve(epoch, oldest, latest),
        }
    }
}
