//! One slot, and the counted reference through which everything reaches it.

use std::mem::{ManuallyDrop, MaybeUninit, offset_of};
use std::ptr::NonNull;

use super::cell::Subscriber;
use super::chunk::{Chunk, Slots};
use super::core::Core;
use super::edge::Owned;
use super::word::{
    CELL_SET, CLAIMED, COMPLETE, COUNTED, DERIVED, EXTRA, FAILED, HELD, REF, REFS_MAX, Word,
    exchange, plain_success,
};
use crate::signal::extra::Extra;
use crate::signal::outcome::Outcome;
use crate::sync::UnsafeCell;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::{Poison, SignalHandle};

/// What a signal is made of beside its state; which of the three, its flags tell.
union Stored<T> {
    /// If [`DERIVED`], from the start to the last reference.
    merge: ManuallyDrop<Owned>,
    /// Otherwise, when complete and [`FAILED`].
    poison: ManuallyDrop<Poison>,
    /// Otherwise, when complete.
    value: ManuallyDrop<T>,
}

/// The memory of one signal after the other. See the module's documentation.
pub(super) struct Slot<T> {
    pub(super) word: AtomicU64,
    /// The first subscriber: full exactly while [`CELL_SET`] is set and [`COMPLETE`] is not.
    pub(super) cell: UnsafeCell<MaybeUninit<Subscriber>>,
    /// Written before the start of a merge, or by whoever set [`CLAIMED`]; empty when idle.
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
    #[cfg(all(test, not(loom)))]
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
    pub(super) unsafe fn store_merge(&self, merge: Owned) {
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

    /// One more reference, together with the flags that `flags` has for the word, which it gives;
    /// or the word for which it has none.
    fn refer(&self, flags: impl Fn(Word) -> Option<u64>) -> Result<u64, Word> {
        let mut word = self.load(Ordering::Acquire);
        while let Some(flags) = flags(word) {
            match exchange(&self.word, word, (word.0 + REF) | flags) {
                Ok(()) => return Ok(flags),
                Err(now) => word = now,
            }
        }
        Err(word)
    }

    /// Claims the completion of a pending merge, and takes a reference.
    pub(super) fn claim_merged(&self, generation: u32) -> bool {
        let flags = |word: Word| {
            let open = word.generation() == generation && !word.has(CLAIMED | COMPLETE);
            open.then_some(CLAIMED)
        };
        self.refer(flags).is_ok()
    }

    /// One more reference, and the cell if nobody has it, while pending in `generation`; whether
    /// with the cell.
    pub(super) fn acquire_pending(&self, generation: u32) -> Option<bool> {
        let flags = |word: Word| {
            let pending = word.generation() == generation && word.is_pending();
            pending.then(|| word.free_cell())
        };
        self.refer(flags).ok().map(|flags| flags != 0)
    }

    /// One more reference, if the word is still of `generation` and somebody needs the slot;
    /// and the cell, if nobody has it and it is asked for, to wait.
    pub(super) fn acquire(&self, generation: u32, cell: u64) -> Result<bool, Word> {
        let flags = |word: Word| {
            let gone = word.is_idle() || word.is_moving() || word.is_plain::<T>();
            // Who does not wait is between this and its drop: there is room for far more threads.
            let crowded = cell != 0 && word.refs() >= AWAITERS_MAX;
            let found = !gone && !crowded && word.generation() == generation;
            found.then(|| cell & word.free_cell())
        };
        self.refer(flags).map(|flags| flags != 0)
    }
}

/// How many awaiters one signal can have; there is room for passing references beyond.
pub(super) const AWAITERS_MAX: u64 = REFS_MAX / 4;

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

    /// A pointer, for what may end the memory behind it.
    fn chunk(&self) -> NonNull<Chunk<T>> {
        let place = usize::from(self.slot().place);
        // SAFETY: `self.0` has the provenance of the whole `Slots`, in whose array the slot is
        // the one at `place`.
        unsafe {
            let first = self.0.as_ptr().sub(place);
            let slots = first
                .byte_sub(offset_of!(Slots<T>, slots))
                .cast::<Slots<T>>();
            (*slots).chunk
        }
    }

    fn chunk_ref(&self) -> &Chunk<T> {
        // SAFETY: a chunk outlives its slots.
        unsafe { self.chunk().as_ref() }
    }

    pub(in crate::signal) fn core(&self) -> &Core<T> {
        // SAFETY: a slot that is referenced is claimed, and the core stays for claimed slots.
        unsafe { self.chunk_ref().core() }
    }

    pub(in crate::signal) fn word(&self) -> Word {
        self.slot().load(Ordering::Acquire)
    }

    pub(in crate::signal) fn index(&self) -> u32 {
        self.chunk_ref().index_of(self.slot().place)
    }

    pub(in crate::signal) fn handle(&self) -> SignalHandle {
        SignalHandle::new(self.core().id(), self.index(), self.word().generation())
    }

    /// One more reference, and whether the cell is its to subscribe with; `None` at the limit
    /// of references.
    pub(in crate::signal) fn another(&self) -> Option<(Self, bool)> {
        let flags = |word: Word| (word.refs() < AWAITERS_MAX).then(|| word.free_cell());
        let flags = self.slot().refer(flags).ok()?;
        Some((Self(self.0), flags != 0))
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
        let place = slot.place;
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
            match exchange(&slot.word, word, next) {
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
                        unsafe { Chunk::give_back(this.chunk(), place, word.generation()) };
                    }
                    return Ok(None);
                }
                Err(now) => word = now,
            }
        }
    }

    /// Claims the right to complete, for one caller.
    pub(in crate::signal) fn claim(&self) -> bool {
        let slot = self.slot();
        let mut word = slot.load(Ordering::Acquire);
        while !word.has(CLAIMED | COMPLETE) {
            match exchange(&slot.word, word, word.0 | CLAIMED) {
                Ok(()) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// What the signal waits for, or waited for, if it is a merge.
    pub(in crate::signal) fn merge(&self) -> Option<&Owned> {
        if !self.word().has(DERIVED) {
            return None;
        }
        let stored = self.slot().stored.with(|stored| {
            // SAFETY: a merge stored it before its start, and it stays until the last reference.
            unsafe { &*(*stored).as_ptr() }
        });
        // SAFETY: DERIVED says which of the three it is.
        Some(unsafe { &stored.merge })
    }

    /// Completes the signal, by the one who claimed it. The subscribers are the caller's to
    /// tell.
    pub(in crate::signal) fn complete(&self, outcome: Outcome<T>) -> Completed {
        let slot = self.slot();
        let failed = match &outcome {
            Outcome::Triggered(_) => 0,
            Outcome::Failed(_) => FAILED,
        };
        let stored = match (self.merge(), outcome) {
            (Some(merge), Outcome::Failed(poison)) => {
                merge.fail(poison);
                None
            }
            // A merge has no value.
            (Some(_), Outcome::Triggered(_)) | (None, Outcome::Triggered(None)) => None,
            (None, Outcome::Failed(poison)) => Some(Stored {
                poison: ManuallyDrop::new(poison),
            }),
            (None, Outcome::Triggered(Some(value))) => Some(Stored {
                value: ManuallyDrop::new(value),
            }),
        };
        if let Some(stored) = stored {
            slot.stored.with_mut(|place| {
                // SAFETY: the caller claimed it, so nobody else writes, and COMPLETE is not set
                // yet, so nobody reads. It is no merge.
                unsafe { (*place).write(stored) };
            });
        }
        // Release: who sees COMPLETE sees the outcome. Acquire: the subscriber in the cell.
        let before = slot.word.fetch_or(COMPLETE | failed, Ordering::AcqRel);
        Completed(Word(before | failed))
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
        if let Some(merge) = self.merge() {
            return Some(merge.poison().map_or(Ok(()), Err));
        }
        let poison = self.slot().stored.with(|stored| {
            // SAFETY: COMPLETE and FAILED say that it is written for good, and this reference
            // keeps the slot from turning idle.
            unsafe { &*(*stored).as_ptr() }
        });
        // SAFETY: FAILED without DERIVED says which of the three it is.
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
        let mut extras = self.chunk_ref().extras().lock();
        // Under the lock: a completion that comes before this is seen here, and one that comes
        // after sees EXTRA and waits for the lock.
        let mut word = slot.load(Ordering::Acquire);
        while !word.has(COMPLETE) {
            match exchange(&slot.word, word, word.0 | EXTRA) {
                Ok(()) => return Some(change(extras.of(slot.place))),
                Err(now) => word = now,
            }
        }
        None
    }

    /// What the side table has for this signal, if anything.
    pub(in crate::signal) fn if_extra<R>(&self, look: impl FnOnce(&mut Extra) -> R) -> Option<R> {
        if !self.word().has(EXTRA) {
            return None;
        }
        self.chunk_ref()
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
        self.chunk_ref().extras().lock().remove(self.slot().place)
    }

    /// Gives up the right to complete; whoever has the handle may do it from now on.
    pub(in crate::signal) fn let_go(&self) {
        self.slot().word.fetch_and(!HELD, Ordering::AcqRel);
    }

    /// Has orderly shutdowns count the signal, if it is pending; whether it was not before.
    pub(in crate::signal) fn count(&self) -> Option<bool> {
        let slot = self.slot();
        let mut word = slot.load(Ordering::Acquire);
        while !word.has(COMPLETE | COUNTED) {
            match exchange(&slot.word, word, word.0 | COUNTED) {
                Ok(()) => return Some(true),
                Err(now) => word = now,
            }
        }
        (!word.has(COMPLETE)).then_some(false)
    }

    /// Takes out what the slot of a merge has, by the last reference.
    ///
    /// # Safety
    ///
    /// Nobody else refers to the slot, of which the caller takes it once.
    unsafe fn take_merge(&self) -> Owned {
        let stored = self.slot().stored.with(|stored| {
            // SAFETY: stored before the start of the merge, and read by the last reference.
            unsafe { (*stored).assume_init_read() }
        });
        // SAFETY: which of the three it is, the caller knows.
        ManuallyDrop::into_inner(unsafe { stored.merge })
    }

    /// complete → idle, by the last reference, of what is to be remembered.
    fn retire(&self, word: Word) {
        let (slot, chunk, place) = (self.slot(), self.chunk(), self.slot().place);
        let outcome = if word.has(DERIVED) {
            // SAFETY: this is the last reference.
            let merge = unsafe { self.take_merge() };
            merge.poison().cloned().map(Outcome::Failed)
        } else if word.has(FAILED) {
            let stored = slot.stored.with(|stored| {
                // SAFETY: full, and read by the last reference, which empties it.
                unsafe { (*stored).assume_init_read() }
            });
            // SAFETY: FAILED without DERIVED says which of the three it is.
            let poison = ManuallyDrop::into_inner(unsafe { stored.poison });
            Some(Outcome::Failed(poison))
        } else {
            let value = slot.stored.with(<*const _>::cast::<T>);
            // SAFETY: as in `value`, and moved out by the last reference.
            Some(Outcome::Triggered(Some(unsafe { value.read() })))
        };
        let key = (self.index(), word.generation());
        let gone = outcome.and_then(|outcome| self.core().remember(key, outcome));
        // Release: who finds the slot idle finds the record in the history.
        let idle = Word::idle(word.generation());
        slot.word.store(idle.0, Ordering::Release);
        // SAFETY: the slot is idle and was claimed, and nobody refers to it.
        unsafe { Chunk::give_back(chunk, place, word.generation()) };
        // Dropped last: a value is the caller's code, and nobody must wait for this slot then.
        drop(gone);
    }

    /// As [`retire`](Self::retire), of a plain signal, whose word says idle already or does so
    /// when nobody else can change it.
    #[inline]
    fn retire_plain(&self, word: Word) {
        let (slot, chunk, place) = (self.slot(), self.chunk(), self.slot().place);
        if word.has(DERIVED) {
            // SAFETY: this is the last reference.
            unsafe { self.drop_merge() };
        }
        let idle = Word::idle(word.generation());
        slot.word.store(idle.0, Ordering::Release);
        // SAFETY: the slot is idle, and nobody refers to it.
        unsafe { Chunk::give_back(chunk, place, idle.generation()) };
    }

    /// # Safety
    ///
    /// As for [`take_merge`](Self::take_merge).
    #[inline(never)]
    unsafe fn drop_merge(&self) {
        // SAFETY: passed on.
        drop(unsafe { self.take_merge() });
    }
}

impl<T> Drop for SlotRef<T> {
    #[inline]
    fn drop(&mut self) {
        let slot = self.slot();
        let mut word = slot.load(Ordering::Acquire);
        if word.is_plain::<T>() {
            // The references alone change from here on, and no new ones are made but from those.
            if word.refs() == 1 || Word(slot.word.fetch_sub(REF, Ordering::AcqRel)).refs() == 1 {
                self.retire_plain(word);
            }
            return;
        }
        loop {
            let last = word.has(COMPLETE) && word.refs() == 1;
            // A plain one, which has become that meanwhile, counts as idle at once.
            let next = if last && !word.is_plain::<T>() {
                word.moving().0
            } else {
                word.0 - REF
            };
            // Acquire: the last reference sees what all others did. Release: the reverse.
            match exchange(&slot.word, word, next) {
                Ok(()) if last && word.is_plain::<T>() => return self.retire_plain(word),
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

    /// Whether there is nothing but perhaps a subscriber in the cell.
    pub(in crate::signal) fn is_simple(self) -> bool {
        !self.0.has(EXTRA | COUNTED)
    }

    pub(in crate::signal) fn is_derived(self) -> bool {
        self.0.has(DERIVED)
    }

    pub(in crate::signal) fn is_failure(self) -> bool {
        self.0.has(FAILED)
    }

    pub(in crate::signal) fn is_counted(self) -> bool {
        self.0.has(COUNTED)
    }
}
