//! Looking at a chunk's memory by a handle, without a reference to a slot.

use std::ptr::NonNull;

use crossbeam_utils::Backoff;

use super::cell::Subscribed;
use super::chunk::{Chunk, SLOTS, Slots};
use super::edge::Owned;
use super::slot::{Slot, SlotRef};
use crate::sync::atomic::Ordering;
use crate::sync::pause;

/// What a handle finds in a chunk.
pub(super) enum Found<T> {
    /// And whether the cell is the caller's, if it was asked for.
    Live(SlotRef<T>, bool),
    /// Triggered, and there is nothing more to know.
    Plain,
    /// The generation ended and left its slot.
    Past,
    Unknown,
    /// As many wait as can.
    Crowded,
}

/// Keeps the memory of a chunk.
pub(super) struct Pin<'a, T> {
    pub(super) chunk: &'a Chunk<T>,
    pub(super) slots: NonNull<Slots<T>>,
}

impl<T> Drop for Pin<'_, T> {
    fn drop(&mut self) {
        // Release: what was looked at was looked at before the memory goes.
        self.chunk.unpin();
    }
}

impl<T> Pin<'_, T> {
    pub(super) fn slot(&self, place: u8) -> &Slot<T> {
        // SAFETY: the pin keeps the memory, and slots are only accessed shared.
        let slots = unsafe { &*self.slots.as_ptr() };
        #[cfg(loom)]
        slots.alive.with(|_| ());
        &slots.slots[usize::from(place)]
    }

    #[cfg(all(test, not(loom)))]
    pub(super) fn set_generation(&self, place: u8, generation: u32) {
        self.slot(place).set_idle(generation);
    }

    /// Whether the slot has this generation now.
    pub(super) fn has(&self, place: u8, generation: u32) -> bool {
        u32::from(place) < SLOTS && {
            let word = self.slot(place).load(Ordering::Acquire);
            word.generation() == generation && !word.is_idle() && !word.is_moving()
        }
    }

    /// Registers a merge with the slot of an input, once, if it is pending in this generation.
    pub(super) fn subscribe(&self, place: u8, generation: u32, merge: &Owned) -> Subscribed {
        if u32::from(place) >= SLOTS {
            return Subscribed::Elsewhere;
        }
        let Some(owns_cell) = self.slot(place).acquire_pending(generation) else {
            return Subscribed::Elsewhere;
        };
        // SAFETY: the reference was just counted.
        let slot = unsafe { SlotRef::from_counted(place_of(self.slots, place)) };
        // SAFETY: for this input, which is told below to be elsewhere if it has no edge.
        let edge = unsafe { merge.edge() };
        if owns_cell {
            return slot.subscribe(edge);
        }
        slot.with_extra(|extra| extra.merges.insert(edge))
            .map_or(Subscribed::Elsewhere, |key| Subscribed::Listed(key as u32))
    }

    /// A reference to the slot, if it still has this generation; and the cell, by its flag.
    pub(super) fn acquire(&self, place: u8, generation: u32, cell: u64) -> Found<T> {
        let backoff = Backoff::new();
        loop {
            let word = match self.slot(place).acquire(generation, cell) {
                Ok(owns) => {
                    // SAFETY: `place_of` keeps the provenance of the whole, and the reference
                    // was just counted.
                    let slot = unsafe { SlotRef::from_counted(place_of(self.slots, place)) };
                    return Found::Live(slot, owns);
                }
                Err(word) => word,
            };
            if generation == 0 || generation > word.generation() {
                return Found::Unknown;
            }
            if generation < word.generation() || word.is_idle() {
                return Found::Past;
            }
            if word.is_plain::<T>() {
                return Found::Plain;
            }
            if !word.is_moving() {
                return Found::Crowded;
            }
            // The outcome is on its way into the history.
            pause(&backoff);
        }
    }
}

/// The slot at `place`, by a pointer that may reach all of them.
pub(super) fn place_of<T>(slots: NonNull<Slots<T>>, place: u8) -> NonNull<Slot<T>> {
    // SAFETY: in bounds of the allocation; no reference is made on the way.
    unsafe {
        let first = (&raw mut (*slots.as_ptr()).slots).cast::<Slot<T>>();
        NonNull::new_unchecked(first.add(usize::from(place)))
    }
}
