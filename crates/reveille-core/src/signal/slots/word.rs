//! The state of a slot in one atomic number: generation, references and flags.

use std::fmt;

use crate::sync::atomic::{AtomicU64, Ordering};

/// The outcome is there. With no references left, the slot is idle.
pub(super) const COMPLETE: u64 = 1 << 0;
/// Somebody completes the signal, or (without references) takes the outcome out.
pub(super) const CLAIMED: u64 = 1 << 1;
/// The outcome is a [`Poison`](crate::Poison).
pub(super) const FAILED: u64 = 1 << 2;
/// The cell of the first subscriber belongs to somebody.
pub(super) const CELL_OWNED: u64 = 1 << 3;
/// There is a subscriber in the cell.
pub(super) const CELL_SET: u64 = 1 << 4;
/// The subscriber in the cell is a merge.
pub(super) const CELL_MERGE: u64 = 1 << 5;
/// There is more about this signal in the chunk's side table.
pub(super) const EXTRA: u64 = 1 << 6;
/// The signal is completed by its inputs.
pub(super) const DERIVED: u64 = 1 << 7;
/// A [`Signal`](crate::Signal) holds the right to complete.
pub(super) const HELD: u64 = 1 << 8;
/// An orderly shutdown counts the signal as pending.
pub(super) const COUNTED: u64 = 1 << 9;

/// One reference.
pub(super) const REF: u64 = 1 << 10;
/// The most references: 22 bits.
pub(super) const REFS_MAX: u64 = (1 << 22) - 1;

/// Whether success leaves nothing to remember: values of `T` take no memory and no drop. A
/// given one is forgotten, and so lives for ever: any pointer is one to it.
pub(in super::super) const fn plain_success<T>() -> bool {
    size_of::<T>() == 0 && !std::mem::needs_drop::<T>()
}

/// One value of a slot's state.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Word(pub(super) u64);

impl Word {
    /// An idle slot whose last generation was `generation`; 0 before the first.
    pub(super) fn idle(generation: u32) -> Self {
        Self((u64::from(generation) << 32) | COMPLETE)
    }

    /// A slot whose outcome is on its way out.
    pub(super) fn moving(self) -> Self {
        Self((self.0 >> 32 << 32) | CLAIMED)
    }

    pub(super) fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub(super) fn refs(self) -> u64 {
        (self.0 / REF) & REFS_MAX
    }

    /// Whether any of these flags is set.
    pub(super) fn has(self, flags: u64) -> bool {
        self.0 & flags != 0
    }

    /// Whether the complete signal leaves nothing to remember: it was triggered, by its inputs
    /// or with a value without size and drop. Nothing but the references to a plain slot changes
    /// its word, and no new ones are made but from those.
    pub(super) fn is_plain<T>(self) -> bool {
        let bare = self.has(DERIVED) || plain_success::<T>();
        bare && self.has(COMPLETE) && !self.has(FAILED)
    }

    pub(super) fn is_idle(self) -> bool {
        self.has(COMPLETE) && self.refs() == 0
    }

    pub(super) fn is_moving(self) -> bool {
        self.has(CLAIMED) && !self.has(COMPLETE) && self.refs() == 0
    }

    /// Whether the signal may still be completed. A claimed one is as good as complete, but
    /// everybody else may only say so once it is.
    pub(in super::super) fn is_pending(self) -> bool {
        !self.has(COMPLETE) && !self.is_moving()
    }

    pub(in super::super) fn is_complete(self) -> bool {
        self.has(COMPLETE)
    }

    pub(in super::super) fn is_derived(self) -> bool {
        self.has(DERIVED)
    }

    /// The flag by which the cell of a pending signal is taken, if nobody has it.
    pub(super) fn free_cell(self) -> u64 {
        if self.has(CELL_OWNED | COMPLETE) {
            0
        } else {
            CELL_OWNED
        }
    }

    pub(in super::super) fn has_cell(self) -> bool {
        self.has(CELL_SET)
    }

    pub(in super::super) fn is_held(self) -> bool {
        self.has(HELD)
    }

    /// Whether the cell has a task in it that waits.
    pub(in super::super) fn has_waiter(self) -> bool {
        self.has(CELL_SET) && !self.has(CELL_MERGE)
    }
}

/// One step of a slot's state, if it is `old` still.
///
/// Takes the number alone: the step may give up what keeps the memory around it.
#[inline]
pub(super) fn exchange(word: &AtomicU64, old: Word, new: u64) -> Result<(), Word> {
    word.compare_exchange_weak(old.0, new, Ordering::AcqRel, Ordering::Acquire)
        .map(drop)
        .map_err(Word)
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Word(generation {}, refs {}, flags {:#b})",
            self.generation(),
            self.refs(),
            self.0 & (REF - 1)
        )
    }
}
