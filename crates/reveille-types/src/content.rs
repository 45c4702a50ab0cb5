//! What a filter asks of single attributes: conditions on their content.
//!
//! A condition looks at an attribute as it is written in text: `5` and `"5"` are the same, because an
//! event that came by HTTP headers has only texts. What compares numbers takes every text that is a
//! decimal number.

mod attributes;
mod compiled;
mod form;
mod wildcard;

use std::fmt;

use crate::invalid::{Invalid, check_size};
use crate::limits;

pub use attributes::Attributes;
pub(crate) use compiled::{Content, any_key};

/// A condition on an attribute. In JSON a text, number or Boolean stands for itself; the others are
/// objects with one member.
///
/// ```
/// use reveille_types::{Filter, FilterSpec};
///
/// let spec: FilterSpec = serde_json::from_str(
///     r#"{"attributes": {
///         "region": ["eu", {"prefix": "us-"}],
///         "attempt": [{"numeric": [">", 1, "<=", 5]}],
///         "stage": [{"anything-but": ["test", "dev"]}],
///         "retired": [{"exists": false}]
///     }}"#,
/// )?;
/// let filter = Filter::compile(&spec)?;
/// assert!(!filter.is_all());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Condition {
    /// It is just this text.
    Is(String),
    /// It is this number, however it is written.
    Number(Number),
    /// It begins with this text.
    Prefix(String),
    /// It ends with this text.
    Suffix(String),
    /// It is this text, letter for letter as lower case.
    EqualsIgnoreCase(String),
    /// It is this text, in which `*` is any characters, also none; `\*` is the character, `\\` the
    /// backslash, and `**` is refused.
    Wildcard(String),
    /// It is there and none of these.
    AnythingBut(Vec<Scalar>),
    /// It is there and begins with none of these texts.
    NotPrefix(Vec<String>),
    /// It is there and ends with none of these texts.
    NotSuffix(Vec<String>),
    /// It is there and none of these texts, letter for letter as lower case.
    NotEqualsIgnoreCase(Vec<String>),
    /// It is there and none of these [wildcards](Self::Wildcard).
    NotWildcard(Vec<String>),
    /// It is a number between these bounds.
    Numeric(Range),
    /// Whether it is there.
    Exists(bool),
}

/// A text or a number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scalar {
    /// A text; a Boolean is `true` or `false`.
    Text(String),
    /// A number.
    Number(Number),
}

/// A number that conditions compare with: finite, and zero without a sign.
#[derive(Debug, Clone, Copy)]
pub struct Number(f64);

impl Number {
    /// A number to compare with.
    ///
    /// # Errors
    /// [`Invalid`] unless it is finite.
    pub fn new(value: f64) -> Result<Self, Invalid> {
        match value.is_finite() {
            // What is added makes a zero positive.
            true => Ok(Self(value + 0.0)),
            false => Err(Invalid::form(
                "attributes",
                "holds a number that is not finite",
            )),
        }
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }

    /// The number that a text writes: digits with at most one point, a sign and an exponent if need
    /// be. Neither spaces nor words.
    fn of_text(text: &str) -> Option<Self> {
        let is_number = |b: u8| b.is_ascii_digit() || b"+-.eE".contains(&b);
        if !text.bytes().all(is_number) {
            return None;
        }
        Self::new(text.parse().ok()?).ok()
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Number {}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // Total and numeric at once: there is neither NaN nor a negative zero.
        self.0.total_cmp(&other.0)
    }
}

impl From<i32> for Number {
    fn from(value: i32) -> Self {
        Self(value.into())
    }
}

/// Without a fraction where there is none.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The end of a range of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bound {
    /// Where it is.
    pub at: Number,
    /// Whether the number itself belongs to the range.
    pub inclusive: bool,
}

/// Numbers between two bounds, of which one may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    lower: Option<Bound>,
    upper: Option<Bound>,
}

impl Range {
    /// Numbers between these bounds.
    ///
    /// # Errors
    /// [`Invalid`] when there is no bound, or no number between them: this would match nothing.
    pub fn new(lower: Option<Bound>, upper: Option<Bound>) -> Result<Self, Invalid> {
        let holds_something = match (lower, upper) {
            (None, None) => return Err(Invalid::form("numeric", "has no bound")),
            (Some(lower), Some(upper)) => {
                lower.at < upper.at || (lower.at == upper.at && lower.inclusive && upper.inclusive)
            }
            _ => true,
        };
        match holds_something {
            true => Ok(Self { lower, upper }),
            false => Err(Invalid::form("numeric", "has no number between its bounds")),
        }
    }

    /// The lower bound.
    #[must_use]
    pub fn lower(&self) -> Option<Bound> {
        self.lower
    }

    /// The upper bound.
    #[must_use]
    pub fn upper(&self) -> Option<Bound> {
        self.upper
    }

    /// Whether the number is in it.
    #[must_use]
    pub fn contains(&self, number: Number) -> bool {
        let above = |bound: Bound| bound.at < number || (bound.inclusive && bound.at == number);
        let below = |bound: Bound| number < bound.at || (bound.inclusive && bound.at == number);
        self.lower.is_none_or(above) && self.upper.is_none_or(below)
    }
}

impl Condition {
    /// How many values it is.
    fn values(&self) -> usize {
        match self {
            Self::AnythingBut(values) => values.len(),
            Self::NotPrefix(values)
            | Self::NotSuffix(values)
            | Self::NotEqualsIgnoreCase(values)
            | Self::NotWildcard(values) => values.len(),
            _ => 1,
        }
    }

    /// That there is a value, and every text in it.
    fn check(&self, name: &str) -> Result<(), Invalid> {
        let within = |text: &String, limit| check_size(name.to_owned(), text.len(), limit, "bytes");
        let text = |value: &String| within(value, limits::EXTENSION_VALUE_BYTES);
        let wildcard = |value: &String| within(value, limits::PATTERN_BYTES);
        let affix = |affix: &String| match affix.is_empty() {
            true => Err(Invalid::form(
                name.to_owned(),
                "has an empty prefix or suffix; whether it is there says exists",
            )),
            false => text(affix),
        };
        if self.values() == 0 {
            return Err(Invalid::Empty {
                field: name.to_owned().into(),
            });
        }
        match self {
            Self::Is(value) | Self::EqualsIgnoreCase(value) => text(value),
            Self::Prefix(value) | Self::Suffix(value) => affix(value),
            Self::Wildcard(value) => wildcard(value),
            Self::NotPrefix(values) | Self::NotSuffix(values) => values.iter().try_for_each(affix),
            Self::NotEqualsIgnoreCase(values) => values.iter().try_for_each(text),
            Self::NotWildcard(values) => values.iter().try_for_each(wildcard),
            Self::AnythingBut(values) => values.iter().try_for_each(|value| match value {
                Scalar::Text(value) => text(value),
                Scalar::Number(_) => Ok(()),
            }),
            Self::Number(_) | Self::Numeric(_) | Self::Exists(_) => Ok(()),
        }
    }
}
