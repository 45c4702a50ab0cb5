//! The slots of a system: which handle means what, and the steps of a slot's life but one.
//!
//! Everything here runs under the system's lock. The remaining step, completion with what
//! follows from it, is in [`completion`](super::completion).

use std::collections::HashSet;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::task::Waker;

use super::history::{History, Record};
use super::merge::{Edge, Link, Merge, MergeMode};
use super::outcome::Outcome;
use super::shared::AfterUnlock;
use super::slot::{Busy, Origin, Slot};
use super::system::SignalStats;
use crate::{Removed, SignalError, SignalHandle, SignalStatus, WaitList, WaiterKey};

/// The most slots a system can have.
pub(super) const SLOTS_MAX: usize = i32::MAX as usize;

/// How many emptied boxes are kept for the next signals.
const POOL_LEN_MAX: usize = 1024;

/// An emptied box with more room than this is given back rather than kept.
const POOLED_CAPACITY_MAX: usize = 8;

/// Everything a system knows.
pub(super) struct State<T> {
    pub(super) id: NonZeroU64,
    pub(super) pending_max: usize,
    pub(super) slots: Vec<Slot<T>>,
    /// The idle slots that have generations left. The last to turn idle is the next in use.
    free: Vec<u32>,
    /// Boxes with nothing in them.
    #[expect(clippy::vec_box, reason = "the boxes move between here and the slots")]
    pool: Vec<Box<Busy<T>>>,
    history: History<T>,
    /// How many slots are busy without an outcome.
    pub(super) pending: usize,
    /// How many entries the wait lists of all slots have.
    waiters: usize,
    pub(super) phase: Phase,
    /// Who waits for `pending` to be 0.
    pub(super) drained: WaitList<()>,
    /// The value `()` where `T` is that type, which is then the value of every signal.
    pub(super) unit: Option<Arc<T>>,
}

/// Whether new signals are taken.
pub(super) enum Phase {
    Open,
    /// An orderly shutdown waits for what is pending.
    Draining,
    /// Shut down, for this reason; nothing is pending.
    Closed {
        reason: Arc<str>,
    },
}

/// What a handle means.
pub(super) enum Place<'a, T> {
    /// The signal in this slot now.
    Busy(&'a Busy<T>),
    /// A signal that left its slot.
    Past(&'a Record<T>),
}

/// What an awaiter starts with.
pub(super) enum Registration<T> {
    /// The signal is pending, and this is the place in its wait list.
    Waiting(WaiterKey),
    /// The signal is complete.
    Done(Outcome<T>),
}

/// What a poll of a registered awaiter gives; the wakers are dropped after unlocking.
pub(super) enum Polled<T> {
    Pending {
        _replaced: Option<Waker>,
    },
    Done {
        outcome: Outcome<T>,
        _removed: Option<Removed<()>>,
    },
}

impl<T> State<T> {
    pub(super) fn new(
        id: NonZeroU64,
        pending_max: usize,
        history: usize,
        unit: Option<Arc<T>>,
    ) -> Self {
        Self {
            id,
            pending_max: pending_max.min(SLOTS_MAX),
            slots: Vec::new(),
            free: Vec::new(),
            pool: Vec::new(),
            history: History::new(history),
            pending: 0,
            waiters: 0,
            phase: Phase::Open,
            drained: WaitList::new(),
            unit,
        }
    }

    pub(super) fn stats(&self) -> SignalStats {
        SignalStats {
            pending: self.pending,
            waiters: self.waiters,
            slots: self.slots.len(),
            history: self.history.len(),
        }
    }

    /// Starts a generation: idle → pending.
    pub(super) fn create(&mut self, origin: Origin) -> Result<SignalHandle, SignalError> {
        match &self.phase {
            Phase::Open => {}
            Phase::Draining => {
                return Err(SignalError::ShutDown {
                    reason: "draining".into(),
                });
            }
            Phase::Closed { reason } => {
                return Err(SignalError::ShutDown {
                    reason: Arc::clone(reason),
                });
            }
        }
        if self.pending >= self.pending_max {
            return Err(SignalError::Exhausted {
                limit: self.pending_max,
            });
        }
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.slots.len() >= SLOTS_MAX => {
                return Err(SignalError::Exhausted { limit: SLOTS_MAX });
            }
            None => {
                self.slots.push(Slot {
                    generation: 0,
                    busy: None,
                });
                // Fits: fewer than `SLOTS_MAX` slots were there.
                (self.slots.len() - 1) as u32
            }
        };
        let busy = match self.pool.pop() {
            Some(mut busy) => {
                busy.origin = origin;
                busy
            }
            None => Box::new(Busy::new(origin)),
        };
        let slot = &mut self.slots[index as usize];
        // Cannot overflow: a slot that used its last generation is in no free list.
        slot.generation += 1;
        slot.busy = Some(busy);
        self.pending += 1;
        Ok(SignalHandle::new(self.id, index, slot.generation))
    }

    /// What `handle` means, the same for every operation.
    pub(super) fn find(&self, handle: SignalHandle) -> Result<Place<'_, T>, SignalError> {
        let (expected, got) = (self.id.get(), handle.system_id());
        if expected != got {
            return Err(SignalError::ForeignHandle { expected, got });
        }
        let (index, generation) = (handle.index(), handle.generation());
        let slot = self
            .slots
            .get(index as usize)
            .ok_or(SignalError::UnknownSignal)?;
        if generation == 0 || generation > slot.generation {
            return Err(SignalError::UnknownSignal);
        }
        if generation == slot.generation
            && let Some(busy) = &slot.busy
        {
            return Ok(Place::Busy(busy));
        }
        match self.history.get(index, generation) {
            Some(record) => Ok(Place::Past(record)),
            None => Err(SignalError::OutcomeForgotten),
        }
    }

    pub(super) fn poll(&self, handle: SignalHandle) -> Result<SignalStatus, SignalError> {
        let place = self.find(handle)?;
        Ok(place
            .outcome()
            .map_or(SignalStatus::Pending, Outcome::status))
    }

    /// Makes the place of an awaiter, who wants the value of the signal or only its end.
    pub(super) fn register(
        &mut self,
        handle: SignalHandle,
        wants_value: bool,
    ) -> Result<Registration<T>, SignalError> {
        let place = self.find(handle)?;
        if wants_value && self.unit.is_none() && place.is_derived() {
            return Err(SignalError::Derived);
        }
        if let Some(outcome) = place.outcome() {
            return Ok(Registration::Done(outcome.clone()));
        }
        // Pending, so it is in its slot.
        let busy = self.busy_mut(handle).ok_or(SignalError::UnknownSignal)?;
        let key = busy.waiters.insert(None, ());
        self.waiters += 1;
        Ok(Registration::Waiting(key))
    }

    /// Looks whether the signal is complete, and else arms the awaiter: one step.
    pub(super) fn poll_waiter(
        &mut self,
        handle: SignalHandle,
        key: WaiterKey,
        waker: Waker,
        after: &mut AfterUnlock<T>,
    ) -> Polled<T> {
        // A slot stays busy for every registered awaiter.
        let busy = self
            .busy_mut(handle)
            .expect("a registered awaiter keeps its slot busy");
        let Some(outcome) = busy.outcome.clone() else {
            return Polled::Pending {
                _replaced: busy.waiters.set_waker(key, waker),
            };
        };
        Polled::Done {
            outcome,
            _removed: self.deregister(handle, key, after),
        }
    }

    /// Ends the place of an awaiter.
    pub(super) fn deregister(
        &mut self,
        handle: SignalHandle,
        key: WaiterKey,
        after: &mut AfterUnlock<T>,
    ) -> Option<Removed<()>> {
        let removed = self.busy_mut(handle)?.waiters.remove(key)?;
        self.waiters -= 1;
        self.release_if_done(handle.index(), after);
        Some(removed)
    }

    /// Gives up the right to complete: from now on only the handle can.
    pub(super) fn let_go(&mut self, handle: SignalHandle, after: &mut AfterUnlock<T>) {
        if let Some(busy) = self.busy_mut(handle) {
            busy.origin = Origin::Loose;
            self.release_if_done(handle.index(), after);
        }
    }

    /// Makes a signal that is completed by `inputs`.
    pub(super) fn merge(
        &mut self,
        inputs: &[SignalHandle],
        mode: MergeMode,
        after: &mut AfterUnlock<T>,
    ) -> Result<SignalHandle, SignalError> {
        let mut seen = HashSet::with_capacity(inputs.len());
        let inputs: Vec<_> = inputs
            .iter()
            .copied()
            .filter(|input| seen.insert(*input))
            .collect();
        if inputs.is_empty() {
            return Err(SignalError::EmptyMerge);
        }
        let mut merge =
            Merge::new(mode, inputs.len()).map_err(|needed| SignalError::UnreachableMerge {
                needed,
                inputs: inputs.len(),
            })?;
        // All inputs are looked at before anything changes. Those complete are noted now.
        let mut open = Vec::new();
        for (place, &input) in inputs.iter().enumerate() {
            match self.find(input)?.outcome() {
                Some(outcome) => merge.note(place, outcome.poison()),
                None => open.push((place, input)),
            }
        }
        let handle = self.create(Origin::Loose)?;
        let verdict = merge.verdict(handle);
        if verdict.is_none() {
            merge.links.reserve_exact(open.len());
            for (place, input) in open {
                if let Some(busy) = self.busy_mut(input) {
                    let edge = Edge {
                        merge: handle.index(),
                        place,
                    };
                    merge.links.push(Link {
                        input,
                        key: busy.dependents.insert(edge),
                    });
                }
            }
        }
        if let Some(busy) = self.busy_mut(handle) {
            busy.origin = Origin::Derived(merge);
        }
        if let Some(verdict) = verdict {
            self.settle(handle, self.merged_outcome(verdict), after);
        }
        Ok(handle)
    }

    /// The slot of `handle`, if the signal is still in it.
    pub(super) fn busy_mut(&mut self, handle: SignalHandle) -> Option<&mut Busy<T>> {
        let slot = self.slots.get_mut(handle.index() as usize)?;
        if slot.generation != handle.generation() {
            return None;
        }
        slot.busy.as_deref_mut()
    }

    /// Forgets all outcomes that are not in a slot.
    pub(super) fn forget_all(&mut self, after: &mut AfterUnlock<T>) {
        for (_, record) in self.history.take_all() {
            after.retire(record);
        }
    }

    /// Ends a generation: complete → idle, once nobody needs the slot for it.
    pub(super) fn release_if_done(&mut self, index: u32, after: &mut AfterUnlock<T>) {
        let slot = &mut self.slots[index as usize];
        let Some(mut busy) = slot.busy.take_if(|busy| busy.is_done()) else {
            return;
        };
        let derived = busy.is_derived();
        if let Some(outcome) = busy.outcome.take() {
            let key = (index, slot.generation);
            if let Some(evicted) = self.history.push(key, Record { outcome, derived }) {
                after.retire(evicted);
            }
        }
        // A slot that used its last generation is retired: it stays idle for ever.
        if slot.generation < u32::MAX {
            self.free.push(index);
        }
        let capacity = busy.waiters.capacity().max(busy.dependents.capacity());
        if self.pool.len() < POOL_LEN_MAX && capacity <= POOLED_CAPACITY_MAX {
            busy.origin = Origin::Loose;
            self.pool.push(busy);
        }
    }
}

impl<T> Place<'_, T> {
    pub(super) fn outcome(&self) -> Option<&Outcome<T>> {
        match self {
            Self::Busy(busy) => busy.outcome.as_ref(),
            Self::Past(record) => Some(&record.outcome),
        }
    }

    pub(super) fn is_derived(&self) -> bool {
        match self {
            Self::Busy(busy) => busy.is_derived(),
            Self::Past(record) => record.derived,
        }
    }
}
