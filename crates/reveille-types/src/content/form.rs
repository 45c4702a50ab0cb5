//! Conditions as JSON, in the form of Amazon EventBridge's event patterns.

use serde::de::Error as _;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::{Bound, Condition, Number, Range, Scalar};
use crate::invalid::Invalid;

fn wrong(problem: impl Into<std::borrow::Cow<'static, str>>) -> Invalid {
    Invalid::form("attributes", problem)
}

fn number(value: &serde_json::Number) -> Result<Number, Invalid> {
    let number = value
        .as_f64()
        .ok_or_else(|| wrong("holds a number that is too large"))?;
    Number::new(number)
}

fn scalar(value: Value) -> Result<Scalar, Invalid> {
    match value {
        Value::String(text) => Ok(Scalar::Text(text)),
        Value::Bool(value) => Ok(Scalar::Text(value.to_string())),
        Value::Number(value) => number(&value).map(Scalar::Number),
        _ => Err(wrong("holds a value that is no text, number or Boolean")),
    }
}

/// One or several.
fn several(value: Value) -> Vec<Value> {
    match value {
        Value::Array(values) => values,
        value => vec![value],
    }
}

fn text(rule: &str, value: Value) -> Result<String, Invalid> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err(wrong(format!("has a {rule} that is no text"))),
    }
}

/// The only member of an object.
fn only_member(value: Value) -> Result<(String, Value), Invalid> {
    if let Value::Object(members) = value {
        let count = members.len();
        if let Some(member) = members.into_iter().next()
            && count == 1
        {
            return Ok(member);
        }
    }
    Err(wrong(
        "holds a condition that is no object with just one member",
    ))
}

fn condition(value: Value) -> Result<Condition, Invalid> {
    if !value.is_object() {
        return Ok(match scalar(value)? {
            Scalar::Text(text) => Condition::Is(text),
            Scalar::Number(number) => Condition::Number(number),
        });
    }
    let (rule, value) = only_member(value)?;
    match &*rule {
        "prefix" => text(&rule, value).map(Condition::Prefix),
        "suffix" => text(&rule, value).map(Condition::Suffix),
        "equals-ignore-case" => text(&rule, value).map(Condition::EqualsIgnoreCase),
        "wildcard" => text(&rule, value).map(Condition::Wildcard),
        "anything-but" => anything_but(value),
        "numeric" => numeric(value).map(Condition::Numeric),
        "exists" => match value {
            Value::Bool(there) => Ok(Condition::Exists(there)),
            _ => Err(wrong("has an exists that is neither true nor false")),
        },
        _ => Err(wrong(format!(
            "has an unknown condition {rule:?}; there are prefix, suffix, equals-ignore-case, wildcard, anything-but, numeric and exists"
        ))),
    }
}

fn anything_but(value: Value) -> Result<Condition, Invalid> {
    if !value.is_object() {
        let values = several(value).into_iter().map(scalar);
        return values.collect::<Result<_, _>>().map(Condition::AnythingBut);
    }
    let (rule, value) = only_member(value)?;
    let texts = several(value).into_iter().map(|value| text(&rule, value));
    let texts = texts.collect::<Result<_, _>>();
    match &*rule {
        "prefix" => texts.map(Condition::NotPrefix),
        "suffix" => texts.map(Condition::NotSuffix),
        "equals-ignore-case" => texts.map(Condition::NotEqualsIgnoreCase),
        "wildcard" => texts.map(Condition::NotWildcard),
        _ => Err(wrong(format!(
            "has an anything-but of unknown condition {rule:?}; there are prefix, suffix, equals-ignore-case and wildcard"
        ))),
    }
}

fn numeric(value: Value) -> Result<Range, Invalid> {
    let form = || wrong("has a numeric that is not a list of comparisons and numbers in turn");
    let Value::Array(terms) = value else {
        return Err(form());
    };
    let (mut lower, mut upper) = (None, None);
    for pair in terms.chunks(2) {
        let [Value::String(comparison), Value::Number(at)] = pair else {
            return Err(form());
        };
        let at = number(at)?;
        let inclusive = comparison.ends_with('=');
        let bound = Some(Bound { at, inclusive });
        let twice = match &**comparison {
            "=" => {
                upper.replace(Bound { at, inclusive }).is_some()
                    | std::mem::replace(&mut lower, bound).is_some()
            }
            ">" | ">=" => std::mem::replace(&mut lower, bound).is_some(),
            "<" | "<=" => std::mem::replace(&mut upper, bound).is_some(),
            _ => {
                return Err(wrong(format!(
                    "has an unknown comparison {comparison:?}; there are =, <, <=, > and >="
                )));
            }
        };
        if twice {
            return Err(wrong("has a numeric with two bounds on one side"));
        }
    }
    Range::new(lower, upper)
}

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        condition(Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const EXACT: f64 = 9_007_199_254_740_992.0;
        let value = self.get();
        if value.fract() == 0.0 && value.abs() <= EXACT {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "it is a whole number of at most 53 bits"
            )]
            return serializer.serialize_i64(value as i64);
        }
        serializer.serialize_f64(value)
    }
}

impl Serialize for Scalar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Number(number) => number.serialize(serializer),
        }
    }
}

/// A comparison or a number.
#[derive(Serialize)]
#[serde(untagged)]
enum Term {
    Comparison(&'static str),
    Number(Number),
}

impl Serialize for Range {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let words = |bound: Option<Bound>, open, closed| {
            bound.into_iter().flat_map(move |bound| {
                let word = if bound.inclusive { closed } else { open };
                [Term::Comparison(word), Term::Number(bound.at)]
            })
        };
        if self.lower == self.upper {
            return serializer.collect_seq(words(self.lower, "=", "="));
        }
        let lower = words(self.lower, ">", ">=");
        serializer.collect_seq(lower.chain(words(self.upper, "<", "<=")))
    }
}

/// An object with this one member.
struct Member<T>(&'static str, T);

impl<T: Serialize> Serialize for Member<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.0, &self.1)?;
        map.end()
    }
}

impl Serialize for Condition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Is(text) => serializer.serialize_str(text),
            Self::Number(number) => number.serialize(serializer),
            Self::Prefix(text) => Member("prefix", text).serialize(serializer),
            Self::Suffix(text) => Member("suffix", text).serialize(serializer),
            Self::EqualsIgnoreCase(text) => {
                Member("equals-ignore-case", text).serialize(serializer)
            }
            Self::Wildcard(text) => Member("wildcard", text).serialize(serializer),
            Self::AnythingBut(values) => Member("anything-but", values).serialize(serializer),
            Self::NotPrefix(texts) => {
                Member("anything-but", Member("prefix", texts)).serialize(serializer)
            }
            Self::NotSuffix(texts) => {
                Member("anything-but", Member("suffix", texts)).serialize(serializer)
            }
            Self::NotEqualsIgnoreCase(texts) => {
                Member("anything-but", Member("equals-ignore-case", texts)).serialize(serializer)
            }
            Self::NotWildcard(texts) => {
                Member("anything-but", Member("wildcard", texts)).serialize(serializer)
            }
            Self::Numeric(range) => Member("numeric", range).serialize(serializer),
            Self::Exists(there) => Member("exists", there).serialize(serializer),
        }
    }
}
