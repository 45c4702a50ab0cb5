//! All that follows from a completion.
//!
//! A completed signal is noted in the merges that wait for it, which may complete those, and
//! so on. That is a loop over the signals whose subscribers have not been told, so a chain of
//! merges may be of any length. Tasks are woken last, when no merge is half told.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crossbeam_utils::Backoff;

use super::outcome::{Attempt, Outcome, answer};
use super::slots::{Completed, Edge, SlotRef, Subscriber, plain_success};
use crate::sync::pause;
use crate::{SignalError, WakeBatch};

/// Completes the signal and tells everybody, or says why not.
#[inline]
pub(super) fn complete<T>(
    slot: SlotRef<T>,
    attempt: Attempt,
    outcome: Outcome<T>,
) -> Result<(), SignalError> {
    let slot = match outcome {
        Outcome::Triggered(Some(value)) if plain_success::<T>() => {
            match slot.trigger_plain(value) {
                Ok(None) => return Ok(()),
                Ok(Some((slot, done))) => {
                    settle(&slot, done);
                    return Ok(());
                }
                Err((slot, _unused)) => slot,
            }
        }
        outcome => {
            if conclude(&slot, || outcome).is_some() {
                return Ok(());
            }
            slot
        }
    };
    let backoff = Backoff::new();
    loop {
        if let Some(ended) = slot.ended() {
            return answer(ended, attempt);
        }
        // Whoever completes it has claimed it, and is writing the outcome down.
        pause(&backoff);
    }
}

/// Completes the signal and tells everybody, unless somebody else completes it. Gives how many
/// signals failed by it.
pub(super) fn conclude<T>(
    slot: &SlotRef<T>,
    outcome: impl FnOnce() -> Outcome<T>,
) -> Option<usize> {
    slot.claim().then(|| settle(slot, slot.complete(outcome())))
}

/// Tells everybody who waits for this signal, and for those which that completes. By the one
/// who completed it, once. Gives how many signals failed by it, itself included.
#[inline]
fn settle<T>(slot: &SlotRef<T>, done: Completed) -> usize {
    // The cases that matter, one signal with one subscriber after the other: nothing is set up
    // for them.
    if !done.is_simple() {
        return settle_all(slot, done);
    }
    let mut failed = usize::from(done.is_failure());
    let mut next = tell(slot, done);
    while let Some((slot, done)) = next {
        if !done.is_simple() {
            return failed + settle_all(&slot, done);
        }
        failed += usize::from(done.is_failure());
        next = tell(&slot, done);
    }
    failed
}

/// Tells the one subscriber, if there is one; the signal that this completes comes next.
fn tell<T>(slot: &SlotRef<T>, done: Completed) -> Option<(SlotRef<T>, Completed)> {
    let decided = match slot.take_subscriber(done) {
        Some(Subscriber::Task(waker)) => {
            // As a batch does: a waker that panics is a fault of its executor alone.
            let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
            None
        }
        Some(Subscriber::Merge(edge)) => note(slot, edge),
        None => None,
    };
    cut(slot, done);
    decided
}

/// As [`settle`], however many subscribers there are.
fn settle_all<T>(slot: &SlotRef<T>, done: Completed) -> usize {
    let mut failed = usize::from(done.is_failure());
    let mut telling = Telling::default();
    telling.tell_all(slot, done);
    while let Some((slot, done)) = telling.untold.pop() {
        failed += usize::from(done.is_failure());
        telling.tell_all(&slot, done);
    }
    failed
}

/// Takes a merge, of which everybody has been told, out of the inputs that it left pending.
fn cut<T>(slot: &SlotRef<T>, done: Completed) {
    if done.is_derived()
        && let Some(merge) = slot.merge()
    {
        merge.cut(slot.core());
    }
}

/// Notes the end of the signal in `slot`, and completes the merge if that decides it.
fn note<T>(slot: &SlotRef<T>, edge: Edge) -> Option<(SlotRef<T>, Completed)> {
    let (index, generation) = edge.note(|| slot.handle(), slot.ended()?)?;
    let core = slot.core();
    let merged = core.claim_merged(index, generation)?;
    let done = merged.complete(merged.merge()?.outcome(core));
    Some((merged, done))
}

/// What is left to do after a completion.
struct Telling<T> {
    /// Complete, but their subscribers have not been told.
    untold: Vec<(SlotRef<T>, Completed)>,
    /// Wakes when it is dropped, after the merges.
    wakes: Option<WakeBatch>,
}

impl<T> Default for Telling<T> {
    fn default() -> Self {
        Self {
            untold: Vec::new(),
            wakes: None,
        }
    }
}

impl<T> Telling<T> {
    fn tell_all(&mut self, slot: &SlotRef<T>, done: Completed) {
        match slot.take_subscriber(done) {
            Some(Subscriber::Task(waker)) => self.wakes().push(waker),
            Some(Subscriber::Merge(edge)) => self.untold.extend(note(slot, edge)),
            None => {}
        }
        if let Some(mut extra) = slot.take_extra(done) {
            for edge in extra.merges.drain() {
                self.untold.extend(note(slot, edge));
            }
            extra.waiters.wake_all(self.wakes());
        }
        if done.is_counted() {
            slot.core().drain().count_down(self.wakes());
        }
        cut(slot, done);
    }

    fn wakes(&mut self) -> &mut WakeBatch {
        self.wakes.get_or_insert_default()
    }
}
