//! Known kinds with their class and finality, as data.

use std::borrow::Cow;
use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::kind::{Class, EndReason, Finality, Kind};
use crate::known_kinds::{RUNS, WORK};

/// What is known of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KindInfo {
    /// How it is treated under pressure.
    pub class: Class,
    /// What it ends.
    pub finality: Finality,
    /// Why the session is over when it ends one.
    pub end: Option<EndReason>,
}

/// The known kinds. Kinds that are not in it are legal, [`Class::Normal`] and [`Finality::None`].
///
/// ```
/// use reveille_types::{Class, Finality, Kind, KindRegistry};
///
/// let registry = KindRegistry::standard();
/// let info = registry.info(&Kind::parse("task.completed")?);
/// assert_eq!((info.class, info.finality), (Class::Normal, Finality::Operation));
/// # Ok::<(), reveille_types::Invalid>(())
/// ```
#[derive(Debug, Clone)]
pub struct KindRegistry {
    known: HashMap<Cow<'static, str>, KindInfo, RandomState>,
    /// Older names, each with the kind it means.
    aliases: HashMap<Cow<'static, str>, Cow<'static, str>, RandomState>,
}

impl Default for KindRegistry {
    fn default() -> Self {
        Self::standard()
    }
}

impl KindRegistry {
    /// A registry that knows no kind.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            known: HashMap::default(),
            aliases: HashMap::default(),
        }
    }

    /// The kinds that Reveille ships: of messages, tasks, workflows, workers, supervised agents, storage,
    /// and of runs of agents; each under its older name, too, if it has one.
    #[must_use]
    pub fn standard() -> Self {
        let mut registry = Self::empty();
        for &(kind, aliases, info) in WORK.iter().chain(&RUNS) {
            registry.known.insert(Cow::Borrowed(kind), info);
            for &alias in aliases {
                registry
                    .aliases
                    .insert(Cow::Borrowed(alias), Cow::Borrowed(kind));
            }
        }
        registry
    }

    /// Adds a kind, or replaces what was known of it.
    pub fn register(&mut self, kind: &Kind, info: KindInfo) {
        self.known
            .insert(Cow::Owned(kind.as_str().to_owned()), info);
    }

    /// Makes `alias` another name of `kind`.
    pub fn register_alias(&mut self, alias: &Kind, kind: &Kind) {
        self.aliases.insert(
            Cow::Owned(alias.as_str().to_owned()),
            Cow::Owned(kind.as_str().to_owned()),
        );
    }

    /// The name under which what `name` means is known: of the kind for an alias, else the same.
    #[must_use]
    pub fn canonical<'a>(&'a self, name: &'a str) -> &'a str {
        self.aliases.get(name).map_or(name, AsRef::as_ref)
    }

    /// The other names of a kind.
    pub fn aliases_of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a str> {
        self.aliases
            .iter()
            .filter(move |(_, meant)| *meant == kind)
            .map(|(alias, _)| alias.as_ref())
    }

    /// What is known of `kind` or of the kind it is an alias of; the default for an unknown one.
    #[must_use]
    pub fn info(&self, kind: &Kind) -> KindInfo {
        let kind = self.canonical(kind.as_str());
        self.known.get(kind).copied().unwrap_or_default()
    }

    /// Whether the kind, or the kind it is an alias of, is in the registry.
    #[must_use]
    pub fn knows(&self, kind: &Kind) -> bool {
        self.known.contains_key(self.canonical(kind.as_str()))
    }

    /// All known kinds, in no particular order.
    pub fn kinds(&self) -> impl Iterator<Item = (&str, KindInfo)> {
        self.known.iter().map(|(kind, info)| (kind.as_ref(), *info))
    }

    /// Why a session is over that ended with an event of `kind`: as registered, else by the last
    /// segment of the name (`failed`, `cancelled`, `rejected`), else completed.
    #[must_use]
    pub fn end_reason(&self, kind: &Kind) -> EndReason {
        if let Some(end) = self.info(kind).end {
            return end;
        }
        match kind.segments().last() {
            Some("failed" | "error") => EndReason::Failed,
            Some("cancelled" | "canceled") => EndReason::Cancelled,
            Some("rejected") => EndReason::Rejected,
            _ => EndReason::Completed,
        }
    }
}
