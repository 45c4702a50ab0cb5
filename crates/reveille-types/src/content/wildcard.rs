//! Texts with `*` in them: any characters, also none.

/// A text with wildcards, taken apart. It has one form for each meaning, so that the text it was
/// written as identifies it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wildcard {
    text: Box<str>,
    /// What comes before the first `*`.
    head: Box<str>,
    /// What follows each `*`; only the last may be empty.
    pieces: Box<[Box<str>]>,
}

impl Wildcard {
    /// Takes a text apart. `\*` and `\\` are characters that stand for themselves.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let mut pieces = vec![String::new()];
        let mut after_star = false;
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            let literal = match char {
                '*' if after_star => return Err("has a wildcard with ** in it"),
                '*' => None,
                '\\' => match chars.next() {
                    Some(escaped @ ('*' | '\\')) => Some(escaped),
                    _ => return Err("has a wildcard in which \\ comes before neither * nor \\"),
                },
                char => Some(char),
            };
            after_star = literal.is_none();
            match (literal, pieces.last_mut()) {
                (Some(char), Some(piece)) => piece.push(char),
                _ => pieces.push(String::new()),
            }
        }
        let mut pieces = pieces.into_iter().map(String::into_boxed_str);
        Ok(Self {
            text: text.into(),
            head: pieces.next().unwrap_or_default(),
            pieces: pieces.collect(),
        })
    }

    /// As it was written.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is this text. Each piece is taken where it first occurs, which leaves most to those
    /// after it: nothing is looked at twice, and the time is linear in the text and the wildcard.
    pub(super) fn matches(&self, text: &str) -> bool {
        let Some(text) = text.strip_prefix(&*self.head) else {
            return false;
        };
        let Some((last, inner)) = self.pieces.split_last() else {
            return text.is_empty();
        };
        let mut rest = text.strip_suffix(&**last);
        for piece in inner {
            rest = rest
                .and_then(|rest| rest.split_once(&**piece))
                .map(|(_, rest)| rest);
        }
        rest.is_some()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As the characters of the wildcard say, one after the other.
    fn holds(wildcard: &[char], text: &[char]) -> bool {
        match wildcard {
            [] => text.is_empty(),
            ['*', rest @ ..] => (0..=text.len()).any(|n| holds(rest, &text[n..])),
            ['\\', char, rest @ ..] | [char, rest @ ..] => {
                text.first() == Some(char) && holds(rest, &text[1..])
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn it_matches_as_its_characters_say(
            parts in prop::collection::vec(r"[ab]{1,2}|é|\\\*|\\\\", 1..4),
            open in any::<[bool; 2]>(),
            text in r"[ab]{0,6}|[ab*\\é]{0,6}",
        ) {
            let parts: Vec<&str> =
                parts.iter().map(String::as_str).collect();
            let ends = open.map(|open| if open { "*" } else { "" });
            let written = format!("{}{}{}", ends[0], parts.join("*"), ends[1]);
            let chars: Vec<char> = written.chars().collect();
            let text_chars: Vec<char> = text.chars().collect();
            let wildcard = Wildcard::parse(&written).unwrap();
            prop_assert_eq!(wildcard.matches(&text), holds(&chars, &text_chars), "{}", written);
        }
    }

    /// With going back to each star in turn this would take longer than anybody waits.
    #[test]
    fn many_stars_cost_no_more_than_the_text_is_long() {
        let wildcard = Wildcard::parse(&format!("{}b", "*a".repeat(120))).unwrap();
        assert!(!wildcard.matches(&"a".repeat(4096)));
        assert!(wildcard.matches(&format!("{}b", "a".repeat(4095))));
    }
}
