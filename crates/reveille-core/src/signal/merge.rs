//! A merged signal as a counter: what its inputs have said, and when that decides it.

use std::num::NonZeroUsize;

use crate::{Poison, SignalHandle};

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

/// The state of a pending merge.
pub(super) struct Merge {
    /// Whether it stays pending until the last input is complete.
    settles_all: bool,
    /// How many inputs must be triggered.
    needed: usize,
    /// How many inputs are not complete.
    pending: usize,
    /// How many inputs were triggered.
    triggered: usize,
    /// The places and failures of the others.
    failed: Vec<(usize, Poison)>,
    /// Where its edges are, to take them out if it is complete before its inputs.
    pub(super) links: Vec<Link>,
}

/// An edge in the slot of an input, to a merge that waits for it.
pub(super) struct Edge {
    /// The slot of the merge. It is pending: a merge that is complete takes its edges out.
    pub(super) merge: u32,
    /// The place of the input in the merge.
    pub(super) place: usize,
}

/// Where an edge is.
pub(super) struct Link {
    pub(super) input: SignalHandle,
    pub(super) key: usize,
}

impl Merge {
    /// A merge that has heard of none of its inputs; the number of inputs it needs if it has
    /// fewer.
    pub(super) fn new(mode: MergeMode, inputs: usize) -> Result<Self, usize> {
        let needed = match mode {
            MergeMode::AllSettled | MergeMode::FailFast => inputs,
            MergeMode::AnyOf => 1,
            MergeMode::NOf(needed) => needed.get(),
        };
        if needed > inputs {
            return Err(needed);
        }
        Ok(Self {
            settles_all: mode == MergeMode::AllSettled,
            needed,
            pending: inputs,
            triggered: 0,
            failed: Vec::new(),
            links: Vec::new(),
        })
    }

    /// Notes that the input at `place` is complete. Each input says so once.
    pub(super) fn note(&mut self, place: usize, failure: Option<&Poison>) {
        self.pending -= 1;
        match failure {
            None => self.triggered += 1,
            Some(poison) => self.failed.push((place, poison.clone())),
        }
    }

    /// How the merge ends, if what it has heard decides it.
    pub(super) fn verdict(&mut self, handle: SignalHandle) -> Option<Result<(), Poison>> {
        if self.settles_all && self.pending > 0 {
            return None;
        }
        if self.triggered >= self.needed {
            return Some(Ok(()));
        }
        if self.triggered + self.pending >= self.needed {
            return None;
        }
        self.failed.sort_unstable_by_key(|(place, _)| *place);
        Some(Err(Poison::merged(
            handle,
            self.failed.iter().map(|(_, poison)| poison),
        )))
    }
}
