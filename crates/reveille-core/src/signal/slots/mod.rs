//! The slots: the one place with unsafe code, and why it is sound.
//!
//! A system's memory is a [`Core`] with a growing number of chunks, each a small array of
//! slots. A slot serves one generation after the other, and a [`SlotRef`] is a counted
//! reference to it. No lock is taken to create, await, trigger and let go of a signal with one
//! subscriber; more of them are in a side table under their chunk's lock.
//!
//! # The life of a slot
//!
//! ```text
//!            claim             start                   complete                last reference
//!  free ───────────────▶ idle ───────▶ pending ─────────────────────▶ complete ──────────────┐
//!    ▲                                    └──▶ CLAIMED (writing) ──▶──┘                       │
//!    └──────────────────── idle ◀── moving (the outcome goes into the history) ◀─────────────┘
//! ```
//!
//! # What each atomic publishes, and to whom
//!
//! - `Slot::word`: generation, number of references and flags in one number, so that a handle
//!   is checked and a reference taken in one step, and never one of another generation.
//!   - Setting `CLAIMED` (or `COMPLETE` at once, where nothing is to be stored) is won by one
//!     caller. The winner writes the outcome and publishes it with `COMPLETE` (release); whoever
//!     sees that (acquire) may read the outcome for as long as it has a reference.
//!   - The cell of the first subscriber belongs to whoever set `CELL_OWNED`. `CELL_SET`
//!     (release) hands its content to the completion; clearing it again takes it back. The
//!     change to `COMPLETE` decides: if `CELL_SET` is set then (acquire), the content is the
//!     completer's, else it stays the owner's, who sees `COMPLETE` in the step that would have
//!     set or cleared it. So registering and looking are one step, and no wake-up is lost.
//!   - `EXTRA` says that the side table has something. It is set under the chunk's lock; if the
//!     completion sees it, it takes that lock, and if not, the setter sees `COMPLETE`.
//!   - A merge has stored what it waits for, and if it fails why, from its start to its last
//!     reference, so that whoever has a reference may read it.
//!   - The last reference to a complete slot turns it idle, or first `moving` if the outcome is
//!     to be remembered. All others released it before (release, acquire), so what they did is
//!     done. A pending slot needs no reference: it is let go of by its completion.
//! - `Chunk::free`: which slots are free. Freeing (release) passes a slot with its idle word to
//!   whoever claims it (acquire). Its flags say which list a chunk is in, and change in the same
//!   step, so that a chunk with free slots is never lost, and a core not used after its end.
//! - `Chunk::slots` and `Chunk::pins`: a handle names a slot without a reference, so looking
//!   counts a pin first and then loads the pointer; giving the memory back clears the pointer
//!   first and then adds nothing to the pins. Both change the one number, so whoever is second
//!   (acquire) sees what the first did before (release).
//! - `Merge::counts`: using an edge up is one step (release) after the failure of its input was
//!   written; the step that decides sees those before it (acquire), and so does the one that
//!   finds no edge and no owner left, which frees the memory. `REGISTERED` publishes how the
//!   merge is registered (release) to whoever cuts it (acquire).
//! - `Core::phase`: a creation claims a slot, then looks at the phase; a shutdown changes the
//!   phase, then visits the claimed slots, after a change of nothing to `Chunk::free` (as above).
//!
//! # What keeps what alive
//!
//! The owner of the system holds the core by an `Arc`. Signals and awaiters hold their slots
//! without one: as long as there is an owner that is enough. When the last owner goes it closes
//! every chunk, in one step each: a slot that is in use then holds one count of the core's `Arc`
//! and gives it back when it becomes free, which it learns from the same atomic.

#![expect(
    unsafe_code,
    reason = "one slot is shared without a lock; argued above"
)]

mod cell;
mod chunk;
mod core;
mod edge;
mod pin;
mod slot;
mod word;

pub(super) use cell::{AlreadyComplete, Subscribed, Subscriber};
pub(super) use core::{Core, Phase, Pinned, Place, Plain};
pub(super) use edge::{Edge, Owned};
pub(super) use slot::{Completed, SlotRef};
pub(super) use word::plain_success;

/// What the slot of a signal without a value takes.
#[cfg(all(test, not(loom)))]
pub(super) const SLOT_BYTES: usize = size_of::<slot::Slot<()>>();
