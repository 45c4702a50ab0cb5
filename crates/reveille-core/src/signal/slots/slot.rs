//! One slot, and the counted reference through which everything reaches it.

use std::mem::{ManuallyDrop, MaybeUninit, offset_of};
use std::ptr::NonNull;

use crossbeam_utils::Backoff;

use super::cell::Subscriber;
use super::chunk::{Chunk, Slots};
use super::core::Core;
use super::word::{
    CELL_OWNED, CELL_SET, CLAIMED, COMPLETE, COUNTED, DERIVED, EXTRA, FAILED, HELD, LOOKING, REF,
    REFS_MAX, Word, plain_success,
};
use crate::signal::extra::Extra;
use crate::signal::merge::Merge;
use crate::signal::outcome::Outcome;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Arc, UnsafeCell, pause};
use crate::{Poison, SignalHandle};

/// What a signal is made of beside its state; which of the three, its flags tell.
union Stored<T> {
    /// While pending and [`DERIVED`].
    merge: ManuallyDrop<Arc<Merge>>,
    /// When complete and [`FAILED`].
    poison: ManuallyDrop<Poison>,
    /// When complete otherwise, and not [`DERIVED`].
    value: ManuallyDrop<T>,
}

/// The memory of one signal after the other. See the module's documentation.
pub(super) struct Slot<T> {
    pub(super) word: AtomicU64,
    /// The first subscriber: full exactly while [`CELL_SET`] is set and [`COMPLETE`] is not.
    pub(super) cell: UnsafeCell<MaybeUninit<Subscriber>>,
    /// Written before the start of a merge, and by whoever set [`CLAIMED`], which also takes the
    /// merge out; empty when idle.
    stored: UnsafeCell<MaybeUninit<Stored<T>>>,
    /// Which one of its chunk it is.
    place: u8,
}

impl<T> Slot<T> {
    pub(super) fn new(place: u8, generation: u32) -> Self {
        Self {
            word: AtomicU64::new(Word::idle(generation).0),
            cell: UnsafeCell::new(MaybeUninit::uninit()),
            stored: UnsafeCell::new(MaybeUninit::uninit()),
            place,
        }
    }

    pub(super) fn load(&self, order: Ordering) -> Word {
        Word(self.word.load(order))
    }

    /// For tests of what happens after very many generations.
    #[cfg(test)]
    pub(super) fn set_idle(&self, generation: u32) {
        self.word.store(Word::idle(generation).0, Ordering::Relaxed);
    }

    /// The generation that starts next.
    pub(super) fn next_generation(&self) -> u32 {
        self.load(Ordering::Relaxed).generation() + 1
    }

    /// Stores what a merge waits for, before it starts.
    ///
    /// # Safety
    ///
    /// The slot is claimed and idle.
    pub(super) unsafe fn store_merge(&self, merge: Arc<Merge>) {
        let merge = ManuallyDrop::new(merge);
        self.stored.with_mut(|place| {
            // SAFETY: nobody else reads or writes in an idle slot.
            unsafe { (*place).write(Stored { merge }) };
        });
    }

    /// idle → pending, in a slot that was claimed from the free ones of its chunk.
    pub(super) fn start(&self, refs: u64, flags: u64) {
        let generation = self.next_generation();
        let word = (u64::from(generation) << 32) | (refs * REF) | flags;
        // Release: whoever reads this generation sees the cells empty.
        self.word.store(word, Ordering::Release);
    }

    pub(super) fn exchange(&self, old: Word, new: u64, order: Ordering) -> Result<(), Word> {
        self.word
            .compare_exchange_weak(old.0, new, order, Ordering::Acquire)
            .map(drop)
            .map_err(Word)
    }

    /// Claims the completion of a pending merge, and takes a reference.
    pub(super) fn claim_merged(&self, generation: u32) -> bool {
        let backoff = Backoff::new();
        let mut word = self.load(Ordering::Acquire);
        loop {
            if word.generation() != generation || word.has(CLAIMED | COMPLETE) {
                return false;
            }
            if word.has(LOOKING) {
                pause(&backoff);
                word = self.load(Ordering::Acquire);
                continue;
            }
            match self.exchange(word, (word.0 + REF) | CLAIMED, Ordering::AcqRel) {
                Ok(()) => return true,
                Err(now) => word = now,
            }
        }
    }

    /// One more reference, and the cell if nobody has it, while pending in `generation`.
    pub(super) fn own_for_merge(&self, generation: u32) -> Owned {
        let mut word = self.load(Ordering::Acquire);
        loop {
            if word.generation() != generation || !word.is_pending() {
                return Owned::Nothing;
            }
            let owns = !word.has(CELL_OWNED);
            let owned = if owns { CELL_OWNED } else { 0 };
            match self.exchange(word, (word.0 + REF) | owned, Ordering::AcqRel) {
                Ok(()) if owns => return Owned::Cell,
                Ok(()) => return Owned::Reference,
                Err(now) => word = now,
            }
        }
    }

    /// One more reference, if the word is still of `generation` and somebody needs the slot;
    /// and the cell, if nobody has it and it is asked for, to wait.
    pub(super) fn acquire(&self, generation: u32, cell: u64) -> Result<bool, Word> {
        let mut word = self.load(Ordering::Acquire);
        loop {
            let gone = word.is_idle() || word.is_moving() || word.is_plain::<T>();
            if gone || word.generation() != generation {
                return Err(word);
            }
            // Who does not wait is between this and its drop: there is room for far more threads.
            if cell != 0 && word.refs() >= AWAITERS_MAX {
                return Err(word);
            }
            let owned = if word.has(CELL_OWNED | COMPLETE) {
                0
            } else {
                cell
            };
            match self.exchange(word, (word.0 + REF) | owned, Ordering::AcqRel) {
                Ok(()) => return Ok(owned != 0),
                Err(now) => word = now,
            }
        }
    }
}

/// How many awaiters one signal can have; there is room for passing references beyond.
pub(super) const AWAITERS_MAX: u64 = REFS_MAX / 2;

/// What a merge got to register with.
pub(super) enum Owned {
    /// A reference and the cell.
    Cell,
    /// A reference.
    Reference,
    /// The generation is complete, or was never there.
    Nothing,
}

/// A counted reference to a slot: while it lives, the slot keeps its generation, the chunk its
/// memory, and so does the core.
pub(in crate::signal) struct SlotRef<T>(NonNull<Slot<T>>);

// SAFETY: a reference gives shared access to values and poisons from any thread, and the last
// one drops or moves a value; `T` is bound accordingly. All else behind it is synchronised by
// the slot's word, as the module's documentation argues.
unsafe impl<T: Send + Sync> Send for SlotRef<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for SlotRef<T> {}

impl<T> SlotRef<T> {
    /// Takes over a reference that the word counts.
    ///
    /// # Safety
    ///
    /// `slot` points into a live [`Slots`] with that memory's provenance, and one reference in
    /// its word has no owner.
    pub(super) unsafe fn from_counted(slot: NonNull<Slot<T>>) -> Self {
        Self(slot)
    }

    pub(super) fn slot(&self) -> &Slot<T> {
        // SAFETY: the reference keeps the memory; a slot is only ever accessed shared.
        unsafe { self.0.as_ref() }
    }

    fn chunk(&self) -> &Chunk<T> {
        let place = usize::from(self.slot().place);
        // SAFETY: `self.0` has the provenance of the whole `Slots`, in whose array the slot is
        // the one at `place`, and a chunk outlives its slots.
        unsafe {
            let first = self.0.as_ptr().sub(place);
            let slots = first
                .byte_sub(offset_of!(Slots<T>, slots))
                .cast::<Slots<T>>();
            (*slots).chunk.as_ref()
        }
    }

    pub(in crate::signal) fn core(&self) -> &Core<T> {
        // SAFETY: a slot that is referenced is claimed, and the core stays for claimed slots.
        unsafe { self.chunk().core() }
    }

    pub(in crate::signal) fn word(&self) -> Word {
        self.slot().load(Ordering::Acquire)
    }

    pub(in crate::signal) fn index(&self) -> u32 {
        self.chunk().index_of(self.slot().place)
    }

    pub(in crate::signal) fn handle(&self) -> SignalHandle {
        SignalHandle::new(self.core().id(), self.index(), self.word().generation())
    }

    /// One more reference, and whether the cell is its to subscribe with; `None` at the limit
    /// of references.
    pub(in crate::signal) fn another(&self) -> Option<(Self, bool)> {
        let slot = self.slot();
        let mut word = slot.load(Ordering::Acquire);
        loop {
            if word.refs() >= AWAITERS_MAX {
                return None;
            }
            let owns = !word.has(CELL_OWNED | COMPLETE);
            let owned = if owns { CELL_OWNED } else { 0 };
            match slot.exchange(word, (word.0 + REF) | owned, Ordering::AcqRel) {
                Ok(()) => return Some((Self(self.0), owns)),
                Err(now) => word = now,
            }
        }
    }

    /// Triggers a signal with a value that needs no memory, and gives the reference up: in one
    /// step, if nobody needs to hear of it. Gives both back if the signal was complete.
    #[inline]
    pub(in crate::signal) fn trigger_plain(
        self,
        value: T,
    ) -> Result<Option<(Self, Completed)>, (Self, T)> {
        debug_assert!(plain_success::<T>());
        let slot = self.slot();
        let mut word = slot.load(Ordering::Acquire);
        loop {
            if word.has(CLAIMED | COMPLETE) {
                return Err((self, value));
            }
            let done = Completed(word);
            let next = if !done.is_quiet() {
                word.0 | COMPLETE
            } else if word.refs() == 1 {
                Word::idle(word.generation()).0
            } else {
                (word.0 | COMPLETE) - REF
            };
            match slot.exchange(word, next, Ordering::AcqRel) {
                Ok(()) if !done.is_quiet() => {
                    // It lives on in the slot, without being written.
                    std::mem::forget(value);
                    return Ok(Some((self, done)));
                }
                Ok(()) => {
                    std::mem::forget(value);
                    let this = ManuallyDrop::new(self);
                    if word.refs() == 1 {
                        // SAFETY: the slot is idle by this call, and nobody refers to it.
                        unsafe { this.chunk().give_back(this.slot().place, word.generation()) };
                    }
                    return Ok(None);
                }
                Err(now) => word = now,
            }
        }
    }

    /// Claims the right to complete, for one caller; what a merge waited for comes with it.
    pub(in crate::signal) fn claim(&self) -> Option<Option<Arc<Merge>>> {
        let slot = self.slot();
        let backoff = Backoff::new();
        let mut word = slot.load(Ordering::Acquire);
        loop {
            if word.has(CLAIMED | COMPLETE) {
                return None;
            }
            if word.has(LOOKING) {
                pause(&backoff);
                word = slot.load(Ordering::Acquire);
                continue;
            }
            match slot.exchange(word, word.0 | CLAIMED, Ordering::AcqRel) {
                Ok(()) => break,
                Err(now) => word = now,
            }
        }
        Some(word.has(DERIVED).then(|| self.take_merge()))
    }

    /// Takes out what a merge waited for, by the one who claimed it, once.
    pub(in crate::signal) fn take_merge(&self) -> Arc<Merge> {
        let stored = self.slot().stored.with(|stored| {
            // SAFETY: a pending merge has stored what it waits for, and the one who claimed
            // takes it out, while nobody is LOOKING.
            unsafe { (*stored).assume_init_read() }
        });
        // SAFETY: as above: which of the three it is.
        ManuallyDrop::into_inner(unsafe { stored.merge })
    }

    /// Completes the signal, by the one who claimed it. The subscribers are the caller's to
    /// tell.
    pub(in crate::signal) fn complete(&self, outcome: Outcome<T>) -> Completed {
        let slot = self.slot();
        let (stored, failed) = match outcome {
            Outcome::Triggered(None) => (None, 0),
            Outcome::Triggered(Some(value)) => {
                let value = ManuallyDrop::new(value);
                (Some(Stored { value }), 0)
            }
            Outcome::Failed(poison) => {
                let poison = ManuallyDrop::new(poison);
                (Some(Stored { poison }), FAILED)
            }
        };
        if let Some(stored) = stored {
            slot.stored.with_mut(|place| {
                // SAFETY: the caller claimed it, so nobody else writes, and COMPLETE is not set
                // yet, so nobody reads.
                unsafe { (*place).write(stored) };
            });
        }
        // Release: who sees COMPLETE sees the outcome. Acquire: the subscriber in the cell.
        let before = slot.word.fetch_or(COMPLETE | failed, Ordering::AcqRel);
        Completed(Word(before))
    }

    /// What a pending merge waits for.
    pub(in crate::signal) fn inputs(&self) -> Option<Arc<Merge>> {
        let slot = self.slot();
        let backoff = Backoff::new();
        let mut word = slot.load(Ordering::Acquire);
        loop {
            if !word.has(DERIVED) || word.has(CLAIMED | COMPLETE) {
                return None;
            }
            if word.has(LOOKING) {
                pause(&backoff);
                word = slot.load(Ordering::Acquire);
                continue;
            }
            match slot.exchange(word, word.0 | LOOKING, Ordering::AcqRel) {
                Ok(()) => break,
                Err(now) => word = now,
            }
        }
        let merge = slot.stored.with(|stored| {
            // SAFETY: LOOKING was set on a pending merge, so nobody takes it out meanwhile.
            let stored = unsafe { &*(*stored).as_ptr() };
            // SAFETY: DERIVED says which of the three it is.
            Arc::clone(unsafe { &stored.merge })
        });
        slot.word.fetch_and(!LOOKING, Ordering::AcqRel);
        Some(merge)
    }

    /// Whether the signal is complete: triggered, or failed as the poison says.
    pub(in crate::signal) fn ended(&self) -> Option<Result<(), &Poison>> {
        let word = self.word();
        if !word.has(COMPLETE) {
            return None;
        }
        if !word.has(FAILED) {
            return Some(Ok(()));
        }
        let poison = self.slot().stored.with(|stored| {
            // SAFETY: COMPLETE and FAILED say that it is written for good, and this reference
            // keeps the slot from turning idle.
            unsafe { &*(*stored).as_ptr() }
        });
        // SAFETY: FAILED says which of both it is.
        Some(Err(unsafe { &poison.poison }))
    }

    /// The value of a signal that was triggered; a merge has one only where it is `()`.
    pub(in crate::signal) fn value(&self) -> Option<T>
    where
        T: Clone,
    {
        let word = self.word();
        if !word.has(COMPLETE) || word.has(FAILED) {
            return None;
        }
        if word.has(DERIVED) {
            return self.core().unit();
        }
        let stored = self.slot().stored.with(<*const _>::cast::<T>);
        // SAFETY: COMPLETE without FAILED and DERIVED says that a value was stored for good, at
        // the start of the union. A plain one was forgotten, and any aligned pointer is to it.
        Some(unsafe { &*stored }.clone())
    }

    /// What the side table has for this signal, made if there is nothing; `None` if complete.
    pub(in crate::signal) fn with_extra<R>(
        &self,
        change: impl FnOnce(&mut Extra) -> R,
    ) -> Option<R> {
        let slot = self.slot();
        let mut extras = self.chunk().extras().lock();
        // Under the lock: a completion that comes before this is seen here, and one that comes
        // after sees EXTRA and waits for the lock.
        let before = Word(slot.word.fetch_or(EXTRA, Ordering::AcqRel));
        if before.has(COMPLETE) {
            return None;
        }
        Some(change(extras.of(slot.place)))
    }

    /// What the side table has for this signal, if anything.
    pub(in crate::signal) fn if_extra<R>(&self, look: impl FnOnce(&mut Extra) -> R) -> Option<R> {
        if !self.word().has(EXTRA) {
            return None;
        }
        self.chunk()
            .extras()
            .lock()
            .find(self.slot().place)
            .map(look)
    }

    /// Takes out what the side table has, by the one who completed the signal.
    pub(in crate::signal) fn take_extra(&self, at: Completed) -> Option<Box<Extra>> {
        if !at.0.has(EXTRA) {
            return None;
        }
        self.chunk().extras().lock().remove(self.slot().place)
    }

    /// Gives up the right to complete; whoever has the handle may do it from now on.
    pub(in crate::signal) fn let_go(&self) {
        self.slot().word.fetch_and(!HELD, Ordering::AcqRel);
    }

    /// Has an orderly shutdown count the signal, if it is pending.
    pub(in crate::signal) fn count(&self) -> bool {
        let slot = self.slot();
        let mut word = slot.load(Ordering::Acquire);
        while !word.has(COMPLETE | COUNTED) {
            match slot.exchange(word, word.0 | COUNTED, Ordering::AcqRel) {
                Ok(()) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// complete → idle, by the last reference.
    fn retire(&self, word: Word) {
        let (slot, chunk) = (self.slot(), self.chunk());
        // Dropped last: a value is the caller's code, and nobody must wait for this slot then.
        let mut gone = None;
        if !word.is_plain::<T>() {
            let outcome = if word.has(FAILED) {
                let stored = slot.stored.with(|stored| {
                    // SAFETY: full, and read by the last reference, which empties it.
                    unsafe { (*stored).assume_init_read() }
                });
                // SAFETY: FAILED says which of both it is.
                Outcome::Failed(ManuallyDrop::into_inner(unsafe { stored.poison }))
            } else {
                let value = slot.stored.with(<*const _>::cast::<T>);
                // SAFETY: as in `value`, and moved out by the last reference.
                Outcome::Triggered(Some(unsafe { value.read() }))
            };
            let key = (self.index(), word.generation());
            gone = self.core().remember(key, outcome);
            // Release: who finds the slot idle finds the record in the history.
            let idle = Word::idle(word.generation());
            slot.word.store(idle.0, Ordering::Release);
        }
        // SAFETY: the slot is idle and was claimed, and nobody refers to it.
        unsafe { chunk.give_back(slot.place, word.generation()) };
        drop(gone);
    }
}

impl<T> Drop for SlotRef<T> {
    #[inline]
    fn drop(&mut self) {
        let slot = self.slot();
        let mut word = slot.load(Ordering::Acquire);
        if word.refs() == 1 && word.is_plain::<T>() {
            // Nobody else can change the word of a plain slot without another reference.
            let idle = Word::idle(word.generation());
            slot.word.store(idle.0, Ordering::Release);
            // SAFETY: the slot is idle, and nobody refers to it.
            return unsafe { self.chunk().give_back(slot.place, idle.generation()) };
        }
        if word.is_plain::<T>() {
            // The references alone change from here on; without any, the slot is idle.
            if Word(slot.word.fetch_sub(REF, Ordering::AcqRel)).refs() == 1 {
                // SAFETY: the slot is idle by this call, and nobody refers to it.
                unsafe { self.chunk().give_back(slot.place, word.generation()) };
            }
            return;
        }
        loop {
            let last = word.has(COMPLETE) && word.refs() == 1;
            let next = if !last {
                word.0 - REF
            } else if word.is_plain::<T>() {
                Word::idle(word.generation()).0
            } else {
                word.moving().0
            };
            // Acquire: the last reference sees what all others did. Release: the reverse.
            match slot.exchange(word, next, Ordering::AcqRel) {
                Ok(()) if last => return self.retire(word),
                Ok(()) => return,
                Err(now) => word = now,
            }
        }
    }
}

/// The flags at the moment of a completion. Whoever has it is the one who completed.
#[derive(Clone, Copy)]
pub(in crate::signal) struct Completed(pub(super) Word);

impl Completed {
    /// Whether nobody needs to hear of it.
    pub(in crate::signal) fn is_quiet(self) -> bool {
        !self.0.has(CELL_SET | EXTRA | COUNTED)
    }

    /// Whether the subscriber in the cell is all that there is.
    pub(in crate::signal) fn is_simple(self) -> bool {
        self.0.has(CELL_SET) && !self.0.has(EXTRA | COUNTED)
    }

    pub(in crate::signal) fn is_counted(self) -> bool {
        self.0.has(COUNTED)
    }
}
