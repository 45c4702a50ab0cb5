//! What keeps the memory of a merge: the slot of the merged signal, and the edges.
//!
//! An edge is in an input that is pending. The merge counts its inputs until each is noted, or
//! taken out of the merge, and both use the edge up. So that count is the number of edges, or
//! more while the merge is being registered, and an edge costs no step of its own. Memory is
//! freed by whoever makes the count 0 when the slot has let go, or lets go when it is 0.

use std::ops::Deref;
use std::ptr::NonNull;

use crate::signal::merge::{Counts, Merge, OWNED};
use crate::sync::atomic::Ordering;
use crate::{Poison, SignalHandle};

/// The slot's part of a merge.
pub(in crate::signal) struct Owned(NonNull<Merge>);

/// The part of a merge that an input has while it is pending.
pub(in crate::signal) struct Edge(NonNull<Merge>);

// SAFETY: a merge is shared between threads like any `Sync` value, and freed by any of them.
unsafe impl Send for Owned {}
// SAFETY: as above.
unsafe impl Sync for Owned {}
// SAFETY: as above.
unsafe impl Send for Edge {}
// SAFETY: as above.
unsafe impl Sync for Edge {}

#[cfg(not(loom))]
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Merge>();
};

impl Owned {
    pub(in crate::signal) fn new(merge: Merge) -> Self {
        Self(NonNull::from(Box::leak(Box::new(merge))))
    }

    /// The edge of one input.
    ///
    /// # Safety
    ///
    /// It is put into one input that the merge counts and that is not noted otherwise, or not
    /// used at all.
    pub(super) unsafe fn edge(&self) -> Edge {
        Edge(self.0)
    }
}

impl Deref for Owned {
    type Target = Merge;

    fn deref(&self) -> &Merge {
        // SAFETY: the memory stays until this part and all edges are gone.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        let counts = &self.counts;
        // Without edges nobody else has it.
        let last = Counts(counts.load(Ordering::Acquire)).pending() == 0
            || Counts(counts.fetch_sub(OWNED, Ordering::AcqRel)).pending() == 0;
        if last {
            // SAFETY: made by `new`, and neither edges nor another owner are left.
            drop(unsafe { Box::from_raw(self.0.as_ptr()) });
        }
    }
}

impl Edge {
    /// Notes that the input is complete. If that decides the merge, gives the slot and the
    /// generation of the merged signal.
    #[inline]
    pub(in crate::signal) fn note(
        self,
        input: impl FnOnce() -> SignalHandle,
        ended: Result<(), &Poison>,
    ) -> Option<(u32, u32)> {
        // SAFETY: the edge keeps the memory until it is used up below.
        let merge = unsafe { self.0.as_ref() };
        let (rule, merged) = (merge.rule, merge.merged());
        let change = merge.record(input, ended);
        rule.success(self.use_up(change)).map(|_| merged)
    }

    /// Takes the input out of the merge.
    pub(in crate::signal) fn release(self) {
        self.use_up(Counts::RELEASED);
    }

    /// Changes the counts of the merge, which may be gone from then on.
    #[inline]
    fn use_up(self, change: u64) -> Counts {
        // SAFETY: the edge keeps the memory until this step.
        let before = unsafe { &(*self.0.as_ptr()).counts }.fetch_add(change, Ordering::AcqRel);
        let counts = Counts(before.wrapping_add(change));
        if counts.pending() == 0 && !counts.has(OWNED) {
            // SAFETY: made by `Owned::new`, and this was the last edge of a merge without owner.
            drop(unsafe { Box::from_raw(self.0.as_ptr()) });
        }
        counts
    }
}
