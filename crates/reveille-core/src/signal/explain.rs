//! Why a signal is not complete: what it waits for, and who owes that.

use std::collections::{HashSet, VecDeque};
use std::panic::Location;
use std::sync::Arc;

use jiff::Timestamp;

use super::slots::{Core, Place, SlotRef};
use crate::{MergeMode, SignalError, SignalHandle};

/// How many pending signals an explanation names.
const PENDING_MAX: usize = 1000;

/// What [`SignalSystem::explain`](crate::SignalSystem::explain) found in the wait-for graph.
///
/// ```
/// # let system = reveille_core::SignalSystem::<()>::new();
/// let signal = system.create()?;
/// let handle = signal.handle();
/// assert_eq!(system.explain(handle)?.pending.len(), 1);
/// signal.trigger(())?;
/// let why = system.explain(handle)?;
/// assert!(why.pending.is_empty() && !why.truncated);
/// # Ok::<(), reveille_core::SignalError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The asked signal, then what it waits for, and what that waits for, each pending signal
    /// once and nearer ones first; empty if the asked signal is complete. At most 1000. Signals of
    /// other systems are named by their handles; what they wait for, their owners can explain.
    pub pending: Vec<PendingSignal>,
    /// Whether there are more than `pending` names.
    pub truncated: bool,
}

/// A signal that is not complete.
///
/// ```
/// # let system = reveille_core::SignalSystem::<()>::new();
/// use reveille_core::MergeMode;
///
/// let (a, b) = (system.create()?.named("a"), system.create()?);
/// let both = system.merge(&[a.handle(), b.handle()])?;
/// let why = system.explain(both)?;
/// assert_eq!(why.pending[0].mode, Some(MergeMode::AllSettled));
/// assert_eq!(why.pending[0].waits_for, [a.handle(), b.handle()]);
/// assert_eq!(why.pending[1].name.as_deref(), Some("a"));
/// # (a.trigger(())?, b.trigger(())?);
/// # Ok::<(), reveille_core::SignalError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PendingSignal {
    /// The signal.
    pub handle: SignalHandle,
    /// Its name, if it was given one.
    pub name: Option<Arc<str>>,
    /// Who owes it, if it is tracked.
    pub owed: Option<Owed>,
    /// How its inputs complete it, if it is a merge.
    pub mode: Option<MergeMode>,
    /// Its inputs that are pending, in their order, if it is a merge.
    pub waits_for: Vec<SignalHandle>,
}

/// Who owes a signal, and since when.
///
/// ```
/// # let system = reveille_core::SignalSystem::<()>::new();
/// let signal = system.create()?.tracked();
/// let owed = system.explain(signal.handle())?.pending[0].owed.unwrap();
/// assert_eq!(owed.place.file(), file!());
/// assert!(owed.since <= jiff::Timestamp::now());
/// # signal.trigger(())?;
/// # Ok::<(), reveille_core::SignalError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owed {
    /// Where it was made.
    pub place: &'static Location<'static>,
    /// When it was made, by the wall clock.
    pub since: Timestamp,
}

pub(super) fn explain<T>(core: &Core<T>, handle: SignalHandle) -> Result<Explanation, SignalError> {
    let mut explanation = Explanation {
        pending: Vec::new(),
        truncated: false,
    };
    let mut queue = VecDeque::new();
    match core.find(handle)? {
        Place::Live(slot, _) => queue.push_back((shown(&slot), slot)),
        Place::Plain(_) | Place::Past(_) => {}
    }
    let mut seen = HashSet::from([handle]);
    let mut ended = HashSet::new();
    // Breadth first. There are no cycles: a merge is younger than its inputs.
    while let Some((named, slot)) = queue.pop_front() {
        // Before it was asked for, or in the queue.
        if slot.word().is_complete() {
            ended.insert(named);
            continue;
        }
        if explanation.pending.len() == PENDING_MAX {
            explanation.truncated = true;
            break;
        }
        let mut pending = PendingSignal::of(named, &slot);
        let is_own = named == slot.handle();
        if let Some(merge) = slot.merge().filter(|_| is_own) {
            pending.mode = Some(merge.rule.mode);
            for input in merge.inputs(core) {
                let Some(slot) = core.find_live(input.index(), input.generation()) else {
                    continue;
                };
                // Before it is looked at: whoever completes it takes away what it stands for.
                let named = shown(&slot);
                if slot.word().is_complete() {
                    continue;
                }
                pending.waits_for.push(named);
                // A reference is held for what is queued only.
                if queue.len() <= PENDING_MAX && seen.insert(input) {
                    queue.push_back((named, slot));
                }
            }
        }
        explanation.pending.push(pending);
    }
    for pending in &mut explanation.pending {
        pending.waits_for.retain(|input| !ended.contains(input));
    }
    Ok(explanation)
}

/// The signal of another system that the one in the slot stands for, or else that one.
fn shown<T>(slot: &SlotRef<T>) -> SignalHandle {
    let stands_for = slot.if_extra(|extra| extra.stands_for).flatten();
    stands_for.unwrap_or_else(|| slot.handle())
}

impl PendingSignal {
    fn of<T>(handle: SignalHandle, slot: &SlotRef<T>) -> Self {
        let known = slot.if_extra(|extra| (extra.name.clone(), extra.tracked));
        let (name, owed) = known.unwrap_or_default();
        Self {
            handle,
            name,
            owed,
            mode: None,
            waits_for: Vec::new(),
        }
    }
}
