//! A merged signal as a counter: what its inputs have said, and when that decides it.
//!
//! The counter is in a [`Merge`] that the inputs refer to, and which refers to inputs and
//! merged signal by index and generation only: it keeps nothing alive. Whoever completes an
//! input notes it, and whoever's note decides the merge completes it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::mem;
use std::num::NonZeroUsize;
use std::sync::OnceLock;

use smallvec::SmallVec;

use super::completion::conclude;
use super::outcome::Outcome;
use super::slots::{Core, Owned, Pinned, Place, Subscribed, Subscriber};
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::sync::{Arc, Mutex};
use crate::{Poison, SignalError, SignalHandle};

/// When a merged signal is complete, and how.
///
/// ```
/// use std::num::NonZeroUsize;
/// use reveille_core::{MergeMode, SignalStatus, SignalSystem};
///
/// let system = SignalSystem::<()>::new();
/// let [a, b, c] = [system.create()?, system.create()?, system.create()?];
/// let inputs = [a.handle(), b.handle(), c.handle()];
/// let two = MergeMode::NOf(NonZeroUsize::new(2).unwrap());
/// let quorum = system.merge_with(&inputs, two)?;
/// let all = system.merge_with(&inputs, MergeMode::FailFast)?;
/// a.trigger(())?;
/// drop(b);
/// assert_eq!(system.poll(quorum)?, SignalStatus::Pending);
/// assert!(matches!(system.poll(all)?, SignalStatus::Poisoned(_)));
/// c.trigger(())?;
/// assert_eq!(system.poll(quorum)?, SignalStatus::Triggered);
/// # Ok::<(), reveille_core::SignalError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MergeMode {
    /// Waits for all inputs, then is triggered if all were, and else poisoned with all causes
    /// in the order of the inputs.
    #[default]
    AllSettled,
    /// Like `AllSettled`, but is poisoned as soon as one input failed.
    FailFast,
    /// Is triggered with the first input that is, and poisoned when all inputs failed.
    AnyOf,
    /// Is triggered when that many inputs are, and poisoned as soon as too few can be.
    NOf(NonZeroUsize),
}

impl MergeMode {
    /// How many of so many inputs must be triggered.
    fn needed(self, inputs: usize) -> usize {
        match self {
            Self::AllSettled | Self::FailFast => inputs,
            Self::AnyOf => 1,
            Self::NOf(needed) => needed.get(),
        }
    }
}

/// What a merged signal waits for.
pub(super) struct Merge {
    /// The slot and the generation of the merged signal, known before anybody else sees this.
    index: AtomicU32,
    generation: AtomicU32,
    pub(super) rule: Rule,
    /// [`Counts`], which the edges change, and [`merge`] for what has no edge.
    pub(super) counts: AtomicU64,
    /// Each with its input, which is another than the poison's if that came from another system.
    /// Noted before its input is counted.
    failures: Mutex<Vec<(SignalHandle, Poison)>>,
    /// All inputs in their order.
    links: SmallVec<[Link; 4]>,
    /// How the merged signal failed, if it did; written before that is published.
    poison: OnceLock<Poison>,
    /// Read by who uses an edge and written at the end, so that the models see who is too late.
    #[cfg(loom)]
    pub(super) alive: crate::sync::UnsafeCell<()>,
}

#[cfg(loom)]
impl Drop for Merge {
    fn drop(&mut self) {
        self.alive.with_mut(|_| ());
    }
}

/// When a merge is decided.
#[derive(Clone, Copy)]
pub(super) struct Rule {
    pub(super) mode: MergeMode,
    /// How many inputs must be triggered.
    needed: u32,
}

/// From the lowest bit: how many inputs have neither been noted nor taken out (32 bits); how
/// many were triggered (29 bits); [`OWNED`]; [`REGISTERED`]; [`CUT`].
#[derive(Clone, Copy)]
pub(super) struct Counts(pub(super) u64);

struct Link {
    index: u32,
    generation: u32,
    /// How the merge is registered there: a key in the input's side table or one of those below.
    /// Written before [`REGISTERED`] is set.
    how: AtomicU32,
}

/// In the cell of the input.
const IN_CELL: u32 = u32::MAX;
/// Not at all.
const NOWHERE: u32 = u32::MAX - 1;

/// The most inputs that the counter can hold.
const INPUTS_MAX: usize = (1 << 29) - 1;
const TRIGGERED: u64 = 1 << 32;
/// The merged signal is in its slot.
pub(super) const OWNED: u64 = 1 << 61;
/// The merge is registered with all inputs that are pending; before, nothing decides it.
const REGISTERED: u64 = 1 << 62;
/// The merge is complete before its inputs.
const CUT: u64 = 1 << 63;

impl Merge {
    fn new(mode: MergeMode, needed: u32, inputs: &[SignalHandle]) -> Self {
        Self {
            index: AtomicU32::new(0),
            generation: AtomicU32::new(0),
            rule: Rule { mode, needed },
            counts: AtomicU64::new(OWNED),
            failures: Mutex::default(),
            links: inputs
                .iter()
                .map(|input| Link {
                    index: input.index(),
                    generation: input.generation(),
                    how: AtomicU32::new(NOWHERE),
                })
                .collect(),
            poison: OnceLock::new(),
            #[cfg(loom)]
            alive: crate::sync::UnsafeCell::new(()),
        }
    }

    /// Says which signal it completes, before anybody else can see it. From now on its inputs
    /// count.
    pub(super) fn belong_to(&self, index: u32, generation: u32) {
        let counts = OWNED + self.links.len() as u64;
        self.counts.store(counts, Ordering::Relaxed);
        self.index.store(index, Ordering::Relaxed);
        self.generation.store(generation, Ordering::Relaxed);
    }

    /// Keeps how the merged signal fails, by the one who completes it.
    pub(super) fn fail(&self, poison: Poison) {
        let _ = self.poison.set(poison);
    }

    /// How the merged signal failed, if it did.
    pub(super) fn poison(&self) -> Option<&Poison> {
        self.poison.get()
    }

    /// Writes down how an input ended, and gives the change to the counts by which it is noted.
    #[inline]
    pub(super) fn record(
        &self,
        input: impl FnOnce() -> SignalHandle,
        ended: Result<(), &Poison>,
    ) -> u64 {
        #[cfg(loom)]
        self.alive.with(|_| ());
        match ended {
            Ok(()) => Counts::TRIGGERED,
            Err(poison) => {
                let failure = (input(), poison.clone());
                self.failures.lock().push(failure);
                Counts::RELEASED
            }
        }
    }

    /// How the merged signal ends, when it is decided.
    pub(super) fn outcome<T>(&self, core: &Core<T>) -> Outcome<T> {
        let counts = Counts(self.counts.load(Ordering::Acquire));
        if self.rule.success(counts) == Some(true) {
            return Outcome::Triggered(None);
        }
        let mut failures = mem::take(&mut *self.failures.lock());
        if failures.len() > 1 {
            let mut by_input: HashMap<_, _> = failures.into_iter().collect();
            failures = self
                .inputs(core)
                .filter_map(|input| by_input.remove_entry(&input))
                .collect();
        }
        let (index, generation) = self.merged();
        let handle = SignalHandle::new(core.id(), index, generation);
        let poisons = failures.iter().map(|(_, poison)| poison);
        Outcome::Failed(Poison::merged(handle, poisons))
    }

    /// The slot and the generation of the merged signal.
    pub(super) fn merged(&self) -> (u32, u32) {
        (
            self.index.load(Ordering::Relaxed),
            self.generation.load(Ordering::Relaxed),
        )
    }

    pub(super) fn inputs<T>(&self, core: &Core<T>) -> impl Iterator<Item = SignalHandle> {
        let id = core.id();
        self.links
            .iter()
            .map(move |link| SignalHandle::new(id, link.index, link.generation))
    }

    /// Takes the merge, which is complete, out of the inputs that it does not wait for any more.
    pub(super) fn cut<T>(&self, core: &Core<T>) {
        if Counts(self.counts.load(Ordering::Acquire)).pending() == 0 {
            return;
        }
        let before = Counts(self.counts.fetch_or(CUT, Ordering::AcqRel));
        // Otherwise whoever registers it sees CUT at the end.
        if before.has(REGISTERED) {
            self.deregister(core);
        }
    }

    fn deregister<T>(&self, core: &Core<T>) {
        for link in &self.links {
            let how = link.how.load(Ordering::Acquire);
            if how == NOWHERE {
                continue;
            }
            // Complete, it has told the merge or is about to, which changes nothing.
            let Some(input) = core.find_live(link.index, link.generation) else {
                continue;
            };
            if how == IN_CELL {
                // While the input is pending its cell is this merge's.
                if let Ok(Some(Subscriber::Merge(edge))) = input.empty_cell() {
                    input.disown_cell();
                    edge.release();
                }
            } else {
                let removed = input.if_extra(|extra| extra.merges.try_remove(how as usize));
                if let Some(edge) = removed.flatten() {
                    edge.release();
                }
            }
        }
    }
}

impl Rule {
    /// How the merge is decided, if it is.
    #[inline]
    pub(super) fn success(self, counts: Counts) -> Option<bool> {
        if !counts.has(REGISTERED) {
            return None;
        }
        let (pending, needed) = (counts.pending(), u64::from(self.needed));
        let triggered = (counts.0 & !(OWNED | REGISTERED | CUT)) >> 32;
        if self.mode == MergeMode::AllSettled && pending > 0 {
            return None;
        }
        if triggered >= needed {
            return Some(true);
        }
        (triggered + pending < needed).then_some(false)
    }
}

impl Counts {
    /// What to add when an input was triggered.
    const TRIGGERED: u64 = TRIGGERED - 1;
    /// What to add when an input failed or is taken out.
    pub(super) const RELEASED: u64 = u64::MAX;

    pub(super) fn pending(self) -> u64 {
        self.0 & u64::from(u32::MAX)
    }

    /// Whether the flag is set.
    pub(super) fn has(self, flag: u64) -> bool {
        self.0 & flag != 0
    }
}

/// Makes a signal that is completed by `inputs`.
pub(super) fn merge<T>(
    core: &Arc<Core<T>>,
    inputs: &[SignalHandle],
    mode: MergeMode,
) -> Result<SignalHandle, SignalError> {
    let inputs = distinct(inputs);
    if inputs.is_empty() {
        return Err(SignalError::EmptyMerge);
    }
    if inputs.len() > INPUTS_MAX {
        return Err(SignalError::Exhausted { limit: INPUTS_MAX });
    }
    let needed = mode.needed(inputs.len());
    if needed > inputs.len() {
        let inputs = inputs.len();
        return Err(SignalError::UnreachableMerge { needed, inputs });
    }
    // All inputs are looked at before anything changes.
    let mut pinned = Pinned::default();
    core.check(&inputs, &mut pinned)?;

    let merge = Owned::new(Merge::new(mode, needed as u32, &inputs));
    let slot = Core::create_derived(core, merge)?;
    let merge = slot.merge().expect("a slot made for a merge has it");

    let mut refused = None;
    core.subscribe(&inputs, &mut pinned, merge, |at, how| {
        let how = match how {
            Subscribed::Cell => IN_CELL,
            Subscribed::Listed(key) => key,
            Subscribed::Elsewhere => {
                // Complete, or forgotten since it was looked at.
                let record = |ended| merge.record(|| inputs[at], ended);
                let change = match core.find(inputs[at]) {
                    Ok(Place::Live(input, _)) => input.ended().map(record),
                    Ok(Place::Past(past)) => Some(record(past.ended())),
                    Ok(Place::Plain(_)) => Some(record(Ok(()))),
                    Err(error) => {
                        refused = Some(error);
                        Some(Counts::RELEASED)
                    }
                };
                // There is no edge. It is decided below, when all inputs are registered.
                merge
                    .counts
                    .fetch_add(change.unwrap_or(0), Ordering::AcqRel);
                NOWHERE
            }
        };
        merge.links[at].how.store(how, Ordering::Relaxed);
    });

    if let Some(error) = refused {
        merge.deregister(core);
        // Nobody has seen the merged signal, so nobody misses it, and success takes no place in
        // the history.
        conclude(&slot, || Outcome::Triggered(None));
        return Err(error);
    }
    // Now that it is registered with all inputs, they may decide.
    let before = merge.counts.fetch_add(REGISTERED, Ordering::AcqRel);
    if before & CUT != 0 {
        merge.deregister(core);
    }
    if merge.rule.success(Counts(before + REGISTERED)).is_some() {
        conclude(&slot, || merge.outcome(core));
    }
    Ok(slot.handle())
}

/// Each input once, in the order of the first mention.
fn distinct(inputs: &[SignalHandle]) -> Cow<'_, [SignalHandle]> {
    if inputs.is_sorted_by(|a, b| a < b) {
        return Cow::Borrowed(inputs);
    }
    let mut order: Vec<usize> = (0..inputs.len()).collect();
    // Stable, so of equal ones the first stays.
    order.sort_by_key(|at| inputs[*at]);
    order.dedup_by_key(|at| inputs[*at]);
    if order.len() == inputs.len() {
        return Cow::Borrowed(inputs);
    }
    order.sort_unstable();
    Cow::Owned(order.into_iter().map(|at| inputs[at]).collect())
}
