//! Known kinds with their class and finality, as data.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::kind::{Class, EndReason, Finality, Kind};

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
    known: HashMap<Cow<'static, str>, KindInfo>,
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
            known: HashMap::new(),
        }
    }

    /// The kinds of agent messages, tasks, workflows, agents and storage that Reveille ships.
    #[must_use]
    pub fn standard() -> Self {
        let known = STANDARD
            .iter()
            .map(|&(kind, class, finality, end)| {
                let info = KindInfo {
                    class,
                    finality,
                    end,
                };
                (Cow::Borrowed(kind), info)
            })
            .collect();
        Self { known }
    }

    /// Adds a kind, or replaces what was known of it.
    pub fn register(&mut self, kind: &Kind, info: KindInfo) {
        self.known
            .insert(Cow::Owned(kind.as_str().to_owned()), info);
    }

    /// What is known of `kind`; the default for an unknown one.
    #[must_use]
    pub fn info(&self, kind: &Kind) -> KindInfo {
        self.known.get(kind.as_str()).copied().unwrap_or_default()
    }

    /// Whether the kind is in the registry.
    #[must_use]
    pub fn knows(&self, kind: &Kind) -> bool {
        self.known.contains_key(kind.as_str())
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

type Row = (&'static str, Class, Finality, Option<EndReason>);

const fn ends(kind: &'static str, end: EndReason) -> Row {
    (kind, Class::Normal, Finality::Session, Some(end))
}

const fn operation(kind: &'static str) -> Row {
    (kind, Class::Normal, Finality::Operation, None)
}

const fn normal(kind: &'static str) -> Row {
    (kind, Class::Normal, Finality::None, None)
}

const fn progress(kind: &'static str) -> Row {
    (kind, Class::Progress, Finality::None, None)
}

/// `task.error` is absent from the finals on purpose: whether it ends the session depends on its
/// payload (`recoverable`), see [`EventDraft`](crate::EventDraft). `worker_complete` and
/// `worker_completed` are older names of `worker.complete`.
const STANDARD: [Row; 49] = [
    normal("agent.message"),
    operation("worker.complete"),
    operation("worker_complete"),
    operation("worker_completed"),
    normal("agent.spawned"),
    normal("agent.notify_parent"),
    normal("agent.message_sent"),
    normal("pr.merged"),
    normal("pr.merge_failed"),
    normal("task.status.pending"),
    normal("task.status.working"),
    normal("task.status.input_required"),
    normal("task.status.auth_required"),
    ends("task.status.completed", EndReason::Completed),
    ends("task.status.failed", EndReason::Failed),
    ends("task.status.cancelled", EndReason::Cancelled),
    ends("task.status.rejected", EndReason::Rejected),
    (Kind::CANCEL_REQUESTED, Class::Control, Finality::None, None),
    progress("task.progress"),
    normal("task.artifact"),
    normal("task.artifact.chunk"),
    (
        "task.error",
        Class::Normal,
        Finality::None,
        Some(EndReason::Failed),
    ),
    ends("task.result", EndReason::Completed),
    normal("checkpoint.saved"),
    normal("checkpoint.superseded"),
    normal("task.started"),
    operation("task.completed"),
    operation("task.failed"),
    operation("task.skipped"),
    normal("workflow.started"),
    ends("workflow.completed", EndReason::Completed),
    ends("workflow.failed", EndReason::Failed),
    ends("workflow.cancelled", EndReason::Cancelled),
    progress("agent.heartbeat"),
    operation("agent.failed"),
    normal("agent.recovered"),
    normal("agent.registered"),
    normal("agent.degraded"),
    normal("agent.recovering"),
    operation("agent.gave_up"),
    operation("agent.unregistered"),
    normal("compression.started"),
    operation("compression.completed"),
    operation("storage.uploaded"),
    operation("storage.retrieved"),
    operation("storage.deleted"),
    normal("error.occurred"),
    normal("warning.issued"),
    progress("info.logged"),
];
