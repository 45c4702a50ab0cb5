//! All events of a tenant in one order: what a bus reads.
//!
//! The order is that of the sequence numbers, which the backend assigns inside each session's critical
//! section, ascending without holes. Sessions apply independently, so an event can come here before
//! one with a lower number; it is shown only once all lower ones are here (the watermark). So nothing
//! ever appears behind a reader. What a store has assigned and never gives out is not waited for longer
//! than [`HOLE_TIME`]: then it is missing, which readers are told.
//!
//! Where other processes append, too, the order is [followed](follow) in the store instead: what was
//! appended here is shown at once if nothing is before it, and what is before it is read.
//!
//! Events are shared with the session logs by reference count. The tail keeps the newest ones up to
//! its own bounds, whatever the sessions retain.

mod follow;
mod index;
mod kinds;
mod recent;
mod ring;
mod watchers;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use reveille_backend::{Backend, OrderPage};
use reveille_core::sync::Mutex;
use reveille_core::{WaiterKey, WakeBatch};
use reveille_types::{Epoch, Event, Filter, Kind, PositionRanges, Seq, SessionKey, Tenant};

use crate::runtime;
use crate::state::Litter;
use kinds::Counts;
use recent::{Question, Recent};
use ring::Ring;
pub use ring::TailLimits;
use watchers::Watchers;

/// How long an event that has not come holds up those with higher numbers.
const HOLE_TIME: Duration = Duration::from_secs(5);

/// All events of a tenant in one order. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Tail(Arc<Inner>);

struct Inner {
    epoch: Epoch,
    state: Mutex<State>,
    /// Reads what others append, if others do. Ends with the tail.
    following: OnceLock<runtime::AbortHandle>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(following) = self.following.get() {
            following.abort();
        }
    }
}

#[derive(Debug)]
struct State {
    ring: Ring,
    watchers: Watchers,
    counts: Counts,
    recent: Option<Recent>,
    /// A task sees to holes.
    is_minded: bool,
}

/// What a read of a tail gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TailPage {
    /// Events that match, by ascending sequence number.
    pub events: Vec<Event>,
    /// Sequence numbers of events that are gone, before or among those read.
    pub missing: PositionRanges,
    /// Everything up to this sequence number, inclusive, has been looked through.
    pub read_to: Seq,
}

impl TailPage {
    fn found_something(&self) -> bool {
        !self.events.is_empty() || !self.missing.is_empty()
    }
}

/// What is known of a tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TailInfo {
    /// What follows this sequence number has been shown here.
    pub begin: Seq,
    /// What follows this sequence number can be read.
    pub oldest: Seq,
    /// The last sequence number that is shown.
    pub latest: Seq,
    /// The last sequence number that a reader may have read: beyond [`latest`](Self::latest) if other
    /// processes show the same order, and may be further on.
    pub reach: Seq,
    /// How many events are retained.
    pub retained: usize,
    /// How many bytes they cost.
    pub bytes: usize,
    /// How many watchers are registered.
    pub watchers: usize,
    /// How many watchers have been looked at since the beginning: what publishing costs.
    pub visits: u64,
}

impl Tail {
    /// A tail of what follows `seq`.
    pub(crate) fn new(epoch: Epoch, seq: Seq, limits: TailLimits) -> Self {
        let state = State {
            ring: Ring::after(seq, limits),
            watchers: Watchers::default(),
            counts: Counts::default(),
            recent: None,
            is_minded: false,
        };
        Self(Arc::new(Inner {
            epoch,
            state: Mutex::new(state),
            following: OnceLock::new(),
        }))
    }

    /// Shows from now on what any process appends, if the backend can tell. Needs a tokio runtime then.
    pub(crate) fn follow(&self, backend: &Arc<dyn Backend>, tenant: &Tenant) {
        let capabilities = backend.capabilities();
        if capabilities.shared && capabilities.reads_order {
            self.0.following.get_or_init(|| {
                let tail = Arc::downgrade(&self.0);
                runtime::spawn(follow::follow(tail, Arc::clone(backend), tenant.clone()))
            });
        }
    }

    /// The incarnation of the order.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.0.epoch
    }

    /// What is known of the tail.
    #[must_use]
    pub fn info(&self) -> TailInfo {
        let is_followed = self.0.following.get().is_some();
        let state = self.0.state.lock();
        let latest = state.ring.latest();
        TailInfo {
            begin: state.ring.begin(),
            oldest: state.ring.oldest(),
            latest,
            reach: if is_followed { Seq(u64::MAX) } else { latest },
            retained: state.ring.len(),
            bytes: state.ring.bytes(),
            watchers: state.watchers.len(),
            visits: state.watchers.visits(),
        }
    }

    /// Reads events after `after` that match, at most `limit` of them and about `bytes` bytes.
    #[must_use]
    pub fn read(&self, after: Seq, filter: &Filter, limit: usize, bytes: usize) -> TailPage {
        let mut at = after;
        loop {
            let state = self.0.state.lock();
            let page = state.ring.read(at, filter, limit, bytes);
            if page.found_something() || page.read_to >= state.ring.latest() {
                return page;
            }
            at = page.read_to;
        }
    }

    /// The last `limit` events that match, oldest first.
    #[must_use]
    pub fn last(&self, filter: &Filter, limit: usize) -> Vec<Event> {
        let mut events = Vec::new();
        let mut before = Some(Seq(u64::MAX));
        while let Some(at) = before {
            before = self
                .0
                .state
                .lock()
                .ring
                .last(at, filter, limit, &mut events);
        }
        events.reverse();
        events
    }

    /// How many retained events match.
    #[must_use]
    pub fn count(&self, filter: &Filter) -> usize {
        let (mut count, mut after) = (0, Some(Seq(0)));
        while let Some(at) = after {
            let (some, next) = self.0.state.lock().ring.count(at, filter);
            count += some;
            after = next;
        }
        count
    }

    /// How many events of each kind were shown since the beginning, and how many of kinds that came when
    /// 1 024 were counted already.
    #[must_use]
    pub fn counts(&self) -> (Vec<(Kind, u64)>, u64) {
        self.0.state.lock().counts.all()
    }

    /// How much is retained at most.
    #[must_use]
    pub fn limits(&self) -> TailLimits {
        self.0.state.lock().ring.limits()
    }

    /// The event with this sequence number, if it is shown and retained.
    #[must_use]
    pub fn get(&self, seq: Seq) -> Option<Event> {
        self.0.state.lock().ring.get(seq)
    }

    /// Adds an event that a session has applied.
    /// What it drops for it goes to `litter`, for the caller to drop after its own lock.
    pub(crate) fn push(&self, event: &Event, batch: &mut WakeBatch, litter: &mut Litter) {
        let state = &mut *self.0.state.lock();
        let (watchers, counts) = (&mut state.watchers, &mut state.counts);
        state.ring.push(event.clone(), litter, |shown| {
            counts.count(shown.kind());
            watchers.offer(shown, batch);
        });
    }

    /// Adds what was read behind what is shown. What it has looked through and not found is missing.
    fn add(&self, page: OrderPage) {
        let mut batch = WakeBatch::new();
        // Dropped after the lock.
        let mut litter = Litter::new();
        let state = &mut *self.0.state.lock();
        let (watchers, counts) = (&mut state.watchers, &mut state.counts);
        let mut show = |shown: &Event| {
            counts.count(shown.kind());
            watchers.offer(shown, &mut batch);
        };
        for event in page.events {
            // What is before it was looked through.
            let before = Seq(event.place().seq.0.saturating_sub(1));
            state.ring.pass_to(before, &mut litter, &mut show);
            state.ring.push(event, &mut litter, &mut show);
        }
        state.ring.pass_to(page.through, &mut litter, &mut show);
    }

    /// Sees to it that a hole does not stop the order for ever: what does not come in time never comes,
    /// since its log was trimmed or removed before it was read here, or is not read here at all.
    pub(crate) fn mind_holes(&self) {
        if self.0.following.get().is_some() {
            return;
        }
        {
            let mut state = self.0.state.lock();
            if state.is_minded || state.ring.hole().is_none() {
                return;
            }
            state.is_minded = true;
        }
        runtime::spawn(mind(Arc::downgrade(&self.0)));
    }

    /// Passes the hole that was there before, unless it has been filled. The one that is there now.
    fn pass_hole(&self, before: Option<Seq>) -> Option<Seq> {
        let mut batch = WakeBatch::new();
        // Dropped after the lock.
        let mut litter = Litter::new();
        let state = &mut *self.0.state.lock();
        if before.is_some() && state.ring.hole() == before {
            let watchers = &mut state.watchers;
            let show = |shown: &Event| watchers.offer(shown, &mut batch);
            state.ring.pass(&mut litter, show);
        }
        let hole = state.ring.hole();
        state.is_minded = hole.is_some();
        hole
    }

    /// The incarnations of sessions whose events are retained.
    pub(crate) fn incarnations(&self) -> HashMap<Arc<SessionKey>, Vec<Epoch>> {
        let mut all: HashMap<Arc<SessionKey>, Vec<Epoch>> = HashMap::new();
        let mut after = Some(Seq(0));
        while let Some(at) = after {
            let (some, next) = self.0.state.lock().ring.places(at);
            for (session, epoch) in some {
                let epochs = all.entry(session).or_default();
                if !epochs.contains(&epoch) {
                    epochs.push(epoch);
                }
            }
            after = next;
        }
        all
    }

    /// Forgets the events of a session that was removed.
    pub(crate) fn forget(&self, session: &SessionKey, epoch: Epoch) {
        let mut state = self.0.state.lock();
        let forgotten = (state.ring.forget(session, epoch), state.recent.take());
        drop(state);
        drop(forgotten);
    }

    /// A reader of events that match, which waits here when there is nothing to read.
    #[must_use]
    pub fn watch(&self, filter: Filter) -> TailWatch {
        TailWatch {
            tail: self.clone(),
            filter,
            key: None,
        }
    }
}

async fn mind(tail: Weak<Inner>) {
    let mut hole = None;
    while let Some(tail) = tail.upgrade().map(Tail) {
        hole = tail.pass_hole(hole);
        if hole.is_none() {
            return;
        }
        drop(tail);
        runtime::sleep(HOLE_TIME).await;
    }
}

/// A place to wait for events that match. Dropping it takes the waiter out.
pub struct TailWatch {
    tail: Tail,
    filter: Filter,
    key: Option<WaiterKey>,
}

impl TailWatch {
    /// Reads as [`Tail::read`]; when nothing matches and nothing is missing, registers to be woken by
    /// the next event that matches. Reading and registering are one step.
    ///
    /// Readers of the same that stand at the same place share one page: it is put together by the
    /// first, and the others take it whatever it holds, so that a burst costs each of many readers a
    /// lookup.
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        after: Seq,
        limit: usize,
        bytes: usize,
    ) -> Poll<Arc<TailPage>> {
        // What is not needed any more is dropped after the lock: see `WaitList`.
        let (_discarded, _replaced);
        let waker = cx.waker().clone();
        let mut at = after;
        loop {
            let mut state = self.tail.0.state.lock();
            let question = Question {
                after: at,
                filter: &self.filter,
                limit,
                bytes,
            };
            let recent = state.recent.as_ref();
            if let Some(page) = recent.and_then(|recent| recent.answer(question, &state.ring)) {
                return Poll::Ready(page);
            }
            let page = state.ring.read(at, &self.filter, limit, bytes);
            at = page.read_to;
            if page.found_something() || (at >= state.ring.latest() && at > after) {
                let page = Arc::new(page);
                let recent = Recent::new(question, Arc::clone(&page), &state.ring);
                _replaced = state.recent.replace(recent);
                return Poll::Ready(page);
            }
            if at < state.ring.latest() {
                continue;
            }
            _discarded = match self.key {
                Some(key) => state.watchers.set_waker(key, waker),
                None => {
                    self.key = Some(state.watchers.register(waker, &self.filter));
                    None
                }
            };
            return Poll::Pending;
        }
    }
}

impl Drop for TailWatch {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let gone = self.tail.0.state.lock().watchers.remove(key);
            drop(gone);
        }
    }
}

impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tail")
            .field("epoch", &self.0.epoch)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for TailWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TailWatch")
            .field("filter", &self.filter)
            .finish_non_exhaustive()
    }
}
