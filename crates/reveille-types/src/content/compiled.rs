//! Conditions compiled: each attribute is looked at once, in time linear in its text and in what is
//! asked of it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Condition, Number, Range, Scalar};
use crate::event::{Event, ExtensionValue};
use crate::field::FilterField;
use crate::invalid::{Invalid, check_size};
use crate::limits;

/// What is asked of attributes, all of which must match.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Content(Box<[Attribute]>);

/// What is asked of one attribute, of which anything must match.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Attribute {
    name: Box<str>,
    texts: BTreeSet<Box<str>>,
    numbers: BTreeSet<Number>,
    prefixes: BTreeSet<Box<str>>,
    suffixes: BTreeSet<Box<str>>,
    ranges: BTreeSet<Range>,
    /// Each by itself: what is none of these matches.
    excluded: BTreeSet<Excluded>,
    /// Being there is enough.
    present: bool,
    /// Not being there is enough.
    absent: bool,
    /// If nothing but texts is asked for: `name=text` of each, for an index.
    keys: Option<Box<[Box<str>]>>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Excluded {
    Scalars(BTreeSet<Scalar>),
    Prefixes(BTreeSet<Box<str>>),
    Suffixes(BTreeSet<Box<str>>),
}

impl Content {
    /// Compiles what is asked of each attribute.
    pub(crate) fn compile(spec: &BTreeMap<String, Vec<Condition>>) -> Result<Self, Invalid> {
        check_size("attributes", spec.len(), limits::EXTENSIONS, "attributes")?;
        if spec.is_empty() {
            return Err(Invalid::Empty {
                field: "attributes".into(),
            });
        }
        let attributes = spec
            .iter()
            .map(|(name, conditions)| Attribute::compile(name, conditions));
        attributes.collect::<Result<_, _>>().map(Self)
    }

    /// How many attributes are asked for.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the event has everything that is asked for.
    pub(crate) fn matches(&self, event: &Event) -> bool {
        self.0.iter().all(|attribute| attribute.matches(event))
    }

    /// `name=text` of which every matching event has one, for the attribute that has the fewest.
    pub(crate) fn keys(&self) -> Option<&[Box<str>]> {
        let keys = self
            .0
            .iter()
            .filter_map(|attribute| attribute.keys.as_deref());
        keys.min_by_key(|keys| keys.len())
    }

    /// The canonical form, text by text.
    pub(crate) fn each_text(&self, mut add: impl FnMut(&str)) {
        for attribute in &self.0 {
            attribute.each_text(&mut add);
        }
    }
}

/// The key of an attribute's text in an index: no name has a `=`.
pub(crate) fn key(name: &str, text: &str) -> String {
    format!("{name}={text}")
}

/// Calls `each` with the texts of every extension attribute as keys, until one answers `true`.
pub(crate) fn any_key(event: &Event, mut each: impl FnMut(&str) -> bool) -> bool {
    event
        .envelope()
        .extensions
        .iter()
        .any(|(name, value)| match value {
            ExtensionValue::String(text) => each(&key(name, text)),
            ExtensionValue::Boolean(value) => each(&key(name, &value.to_string())),
            ExtensionValue::Integer(value) => each(&key(name, &value.to_string())),
        })
}

/// The field of the envelope that is written as this attribute.
fn field(name: &str) -> Option<FilterField> {
    Some(match name {
        "type" => FilterField::Kind,
        "source" => FilterField::Source,
        "subject" => FilterField::Subject,
        "correlationid" => FilterField::Correlation,
        "causationid" => FilterField::CausedBy,
        "reveillesession" => FilterField::Session,
        "reveilleagent" => FilterField::Agent,
        "reveillerun" => FilterField::Run,
        "reveilleturn" => FilterField::Turn,
        "reveilletags" => FilterField::Tag,
        "reveilleclass" => FilterField::Class,
        "reveillefinal" => FilterField::Final,
        "reveilleprivacy" => FilterField::Privacy,
        _ => return None,
    })
}

/// Attributes that say nothing to a filter: they are the same for all events, or change on the way.
const NOT_ASKED: [&str; 8] = [
    "specversion",
    "time",
    "data",
    "datacontenttype",
    "dataschema",
    "reveillecursor",
    "reveilleposition",
    "reveilleseq",
];

fn check_name(name: &str) -> Result<(), Invalid> {
    let own = |problem| Err(Invalid::form(name.to_owned(), problem));
    if matches!(name, "id" | "traceparent" | "tracestate") || field(name).is_some() {
        return Ok(());
    }
    if NOT_ASKED.contains(&name) {
        return own("is no attribute that a filter looks at");
    }
    crate::cloudevents::check_extension(name, &ExtensionValue::Boolean(true))
}

impl Attribute {
    fn compile(name: &str, conditions: &[Condition]) -> Result<Self, Invalid> {
        let inside = |error: Invalid| error.within("attributes");
        check_name(name).map_err(inside)?;
        let mut values = 0;
        for condition in conditions {
            values += condition.check(name).map_err(inside)?;
        }
        if values == 0 {
            return Err(inside(Invalid::Empty {
                field: name.to_owned().into(),
            }));
        }
        check_size(name.to_owned(), values, limits::FILTER_VALUES, "values").map_err(inside)?;
        let mut attribute = Self::empty(name);
        for condition in conditions.iter().cloned() {
            attribute.add(condition);
        }
        attribute.keys = attribute.make_keys();
        Ok(attribute)
    }

    fn empty(name: &str) -> Self {
        Self {
            name: name.into(),
            texts: BTreeSet::new(),
            numbers: BTreeSet::new(),
            prefixes: BTreeSet::new(),
            suffixes: BTreeSet::new(),
            ranges: BTreeSet::new(),
            excluded: BTreeSet::new(),
            present: false,
            absent: false,
            keys: None,
        }
    }

    fn add(&mut self, condition: Condition) {
        let set = |texts: Vec<String>| texts.into_iter().map(Into::into).collect();
        match condition {
            Condition::Is(text) => {
                self.texts.insert(text.into());
            }
            Condition::Number(number) => {
                self.numbers.insert(number);
            }
            Condition::Prefix(text) => {
                self.prefixes.insert(text.into());
            }
            Condition::Suffix(text) => {
                self.suffixes.insert(text.into());
            }
            Condition::Numeric(range) => {
                self.ranges.insert(range);
            }
            Condition::AnythingBut(values) => {
                let values = values.into_iter().collect();
                self.excluded.insert(Excluded::Scalars(values));
            }
            Condition::NotPrefix(texts) => {
                self.excluded.insert(Excluded::Prefixes(set(texts)));
            }
            Condition::NotSuffix(texts) => {
                self.excluded.insert(Excluded::Suffixes(set(texts)));
            }
            Condition::Exists(true) => self.present = true,
            Condition::Exists(false) => self.absent = true,
        }
    }

    fn make_keys(&self) -> Option<Box<[Box<str>]>> {
        let has_more = self.present
            || self.absent
            || !self.numbers.is_empty()
            || !self.prefixes.is_empty()
            || !self.suffixes.is_empty()
            || !self.ranges.is_empty()
            || !self.excluded.is_empty();
        let is_extension = field(&self.name).is_none()
            && !matches!(&*self.name, "id" | "traceparent" | "tracestate");
        let keys = || self.texts.iter().map(|text| key(&self.name, text).into());
        (is_extension && !has_more).then(|| keys().collect())
    }

    fn matches(&self, event: &Event) -> bool {
        let mut is_there = false;
        let found = any_text(event, &self.name, |text| {
            is_there = true;
            self.takes(text)
        });
        found || (self.absent && !is_there)
    }

    fn takes(&self, text: &str) -> bool {
        if self.present || self.texts.contains(text) {
            return true;
        }
        let number = || Number::of_text(text);
        let in_numbers = |number| {
            self.numbers.contains(&number) || self.ranges.iter().any(|range| range.contains(number))
        };
        let asks_numbers = !self.numbers.is_empty() || !self.ranges.is_empty();
        self.prefixes
            .iter()
            .any(|prefix| text.starts_with(&**prefix))
            || self.suffixes.iter().any(|suffix| text.ends_with(&**suffix))
            || (asks_numbers && number().is_some_and(in_numbers))
            || self.excluded.iter().any(|excluded| !excluded.has(text))
    }

    fn each_text(&self, add: &mut impl FnMut(&str)) {
        add("attribute");
        add(&self.name);
        let mut set = |word: &str, texts: &BTreeSet<Box<str>>| {
            texts.iter().for_each(|text| {
                add(word);
                add(text);
            });
        };
        set("is", &self.texts);
        set("prefix", &self.prefixes);
        set("suffix", &self.suffixes);
        for number in &self.numbers {
            add("number");
            add(&number.to_string());
        }
        for range in &self.ranges {
            for (word, bound) in [("lower", range.lower()), ("upper", range.upper())] {
                if let Some(bound) = bound {
                    add(word);
                    add(if bound.inclusive { "=" } else { "" });
                    add(&bound.at.to_string());
                }
            }
            add("numeric");
        }
        for excluded in &self.excluded {
            excluded.each_text(add);
            add("anything-but");
        }
        for (word, asked) in [("present", self.present), ("absent", self.absent)] {
            if asked {
                add(word);
            }
        }
    }
}

impl Excluded {
    fn has(&self, text: &str) -> bool {
        match self {
            Self::Scalars(values) => values.iter().any(|value| match value {
                Scalar::Text(value) => value == text,
                Scalar::Number(value) => Number::of_text(text) == Some(*value),
            }),
            Self::Prefixes(texts) => texts.iter().any(|prefix| text.starts_with(&**prefix)),
            Self::Suffixes(texts) => texts.iter().any(|suffix| text.ends_with(&**suffix)),
        }
    }

    fn each_text(&self, add: &mut impl FnMut(&str)) {
        match self {
            Self::Scalars(values) => {
                for value in values {
                    match value {
                        Scalar::Text(text) => {
                            add("is");
                            add(text);
                        }
                        Scalar::Number(number) => {
                            add("number");
                            add(&number.to_string());
                        }
                    }
                }
            }
            Self::Prefixes(texts) | Self::Suffixes(texts) => {
                let is_prefix = matches!(self, Self::Prefixes(_));
                for text in texts {
                    add(if is_prefix { "prefix" } else { "suffix" });
                    add(text);
                }
            }
        }
    }
}

/// Calls `each` with the texts of an attribute until one answers `true`; whether one did.
fn any_text(event: &Event, name: &str, mut each: impl FnMut(&str) -> bool) -> bool {
    let envelope = event.envelope();
    if let Some(field) = field(name) {
        return field.any_value(event, each);
    }
    match name {
        "id" => return each(envelope.id.as_str()),
        "traceparent" => {
            let parent = envelope.traceparent.as_ref();
            return parent.is_some_and(|parent| each(parent.as_str()));
        }
        "tracestate" => {
            return envelope
                .tracestate
                .as_ref()
                .is_some_and(|state| each(state));
        }
        _ => {}
    }
    match envelope.extensions.get(name) {
        None => false,
        Some(ExtensionValue::String(text)) => each(text),
        Some(ExtensionValue::Boolean(value)) => each(if *value { "true" } else { "false" }),
        Some(ExtensionValue::Integer(value)) => each(&value.to_string()),
    }
}
