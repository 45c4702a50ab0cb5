//! What a reader may see, whatever it asks for: the bounds that rights put on a filter.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::event::Event;
use crate::invalid::{Invalid, check_size};
use crate::kind::Kind;
use crate::limits;
use crate::pattern::Pattern;
use crate::session::{Namespace, SessionKey};

/// A pattern over the names of sessions, in which `*` stands for any characters.
///
/// | Pattern | Matches |
/// |---|---|
/// | `build` | the session `build` of the default namespace |
/// | `build-*` | sessions of the default namespace whose ids begin so |
/// | `workflow/*` | every session of that namespace |
/// | `*` | every session of every namespace |
///
/// ```
/// use reveille_types::{SessionKey, SessionPattern, Tenant};
///
/// let pattern: SessionPattern = "workflow/build-*".parse()?;
/// let key = |name| SessionKey::in_tenant(Tenant::default_tenant(), name);
/// assert!(pattern.matches(&key("workflow/build-7")?));
/// assert!(!pattern.matches(&key("build-7")?));
/// # Ok::<(), reveille_types::Invalid>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SessionPattern {
    text: Box<str>,
    /// Where the id begins in the text; none if every session matches.
    split: Option<usize>,
}

impl SessionPattern {
    /// The pattern that matches every session.
    #[must_use]
    pub fn every() -> Self {
        Self {
            text: "*".into(),
            split: None,
        }
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether every session matches.
    #[must_use]
    pub fn is_every(&self) -> bool {
        self.split.is_none()
    }

    /// Whether the session matches. Its tenant is not looked at.
    #[must_use]
    pub fn matches(&self, key: &SessionKey) -> bool {
        let Some(split) = self.split else {
            return true;
        };
        let namespace = match split {
            0 => Namespace::DEFAULT,
            _ => &self.text[..split - 1],
        };
        glob(namespace, key.namespace.as_str()) && glob(&self.text[split..], key.id.as_str())
    }
}

impl FromStr for SessionPattern {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        check_size("sessions", text.len(), limits::SESSION_ID_BYTES, "bytes")?;
        let named = |c: char| c.is_ascii_alphanumeric() || "._~:@/-*".contains(c);
        if text.is_empty() || !text.chars().all(named) {
            return Err(Invalid::form(
                "sessions",
                "is not a name of letters, digits and ._~:@/- with * for any characters",
            ));
        }
        Ok(Self {
            text: text.into(),
            split: (text != "*").then(|| text.find('/').map_or(0, |slash| slash + 1)),
        })
    }
}

impl Serialize for SessionPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for SessionPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Debug for SessionPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionPattern({})", self.text)
    }
}

/// Whether a text matches a pattern in which `*` stands for any characters: time is at most the
/// product of both lengths, because after a mismatch only the latest `*` can help.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p, t));
                p += 1;
            }
            Some(byte) if *byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match retry {
                Some((star, from)) => {
                    retry = Some((star, from + 1));
                    p = star + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// Some sessions, and the kinds of event that may be seen in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visible {
    /// The sessions that match any of these.
    pub sessions: Vec<SessionPattern>,
    /// The kinds that match any of these.
    pub kinds: Vec<Pattern>,
}

impl Visible {
    /// Whether events of this kind may be seen in this session.
    #[must_use]
    pub fn allows(&self, session: &SessionKey, kind: &Kind) -> bool {
        self.kinds.iter().any(|p| p.matches(kind))
            && self.sessions.iter().any(|p| p.matches(session))
    }

    fn is_everything(&self) -> bool {
        self.kinds.iter().any(Pattern::is_every)
            && self.sessions.iter().any(SessionPattern::is_every)
    }
}

/// What a reader may see: an event that any of its parts allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visibility(Vec<Visible>);

impl Visibility {
    /// The events that any of the parts allows; without a part none.
    #[must_use]
    pub fn new(parts: Vec<Visible>) -> Self {
        Self(parts)
    }

    /// Whether every event may be seen.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.0.iter().any(Visible::is_everything)
    }

    /// Whether the event may be seen.
    #[must_use]
    pub fn allows(&self, event: &Event) -> bool {
        self.0
            .iter()
            .any(|v| v.allows(event.session(), event.kind()))
    }

    /// Whether some event of this kind may be seen in some session.
    #[must_use]
    pub fn may_allow_kind(&self, kind: &Kind) -> bool {
        self.0
            .iter()
            .any(|v| v.kinds.iter().any(|p| p.matches(kind)))
    }

    /// The texts that tell this scope from others.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|visible| {
            let sessions = visible.sessions.iter().map(SessionPattern::as_str);
            let kinds = visible.kinds.iter().map(Pattern::as_str);
            std::iter::once("visible")
                .chain(sessions)
                .chain(["of"])
                .chain(kinds)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Tenant;

    #[test]
    fn a_session_pattern_keeps_to_its_namespace() {
        let matches = |pattern: &str, name: &str| {
            let pattern: SessionPattern = pattern.parse().unwrap();
            pattern.matches(&SessionKey::in_tenant(Tenant::default_tenant(), name).unwrap())
        };
        for (pattern, name) in [
            ("*", "a"),
            ("*", "workflow/a/b"),
            ("a", "a"),
            ("a*", "abc"),
            ("*c", "abc"),
            ("a*c*e", "abcde"),
            ("workflow/*", "workflow/x/y"),
            ("work*/a", "workflow/a"),
            ("*/a", "ingestion/a"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("a", "ab"),
            ("a*", "workflow/a"),
            ("workflow*", "workflow/a"),
            ("workflow/a", "a"),
            ("a*c*e", "abcd"),
            ("workflow/*", "ingestion/a"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
        for wrong in ["", "a b", "a?", "ä"] {
            assert!(wrong.parse::<SessionPattern>().is_err(), "{wrong}");
        }
    }
}
