//! Which events a reader wants. Looks at the envelope only, never at the payload.

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::content::{Attributes, Content};
use crate::event::{Event, Privacy};
use crate::field::FilterField;
use crate::fingerprint::Fingerprint;
use crate::invalid::{Invalid, check_size};
use crate::kind::{Class, Finality, Kind};
use crate::limits;
use crate::path;
use crate::pattern::Pattern;
use crate::visibility::Visibility;

/// What a filter asks for, as people and programs write it: all fields must match, and of each field
/// any value. A field that is absent asks for nothing; an empty list would match nothing and is
/// refused. An event that lacks an optional attribute does not match a field that asks for it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct FilterSpec {
    /// Kinds.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub kinds: Option<Vec<Pattern>>,
    /// Namespaces of sessions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Vec<String>>,
    /// Sessions by name: `id`, or `namespace/id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Vec<String>>,
    /// Sessions by where they are: `namespace/id` is this session alone, `namespace/id/**` it and all
    /// that lie below it, segment by segment, `namespace/**` the whole namespace. A text without `/` is
    /// a session of the default namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<Vec<String>>,
    /// Who produced it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Vec<String>>,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Vec<String>>,
    /// Which agent it concerns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<Vec<String>>,
    /// Which run it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<Vec<String>>,
    /// Which turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn: Option<Vec<String>>,
    /// What it correlates with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation: Option<Vec<String>>,
    /// The id of its cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caused_by: Option<Vec<String>>,
    /// Any of its tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<Vec<String>>,
    /// Classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<Vec<Class>>,
    /// What it ends.
    #[serde(rename = "final", skip_serializing_if = "Option::is_none")]
    pub finality: Option<Vec<Finality>>,
    /// Who may see its payload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub privacy: Option<Vec<Privacy>>,
    /// Conditions on attributes by their names in `CloudEvents`: of each named attribute one must hold,
    /// and of the alternatives in `$or` one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Attributes>,
}

/// Which events a reader wants, compiled. Cheap to clone.
///
/// ```
/// use reveille_types::{Filter, FilterSpec};
///
/// let spec = FilterSpec {
///     kinds: Some(vec!["task.*".parse()?]),
///     agent: Some(vec!["w2".into(), "w1".into()]),
///     ..FilterSpec::default()
/// };
/// let filter = Filter::compile(&spec)?;
///
/// // Order and repetition do not matter: cursors of one are cursors of the other.
/// let same = FilterSpec {
///     agent: Some(vec!["w1".into(), "w2".into(), "w1".into()]),
///     ..spec
/// };
/// assert_eq!(filter.fingerprint(), Filter::compile(&same)?.fingerprint());
/// # Ok::<(), reveille_types::Invalid>(())
/// ```
#[derive(Clone, Default)]
pub struct Filter(Option<Arc<Compiled>>);

/// At least one field asks for something.
#[derive(Debug)]
struct Compiled {
    kinds: Box<[Pattern]>,
    selectors: Box<[(FilterField, BTreeSet<Box<str>>)]>,
    content: Content,
    /// Further filters that must match, each a part without parts, in the order of their fingerprints.
    also: Box<[Filter]>,
    /// What may be seen, whatever is asked for; everything if none.
    visible: Option<Visibility>,
    fingerprint: u64,
}

impl Filter {
    /// Every event.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Compiles what was asked for.
    ///
    /// # Errors
    /// [`Invalid`] names the field: an empty list, more than 64 values, a value over its limit.
    pub fn compile(spec: &FilterSpec) -> Result<Self, Invalid> {
        let class = words(spec.class.as_deref(), Class::as_str);
        let finality = words(spec.finality.as_deref(), Finality::as_str);
        let privacy = words(spec.privacy.as_deref(), Privacy::as_str);
        let path = spec.path.as_deref().map(path::canonical).transpose()?;
        let fields = [
            (FilterField::Namespace, &spec.namespace),
            (FilterField::Session, &spec.session),
            (FilterField::Source, &spec.source),
            (FilterField::Subject, &spec.subject),
            (FilterField::Agent, &spec.agent),
            (FilterField::Run, &spec.run),
            (FilterField::Turn, &spec.turn),
            (FilterField::Correlation, &spec.correlation),
            (FilterField::CausedBy, &spec.caused_by),
            (FilterField::Tag, &spec.tag),
            (FilterField::Class, &class),
            (FilterField::Final, &finality),
            (FilterField::Privacy, &privacy),
            (FilterField::Path, &path),
        ];
        let mut selectors = Vec::new();
        for (field, values) in fields {
            if let Some(values) = values {
                selectors.push((field, selector(field, values)?));
            }
        }
        let kinds = match &spec.kinds {
            None => Vec::new(),
            Some(patterns) => check_patterns(patterns)?,
        };
        let content = match &spec.attributes {
            None => Content::default(),
            Some(attributes) => Content::compile(attributes)?,
        };
        if kinds.is_empty() && selectors.is_empty() && content.len() == 0 {
            return Ok(Self::all());
        }
        Ok(Self::of_part(kinds.into(), selectors.into(), content, None))
    }

    /// The same, and of that only what may be seen. It is another filter, with cursors of its own,
    /// unless everything may be seen.
    #[must_use]
    pub fn within(&self, visible: Visibility) -> Self {
        if visible.is_everything() {
            return self.clone();
        }
        let Some(compiled) = &self.0 else {
            return Self::of_part(
                Box::default(),
                Box::default(),
                Content::default(),
                Some(visible),
            );
        };
        if compiled.visible.is_some() {
            return self.and(&Self::all().within(visible));
        }
        let (kinds, selectors) = (compiled.kinds.clone(), compiled.selectors.clone());
        let own = Self::of_part(kinds, selectors, compiled.content.clone(), Some(visible));
        let all: Vec<Self> = std::iter::once(own)
            .chain(compiled.also.iter().cloned())
            .collect();
        Self::together(all)
    }

    /// What one part asks for.
    fn of_part(
        kinds: Box<[Pattern]>,
        selectors: Box<[(FilterField, BTreeSet<Box<str>>)]>,
        content: Content,
        visible: Option<Visibility>,
    ) -> Self {
        Self(Some(Arc::new(Compiled {
            fingerprint: fingerprint(&kinds, &selectors, &content, visible.as_ref()),
            kinds,
            selectors,
            content,
            also: Box::default(),
            visible,
        })))
    }

    /// Parts, at least one, as one filter. The first is the one that an index goes by.
    fn together(mut parts: Vec<Self>) -> Self {
        let fingerprint = fingerprint_of(&parts);
        let first = parts.remove(0);
        match first.0 {
            Some(compiled) if !parts.is_empty() => Self(Some(Arc::new(Compiled {
                kinds: compiled.kinds.clone(),
                selectors: compiled.selectors.clone(),
                content: compiled.content.clone(),
                visible: compiled.visible.clone(),
                also: parts.into(),
                fingerprint,
            }))),
            part => Self(part),
        }
    }

    /// Events whose kind matches any of `patterns`.
    ///
    /// # Errors
    /// [`Invalid`] when there is none (which would match nothing, silently) or more than 64.
    pub fn any_of(patterns: impl IntoIterator<Item = Pattern>) -> Result<Self, Invalid> {
        Self::compile(&FilterSpec {
            kinds: Some(patterns.into_iter().collect()),
            ..FilterSpec::default()
        })
    }

    /// Parses one pattern into a filter.
    ///
    /// # Errors
    /// [`Invalid`] when it is no pattern.
    pub fn matching(pattern: &str) -> Result<Self, Invalid> {
        Self::any_of([pattern.parse()?])
    }

    /// Events of this run.
    ///
    /// # Errors
    /// [`Invalid`] when the text is too long.
    pub fn run(run: &str) -> Result<Self, Invalid> {
        Self::compile(&FilterSpec {
            run: Some(vec![run.into()]),
            ..FilterSpec::default()
        })
    }

    /// Events that concern this agent.
    ///
    /// # Errors
    /// [`Invalid`] when the text is too long.
    pub fn agent(agent: &str) -> Result<Self, Invalid> {
        Self::compile(&FilterSpec {
            agent: Some(vec![agent.into()]),
            ..FilterSpec::default()
        })
    }

    /// Events of all sessions of this namespace.
    ///
    /// # Errors
    /// [`Invalid`] when the text is too long.
    pub fn namespace(namespace: &str) -> Result<Self, Invalid> {
        Self::compile(&FilterSpec {
            namespace: Some(vec![namespace.into()]),
            ..FilterSpec::default()
        })
    }

    /// Events of the sessions at this [path](FilterSpec::path): with `/**` at its end those below, too.
    ///
    /// ```
    /// use reveille_types::Filter;
    ///
    /// let run_and_its_agents = Filter::path("run/17/**")?;
    /// let run_alone = Filter::path("run/17")?;
    /// assert_ne!(run_and_its_agents, run_alone);
    /// # Ok::<(), reveille_types::Invalid>(())
    /// ```
    ///
    /// # Errors
    /// [`Invalid`] when it is no path.
    pub fn path(path: &str) -> Result<Self, Invalid> {
        Self::compile(&FilterSpec {
            path: Some(vec![path.into()]),
            ..FilterSpec::default()
        })
    }

    /// Events that match both: what somebody asks for, within what it may see.
    ///
    /// ```
    /// use reveille_types::Filter;
    ///
    /// let (failures, run) = (Filter::matching("*.failed")?, Filter::path("run/17/**")?);
    /// assert_eq!(failures.and(&run), run.and(&failures));
    /// assert_eq!(failures.and(&Filter::all()), failures);
    /// # Ok::<(), reveille_types::Invalid>(())
    /// ```
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let (Some(one), Some(two)) = (&self.0, &other.0) else {
            return if self.is_all() {
                other.clone()
            } else {
                self.clone()
            };
        };
        let mut parts: Vec<Self> = [one, two].into_iter().flat_map(parts).collect();
        parts.sort_unstable_by_key(Self::fingerprint);
        parts.dedup();
        Self::together(parts)
    }

    /// Whether every event matches.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.0.is_none()
    }

    /// Identifies what is asked for, not how it was written: the same in each process. `None` for the
    /// filter that matches every event.
    #[must_use]
    pub fn fingerprint(&self) -> Option<u64> {
        self.0.as_ref().map(|compiled| compiled.fingerprint)
    }

    /// Whether the event matches.
    #[must_use]
    pub fn matches(&self, event: &Event) -> bool {
        let Some(compiled) = &self.0 else {
            return true;
        };
        let kinds = &compiled.kinds;
        (kinds.is_empty() || kinds.iter().any(|p| p.matches(event.kind())))
            && compiled
                .selectors
                .iter()
                .all(|(field, wanted)| field.any_value(event, |value| wanted.contains(value)))
            && compiled.content.matches(event)
            && compiled.also.iter().all(|part| part.matches(event))
            && compiled
                .visible
                .as_ref()
                .is_none_or(|visible| visible.allows(event))
    }

    /// Whether some event of this kind matches: what is asked for besides the kind is not looked at.
    #[must_use]
    pub fn may_match_kind(&self, kind: &Kind) -> bool {
        self.0.as_ref().is_none_or(|compiled| {
            (compiled.kinds.is_empty() || compiled.kinds.iter().any(|p| p.matches(kind)))
                && compiled.also.iter().all(|part| part.may_match_kind(kind))
                && (compiled.visible.as_ref()).is_none_or(|visible| visible.may_allow_kind(kind))
        })
    }

    /// The patterns of which the kind must match one; empty if any kind will do.
    #[must_use]
    pub fn kinds(&self) -> &[Pattern] {
        self.0.as_ref().map_or(&[], |compiled| &compiled.kinds)
    }

    /// How many fields ask for something. An index that has looked up the only one need not look at
    /// the event again.
    #[must_use]
    pub fn fields(&self) -> usize {
        self.0.as_ref().map_or(0, |compiled| {
            // What is visible is about sessions and kinds, and no index knows it.
            let visible = if compiled.visible.is_some() { 2 } else { 0 };
            compiled.selectors.len()
                + compiled.content.len()
                + compiled.also.iter().map(Self::fields).sum::<usize>()
                + usize::from(!compiled.kinds.is_empty())
                + visible
        })
    }

    /// A field and the texts of which every matching event has one in it: what an index can look up.
    /// The field that tells events apart best; nothing if the filter has only wildcards.
    #[must_use]
    pub fn index(&self) -> Option<(FilterField, Vec<&str>)> {
        let compiled = self.0.as_ref()?;
        let mut best: Option<(FilterField, Vec<&str>)> = None;
        for field in FilterField::ALL {
            best = match field {
                FilterField::Kind => {
                    let exact = compiled.kinds.iter().all(Pattern::is_exact);
                    let kinds = compiled.kinds.iter().map(Pattern::as_str).collect();
                    (exact && !compiled.kinds.is_empty()).then_some((field, kinds))
                }
                FilterField::Attribute => compiled
                    .content
                    .keys()
                    .map(|keys| (field, keys.iter().map(AsRef::as_ref).collect())),
                _ => compiled
                    .selectors
                    .iter()
                    .find(|(selected, _)| *selected == field)
                    .map(|(_, wanted)| (field, wanted.iter().map(AsRef::as_ref).collect())),
            };
            if best.is_some() {
                break;
            }
        }
        best.or_else(|| compiled.also.iter().find_map(Self::index))
    }
}

/// The filters that are asked for together, each without parts.
fn parts(compiled: &Arc<Compiled>) -> Vec<Filter> {
    if compiled.also.is_empty() {
        return vec![Filter(Some(Arc::clone(compiled)))];
    }
    let own = Filter::of_part(
        compiled.kinds.clone(),
        compiled.selectors.clone(),
        compiled.content.clone(),
        compiled.visible.clone(),
    );
    std::iter::once(own)
        .chain(compiled.also.iter().cloned())
        .collect()
}

/// Digest of filters that are asked for together.
fn fingerprint_of(parts: &[Filter]) -> u64 {
    let mut digest = Fingerprint::default();
    digest.write(b"and/1");
    for part in parts {
        digest.write(&part.fingerprint().unwrap_or_default().to_be_bytes());
    }
    digest.finish()
}

fn words<T: Copy>(values: Option<&[T]>, word: fn(T) -> &'static str) -> Option<Vec<String>> {
    values.map(|values| values.iter().map(|v| word(*v).to_owned()).collect())
}

/// The patterns without repetition, in order; none if one of them matches every kind.
fn check_patterns(patterns: &[Pattern]) -> Result<Vec<Pattern>, Invalid> {
    check_count("match", patterns.len())?;
    if patterns.iter().any(Pattern::is_every) {
        return Ok(Vec::new());
    }
    let mut kinds = patterns.to_vec();
    kinds.sort_unstable_by_key(Pattern::canonical);
    kinds.dedup_by_key(|p| p.canonical());
    Ok(kinds)
}

fn selector(field: FilterField, values: &[String]) -> Result<BTreeSet<Box<str>>, Invalid> {
    check_count(field.name(), values.len())?;
    for value in values {
        check_size(field.name(), value.len(), limits::REFERENCE_BYTES, "bytes")?;
    }
    Ok(values.iter().map(|v| v.as_str().into()).collect())
}

fn check_count(field: &'static str, count: usize) -> Result<(), Invalid> {
    if count == 0 {
        return Err(Invalid::Empty {
            field: field.into(),
        });
    }
    check_size(field, count, limits::FILTER_VALUES, "values")
}

/// Digest of the canonical form: a version, then each field with its sorted values. Lengths stand
/// before texts, so that no two forms run together.
fn fingerprint(
    kinds: &[Pattern],
    selectors: &[(FilterField, BTreeSet<Box<str>>)],
    content: &Content,
    visible: Option<&Visibility>,
) -> u64 {
    let mut digest = Fingerprint::default();
    let mut add = |text: &str| {
        digest.write(&(text.len() as u64).to_be_bytes());
        digest.write(text.as_bytes());
    };
    add("filter/1");
    if !kinds.is_empty() {
        add("match");
        kinds.iter().for_each(|p| add(&p.canonical()));
    }
    for (field, wanted) in selectors {
        add(field.name());
        wanted.iter().for_each(|value| add(value));
    }
    content.each_text(&mut add);
    visible
        .into_iter()
        .flat_map(Visibility::texts)
        .for_each(add);
    digest.finish()
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(a), Some(b)) => {
                let kinds = |c: &Compiled| -> Vec<String> {
                    c.kinds.iter().map(Pattern::canonical).collect()
                };
                let same = || {
                    a.selectors == b.selectors
                        && a.content == b.content
                        && a.also == b.also
                        && a.visible == b.visible
                };
                Arc::ptr_eq(a, b)
                    || (a.fingerprint == b.fingerprint
                        && same()
                        && (a.kinds == b.kinds || kinds(a) == kinds(b)))
            }
            _ => false,
        }
    }
}

impl Eq for Filter {}

impl Hash for Filter {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.fingerprint().hash(state);
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("Filter(all)"),
            Some(compiled) => f
                .debug_struct("Filter")
                .field("match", &compiled.kinds)
                .field("selectors", &compiled.selectors)
                .field("attributes", &compiled.content)
                .field("also", &compiled.also)
                .field("visible", &compiled.visible)
                .finish(),
        }
    }
}
