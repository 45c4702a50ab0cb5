//! A merged signal as a counter: what its inputs have said, and when that decides it.
//!
//! The counter is in a [`Merge`] that the inputs refer to, and which refers to inputs and
//! merged signal by index and generation only: it keeps nothing alive. Whoever completes an
//! input notes it, and whoever's note decides the merge completes it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::mem;
use std::num::NonZeroUsize;

use super::completion::settle;
use super::outcome::Outcome;
use super::slots::{Core, Place, Subscribed, Subscriber};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Arc, Mutex};
use crate::{Poison, SignalError, SignalHandle};

/// When a merged signal is complete, and how.
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

/// A pending merge.
pub(super) struct Merge {
    /// The slot and the generation of the merged signal.
    index: u32,
    generation: u32,
    pub(super) mode: MergeMode,
    /// How many inputs must be triggered.
    needed: u32,
    /// How many inputs were triggered, in the upper half, and how many have not been noted, in
    /// the lower half. Until all inputs are registered, that is one more, so that nothing is
    /// decided by too few.
    counts: AtomicU64,
    /// Noted before its input is counted.
    failures: Mutex<Vec<Poison>>,
    links: Mutex<Links>,
}

/// Where a merge is registered.
enum Links {
    /// Not yet with all inputs.
    Making,
    /// All inputs in their order.
    Made(Vec<Link>),
    /// Nowhere any more, or about to be by whoever registers.
    Cut,
}

struct Link {
    index: u32,
    generation: u32,
    how: Subscribed,
}

const TRIGGERED: u64 = 1 << 32;

impl Merge {
    fn new(handle: SignalHandle, mode: MergeMode, inputs: u32, needed: u32) -> Self {
        Self {
            index: handle.index(),
            generation: handle.generation(),
            mode,
            needed,
            counts: AtomicU64::new(u64::from(inputs) + 1),
            failures: Mutex::default(),
            links: Mutex::new(Links::Making),
        }
    }

    /// Notes that an input is complete; each input does so once. Whether the merge is decided,
    /// and for success.
    pub(super) fn note(&self, ended: Result<(), &Poison>) -> Option<bool> {
        let counts = match ended {
            Ok(()) => {
                let change = TRIGGERED - 1;
                self.counts.fetch_add(change, Ordering::AcqRel) + change
            }
            Err(poison) => {
                self.failures.lock().push(poison.clone());
                self.counts.fetch_sub(1, Ordering::AcqRel) - 1
            }
        };
        self.decision(counts)
    }

    fn decision(&self, counts: u64) -> Option<bool> {
        let (triggered, pending) = (counts >> 32, counts & u64::from(u32::MAX));
        let needed = u64::from(self.needed);
        if self.mode == MergeMode::AllSettled && pending > 0 {
            return None;
        }
        if triggered >= needed {
            return Some(true);
        }
        (triggered + pending < needed).then_some(false)
    }

    /// How the merged signal ends.
    pub(super) fn outcome<T>(&self, core: &Core<T>, success: bool) -> Outcome<T> {
        if success {
            return Outcome::Triggered(None);
        }
        let mut failures = mem::take(&mut *self.failures.lock());
        if failures.len() > 1
            && let Links::Made(links) = &*self.links.lock()
        {
            let mut by_handle: HashMap<_, _> = mem::take(&mut failures)
                .into_iter()
                .map(|poison| (poison.handle(), poison))
                .collect();
            failures = links
                .iter()
                .filter_map(|link| {
                    let input = SignalHandle::new(core.id(), link.index, link.generation);
                    by_handle.remove(&input)
                })
                .collect();
        }
        let handle = SignalHandle::new(core.id(), self.index, self.generation);
        Outcome::Failed(Poison::merged(handle, &failures))
    }

    /// The slot and the generation of the merged signal.
    pub(super) fn merged(&self) -> (u32, u32) {
        (self.index, self.generation)
    }

    /// The inputs that the merge was registered with, if it was with all.
    pub(super) fn inputs<T>(&self, core: &Core<T>) -> Vec<SignalHandle> {
        match &*self.links.lock() {
            Links::Made(links) => links
                .iter()
                .map(|link| SignalHandle::new(core.id(), link.index, link.generation))
                .collect(),
            Links::Making | Links::Cut => Vec::new(),
        }
    }

    /// Takes the merge, which is complete, out of the inputs that it does not wait for any more.
    pub(super) fn cut<T>(&self, core: &Core<T>) {
        if self.counts.load(Ordering::Acquire) & u64::from(u32::MAX) == 0 {
            return;
        }
        if let Links::Made(links) = mem::replace(&mut *self.links.lock(), Links::Cut) {
            Self::cut_links(core, links);
        }
    }

    fn cut_links<T>(core: &Core<T>, links: Vec<Link>) {
        for Link {
            index,
            generation,
            how,
        } in links
        {
            if how == Subscribed::Elsewhere {
                continue;
            }
            // Complete, it has told the merge or is about to, which changes nothing.
            let Some(input) = core.find_live(index, generation) else {
                continue;
            };
            match how {
                // While the input is pending the cell is this merge's.
                Subscribed::Cell => {
                    if let Ok(Some(Subscriber::Merge(_))) = input.empty_cell() {
                        input.disown_cell();
                    }
                }
                Subscribed::Listed(key) => {
                    let removed = input.if_extra(|extra| extra.merges.try_remove(key as usize));
                    drop(removed);
                }
                Subscribed::Elsewhere => {}
            }
        }
    }
}

/// Makes a signal that is completed by `inputs`.
pub(super) fn merge<T>(
    core: &Arc<Core<T>>,
    inputs: &[SignalHandle],
    mode: MergeMode,
) -> Result<SignalHandle, SignalError> {
    let inputs = distinct(inputs);
    let needed = mode.needed(inputs.len());
    if inputs.is_empty() {
        return Err(SignalError::EmptyMerge);
    }
    let (len, needed) = match (u32::try_from(inputs.len()), u32::try_from(needed)) {
        (Ok(len), Ok(needed)) if needed <= len => (len, needed),
        _ => {
            let inputs = inputs.len();
            return Err(SignalError::UnreachableMerge { needed, inputs });
        }
    };

    // All inputs are looked at before anything changes.
    core.check(&inputs)?;
    let slot = Core::create_derived(core)?;
    let handle = slot.handle();
    let merge = Arc::new(Merge::new(handle, mode, len, needed));
    slot.with_extra(|extra| extra.inputs = Some(Arc::clone(&merge)));

    let mut links = Vec::with_capacity(inputs.len());
    let mut refused = None;
    core.subscribe(&inputs, &merge, |at, how| {
        let (index, generation) = (inputs[at].index(), inputs[at].generation());
        links.push(Link {
            index,
            generation,
            how,
        });
        if how == Subscribed::Elsewhere && refused.is_none() {
            // Complete, or forgotten since it was looked at.
            match core.find(inputs[at]) {
                Ok(Place::Live(input)) => note_now(&merge, input.ended()),
                Ok(Place::Past(record)) => note_now(&merge, Some(record.ended())),
                Err(error) => refused = Some(error),
            }
        }
    });

    if let Some(error) = refused {
        // Nobody has seen the merged signal, so nobody is told of its end.
        Merge::cut_links(core, links);
        let poison = Poison::new(handle, crate::PoisonKind::Cancelled, "refused");
        let _ = slot
            .complete(Outcome::Failed(poison))
            .map(|done| settle(&slot, done));
        return Err(error);
    }
    let cut = {
        let mut state = merge.links.lock();
        match *state {
            // Decided meanwhile, by inputs that completed.
            Links::Cut => Some(links),
            _ => {
                *state = Links::Made(links);
                None
            }
        }
    };
    if let Some(links) = cut {
        Merge::cut_links(core, links);
    }
    // Now that all inputs are registered, they may decide.
    let counts = merge.counts.fetch_sub(1, Ordering::AcqRel) - 1;
    if let Some(success) = merge.decision(counts)
        && slot.word().is_pending()
        && let Ok(done) = slot.complete(merge.outcome(core, success))
    {
        settle(&slot, done);
    }
    Ok(handle)
}

/// Notes an input that was complete before the merge; the merge itself decides at its end.
fn note_now(merge: &Merge, ended: Option<Result<(), &Poison>>) {
    if let Some(ended) = ended {
        merge.note(ended);
    }
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
