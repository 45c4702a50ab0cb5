//! The cell of a slot: the first subscriber of a signal, without a lock.

use std::task::Waker;

use super::edge::Edge;
use super::slot::{Completed, SlotRef};
use super::word::{CELL_MERGE, CELL_OWNED, CELL_SET, COMPLETE, REF, Word, exchange};
use crate::sync::atomic::Ordering;

/// Who is told when a signal completes.
pub(in crate::signal) enum Subscriber {
    Task(Waker),
    Merge(Edge),
}

/// How a merge is registered with an input.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::signal) enum Subscribed {
    /// In the cell.
    Cell,
    /// In the side table, under this key.
    Listed(u32),
    /// It is not: the input is complete, or its handle means nothing.
    Elsewhere,
}

/// What the owner of a cell learns too late for.
pub(in crate::signal) struct AlreadyComplete;

impl<T> SlotRef<T> {
    /// Gives the empty cell up.
    pub(in crate::signal) fn disown_cell(&self) {
        let flags = CELL_OWNED | CELL_MERGE;
        self.slot().word.fetch_and(!flags, Ordering::AcqRel);
    }

    /// Fills the empty cell, by its owner. Hands the waker back if the signal is complete.
    pub(in crate::signal) fn fill_cell(&self, waker: Waker) -> Result<(), Subscriber> {
        self.write_cell(Subscriber::Task(waker));
        // It is not set while the cell is empty.
        let before = Word(self.slot().word.fetch_add(CELL_SET, Ordering::AcqRel));
        if before.has(COMPLETE) {
            // The completion found no subscriber, so the cell is still the caller's.
            return Err(self.read_cell());
        }
        Ok(())
    }

    /// Fills the empty cell, by its owner, with a merge, and gives the reference up in the same
    /// step: a pending signal keeps its slot.
    pub(super) fn subscribe(self, edge: Edge) -> Subscribed {
        self.write_cell(Subscriber::Merge(edge));
        let slot = self.slot();
        let mut word = slot.load(Ordering::Acquire);
        while !word.has(COMPLETE) {
            let next = (word.0 | CELL_SET | CELL_MERGE) - REF;
            match exchange(&slot.word, word, next) {
                Ok(()) => {
                    std::mem::forget(self);
                    return Subscribed::Cell;
                }
                Err(now) => word = now,
            }
        }
        // The completion found no subscriber, and the edge is not used.
        let _unused = self.read_cell();
        Subscribed::Elsewhere
    }

    /// Empties the cell, by its owner; an error if the signal is complete, and the subscriber
    /// is, or was, told.
    pub(in crate::signal) fn empty_cell(&self) -> Result<Option<Subscriber>, AlreadyComplete> {
        let slot = self.slot();
        let mut word = slot.load(Ordering::Acquire);
        loop {
            if word.has(COMPLETE) {
                return Err(AlreadyComplete);
            }
            if !word.has(CELL_SET) {
                return Ok(None);
            }
            match exchange(&slot.word, word, word.0 & !CELL_SET) {
                Ok(()) => return Ok(Some(self.read_cell())),
                Err(now) => word = now,
            }
        }
    }

    fn write_cell(&self, subscriber: Subscriber) {
        self.slot().cell.with_mut(|cell| {
            // SAFETY: the cell is the caller's and empty, and nobody else looks at it while
            // CELL_SET is not set.
            unsafe { (*cell).write(subscriber) };
        });
    }

    /// Whether the cell, asked by its owner, holds a waker of this task.
    pub(in crate::signal) fn cell_wakes(&self, waker: &Waker) -> bool {
        self.word().has(CELL_SET)
            && self.slot().cell.with(|cell| {
                // SAFETY: only the owner writes the cell. A completion may be moving the
                // subscriber out meanwhile, which leaves these bytes as they are, and
                // `will_wake` compares two pointers without following them.
                let cell = unsafe { &*(*cell).as_ptr() };
                matches!(cell, Subscriber::Task(present) if present.will_wake(waker))
            })
    }

    /// Moves the subscriber out of the cell.
    fn read_cell(&self) -> Subscriber {
        self.slot().cell.with(|cell| {
            // SAFETY: called by the one who cleared CELL_SET or who set COMPLETE while it was
            // set; both happen at most once for each filling, and after it.
            unsafe { (*cell).assume_init_read() }
        })
    }

    /// The subscriber in the cell, by the one who completed the signal, once.
    pub(in crate::signal) fn take_subscriber(&self, at: Completed) -> Option<Subscriber> {
        at.0.has(CELL_SET).then(|| self.read_cell())
    }
}
