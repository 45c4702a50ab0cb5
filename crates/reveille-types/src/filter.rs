//! Which events a reader wants. Looks at the envelope only, never at the payload.

use crate::event::Envelope;
use crate::invalid::{Invalid, check_size};
use crate::limits;
use crate::pattern::Pattern;

/// Which events a reader wants: those whose kind matches any of its patterns.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Filter {
    /// Empty means every event.
    any_of: Box<[Pattern]>,
}

impl Filter {
    /// Every event.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Events whose kind matches any of `patterns`.
    ///
    /// # Errors
    /// [`Invalid`] when there is none (which would match nothing, silently) or more than 64.
    pub fn any_of(patterns: impl IntoIterator<Item = Pattern>) -> Result<Self, Invalid> {
        let any_of: Box<[Pattern]> = patterns.into_iter().collect();
        if any_of.is_empty() {
            return Err(Invalid::Empty {
                field: "match".into(),
            });
        }
        check_size("match", any_of.len(), limits::FILTER_PATTERNS, "patterns")?;
        if any_of.iter().any(Pattern::is_every) {
            return Ok(Self::all());
        }
        Ok(Self { any_of })
    }

    /// Parses one pattern into a filter.
    ///
    /// # Errors
    /// [`Invalid`] when it is no pattern.
    pub fn matching(pattern: &str) -> Result<Self, Invalid> {
        Self::any_of([pattern.parse()?])
    }

    /// Whether every event matches.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.any_of.is_empty()
    }

    /// Whether the event with this envelope matches.
    #[must_use]
    pub fn matches(&self, envelope: &Envelope) -> bool {
        self.is_all() || self.any_of.iter().any(|p| p.matches(&envelope.kind))
    }
}
