//! A chunk: the slots that come and go together, and what stays of them.

use std::ptr::{NonNull, null_mut};

use crossbeam_utils::Backoff;

use super::core::Core;
use super::edge::Owned;
use super::pin::{Found, Pin, place_of};
use super::slot::{Slot, SlotRef};
use super::word::{CELL_OWNED, DERIVED, HELD};
use crate::signal::extra::Extras;
use crate::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use crate::sync::{Arc, Mutex, pause};

/// How many slots a chunk has: as many as a word has bits beside the flags.
#[cfg(not(loom))]
pub(super) const SLOTS: u32 = 61;
#[cfg(loom)]
pub(super) const SLOTS: u32 = 3;

/// How far the indices of two chunks are apart.
pub(super) const STRIDE: u32 = 64;

const ALL: u64 = (1 << SLOTS) - 1;
/// The chunk is in the list of those with free slots.
const LISTED: u64 = 1 << 61;
/// A shard takes its slots from this chunk.
const CURRENT: u64 = 1 << 62;
/// The last owner of the system is gone: the slots in use hold the core.
const CLOSED: u64 = 1 << 63;

/// The memory of a chunk, which is given back when nobody needs it.
pub(super) struct Slots<T> {
    pub(super) chunk: NonNull<Chunk<T>>,
    pub(super) slots: [Slot<T>; SLOTS as usize],
    /// Read by who looks and written at the end, so that the models see who looks too late.
    #[cfg(loom)]
    pub(super) alive: crate::sync::UnsafeCell<()>,
}

#[cfg(loom)]
impl<T> Drop for Slots<T> {
    fn drop(&mut self) {
        self.alive.with_mut(|_| ());
    }
}

/// What stays of a chunk as long as the core.
pub(super) struct Chunk<T> {
    number: u32,
    /// What the chunk is for, from its first use on: a bit for each slot that the bound of the
    /// system allows, and [`ASSIGNED`] and [`MERGES`].
    role: AtomicU64,
    core: *const Core<T>,
    /// A bit for each slot, set while it is free, and the flags above.
    free: AtomicU64,
    /// Null while there is no memory.
    slots: AtomicPtr<Slots<T>>,
    /// How many look at the memory without a reference to a slot.
    pins: AtomicU32,
    /// The slots that used their last generation.
    exhausted: AtomicU64,
    /// The last generations of the slots while there is no memory.
    rest: Mutex<Rest>,
    extras: Mutex<Extras>,
}

/// In a role: the chunk has been used.
const ASSIGNED: u64 = 1 << 62;
/// In a role: its signals are completed by their inputs.
const MERGES: u64 = 1 << 63;

/// Who completes the signals of a chunk. A chunk never changes it, so the index of a signal
/// tells it even when nothing else is known of the signal any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Held,
    Derived,
}

/// Where the generations of the slots are.
enum Rest {
    InMemory,
    /// All are the same, as after a peak that was the only one; 0 before the first use.
    Same(u32),
    Saved(Box<[u32]>),
}

impl<T> Chunk<T> {
    pub(super) fn new(number: u32, core: *const Core<T>) -> Self {
        Self {
            number,
            role: AtomicU64::new(0),
            core,
            free: AtomicU64::new(0),
            slots: AtomicPtr::new(null_mut()),
            pins: AtomicU32::new(0),
            exhausted: AtomicU64::new(0),
            rest: Mutex::new(Rest::Same(0)),
            extras: Mutex::new(Extras::default()),
        }
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Says what the chunk is for, once, before it has memory.
    pub(super) fn assign(&self, kind: Kind, usable: usize) {
        let unusable = (SLOTS as usize).saturating_sub(usable);
        let merges = match kind {
            Kind::Held => 0,
            Kind::Derived => MERGES,
        };
        let role = (ALL >> unusable) | ASSIGNED | merges;
        self.role.store(role, Ordering::Release);
    }

    pub(super) fn kind(&self) -> Option<Kind> {
        match self.role.load(Ordering::Acquire) {
            0 => None,
            role if role & MERGES != 0 => Some(Kind::Derived),
            _ => Some(Kind::Held),
        }
    }

    fn usable(&self) -> u64 {
        self.role.load(Ordering::Acquire) & ALL
    }

    pub(super) fn index_of(&self, place: u8) -> u32 {
        self.number * STRIDE + u32::from(place)
    }

    pub(super) fn extras(&self) -> &Mutex<Extras> {
        &self.extras
    }

    /// # Safety
    ///
    /// The caller knows that the core is alive for as long as it uses the reference: it has an
    /// owner, or a slot in use.
    pub(super) unsafe fn core(&self) -> &Core<T> {
        // SAFETY: the core is where it was when it made this chunk, and alive.
        unsafe { &*self.core }
    }

    /// Takes a free slot.
    #[inline]
    pub(super) fn claim(&self) -> Option<u8> {
        let mut free = self.free.load(Ordering::Relaxed);
        loop {
            let place = (free & ALL).trailing_zeros();
            if place >= SLOTS {
                return None;
            }
            // Acquire: the slot is seen as its last user left it, and a phase as it was before
            // somebody looked for claimed slots, see `visit`.
            match self.free.compare_exchange_weak(
                free,
                free & !(1 << place),
                Ordering::SeqCst,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Some(place as u8),
                Err(now) => free = now,
            }
        }
    }

    /// A claimed slot.
    ///
    /// # Safety
    ///
    /// The caller claimed it.
    unsafe fn claimed(&self, place: u8) -> NonNull<Slot<T>> {
        // SAFETY: a chunk with a claimed slot keeps its memory, which was there when the slot
        // became free, before the claim.
        place_of(
            unsafe { NonNull::new_unchecked(self.slots.load(Ordering::Acquire)) },
            place,
        )
    }

    /// Starts a generation in a slot.
    ///
    /// # Safety
    ///
    /// The caller claimed it.
    pub(super) unsafe fn start(&self, place: u8) -> SlotRef<T> {
        // SAFETY: claimed by the caller; in memory, and the word counts one reference from
        // `start` on.
        unsafe {
            let slot = self.claimed(place);
            slot.as_ref().start(1, HELD);
            SlotRef::from_counted(slot)
        }
    }

    /// Starts a generation with a reference for an awaiter, who also owns the cell.
    ///
    /// # Safety
    ///
    /// The caller claimed it.
    pub(super) unsafe fn start_awaited(&self, place: u8) -> (SlotRef<T>, SlotRef<T>) {
        // SAFETY: as in `start`, with two references.
        unsafe {
            let slot = self.claimed(place);
            slot.as_ref().start(2, HELD | CELL_OWNED);
            (SlotRef::from_counted(slot), SlotRef::from_counted(slot))
        }
    }

    /// Starts a generation that inputs complete.
    ///
    /// # Safety
    ///
    /// The caller claimed it.
    pub(super) unsafe fn start_merge(&self, place: u8, merge: Owned) -> SlotRef<T> {
        // SAFETY: as in `start`.
        unsafe {
            let slot = self.claimed(place);
            let generation = slot.as_ref().next_generation();
            merge.belong_to(self.index_of(place), generation);
            slot.as_ref().store_merge(merge);
            slot.as_ref().start(1, DERIVED);
            SlotRef::from_counted(slot)
        }
    }

    /// Makes a claimed slot free again. By a pointer, since the core and with it the chunk may be
    /// gone as soon as it is.
    ///
    /// # Safety
    ///
    /// The caller claimed it, or had the last reference to it; it is idle. The chunk is there.
    #[inline]
    pub(super) unsafe fn give_back(this: NonNull<Self>, place: u8, generation: u32) {
        let bit = 1 << place;
        // SAFETY: the chunk is there until the slot is free.
        let bits = unsafe { &(*this.as_ptr()).free };
        let free = bits.load(Ordering::Relaxed);
        let usual = free & (CURRENT | CLOSED) == CURRENT && generation != u32::MAX;
        // Release: the slot's next user sees it idle.
        if !usual
            || bits
                .compare_exchange(free, free | bit, Ordering::SeqCst, Ordering::Relaxed)
                .is_err()
        {
            // SAFETY: passed on.
            unsafe { Self::give_back_with_care(this, bit, generation) };
        }
    }

    /// The same where the chunk may have to be looked after.
    ///
    /// # Safety
    ///
    /// As for [`give_back`](Self::give_back).
    #[cold]
    unsafe fn give_back_with_care(this: NonNull<Self>, bit: u64, generation: u32) {
        // SAFETY: the chunk is there until the slot is free, or used up.
        let (chunk, core) = unsafe { (this.as_ref(), (*this.as_ptr()).core) };
        if generation == u32::MAX {
            let before = chunk.exhausted.fetch_or(bit, Ordering::AcqRel);
            if before & bit != 0 {
                // The slot was counted by `close`.
                // SAFETY: as there.
                unsafe { Arc::decrement_strong_count(core) };
            }
            return;
        }
        // Holds the core beyond the step that frees the slot.
        let mut hold = None;
        let mut free = chunk.free.load(Ordering::Relaxed);
        loop {
            let mut next = free | bit;
            if free & (LISTED | CURRENT | CLOSED) == 0 {
                next |= LISTED;
            }
            let work = free & (CURRENT | CLOSED) == 0
                && (free & LISTED == 0 || next & ALL == chunk.usable());
            if work && hold.is_none() {
                // SAFETY: the slot is not free yet, so the core is alive.
                hold = Some(unsafe {
                    Arc::increment_strong_count(core);
                    Arc::from_raw(core)
                });
            }
            match chunk
                .free
                .compare_exchange_weak(free, next, Ordering::SeqCst, Ordering::Relaxed)
            {
                Err(now) => free = now,
                Ok(_) if free & CLOSED != 0 => {
                    // SAFETY: `close` counted this slot.
                    return unsafe { Arc::decrement_strong_count(core) };
                }
                Ok(_) => {
                    if let (true, Some(core)) = (work, hold) {
                        core.regard(chunk, free & LISTED == 0);
                    }
                    return;
                }
            }
        }
    }

    /// Takes a free slot of a shard's source; if it has none, it is one no longer.
    pub(super) fn claim_or_leave(&self) -> Option<u8> {
        loop {
            if let Some(place) = self.claim() {
                return Some(place);
            }
            // In one step with seeing that no slot is free: one that is later lists the chunk.
            let left = self
                .free
                .compare_exchange(CURRENT, 0, Ordering::SeqCst, Ordering::Relaxed);
            if left.is_ok() {
                return None;
            }
        }
    }

    /// Becomes a shard's source, out of the list; whether it was still in there.
    pub(super) fn enter_current(&self) -> bool {
        let mut free = self.free.load(Ordering::Relaxed);
        while free & LISTED != 0 {
            let next = (free & !LISTED) | CURRENT;
            match self
                .free
                .compare_exchange_weak(free, next, Ordering::SeqCst, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(now) => free = now,
            }
        }
        false
    }

    /// Gets memory, and becomes a shard's source. Under the lock of growth.
    pub(super) fn revive(&self) {
        let mut rest = self.rest.lock();
        let generation = |place: usize| match &*rest {
            Rest::Saved(generations) => generations[place],
            Rest::Same(generation) => *generation,
            Rest::InMemory => 0,
        };
        let slots = Box::new(Slots {
            chunk: NonNull::from(self),
            slots: std::array::from_fn(|place| Slot::new(place as u8, generation(place))),
            #[cfg(loom)]
            alive: crate::sync::UnsafeCell::new(()),
        });
        *rest = Rest::InMemory;
        drop(rest);
        self.slots.store(Box::into_raw(slots), Ordering::SeqCst);
        let free = self.usable() & !self.exhausted.load(Ordering::Acquire);
        self.free.store(free | CURRENT, Ordering::SeqCst);
    }

    /// Gives the memory back, if the chunk is listed, all its slots are free and nobody looks
    /// at them; whether it did. Under the lock of growth.
    pub(super) fn give_memory_back(&self) -> bool {
        let swap = |old, new| {
            self.free
                .compare_exchange(old, new, Ordering::SeqCst, Ordering::Relaxed)
                .is_ok()
        };
        if !swap(self.usable() | LISTED, 0) {
            return false;
        }
        // From here on nobody can claim a slot, and a handle can only look.
        let slots = self.slots.load(Ordering::SeqCst);
        let mut rest = self.rest.lock();
        // SAFETY: the memory is there until this function frees it.
        let slots_in = unsafe { &(*slots).slots };
        let mut generations = slots_in
            .iter()
            .map(|slot| slot.load(Ordering::Relaxed).generation());
        let first = generations.next().unwrap_or(0);
        *rest = if generations.clone().all(|generation| generation == first) {
            Rest::Same(first)
        } else {
            Rest::Saved(std::iter::once(first).chain(generations).collect())
        };
        // A pin counts itself, then looks for the memory; this hides the memory, then counts
        // nothing. Of two changes one comes second and sees what was done before the first.
        self.slots.store(null_mut(), Ordering::SeqCst);
        if self.pins.fetch_add(0, Ordering::AcqRel) > 0 {
            *rest = Rest::InMemory;
            self.slots.store(slots, Ordering::SeqCst);
            drop(rest);
            self.free.store(self.usable() | LISTED, Ordering::SeqCst);
            return false;
        }
        drop(rest);
        // SAFETY: made by `revive`, hidden, and nobody has the pointer: all slots are free and
        // there is no pin.
        drop(unsafe { Box::from_raw(slots) });
        true
    }

    pub(super) fn unpin(&self) {
        self.pins.fetch_sub(1, Ordering::Release);
    }

    pub(super) fn pin(&self) -> Option<Pin<'_, T>> {
        self.pins.fetch_add(1, Ordering::SeqCst);
        let Some(slots) = NonNull::new(self.slots.load(Ordering::SeqCst)) else {
            self.unpin();
            return None;
        };
        Some(Pin { chunk: self, slots })
    }

    /// Claims the completion of a merge by its inputs.
    pub(super) fn claim_merged(&self, place: u8, generation: u32) -> Option<SlotRef<T>> {
        let pin = self.pin()?;
        pin.slot(place).claim_merged(generation).then(|| {
            // SAFETY: the reference was just counted.
            unsafe { SlotRef::from_counted(place_of(pin.slots, place)) }
        })
    }

    /// What a handle of this chunk means.
    pub(super) fn find(&self, place: u8, generation: u32, cell: u64) -> Found<T> {
        if u32::from(place) >= SLOTS {
            return Found::Unknown;
        }
        let backoff = Backoff::new();
        loop {
            if let Some(pin) = self.pin() {
                return pin.acquire(place, generation, cell);
            }
            let last = match &*self.rest.lock() {
                Rest::Same(last) => Some(*last),
                Rest::Saved(generations) => Some(generations[usize::from(place)]),
                Rest::InMemory => None,
            };
            let Some(last) = last else {
                pause(&backoff);
                continue;
            };
            if generation == 0 || generation > last {
                return Found::Unknown;
            }
            return Found::Past;
        }
    }

    /// Calls `visit` with every pending signal, and perhaps some others. What starts meanwhile
    /// may be left out.
    pub(super) fn visit(&self, mut visit: impl FnMut(SlotRef<T>)) {
        let Some(pin) = self.pin() else { return };
        // Changes nothing, but has a place among the claims: those before it are seen here, and
        // those after it see what the caller did before, such as ending the phase.
        self.free.fetch_or(0, Ordering::AcqRel);
        for place in 0..SLOTS as u8 {
            let backoff = Backoff::new();
            while self.taken() & (1 << place) != 0 {
                let word = pin.slot(place).load(Ordering::Acquire);
                if !word.is_idle() && !word.is_moving() {
                    if let Found::Live(slot, _) = pin.acquire(place, word.generation(), 0) {
                        visit(slot);
                    }
                    break;
                }
                // Between its claim and its start, or between its end and its return; both are
                // a few steps, in which no code of a caller runs.
                pause(&backoff);
            }
        }
    }

    /// The slots that are not free.
    fn taken(&self) -> u64 {
        let free = self.free.load(Ordering::SeqCst);
        self.usable() & !free & !self.exhausted.load(Ordering::Acquire)
    }

    /// How many slots the memory of the chunk has.
    pub(super) fn slots(&self) -> usize {
        if self.slots.load(Ordering::Acquire).is_null() {
            0
        } else {
            SLOTS as usize
        }
    }

    /// Has the slots in use hold the core: each lets go of it when it is free again.
    ///
    /// # Safety
    ///
    /// The caller keeps the core, which was made by an `Arc`.
    pub(super) unsafe fn close(&self) {
        // Before it can be let go.
        for _ in 0..SLOTS {
            // SAFETY: the caller keeps the core.
            unsafe { Arc::increment_strong_count(self.core) };
        }
        let free = self.free.fetch_or(CLOSED, Ordering::SeqCst);
        // A slot that uses its last generation finds its bit set, and so that it was counted,
        // or is found here, and was not.
        let exhausted = self.exhausted.fetch_or(ALL, Ordering::AcqRel);
        let holding = (self.usable() & !free & !exhausted).count_ones();
        for _ in holding..SLOTS {
            // SAFETY: takes back what was added above.
            unsafe { Arc::decrement_strong_count(self.core) };
        }
    }
}

impl<T> Drop for Chunk<T> {
    fn drop(&mut self) {
        let slots = self.slots.load(Ordering::Acquire);
        if !slots.is_null() {
            // SAFETY: made by `revive`. The core is gone, so no slot is in use and no pointer
            // to the memory is left; idle slots own nothing.
            drop(unsafe { Box::from_raw(slots) });
        }
    }
}

/// A chunk is on its own cache lines, and they stay for ever: two are enough.
#[cfg(not(any(loom, shuttle)))]
const _: () = assert!(size_of::<Chunk<()>>() <= 128);

// SAFETY: the pointer to the core is only followed while it is alive, and what it and the slots
// share between threads is synchronised and bound like a reference to a slot.
unsafe impl<T: Send + Sync> Send for Chunk<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Chunk<T> {}
