//! One slot: idle and small, or busy with one generation.

use slab::Slab;

use super::merge::{Edge, Merge};
use super::outcome::Outcome;
use crate::WaitList;

/// A place for signals, one after the other.
pub(super) struct Slot<T> {
    /// The generation in it now or, if idle, the last one; 0 before the first.
    pub(super) generation: u32,
    /// `None` while idle. Boxed so that an idle slot, which can never be given back because
    /// its generation must be known, is small.
    pub(super) busy: Option<Box<Busy<T>>>,
}

/// The signal in a slot.
pub(super) struct Busy<T> {
    /// `None` while pending; set once.
    pub(super) outcome: Option<Outcome<T>>,
    pub(super) origin: Origin,
    /// The awaiters that have neither their outcome nor been dropped.
    pub(super) waiters: WaitList<()>,
    /// The merges that wait for this signal; empty once complete.
    pub(super) dependents: Slab<Edge>,
}

/// Who completes a signal.
pub(super) enum Origin {
    /// A [`Signal`](crate::Signal), which exists: the slot stays busy for it.
    Held,
    /// Whoever has the handle.
    Loose,
    /// Its inputs.
    Derived(Merge),
}

impl<T> Busy<T> {
    pub(super) fn new(origin: Origin) -> Self {
        Self {
            outcome: None,
            origin,
            waiters: WaitList::new(),
            dependents: Slab::new(),
        }
    }

    pub(super) fn is_derived(&self) -> bool {
        matches!(self.origin, Origin::Derived(_))
    }

    pub(super) fn merge_mut(&mut self) -> Option<&mut Merge> {
        match &mut self.origin {
            Origin::Derived(merge) => Some(merge),
            Origin::Held | Origin::Loose => None,
        }
    }

    /// Whether nobody needs the slot for this signal any more.
    pub(super) fn is_done(&self) -> bool {
        self.outcome.is_some() && self.waiters.is_empty() && !matches!(self.origin, Origin::Held)
    }
}
