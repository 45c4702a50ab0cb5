//! The core of a system: where slots come from, and what handles mean.

use std::num::NonZeroU64;
use std::ptr::{NonNull, null_mut};
use std::sync::{Arc as StdArc, OnceLock};

use crossbeam_utils::CachePadded;

use super::cell::Subscribed;
use super::chunk::{Chunk, Kind, SLOTS, STRIDE};
use super::edge::Owned;
use super::pin::{Found, Pin};
use super::slot::{AWAITERS_MAX, SlotRef};
use super::word::{CELL_OWNED, plain_success};
use crate::signal::drain::Drain;
use crate::signal::history::{History, Kept, Key};
use crate::signal::outcome::{Outcome, Record};
use crate::sync::atomic::{AtomicPtr, AtomicU8, Ordering};
use crate::sync::{Arc, Mutex, MutexGuard};
use crate::{Clock, SignalError, SignalHandle};

/// The most chunks that handles can name: their indices stay below 2^31.
const CHUNKS_MAX: u32 = i32::MAX as u32 / STRIDE;

/// With more chunks than this that have free slots, empty ones give their memory back: about
/// 4000 slots stay for what comes next.
#[cfg(not(loom))]
const LISTED_MAX: usize = 64;
#[cfg(loom)]
const LISTED_MAX: usize = 1;

/// How many chunks the first segment of the table has; each further one has twice as many.
#[cfg(not(loom))]
const FIRST_SEGMENT: usize = 16;
#[cfg(loom)]
const FIRST_SEGMENT: usize = 1;
const SEGMENTS: usize = 25;

/// A part of the table, which never moves once it is made.
type Segment<T> = Box<[CachePadded<Chunk<T>>]>;

/// Whether new signals are taken. Only ever ascends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(in crate::signal) enum Phase {
    Open,
    /// An orderly shutdown waits for what is pending.
    Draining,
    Closed,
}

/// Everything that the owners, signals and awaiters of a system share.
pub(in crate::signal) struct Core<T> {
    id: NonZeroU64,
    limit: usize,
    /// Makes the value `()` where `T` is that type.
    unit: fn() -> Option<T>,
    clock: StdArc<dyn Clock>,
    /// A [`Phase`].
    phase: AtomicU8,
    /// Why it was closed.
    reason: OnceLock<StdArc<str>>,
    shards: Box<[CachePadded<Shard<T>>]>,
    chunks: [OnceLock<Segment<T>>; SEGMENTS],
    growth: Mutex<Growth>,
    history: Mutex<History<T>>,
    drain: Drain,
}

/// The chunks that a group of threads takes its slots from, by [`Kind`], or null.
type Shard<T> = [AtomicPtr<Chunk<T>>; 2];

/// How many chunks there are, and where a shard finds its next one.
#[derive(Default)]
struct Growth {
    /// How many chunks have ever had memory.
    len: u32,
    /// By [`Kind`].
    lists: [Lists; 2],
}

#[derive(Default)]
struct Lists {
    /// How many chunks have ever been of this kind.
    len: usize,
    /// The numbers of chunks with free slots; stale if the chunk does not know of it.
    listed: Vec<u32>,
    /// The numbers of chunks without memory.
    empty: Vec<u32>,
}

impl<T> Core<T> {
    pub(in crate::signal) fn new(
        id: NonZeroU64,
        limit: usize,
        history: History<T>,
        unit: fn() -> Option<T>,
        clock: StdArc<dyn Clock>,
    ) -> Self {
        Self {
            id,
            limit,
            unit,
            clock,
            phase: AtomicU8::new(Phase::Open as u8),
            reason: OnceLock::new(),
            shards: (0..shard::count())
                .map(|_| CachePadded::new([0; 2].map(|_| AtomicPtr::new(null_mut()))))
                .collect(),
            chunks: [const { OnceLock::new() }; SEGMENTS],
            growth: Mutex::default(),
            history: Mutex::new(history),
            drain: Drain::default(),
        }
    }

    pub(in crate::signal) fn id(&self) -> NonZeroU64 {
        self.id
    }

    pub(in crate::signal) fn unit(&self) -> Option<T> {
        (self.unit)()
    }

    pub(in crate::signal) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    pub(in crate::signal) fn drain(&self) -> &Drain {
        &self.drain
    }

    pub(in crate::signal) fn history(&self) -> MutexGuard<'_, History<T>> {
        self.history.lock()
    }

    /// A pending signal that a [`Signal`](crate::Signal) holds the right to complete.
    pub(in crate::signal) fn create_held(this: &Arc<Self>) -> Result<SlotRef<T>, SignalError> {
        let (chunk, place) = Self::claim(this, Kind::Held)?;
        // SAFETY: claimed above.
        Ok(unsafe { chunk.start(place) })
    }

    /// The same with a reference for an awaiter, who also owns the cell.
    pub(in crate::signal) fn create_awaited(
        this: &Arc<Self>,
    ) -> Result<(SlotRef<T>, SlotRef<T>), SignalError> {
        let (chunk, place) = Self::claim(this, Kind::Held)?;
        // SAFETY: claimed above.
        Ok(unsafe { chunk.start_awaited(place) })
    }

    /// A pending signal that its inputs complete.
    pub(in crate::signal) fn create_derived(
        this: &Arc<Self>,
        merge: Owned,
    ) -> Result<SlotRef<T>, SignalError> {
        let (chunk, place) = Self::claim(this, Kind::Derived)?;
        // SAFETY: claimed above.
        Ok(unsafe { chunk.start_merge(place, merge) })
    }

    /// free → idle: takes a free slot, to start a generation in it.
    #[inline]
    fn claim(this: &Arc<Self>, kind: Kind) -> Result<(&Chunk<T>, u8), SignalError> {
        let shard = &this.shards[shard::of_thread() & (this.shards.len() - 1)][kind as usize];
        // SAFETY: null, or a chunk of this core.
        let current = unsafe { shard.load(Ordering::Acquire).as_ref() };
        let claimed = current.and_then(|chunk| Some((chunk, chunk.claim()?)));
        let (chunk, place) = match claimed {
            Some(claimed) => claimed,
            None => Self::refill(this, shard, kind)?,
        };
        // A shutdown ends the phase, then looks for claimed slots; this claims a slot, then
        // looks at the phase. One of both sees the other.
        if this.phase() != Phase::Open {
            // SAFETY: claimed above, and still idle.
            unsafe { Chunk::give_back(NonNull::from(chunk), place, 0) };
            return Err(this.refusal());
        }
        Ok((chunk, place))
    }

    /// A slot from another chunk, which the shard takes its slots from next.
    #[cold]
    fn refill<'a>(
        this: &'a Arc<Self>,
        shard: &AtomicPtr<Chunk<T>>,
        kind: Kind,
    ) -> Result<(&'a Chunk<T>, u8), SignalError> {
        let mut growth = this.growth.lock();
        // SAFETY: null, or a chunk of this core.
        if let Some(chunk) = unsafe { shard.load(Ordering::Acquire).as_ref() } {
            if let Some(place) = chunk.claim_or_leave() {
                return Ok((chunk, place));
            }
            shard.store(null_mut(), Ordering::Release);
        }
        while let Some(chunk) = this.next_chunk(&mut growth, kind, Arc::as_ptr(this)) {
            shard.store(std::ptr::from_ref(chunk).cast_mut(), Ordering::Release);
            // Others of the shard may have used it up at once.
            if let Some(place) = chunk.claim_or_leave() {
                return Ok((chunk, place));
            }
            shard.store(null_mut(), Ordering::Release);
        }
        // What other shards take their slots from is in no list, and anybody can take from it.
        let others = this.shards.iter().filter_map(|shard| {
            // SAFETY: null, or a chunk of this core.
            unsafe { shard[kind as usize].load(Ordering::Acquire).as_ref() }
        });
        let mut claimed = others.filter_map(|chunk| Some((chunk, chunk.claim()?)));
        claimed
            .next()
            .ok_or(SignalError::Exhausted { limit: this.limit })
    }

    /// A chunk with free slots: one that has some, one that had memory before, or a new one.
    fn next_chunk(&self, growth: &mut Growth, kind: Kind, core: *const Self) -> Option<&Chunk<T>> {
        let lists = &mut growth.lists[kind as usize];
        while let Some(number) = lists.listed.pop() {
            if let Some(chunk) = self.chunk(number)
                && chunk.enter_current()
            {
                return Some(chunk);
            }
        }
        if let Some(chunk) = lists.empty.pop().and_then(|number| self.chunk(number)) {
            chunk.revive();
            return Some(chunk);
        }
        let rest = self.limit.saturating_sub(lists.len * SLOTS as usize);
        if rest == 0 || growth.len >= CHUNKS_MAX {
            return None;
        }
        let number = growth.len;
        lists.len += 1;
        growth.len += 1;
        let (segment, offset) = segment_of(number);
        let chunks = self.chunks[segment].get_or_init(|| {
            let first = number - offset as u32;
            (first..)
                .take(FIRST_SEGMENT << segment)
                .map(|number| CachePadded::new(Chunk::new(number, core)))
                .collect()
        });
        let chunk = &chunks[offset];
        chunk.assign(kind, rest);
        chunk.revive();
        Some(chunk)
    }

    /// Looks after a chunk that was full until a slot became `free`, or has only free slots.
    pub(super) fn regard(&self, chunk: &Chunk<T>, was_full: bool) {
        let Some(kind) = chunk.kind() else { return };
        let mut growth = self.growth.lock();
        let lists = &mut growth.lists[kind as usize];
        if was_full {
            lists.listed.push(chunk.number());
        } else if lists.listed.len() > LISTED_MAX && chunk.give_memory_back() {
            lists.empty.push(chunk.number());
        }
    }

    fn chunk(&self, number: u32) -> Option<&Chunk<T>> {
        let (segment, offset) = segment_of(number);
        Some(&*self.chunks.get(segment)?.get()?[offset])
    }

    fn in_use(&self, growth: &Growth) -> impl Iterator<Item = &Chunk<T>> {
        (0..growth.len).filter_map(|number| self.chunk(number))
    }

    /// What `handle` means, the same for every operation.
    pub(in crate::signal) fn find(&self, handle: SignalHandle) -> Result<Place<T>, SignalError> {
        self.find_with(handle, 0)
    }

    /// As [`find`](Self::find), with the cell of a pending signal if nobody has it.
    pub(in crate::signal) fn find_to_wait(
        &self,
        handle: SignalHandle,
    ) -> Result<Place<T>, SignalError> {
        self.find_with(handle, CELL_OWNED)
    }

    fn find_with(&self, handle: SignalHandle, cell: u64) -> Result<Place<T>, SignalError> {
        let (expected, got) = (self.id.get(), handle.system_id());
        if expected != got {
            return Err(SignalError::ForeignHandle { expected, got });
        }
        let (index, generation) = (handle.index(), handle.generation());
        let chunk = self
            .chunk(index / STRIDE)
            .ok_or(SignalError::UnknownSignal)?;
        match chunk.find((index % STRIDE) as u8, generation, cell) {
            Found::Live(slot, owns) => Ok(Place::Live(slot, owns)),
            Found::Plain => Ok(Place::Plain(self.plain(chunk))),
            Found::Unknown => Err(SignalError::UnknownSignal),
            Found::Crowded => Err(SignalError::Exhausted {
                limit: AWAITERS_MAX as usize,
            }),
            Found::Past => {
                let mut history = self.history.lock();
                if let Some(remembered) = history.get((index, generation)) {
                    drop(history);
                    let derived = chunk.kind() == Some(Kind::Derived);
                    return Ok(Place::Past(Record {
                        remembered,
                        derived,
                    }));
                }
                let forgotten = history.may_have_failed((index, generation));
                drop(history);
                let plain = self.plain(chunk);
                if forgotten || !(plain.is_derived() || plain_success::<T>()) {
                    return Err(SignalError::OutcomeForgotten);
                }
                Ok(Place::Plain(plain))
            }
        }
    }

    fn plain(&self, chunk: &Chunk<T>) -> Plain<T> {
        Plain {
            kind: chunk.kind(),
            unit: self.unit,
        }
    }

    /// Claims the completion of a merge by its inputs, if nobody did.
    pub(in crate::signal) fn claim_merged(
        &self,
        index: u32,
        generation: u32,
    ) -> Option<SlotRef<T>> {
        self.chunk(index / STRIDE)?
            .claim_merged((index % STRIDE) as u8, generation)
    }

    /// The signal of a slot, if it is still in there and not plainly complete.
    pub(in crate::signal) fn find_live(&self, index: u32, generation: u32) -> Option<SlotRef<T>> {
        match self
            .chunk(index / STRIDE)?
            .find((index % STRIDE) as u8, generation, 0)
        {
            Found::Live(slot, _) => Some(slot),
            Found::Plain | Found::Past | Found::Unknown | Found::Crowded => None,
        }
    }

    /// Whether every input means a signal whose end is known or to come.
    pub(in crate::signal) fn check<'a>(
        &'a self,
        inputs: &[SignalHandle],
        pinned: &mut Pinned<'a, T>,
    ) -> Result<(), SignalError> {
        for input in inputs {
            if input.system_id() != self.id.get() || !pinned.has(self, *input) {
                self.find(*input)?;
            }
        }
        Ok(())
    }

    /// Registers a merge with as many of `inputs` as are pending in their slots; `told` gets
    /// the place of each, or what else became of it.
    pub(in crate::signal) fn subscribe<'a>(
        &'a self,
        inputs: &[SignalHandle],
        pinned: &mut Pinned<'a, T>,
        merge: &Owned,
        mut told: impl FnMut(usize, Subscribed),
    ) {
        for (at, input) in inputs.iter().enumerate() {
            told(
                at,
                match pinned.of(self, *input) {
                    Some((pin, place)) => pin.subscribe(place, input.generation(), merge),
                    None => Subscribed::Elsewhere,
                },
            );
        }
    }

    /// Adds to the history, and gives what left it for that.
    pub(super) fn remember(&self, key: Key, outcome: Outcome<T>) -> Option<Kept<T>> {
        self.history.lock().push(key, outcome)
    }

    /// Makes an idle slot look as if it had seen very many generations.
    #[cfg(all(test, not(loom)))]
    pub(in crate::signal) fn set_generation(&self, index: u32, generation: u32) {
        if let Some(pin) = self.chunk(index / STRIDE).and_then(Chunk::pin) {
            pin.set_generation((index % STRIDE) as u8, generation);
        }
    }

    /// Calls `visit` with every pending signal, and perhaps some others; what starts meanwhile
    /// may be left out.
    pub(in crate::signal) fn visit(&self, mut visit: impl FnMut(SlotRef<T>)) {
        let len = self.growth.lock().len;
        for chunk in (0..len).filter_map(|number| self.chunk(number)) {
            chunk.visit(&mut visit);
        }
    }

    /// How many slots have memory.
    pub(in crate::signal) fn slots(&self) -> usize {
        let growth = self.growth.lock();
        self.in_use(&growth).map(Chunk::slots).sum()
    }

    pub(in crate::signal) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::SeqCst) {
            phase if phase == Phase::Open as u8 => Phase::Open,
            phase if phase == Phase::Draining as u8 => Phase::Draining,
            _ => Phase::Closed,
        }
    }

    /// Refuses new signals from now on.
    pub(in crate::signal) fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::SeqCst);
    }

    /// Refuses new signals from now on for this reason; the first one stays.
    pub(in crate::signal) fn close(&self, reason: &StdArc<str>) {
        let _ = self.reason.set(StdArc::clone(reason));
        self.enter(Phase::Closed);
    }

    /// Why a signal cannot be made.
    fn refusal(&self) -> SignalError {
        let reason = self.reason.get().cloned();
        SignalError::ShutDown {
            reason: reason.unwrap_or_else(|| "draining".into()),
        }
    }

    /// Has the slots in use hold the core, which loses its last owner now.
    pub(in crate::signal) fn disown(this: &Arc<Self>) {
        let growth = this.growth.lock();
        // Without memory there is no slot in use, and under the lock it stays so.
        for chunk in this.in_use(&growth).filter(|chunk| chunk.slots() > 0) {
            // SAFETY: the core is kept by `this`, and its chunks point where that does.
            unsafe { chunk.close() };
        }
    }
}

/// The chunk that was looked at last: handles of one chunk mostly follow each other.
pub(in crate::signal) struct Pinned<'a, T>(Option<(u32, Pin<'a, T>)>);

impl<T> Default for Pinned<'_, T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'a, T> Pinned<'a, T> {
    /// The memory of the handle's chunk, and the place there.
    fn of(&mut self, core: &'a Core<T>, handle: SignalHandle) -> Option<(&Pin<'a, T>, u8)> {
        let number = handle.index() / STRIDE;
        if self.0.as_ref().is_none_or(|(pinned, _)| *pinned != number) {
            // The old one is let go first.
            self.0 = None;
            self.0 = Some((number, core.chunk(number)?.pin()?));
        }
        let (_, pin) = self.0.as_ref()?;
        Some((pin, (handle.index() % STRIDE) as u8))
    }

    /// Whether the signal of the handle is in its slot.
    fn has(&mut self, core: &'a Core<T>, handle: SignalHandle) -> bool {
        self.of(core, handle)
            .is_some_and(|(pin, place)| pin.has(place, handle.generation()))
    }
}

/// Where the signal of a handle is.
pub(in crate::signal) enum Place<T> {
    /// In its slot; and whether the cell is the caller's.
    Live(SlotRef<T>, bool),
    /// Triggered, and there is nothing more to know.
    Plain(Plain<T>),
    /// It left its slot.
    Past(Record<T>),
}

/// Proves that a signal was triggered, by its inputs or with a value that needs no memory.
pub(in crate::signal) struct Plain<T> {
    kind: Option<Kind>,
    unit: fn() -> Option<T>,
}

impl<T> Plain<T> {
    pub(in crate::signal) fn is_derived(&self) -> bool {
        self.kind == Some(Kind::Derived)
    }

    /// The value; a merge has one only where it is `()`.
    pub(in crate::signal) fn value(&self) -> Option<T>
    where
        T: Clone,
    {
        if self.is_derived() {
            return (self.unit)();
        }
        // SAFETY: made for a signal that was triggered with a value without size and drop, which
        // was forgotten, not dropped: it is still there, wherever an aligned pointer points.
        Some(unsafe { NonNull::<T>::dangling().as_ref() }.clone())
    }
}

/// The segment that a chunk is in, and its place there.
fn segment_of(number: u32) -> (usize, usize) {
    let from_start = number as usize + FIRST_SEGMENT;
    let segment = (from_start / FIRST_SEGMENT).ilog2() as usize;
    (segment, from_start - (FIRST_SEGMENT << segment))
}

/// Which threads share a source of slots.
mod shard {
    /// As many as threads can run at once, as a power of two.
    #[cfg(not(loom))]
    pub(super) fn count() -> usize {
        static COUNT: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
        *COUNT.get_or_init(|| {
            let threads = std::thread::available_parallelism().map_or(4, usize::from);
            threads.next_power_of_two().min(64)
        })
    }

    /// Threads are dealt to the shards in turn.
    #[cfg(not(loom))]
    pub(super) fn of_thread() -> usize {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local!(static SHARD: usize = NEXT.fetch_add(1, Ordering::Relaxed));
        SHARD.with(|shard| *shard)
    }

    #[cfg(loom)]
    pub(super) fn count() -> usize {
        1
    }

    #[cfg(loom)]
    pub(super) fn of_thread() -> usize {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_follow_each_other_through_the_segments() {
        let mut expected = (0, 0);
        for number in 0..10_000 {
            assert_eq!(segment_of(number), expected);
            expected.1 += 1;
            if expected.1 == FIRST_SEGMENT << expected.0 {
                expected = (expected.0 + 1, 0);
            }
        }
        assert!(segment_of(CHUNKS_MAX).0 < SEGMENTS);
    }
}
