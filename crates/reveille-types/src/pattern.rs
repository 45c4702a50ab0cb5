//! Dotted patterns over kinds.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::invalid::{Invalid, check_size};
use crate::kind::Kind;
use crate::limits;

/// A dotted pattern over kinds.
///
/// | Pattern | Matches |
/// |---|---|
/// | `task.completed` | exactly that kind |
/// | `*.completed` | any one segment, then `completed` |
/// | `a.*.c` | one segment in the middle |
/// | `a.**.c` | zero or more segments in the middle |
/// | `task.*`, `task.**`, `task.>` | everything below `task`, at any depth, but not `task` itself |
/// | `*`, `**`, `>` | every kind |
///
/// A wildcard is a whole segment: `ta*k` and `task*` are refused.
///
/// ```
/// use reveille_types::{Kind, Pattern};
///
/// let pattern: Pattern = "task.*".parse()?;
/// assert!(pattern.matches(&Kind::parse("task.status.working")?));
/// assert!(!pattern.matches(&Kind::parse("tasks.working")?));
/// # Ok::<(), reveille_types::Invalid>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    text: Box<str>,
    form: Form,
}

/// The compiled pattern: the common shapes need no segment walk.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Form {
    Every,
    Exact,
    /// Everything that begins with this prefix, which ends in a dot.
    Below(Box<str>),
    Segments(Box<[Segment]>),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Segment {
    Literal(Box<str>),
    One,
    /// Zero or more segments.
    Many,
}

/// A segment of a pattern: see [`Pattern::parts`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PatternPart<'a> {
    /// Just this segment.
    Literal(&'a str),
    /// One segment, any.
    One,
    /// Zero or more segments, any.
    Many,
}

impl Pattern {
    /// The pattern that matches every kind.
    #[must_use]
    pub fn every() -> Self {
        Self {
            text: "**".into(),
            form: Form::Every,
        }
    }

    /// The pattern that matches exactly this kind. Its text is a pattern, too, unless the kind has a
    /// segment `_`, which [`from_str`](Self::from_str) refuses as a mistaken wildcard.
    #[must_use]
    pub fn exact(kind: &Kind) -> Self {
        Self {
            text: kind.as_str().into(),
            form: Form::Exact,
        }
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// One text for all patterns that match the same kinds by their form: `task.*`, `task.**` and
    /// `task.>` are one.
    #[must_use]
    pub fn canonical(&self) -> String {
        match &self.form {
            Form::Every => "**".to_owned(),
            Form::Exact => self.text.to_string(),
            Form::Below(prefix) => format!("{prefix}**"),
            Form::Segments(segments) => {
                let names: Vec<&str> = segments
                    .iter()
                    .map(|segment| match segment {
                        Segment::Literal(text) => text,
                        Segment::One => "*",
                        Segment::Many => "**",
                    })
                    .collect();
                names.join(".")
            }
        }
    }

    /// The segments to match one after another, for indexes of patterns; the same for all patterns of
    /// one [`canonical`](Self::canonical) text. One or more segments are [`One`](PatternPart::One) and
    /// [`Many`](PatternPart::Many).
    #[must_use]
    pub fn parts(&self) -> Vec<PatternPart<'_>> {
        let below = [PatternPart::One, PatternPart::Many];
        let literals = |text| str::split(text, '.').map(PatternPart::Literal);
        match &self.form {
            Form::Every => below.to_vec(),
            Form::Exact => literals(&self.text).collect(),
            Form::Below(prefix) => literals(prefix.trim_end_matches('.'))
                .chain(below)
                .collect(),
            Form::Segments(segments) => segments
                .iter()
                .map(|segment| match segment {
                    Segment::Literal(text) => PatternPart::Literal(text),
                    Segment::One => PatternPart::One,
                    Segment::Many => PatternPart::Many,
                })
                .collect(),
        }
    }

    /// Whether the pattern has no wildcard.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.form == Form::Exact
    }

    /// Whether the pattern matches every kind.
    #[must_use]
    pub fn is_every(&self) -> bool {
        self.form == Form::Every
    }

    /// Whether `kind` matches. Time is linear in the kind for every pattern with at most one inner
    /// `**`, and at most the product of both lengths otherwise.
    #[must_use]
    pub fn matches(&self, kind: &Kind) -> bool {
        match &self.form {
            Form::Every => true,
            Form::Exact => *self.text == *kind.as_str(),
            Form::Below(prefix) => kind.as_str().starts_with(&**prefix),
            Form::Segments(pattern) => {
                let segments: Vec<&str> = kind.segments().collect();
                matches_segments(pattern, &segments)
            }
        }
    }
}

/// Glob matching with one point of return: after a mismatch only the latest `Many` can help, because
/// it can take over whatever an earlier one could.
fn matches_segments(pattern: &[Segment], kind: &[&str]) -> bool {
    let (mut p, mut k) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        match pattern.get(p) {
            Some(Segment::Many) => {
                retry = Some((p, k));
                p += 1;
                continue;
            }
            Some(Segment::One) if k < kind.len() => {
                p += 1;
                k += 1;
                continue;
            }
            Some(Segment::Literal(text)) if kind.get(k) == Some(&&**text) => {
                p += 1;
                k += 1;
                continue;
            }
            None if k == kind.len() => return true,
            _ => {}
        }
        match retry {
            Some((many, from)) if from < kind.len() => {
                retry = Some((many, from + 1));
                p = many + 1;
                k = from + 1;
            }
            _ => return false,
        }
    }
}

impl FromStr for Pattern {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const FIELD: &str = "match";
        if text.is_empty() {
            return Err(Invalid::Empty {
                field: FIELD.into(),
            });
        }
        check_size(FIELD, text.len(), limits::PATTERN_BYTES, "bytes")?;
        let names: Vec<&str> = text.split('.').collect();
        let last = names.len() - 1;
        let mut segments = Vec::with_capacity(names.len() + 1);
        for (at, name) in names.iter().enumerate() {
            match *name {
                "*" if at == last => segments.extend([Segment::One, Segment::Many]),
                "**" | ">" if at == last => segments.extend([Segment::One, Segment::Many]),
                "*" => segments.push(Segment::One),
                "**" => segments.push(Segment::Many),
                ">" => return Err(Invalid::form(FIELD, "has > before its end")),
                "_" => {
                    return Err(Invalid::form(
                        FIELD,
                        "has a segment _; a wildcard is written *",
                    ));
                }
                literal if literal.contains(['*', '>']) => {
                    return Err(Invalid::form(
                        FIELD,
                        "has a wildcard inside a segment; * and ** are whole segments",
                    ));
                }
                literal => {
                    Kind::parse(literal).map_err(|_| {
                        Invalid::form(FIELD, format!("has a segment {literal:?} that no kind has"))
                    })?;
                    segments.push(Segment::Literal(literal.into()));
                }
            }
        }
        Ok(Self {
            text: text.into(),
            form: compile(text, &names, segments),
        })
    }
}

fn compile(text: &str, names: &[&str], segments: Vec<Segment>) -> Form {
    let literals = segments
        .iter()
        .take_while(|s| matches!(s, Segment::Literal(_)))
        .count();
    let ends_below = segments.ends_with(&[Segment::One, Segment::Many]);
    if literals == segments.len() {
        Form::Exact
    } else if literals == 0 && ends_below && segments.len() == 2 {
        Form::Every
    } else if ends_below && literals == segments.len() - 2 {
        // The text without its last segment, its dot kept.
        let kept = text.len() - names.last().map_or(0, |name| name.len());
        Form::Below(text[..kept].into())
    } else {
        Form::Segments(segments.into())
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
