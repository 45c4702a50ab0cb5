//! Filters checked against the kinds that are known: a name that nobody publishes would match nothing,
//! in silence.

use crate::filter::FilterSpec;
use crate::kind::Kind;
use crate::pattern::Pattern;
use crate::registry::KindRegistry;

/// A filter asks for a kind that is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("kind {name:?} is not known{}", hint(nearest.as_deref()))]
pub struct UnknownKind {
    /// What was asked for: a kind, or a pattern that matches no known one.
    pub name: String,
    /// The known kind that is most like it, if one is.
    pub nearest: Option<String>,
}

impl UnknownKind {
    /// Stable name of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        "unknown_kind"
    }
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!(", did you mean {name:?}"))
}

impl KindRegistry {
    /// Checks that each kind that a filter asks for is known, by its name or an older one, and that
    /// each pattern matches a known kind.
    ///
    /// # Errors
    /// [`UnknownKind`] for the first that is not.
    pub fn check_known(&self, spec: &FilterSpec) -> Result<(), UnknownKind> {
        let patterns = spec.kinds.as_deref().unwrap_or_default();
        match patterns.iter().find(|pattern| !self.may_match(pattern)) {
            None => Ok(()),
            Some(pattern) => Err(UnknownKind {
                name: pattern.as_str().to_owned(),
                nearest: self.nearest(pattern.as_str()),
            }),
        }
    }

    fn may_match(&self, pattern: &Pattern) -> bool {
        let matches = |name: &str| Kind::parse(name).is_ok_and(|kind| pattern.matches(&kind));
        pattern.is_every() || self.names().any(matches)
    }

    /// Every known kind and every older name.
    fn names(&self) -> impl Iterator<Item = &str> {
        self.kinds()
            .flat_map(|(kind, _)| std::iter::once(kind).chain(self.aliases_of(kind)))
    }

    /// The known kind that takes the fewest changes, if no more than a third of it changes.
    fn nearest(&self, name: &str) -> Option<String> {
        let distances = self
            .kinds()
            .map(|(known, _)| (distance(name, known), known));
        let (distance, known) = distances.min()?;
        (distance * 3 <= known.len()).then(|| known.to_owned())
    }

    /// The filter that also asks for the other names of each kind that is asked for by name, so that
    /// events are found whichever name they were published under.
    #[must_use]
    pub fn with_aliases(&self, mut spec: FilterSpec) -> FilterSpec {
        if let Some(patterns) = &mut spec.kinds {
            let exact = patterns.iter().filter(|pattern| pattern.is_exact());
            let names: Vec<Pattern> = exact
                .flat_map(|pattern| {
                    let kind = self.canonical(pattern.as_str());
                    std::iter::once(kind).chain(self.aliases_of(kind))
                })
                .filter_map(|name| Kind::parse(name).ok())
                .map(|kind| Pattern::exact(&kind))
                .collect();
            patterns.extend(names);
            patterns.sort_by_key(Pattern::canonical);
            patterns.dedup();
        }
        spec
    }
}

/// How many characters must be added, removed or replaced to make `b` of `a` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (n, a) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], n + 1);
        for (m, b) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[m + 1];
            row[m + 1] = replaced.min(row[m] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_changes() {
        for (a, b, expected) in [
            ("", "abc", 3),
            ("abc", "abc", 0),
            ("abc", "axc", 1),
            ("abc", "bc", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), expected, "{a} and {b}");
            assert_eq!(distance(b, a), expected, "{b} and {a}");
        }
    }
}
