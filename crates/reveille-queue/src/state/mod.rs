//! The session as a state machine: synchronous, without clock or lock of its own.
//!
//! ```text
//! open ──final event, close, expiry, removal──▶ ended
//! ```
//!
//! Whoever owns it holds one lock around each call, passes the time in, and after unlocking wakes the
//! collected batch. Looking at the log and registering a waiter are one call, so that no event falls
//! between them. Events are applied in position order; a waiter is offered each event that is applied
//! after it registered, and is woken only if the event matches.

mod group;
mod lock;
mod now;
mod readers;
mod reading;
mod replaying;
mod taking;
mod time;
mod watch;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use jiff::Timestamp;
use reveille_backend::{Entry, ImmediateLog, Seal, Slot};
use reveille_core::{WaitList, WakeBatch};
use reveille_types::{
    Cursor, EndReason, Epoch, Event, KindRegistry, Label, Place, Position, SessionKey,
    end_of_session,
};

use group::Group;
pub(crate) use group::{GroupRecord, GroupTerms, Leased, Looked, TakeStep, Taker, Wanted};
pub(crate) use lock::{Litter, Locked, StateLock};
pub(crate) use now::{Moment, Now};
pub(crate) use readers::{Progress, Readers};
pub(crate) use taking::TakerPlace;
pub(crate) use watch::{Follow, Look, Watcher};

use crate::budget::Account;
use crate::prepare::Entries;
use crate::tail::Tail;
use crate::window::{Bounds, Window};

/// That a session is over.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) reason: EndReason,
    pub(crate) message: Option<Box<str>>,
    pub(crate) at: Instant,
    pub(crate) wall: Timestamp,
}

/// A cancel that has been asked for.
#[derive(Debug, Clone)]
pub(crate) struct Cancelled {
    pub(crate) reason: Option<Box<str>>,
    pub(crate) wall: Timestamp,
    /// When the session is sealed unless its producer has ended it.
    pub(crate) grace_until: Option<Instant>,
}

/// A store is told what may go after this many evictions.
const TRIM_EVENTS: u64 = 256;

/// What a store is to be told.
#[derive(Debug)]
pub(crate) enum Duty {
    /// The session is over here.
    Seal(Seal),
    /// What is before has left the window.
    Trim(Position),
}

/// What a session was created with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) ttl: Option<Duration>,
    /// How long the session lives whatever happens in it.
    pub(crate) lifetime: Option<Duration>,
    /// How long an ended session stays readable.
    pub(crate) retention: Duration,
    pub(crate) bounds: Bounds,
    pub(crate) max_waiters: usize,
    pub(crate) max_groups: usize,
    pub(crate) group: GroupTerms,
}

/// One session.
#[derive(Debug)]
pub(crate) struct SessionState {
    key: Arc<SessionKey>,
    pub(crate) epoch: Epoch,
    /// Shared by sessions with the same ones.
    pub(crate) terms: Arc<Terms>,
    pub(crate) window: Window,
    /// The order of the tenant's events, if it is kept. Its lock is taken inside the session's, never
    /// the other way round.
    pub(crate) tail: Option<Tail>,
    /// The store has been told that it may let go of what is before.
    pub(crate) trimmed: Position,
    /// Committed by a store, behind events that are not known here yet.
    early: BTreeMap<Position, Event>,
    /// The feeder of a stored session, waiting for a [`Duty`].
    pub(crate) feeder: Option<Waker>,
    /// The backend's handle, if it commits without waiting.
    pub(crate) immediate: Option<Box<dyn ImmediateLog>>,
    pub(crate) ended: Option<Box<Ended>>,
    pub(crate) cancelled: Option<Box<Cancelled>>,
    pub(crate) created: Moment,
    /// How many see to it that the session does not idle out.
    pub(crate) kept_alive: usize,
    pub(crate) last_activity: Moment,
    pub(crate) watchers: WaitList<Watcher>,
    groups: HashMap<Label, Group, RandomState>,
    /// How many steps of the groups have been replayed, where they are kept in a store.
    pub(crate) steps: Position,
    /// What the groups keep of what the window has dropped.
    kept_bytes: usize,
    /// Where the session reports what it holds.
    pub(crate) account: Option<Account>,
    /// Events that were let go of: for whoever holds the lock to drop after it, since what they hold
    /// may be anybody's.
    pub(crate) litter: Litter,
    pub(crate) readers: Readers,
    pub(crate) dropped: u64,
    /// When the session is looked at next: never after its next deadline.
    pub(crate) reminder: Option<Instant>,
}

impl SessionState {
    pub(crate) fn new(
        key: Arc<SessionKey>,
        epoch: Epoch,
        terms: Arc<Terms>,
        at: Position,
        immediate: Option<Box<dyn ImmediateLog>>,
        now: Moment,
    ) -> Self {
        Self {
            key,
            epoch,
            terms,
            window: Window::at(at),
            tail: None,
            trimmed: at,
            early: BTreeMap::new(),
            feeder: None,
            immediate,
            ended: None,
            cancelled: None,
            created: now,
            kept_alive: 0,
            last_activity: now,
            watchers: WaitList::new(),
            groups: HashMap::default(),
            steps: Position::START,
            kept_bytes: 0,
            account: None,
            litter: Litter::new(),
            readers: Readers::default(),
            dropped: 0,
            reminder: None,
        }
    }

    pub(crate) fn cursor(&self, position: Position) -> Cursor {
        Cursor::session(self.epoch, position)
    }

    pub(crate) fn latest(&self) -> Cursor {
        self.cursor(self.window.latest())
    }

    pub(crate) fn oldest(&self) -> Cursor {
        self.cursor(self.window.oldest())
    }

    // ---- applying -------------------------------------------------------------------------------

    /// Applies what an immediate backend committed, in position order.
    pub(crate) fn apply(
        &mut self,
        entries: Entries,
        slots: &[Slot],
        registry: &KindRegistry,
        now: Now<'_>,
        batch: &mut WakeBatch,
    ) {
        for (entry, slot) in entries.into_iter().zip(slots) {
            if let Some(event) = self.event(entry, *slot) {
                self.apply_event(event, registry, now, batch);
            }
        }
        self.touch(now);
    }

    /// The event of an entry that was stored, at its place. Another one is let go of.
    pub(crate) fn event(&mut self, entry: Entry, slot: Slot) -> Option<Event> {
        let event = entry.event.at(Place {
            session: Arc::clone(&self.key),
            epoch: self.epoch,
            position: slot.position,
            seq: slot.seq,
        });
        if slot.deduplicated {
            self.litter.push(event);
            return None;
        }
        Some(event)
    }

    /// Applies the event that follows. A session-final event seals.
    fn apply_event(
        &mut self,
        event: Event,
        registry: &KindRegistry,
        now: Now<'_>,
        batch: &mut WakeBatch,
    ) {
        let end = end_of_session(event.envelope(), registry);
        self.watchers
            .wake_where(batch, |_, watcher| watcher.offer(&event));
        for group in self.groups.values_mut() {
            group.offer(&event, batch);
        }
        if let Some(tail) = &self.tail {
            tail.push(&event, batch, &mut self.litter);
        }
        self.window.push(event);
        while let Some(evicted) = self.window.evict(self.terms.bounds) {
            self.evicted(std::slice::from_ref(&evicted), batch);
            self.litter.push(evicted);
        }
        if let Some(reason) = end {
            self.seal(reason, None, now, batch);
        }
    }

    /// These events, ascending, have left the window.
    fn evicted(&mut self, events: &[Event], batch: &mut WakeBatch) {
        if events.is_empty() {
            return;
        }
        self.dropped += events.len() as u64;
        self.with_groups(|group, window, litter| group.evicted(events, window, batch, litter));
    }

    /// How many bytes of events the session holds.
    pub(crate) fn bytes(&self) -> usize {
        self.window.bytes() + self.kept_bytes
    }

    /// Reports what the session holds.
    fn report(&mut self) {
        let (bytes, dropped) = (self.bytes(), self.dropped);
        if let Some(account) = &mut self.account {
            account.report(bytes, dropped);
        }
    }

    /// Drops the oldest events until the session holds no more than this.
    pub(crate) fn cut_to(&mut self, bytes: usize, batch: &mut WakeBatch) {
        if self.bytes() <= bytes {
            return;
        }
        let evicted = self.window.cut_to(bytes.saturating_sub(self.kept_bytes));
        self.evicted(&evicted, batch);
        self.litter.extend(evicted);
        if self.bytes() > bytes {
            self.with_groups(|group, window, litter| group.shed_all(window, batch, litter));
        }
        self.call_feeder(batch);
    }

    /// Applies what a store committed, in position order, whatever the order in which it becomes known
    /// here: what has been applied is skipped, what comes too early waits.
    pub(crate) fn apply_stored(
        &mut self,
        events: Vec<Event>,
        registry: &KindRegistry,
        now: Now<'_>,
        batch: &mut WakeBatch,
    ) {
        for event in events {
            if event.position() >= self.window.latest() {
                self.early.insert(event.position(), event);
            } else {
                self.litter.push(event);
            }
        }
        while let Some(event) = self.early.remove(&self.window.latest()) {
            self.apply_event(event, registry, now, batch);
            self.touch(now);
        }
        self.call_feeder(batch);
    }

    /// Moves the window to `oldest`, if it ends before: what lies between is gone from the store. Every
    /// reader is told the gap.
    pub(crate) fn skip_to(&mut self, oldest: Position, batch: &mut WakeBatch) {
        if oldest <= self.window.latest() {
            return;
        }
        self.dropped += oldest.since(self.window.oldest());
        let window = std::mem::replace(&mut self.window, Window::at(oldest));
        self.litter.extend(window.into_events());
        let later = self.early.split_off(&oldest);
        let before = std::mem::replace(&mut self.early, later);
        self.litter.extend(before.into_values());
        self.watchers.wake_where(batch, |_, watcher| watcher.skip());
    }

    /// What the store is to be told next.
    pub(crate) fn duty(&self) -> Option<Duty> {
        if let Some(ended) = &self.ended {
            return Some(Duty::Seal(Seal {
                reason: ended.reason,
                message: ended.message.clone(),
            }));
        }
        let oldest = self.window.oldest();
        (oldest.since(self.trimmed) >= TRIM_EVENTS).then_some(Duty::Trim(oldest))
    }

    fn call_feeder(&mut self, batch: &mut WakeBatch) {
        if self.duty().is_some()
            && let Some(feeder) = self.feeder.take()
        {
            batch.push(feeder);
        }
    }

    /// Something happened. Callers read the clock before they lock, so `now` may be a little old.
    pub(crate) fn touch(&mut self, now: Now<'_>) {
        if self.last_activity.monotonic < now.monotonic {
            self.last_activity = now.moment();
        }
    }

    /// Ends the session, unless it is over, and wakes everybody.
    pub(crate) fn seal(
        &mut self,
        reason: EndReason,
        message: Option<Box<str>>,
        now: Now<'_>,
        batch: &mut WakeBatch,
    ) -> bool {
        if self.ended.is_some() {
            return false;
        }
        self.ended = Some(Box::new(Ended {
            reason,
            message,
            at: now.monotonic,
            wall: now.wall(),
        }));
        self.wake_everybody(batch);
        self.call_feeder(batch);
        true
    }

    fn wake_everybody(&mut self, batch: &mut WakeBatch) {
        self.watchers.wake_all(batch);
        for group in self.groups.values_mut() {
            group.wake_all(batch);
        }
    }

    /// The session was removed: over for everybody, and empty.
    pub(crate) fn delete(&mut self, now: Now<'_>, batch: &mut WakeBatch) {
        match &mut self.ended {
            Some(ended) => ended.reason = EndReason::Deleted,
            None => {
                self.seal(EndReason::Deleted, None, now, batch);
            }
        }
        self.clear(batch);
    }

    /// Lets go of all events of an ended session. Whoever is still there learns that it is over, also
    /// who waits for an event that another taker had.
    pub(crate) fn clear(&mut self, batch: &mut WakeBatch) {
        let empty = Window::at(self.window.latest());
        let window = std::mem::replace(&mut self.window, empty);
        self.litter.extend(window.into_events());
        self.with_groups(|group, window, litter| group.clear(window.latest(), litter));
        self.wake_everybody(batch);
    }
}
