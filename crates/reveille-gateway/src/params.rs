//! Query parameters, strictly: a name that is not known is refused, because a typo must not pass for
//! "no filter".

use std::borrow::Cow;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use reveille_types::{Filter, Invalid, Pattern};

use crate::problem::Refusal;

/// The parameters of a query, taken out one by one.
#[derive(Debug, Default)]
pub(crate) struct Params(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::parse(parts.uri.query()))
    }
}

impl Params {
    pub(crate) fn parse(query: Option<&str>) -> Self {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Self(pairs.into_owned().collect())
    }

    /// All values of a parameter.
    pub(crate) fn all(&mut self, name: &str) -> Vec<String> {
        let (taken, rest) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|(n, _)| n == name);
        self.0 = rest;
        let taken: Vec<(String, String)> = taken;
        taken.into_iter().map(|(_, value)| value).collect()
    }

    /// The value of a parameter that may stand once; an empty one is none.
    pub(crate) fn one(&mut self, name: &'static str) -> Result<Option<String>, Refusal> {
        let mut values = self.all(name);
        if values.len() > 1 {
            return Err(refused(name, "stands more than once"));
        }
        Ok(values.pop().filter(|value| !value.is_empty()))
    }

    pub(crate) fn duration(&mut self, name: &'static str) -> Result<Option<Duration>, Refusal> {
        self.one(name)?
            .map(|text| {
                duration(&text)
                    .ok_or_else(|| refused(name, "is no duration such as 250ms, 25s or 5m"))
            })
            .transpose()
    }

    pub(crate) fn number(&mut self, name: &'static str) -> Result<Option<u64>, Refusal> {
        self.one(name)?
            .map(|text| {
                text.parse()
                    .map_err(|_| refused(name, "is no number that is 0 or more"))
            })
            .transpose()
    }

    /// The value of a parameter that has a few words.
    pub(crate) fn word<T: Copy>(
        &mut self,
        name: &'static str,
        words: &[(&str, T)],
    ) -> Result<Option<T>, Refusal> {
        let Some(text) = self.one(name)? else {
            return Ok(None);
        };
        match words.iter().find(|(word, _)| *word == text) {
            Some((_, value)) => Ok(Some(*value)),
            None => {
                let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                Err(refused(name, format!("is none of {}", words.join(", "))))
            }
        }
    }

    /// The patterns of `match`, one filter each.
    pub(crate) fn patterns(&mut self) -> Result<Vec<Pattern>, Refusal> {
        self.all("match")
            .iter()
            .map(|text| text.parse::<Pattern>().map_err(|e| bad_value(&e)))
            .collect()
    }

    /// Whether kinds that are not known are refused.
    pub(crate) fn strict(&mut self) -> Result<bool, Refusal> {
        Ok(self
            .word("strict", &[("true", true), ("false", false)])?
            .unwrap_or(false))
    }

    /// Refuses what has not been taken out.
    pub(crate) fn finish(self) -> Result<(), Refusal> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(Refusal::bad_request(
                "unknown_parameter",
                format!("there is no parameter {name:?} here"),
            )
            .field(name)),
        }
    }
}

/// The events that any of the patterns wants; all without one.
pub(crate) fn filter_of(patterns: Vec<Pattern>) -> Result<Filter, Refusal> {
    if patterns.is_empty() {
        return Ok(Filter::all());
    }
    Filter::any_of(patterns).map_err(|e| bad_value(&e))
}

pub(crate) fn bad_value(invalid: &Invalid) -> Refusal {
    if matches!(invalid, Invalid::TooLarge { .. }) {
        return over_limit(invalid);
    }
    Refusal::invalid(StatusCode::BAD_REQUEST, "invalid_parameter", invalid)
}

/// What has the right shape and is too much of it.
fn over_limit(invalid: &Invalid) -> Refusal {
    Refusal::invalid(
        StatusCode::UNPROCESSABLE_ENTITY,
        "invalid_parameter",
        invalid,
    )
}

pub(crate) fn refused(name: &'static str, problem: impl Into<Cow<'static, str>>) -> Refusal {
    bad_value(&Invalid::form(name, problem))
}

/// Reads `250ms`, `25s`, `5m` or `1h`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let count: u64 = text[..digits].parse().ok()?;
    let millis = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    Some(Duration::from_millis(count.saturating_mul(millis)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_number_and_a_unit() {
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(duration("25s"), Some(Duration::from_secs(25)));
        assert_eq!(duration("5m"), Some(Duration::from_secs(300)));
        for wrong in [
            "",
            "5",
            "s",
            "-1s",
            "1.5s",
            "5 s",
            "5d",
            "99999999999999999999s",
        ] {
            assert_eq!(duration(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn what_is_left_over_is_refused() {
        let mut params = Params::parse(Some("limit=3&macth=task.*"));
        assert_eq!(params.number("limit").unwrap(), Some(3));
        assert!(params.finish().is_err());
    }

    #[test]
    fn an_empty_value_is_none_and_two_are_refused() {
        let mut params = Params::parse(Some("after=&limit=1&limit=2"));
        assert_eq!(params.one("after").unwrap(), None);
        assert!(params.one("limit").is_err());
    }
}
