//! All that follows from a completion.
//!
//! A completed signal is noted in the merges that wait for it, which may complete those, and
//! so on. That is a loop over the signals whose subscribers have not been told, so a chain of
//! merges may be of any length. Tasks are woken last, when no merge is half told.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crossbeam_utils::Backoff;

use super::merge::Merge;
use super::outcome::{Attempt, Outcome, answer};
use super::slots::{Completed, SlotRef, Subscriber};
use crate::sync::pause;
use crate::{SignalError, WakeBatch};

/// Completes the signal and tells everybody, or says why not.
pub(super) fn complete<T>(
    slot: &SlotRef<T>,
    attempt: Attempt,
    outcome: Outcome<T>,
) -> Result<(), SignalError> {
    match slot.complete(outcome) {
        Ok(done) => {
            settle(slot, done);
            Ok(())
        }
        Err(_unused) => {
            let backoff = Backoff::new();
            loop {
                if let Some(ended) = slot.ended() {
                    return answer(ended, attempt);
                }
                // Whoever completes it has claimed it, and is writing the outcome down.
                pause(&backoff);
            }
        }
    }
}

/// Tells everybody who waits for this signal, and for those which that completes. By the one
/// who completed it, once. Gives how many signals are complete by it, itself included.
pub(super) fn settle<T>(slot: &SlotRef<T>, done: Completed) -> usize {
    if done.is_quiet() {
        return 1;
    }
    if done.is_simple() {
        if let Some(Subscriber::Task(waker)) = slot.take_subscriber(done) {
            // As in a batch: a waker that panics is a fault of its executor alone.
            let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
        }
        return 1;
    }
    let mut telling = Telling {
        wakes: WakeBatch::new(),
        untold: Vec::new(),
        completed: 1,
    };
    telling.tell(slot, done);
    while let Some((slot, done)) = telling.untold.pop() {
        telling.tell(&slot, done);
    }
    telling.wakes.wake_all();
    telling.completed
}

struct Telling<T> {
    wakes: WakeBatch,
    /// Complete, but their subscribers have not been told.
    untold: Vec<(SlotRef<T>, Completed)>,
    completed: usize,
}

impl<T> Telling<T> {
    fn tell(&mut self, slot: &SlotRef<T>, done: Completed) {
        match slot.take_subscriber(done) {
            Some(Subscriber::Task(waker)) => self.wakes.push(waker),
            Some(Subscriber::Merge(merge)) => self.note(slot, &merge),
            None => {}
        }
        if let Some(mut extra) = slot.take_extra(done) {
            for merge in extra.merges.drain() {
                self.note(slot, &merge);
            }
            extra.waiters.wake_all(&mut self.wakes);
            if let Some(inputs) = &extra.inputs {
                inputs.cut(slot.core());
            }
        }
        if done.is_counted() {
            slot.core().drain().count_down(&mut self.wakes);
        }
    }

    /// Notes the end of the signal in `slot`, and completes the merge if that decides it.
    fn note(&mut self, slot: &SlotRef<T>, merge: &Merge) {
        let Some(success) = slot.ended().and_then(|ended| merge.note(ended)) else {
            return;
        };
        let core = slot.core();
        let (index, generation) = merge.merged();
        if let Some(merged) = core.find_live(index, generation)
            && merged.word().is_pending()
            && let Ok(done) = merged.complete(merge.outcome(core, success))
        {
            self.completed += 1;
            self.untold.push((merged, done));
        }
    }
}
