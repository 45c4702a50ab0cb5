//! Conditions compiled: each attribute is looked at once, in time linear in its text and in what is
//! asked of it.

use std::collections::BTreeSet;

use super::attributes::OR;
use super::wildcard::Wildcard;
use super::{Attributes, Condition, Number, Range, Scalar};
use crate::event::{Event, ExtensionValue};
use crate::field::FilterField;
use crate::invalid::{Invalid, check_size};
use crate::limits;

/// What is asked of attributes, all of which must match.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Content {
    each: Box<[Attribute]>,
    /// Alternatives of which one must match, unless there are none.
    any: BTreeSet<Content>,
}

/// What is asked of one attribute, of which anything must match.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Attribute {
    name: Box<str>,
    texts: BTreeSet<Box<str>>,
    numbers: BTreeSet<Number>,
    prefixes: BTreeSet<Box<str>>,
    suffixes: BTreeSet<Box<str>>,
    /// In lower case.
    folded: BTreeSet<Box<str>>,
    wildcards: BTreeSet<Wildcard>,
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
    Folded(BTreeSet<Box<str>>),
    Wildcards(BTreeSet<Wildcard>),
}

impl Content {
    /// Compiles what is asked of each attribute.
    pub(crate) fn compile(spec: &Attributes) -> Result<Self, Invalid> {
        check_size(
            "attributes",
            spec.each.len(),
            limits::EXTENSIONS,
            "attributes",
        )?;
        if spec.each.is_empty() && spec.any.is_empty() {
            return Err(Invalid::Empty {
                field: "attributes".into(),
            });
        }
        // Before what is below is compiled: it bounds how deep alternatives lie, too.
        let below = spec.any.iter().map(values).sum();
        check_size("attributes.$or", below, limits::FILTER_VALUES, "values")?;
        if spec.any.len() == 1 {
            let problem = "has one alternative only";
            return Err(Invalid::form(OR, problem).within("attributes"));
        }
        let each = spec.each.iter();
        let each = each.map(|(name, conditions)| Attribute::compile(name, conditions));
        Ok(Self {
            each: each.collect::<Result<_, _>>()?,
            any: spec
                .any
                .iter()
                .map(Self::compile)
                .collect::<Result<_, _>>()?,
        })
    }

    /// How many things are asked for that must all match: attributes, and one of the alternatives.
    pub(crate) fn len(&self) -> usize {
        self.each.len() + usize::from(!self.any.is_empty())
    }

    /// Whether the event has everything that is asked for.
    pub(crate) fn matches(&self, event: &Event) -> bool {
        self.each.iter().all(|attribute| attribute.matches(event))
            && (self.any.is_empty() || self.any.iter().any(|content| content.matches(event)))
    }

    /// `name=text` of which every matching event has one, for the attribute that has the fewest.
    pub(crate) fn keys(&self) -> Option<&[Box<str>]> {
        let keys = self
            .each
            .iter()
            .filter_map(|attribute| attribute.keys.as_deref());
        keys.min_by_key(|keys| keys.len())
    }

    /// The canonical form, text by text.
    pub(crate) fn each_text(&self, add: &mut dyn FnMut(&str)) {
        for attribute in &self.each {
            attribute.each_text(add);
        }
        for content in &self.any {
            add(OR);
            content.each_text(add);
            add("end");
        }
    }
}

/// How many values are asked for, here and below.
fn values(spec: &Attributes) -> usize {
    let each = spec.each.values().flatten().map(Condition::values);
    let any = spec.any.iter().map(values);
    each.chain(any).sum()
}

/// A text without the difference between upper and lower case.
fn fold(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
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
            condition.check(name).map_err(inside)?;
            values += condition.values();
        }
        if values == 0 {
            return Err(inside(Invalid::Empty {
                field: name.to_owned().into(),
            }));
        }
        check_size(name.to_owned(), values, limits::FILTER_VALUES, "values").map_err(inside)?;
        let mut attribute = Self::empty(name);
        for condition in conditions.iter().cloned() {
            attribute
                .add(condition)
                .map_err(|problem| inside(Invalid::form(name.to_owned(), problem)))?;
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
            folded: BTreeSet::new(),
            wildcards: BTreeSet::new(),
            ranges: BTreeSet::new(),
            excluded: BTreeSet::new(),
            present: false,
            absent: false,
            keys: None,
        }
    }

    fn add(&mut self, condition: Condition) -> Result<(), &'static str> {
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
            Condition::EqualsIgnoreCase(text) => {
                self.folded.insert(fold(&text).into());
            }
            Condition::Wildcard(text) => {
                self.wildcards.insert(Wildcard::parse(&text)?);
            }
            Condition::NotEqualsIgnoreCase(texts) => {
                let texts = texts.iter().map(|text| fold(text).into()).collect();
                self.excluded.insert(Excluded::Folded(texts));
            }
            Condition::NotWildcard(texts) => {
                let wildcards = texts.iter().map(|text| Wildcard::parse(text));
                let wildcards = wildcards.collect::<Result<_, _>>()?;
                self.excluded.insert(Excluded::Wildcards(wildcards));
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
        Ok(())
    }

    fn make_keys(&self) -> Option<Box<[Box<str>]>> {
        let has_more = self.present
            || self.absent
            || !self.numbers.is_empty()
            || !self.prefixes.is_empty()
            || !self.suffixes.is_empty()
            || !self.folded.is_empty()
            || !self.wildcards.is_empty()
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
            || (!self.folded.is_empty() && self.folded.contains(&*fold(text)))
            || self.wildcards.iter().any(|wildcard| wildcard.matches(text))
            || (asks_numbers && number().is_some_and(in_numbers))
            || self.excluded.iter().any(|excluded| !excluded.has(text))
    }

    fn each_text(&self, add: &mut dyn FnMut(&str)) {
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
        set("equals-ignore-case", &self.folded);
        for wildcard in &self.wildcards {
            add("wildcard");
            add(wildcard.as_str());
        }
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
        // What is excluded has no mark where it begins: behind values it needs one.
        let has_values = !self.texts.is_empty()
            || !self.prefixes.is_empty()
            || !self.suffixes.is_empty()
            || !self.folded.is_empty()
            || !self.wildcards.is_empty()
            || !self.numbers.is_empty();
        if has_values && !self.excluded.is_empty() {
            add("or");
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
            Self::Folded(texts) => texts.contains(&*fold(text)),
            Self::Wildcards(wildcards) => wildcards.iter().any(|wildcard| wildcard.matches(text)),
        }
    }

    fn each_text(&self, add: &mut dyn FnMut(&str)) {
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
            Self::Prefixes(texts) | Self::Suffixes(texts) | Self::Folded(texts) => {
                let word = match self {
                    Self::Prefixes(_) => "prefix",
                    Self::Suffixes(_) => "suffix",
                    _ => "equals-ignore-case",
                };
                for text in texts {
                    add(word);
                    add(text);
                }
            }
            Self::Wildcards(wildcards) => {
                for wildcard in wildcards {
                    add("wildcard");
                    add(wildcard.as_str());
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
