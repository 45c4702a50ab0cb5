//! Completion: the one step that ends a pending signal, and all that follows from it.
//!
//! A completed signal notes its end in the merges that wait for it, which may complete those,
//! and so on. That is a loop over the signals whose dependents have not been told, so a chain
//! of merges may be of any length.

use std::mem;
use std::sync::Arc;

use super::outcome::{Attempt, Outcome};
use super::shared::AfterUnlock;
use super::slot::{Busy, Origin};
use super::state::{Phase, State};
use crate::{Poison, PoisonKind, SignalError, SignalHandle};

impl<T> State<T> {
    /// Completes the signal of `handle`, or says why not.
    ///
    /// `outcome` is left in place if it was not used, to be dropped after unlocking.
    pub(super) fn complete(
        &mut self,
        handle: SignalHandle,
        attempt: Attempt,
        outcome: &mut Option<Outcome<T>>,
        after: &mut AfterUnlock<T>,
    ) -> Result<(), SignalError> {
        let place = self.find(handle)?;
        if place.is_derived() && attempt != Attempt::Cancel {
            return Err(SignalError::Derived);
        }
        if let Some(earlier) = place.outcome() {
            return earlier.answer(attempt);
        }
        if let Some(outcome) = outcome.take() {
            self.settle(handle, outcome, after);
        }
        Ok(())
    }

    /// Completes a pending signal, and every merge that this decides.
    pub(super) fn settle(
        &mut self,
        handle: SignalHandle,
        outcome: Outcome<T>,
        after: &mut AfterUnlock<T>,
    ) {
        // Complete, but their dependents have not been told.
        let mut untold = Vec::new();
        self.mark(handle, outcome, after);
        let mut next = Some(handle);
        while let Some(handle) = next {
            self.tell_dependents(handle, &mut untold, after);
            self.release_if_done(handle.index(), after);
            next = untold.pop();
        }
        if self.pending == 0 {
            self.drained.wake_all(&mut after.wakes);
        }
    }

    /// Poisons everything pending that does not wait for inputs, and so, through them,
    /// everything else as well. Gives the number of signals that this completed.
    pub(super) fn poison_pending(
        &mut self,
        kind: PoisonKind,
        reason: &Arc<str>,
        after: &mut AfterUnlock<T>,
    ) -> usize {
        let before = self.pending;
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            let pending = |busy: &Busy<T>| busy.outcome.is_none() && !busy.is_derived();
            if slot.busy.as_deref().is_some_and(pending) {
                // Fits: there are never more than `SLOTS_MAX` slots.
                let handle = SignalHandle::new(self.id, index as u32, slot.generation);
                let poison = Poison::new(handle, kind, Arc::clone(reason));
                self.settle(handle, Outcome::Failed(poison), after);
            }
        }
        before - self.pending
    }

    /// Refuses new signals from now on and poisons all that are pending.
    pub(super) fn close(
        &mut self,
        kind: PoisonKind,
        reason: &Arc<str>,
        after: &mut AfterUnlock<T>,
    ) -> usize {
        if !matches!(self.phase, Phase::Closed { .. }) {
            self.phase = Phase::Closed {
                reason: Arc::clone(reason),
            };
        }
        self.poison_pending(kind, reason, after)
    }

    /// How a merge ends by `verdict`.
    pub(super) fn merged_outcome(&self, verdict: Result<(), Poison>) -> Outcome<T> {
        match verdict {
            Ok(()) => Outcome::Triggered(self.unit.clone()),
            Err(poison) => Outcome::Failed(poison),
        }
    }

    /// pending → complete: sets the outcome, wakes the awaiters, and takes a merge's edges out
    /// of the inputs that it no longer waits for.
    fn mark(&mut self, handle: SignalHandle, outcome: Outcome<T>, after: &mut AfterUnlock<T>) {
        let Some(busy) = self.busy_mut(handle) else {
            return;
        };
        busy.outcome = Some(outcome);
        busy.waiters.wake_all(&mut after.wakes);
        let links = match &mut busy.origin {
            Origin::Derived(merge) => mem::take(&mut merge.links),
            Origin::Held | Origin::Loose => Vec::new(),
        };
        self.pending -= 1;
        for link in links {
            // Nothing is found in an input that is complete and has told its dependents: it
            // has no edges and gets no new ones, so the key cannot mean another edge.
            if let Some(input) = self.busy_mut(link.input) {
                let _ = input.dependents.try_remove(link.key);
            }
        }
    }

    /// Notes the end of the signal of `handle` in all merges that wait for it. Those which
    /// that decides are marked, and added to `untold`.
    fn tell_dependents(
        &mut self,
        handle: SignalHandle,
        untold: &mut Vec<SignalHandle>,
        after: &mut AfterUnlock<T>,
    ) {
        let Some(busy) = self.busy_mut(handle) else {
            return;
        };
        let failure = busy.outcome.as_ref().and_then(Outcome::poison).cloned();
        let mut dependents = mem::take(&mut busy.dependents);
        for edge in dependents.drain() {
            // An edge leads to a pending merge, and a merge has one edge for each input.
            let slot = &mut self.slots[edge.merge as usize];
            let handle = SignalHandle::new(self.id, edge.merge, slot.generation);
            let Some(merge) = slot.busy.as_deref_mut().and_then(Busy::merge_mut) else {
                continue;
            };
            merge.note(edge.place, failure.as_ref());
            if let Some(verdict) = merge.verdict(handle) {
                let outcome = self.merged_outcome(verdict);
                self.mark(handle, outcome, after);
                untold.push(handle);
            }
        }
        // Given back for its memory; it is empty.
        if let Some(busy) = self.busy_mut(handle) {
            busy.dependents = dependents;
        }
    }
}
