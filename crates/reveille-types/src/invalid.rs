//! Why a piece of text or a number was refused.

use std::borrow::Cow;

/// A value that is not allowed where it was given. Names the field, and the limit where there is one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// The value must not be empty.
    #[error("{field} is empty")]
    Empty {
        /// The field.
        field: Cow<'static, str>,
    },
    /// The value is longer, larger or more than allowed.
    #[error("{field} is {actual}, the limit is {limit} {unit}")]
    TooLarge {
        /// The field.
        field: Cow<'static, str>,
        /// The most that is allowed.
        limit: u64,
        /// What was given.
        actual: u64,
        /// What both numbers count: `bytes`, `events`, ...
        unit: &'static str,
    },
    /// The value holds a character that is not allowed there.
    #[error("{field} holds {found:?}; allowed are {allowed}")]
    Character {
        /// The field.
        field: Cow<'static, str>,
        /// The first character that is not allowed.
        found: char,
        /// What is allowed, in words.
        allowed: &'static str,
    },
    /// The value has the wrong shape.
    #[error("{field} {problem}")]
    Form {
        /// The field.
        field: Cow<'static, str>,
        /// What is wrong with it, as the rest of a sentence.
        problem: Cow<'static, str>,
    },
    /// The name belongs to Reveille itself.
    #[error("{} is reserved", named(field, name))]
    Reserved {
        /// The field.
        field: Cow<'static, str>,
        /// The reserved name; the same as the field when it is the field that must not be there.
        name: String,
    },
}

fn named(field: &str, name: &str) -> String {
    if field == name {
        field.to_owned()
    } else {
        format!("{field} {name:?}")
    }
}

impl Invalid {
    /// A value of the wrong shape.
    pub fn form(
        field: impl Into<Cow<'static, str>>,
        problem: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::Form {
            field: field.into(),
            problem: problem.into(),
        }
    }

    /// The field that was refused.
    #[must_use]
    pub fn field(&self) -> &str {
        match self {
            Self::Empty { field }
            | Self::TooLarge { field, .. }
            | Self::Character { field, .. }
            | Self::Form { field, .. }
            | Self::Reserved { field, .. } => field,
        }
    }

    /// The same error under the path of the value that held the field, such as `[3].type`.
    #[must_use]
    pub fn within(mut self, path: &str) -> Self {
        let (Self::Empty { field }
        | Self::TooLarge { field, .. }
        | Self::Character { field, .. }
        | Self::Form { field, .. }
        | Self::Reserved { field, .. }) = &mut self;
        *field = Cow::Owned(format!("{path}.{field}"));
        self
    }

    /// The limit and what was given instead, where the error is about a size.
    #[must_use]
    pub fn sizes(&self) -> Option<(u64, u64)> {
        match self {
            Self::TooLarge { limit, actual, .. } => Some((*limit, *actual)),
            _ => None,
        }
    }

    /// Stable name of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Reserved { .. } => "reserved_name",
            _ => "invalid_value",
        }
    }
}

/// Checks that `text` is not empty, keeps to `limit` bytes and to the characters of `allowed`.
pub(crate) fn check_text(
    field: &'static str,
    text: &str,
    limit: usize,
    allowed: (fn(char) -> bool, &'static str),
) -> Result<(), Invalid> {
    if text.is_empty() {
        return Err(Invalid::Empty {
            field: field.into(),
        });
    }
    check_size(field, text.len(), limit, "bytes")?;
    match text.chars().find(|c| !allowed.0(*c)) {
        Some(found) => Err(Invalid::Character {
            field: field.into(),
            found,
            allowed: allowed.1,
        }),
        None => Ok(()),
    }
}

/// Checks that `actual` does not exceed `limit`.
pub(crate) fn check_size(
    field: impl Into<Cow<'static, str>>,
    actual: usize,
    limit: usize,
    unit: &'static str,
) -> Result<(), Invalid> {
    if actual > limit {
        return Err(Invalid::TooLarge {
            field: field.into(),
            limit: limit as u64,
            actual: actual as u64,
            unit,
        });
    }
    Ok(())
}

/// Any text that a `CloudEvents` String may hold: no control characters and no noncharacters.
pub(crate) const PLAIN: (fn(char) -> bool, &str) =
    (is_plain, "all characters but controls and noncharacters");

fn is_plain(c: char) -> bool {
    let code = u32::from(c);
    !c.is_control() && code & 0xFFFE != 0xFFFE && !(0xFDD0..=0xFDEF).contains(&code)
}

/// Visible ASCII without spaces.
pub(crate) const VISIBLE: (fn(char) -> bool, &str) =
    (|c| c.is_ascii_graphic(), "visible ASCII characters");
