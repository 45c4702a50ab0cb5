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
mod watch;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use reveille_backend::{Entry, ImmediateLog, Seal, Slot};
use reveille_core::{Removed, WaitList, WaiterKey, WakeBatch};
use reveille_types::{
    Cursor, EndReason, Epoch, Event, Filter, Gap, GapReason, KindRegistry, Label, Place, Position,
    SessionKey, Start, end_of_session,
};

pub(crate) use group::{Group, TakeStep, Taker, Wanted};
pub(crate) use watch::{Follow, Look, Watcher};

use crate::error::{ReadError, SettleError};
use crate::outcome::LeaseId;
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

/// Now, on both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) monotonic: Instant,
    pub(crate) wall: Timestamp,
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
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) ttl: Option<Duration>,
    /// How long an ended session stays readable.
    pub(crate) retention: Duration,
    pub(crate) bounds: Bounds,
    pub(crate) max_waiters: usize,
    pub(crate) max_groups: usize,
}

/// One session.
#[derive(Debug)]
pub(crate) struct SessionState {
    key: Arc<SessionKey>,
    pub(crate) epoch: Epoch,
    pub(crate) terms: Terms,
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
    pub(crate) ended: Option<Ended>,
    pub(crate) cancelled: Option<Cancelled>,
    pub(crate) last_activity: Now,
    pub(crate) watchers: WaitList<Watcher>,
    pub(crate) groups: HashMap<Label, Group>,
    pub(crate) subscribers: usize,
    pub(crate) dropped: u64,
    /// When the session is looked at next: never after its next deadline.
    pub(crate) reminder: Option<Instant>,
}

impl SessionState {
    pub(crate) fn new(
        key: Arc<SessionKey>,
        epoch: Epoch,
        terms: Terms,
        at: Position,
        immediate: Option<Box<dyn ImmediateLog>>,
        now: Now,
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
            last_activity: now,
            watchers: WaitList::new(),
            groups: HashMap::new(),
            subscribers: 0,
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
        entries: Vec<Entry>,
        slots: &[Slot],
        registry: &KindRegistry,
        now: Now,
        batch: &mut WakeBatch,
    ) {
        for event in self.events(entries, slots) {
            self.apply_event(event, registry, now, batch);
        }
        self.touch(now);
    }

    /// The events of those entries that were stored, at their places.
    pub(crate) fn events(&self, entries: Vec<Entry>, slots: &[Slot]) -> Vec<Event> {
        let stored = entries
            .into_iter()
            .zip(slots)
            .filter(|(_, slot)| !slot.deduplicated);
        let event = |(entry, slot): (Entry, &Slot)| {
            let place = Place {
                session: Arc::clone(&self.key),
                epoch: self.epoch,
                position: slot.position,
                seq: slot.seq,
            };
            Event::new(entry.envelope, entry.payload, place)
        };
        stored.map(event).collect()
    }

    /// Applies the event that follows. A session-final event seals.
    fn apply_event(
        &mut self,
        event: Event,
        registry: &KindRegistry,
        now: Now,
        batch: &mut WakeBatch,
    ) {
        let end = end_of_session(event.envelope(), registry);
        self.watchers
            .wake_where(batch, |_, watcher| watcher.offer(&event));
        for group in self.groups.values_mut() {
            group.offer(&event, batch);
        }
        if let Some(tail) = &self.tail {
            tail.push(&event, batch);
        }
        self.dropped += self.window.push(event, self.terms.bounds);
        if let Some(reason) = end {
            self.seal(reason, None, now, batch);
        }
    }

    /// Applies what a store committed, in position order, whatever the order in which it becomes known
    /// here: what has been applied is skipped, what comes too early waits.
    pub(crate) fn apply_stored(
        &mut self,
        events: Vec<Event>,
        registry: &KindRegistry,
        now: Now,
        batch: &mut WakeBatch,
    ) {
        for event in events {
            if event.position() >= self.window.latest() {
                self.early.insert(event.position(), event);
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
        self.window = Window::at(oldest);
        self.early = self.early.split_off(&oldest);
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
    pub(crate) fn touch(&mut self, now: Now) {
        if self.last_activity.monotonic < now.monotonic {
            self.last_activity = now;
        }
    }

    /// Ends the session, unless it is over, and wakes everybody.
    pub(crate) fn seal(
        &mut self,
        reason: EndReason,
        message: Option<Box<str>>,
        now: Now,
        batch: &mut WakeBatch,
    ) -> bool {
        if self.ended.is_some() {
            return false;
        }
        self.ended = Some(Ended {
            reason,
            message,
            at: now.monotonic,
            wall: now.wall,
        });
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
    pub(crate) fn delete(&mut self, now: Now, batch: &mut WakeBatch) {
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
        self.window.clear();
        for group in self.groups.values_mut() {
            group.clear(self.window.latest());
        }
        self.wake_everybody(batch);
    }

    // ---- time -----------------------------------------------------------------------------------

    /// Does what is due: expires the session, ends the grace of a cancel, takes leases back.
    pub(crate) fn tick(&mut self, now: Now, batch: &mut WakeBatch) {
        if self.ended.is_none() {
            let grace = self.cancelled.as_ref().and_then(|c| c.grace_until);
            if grace.is_some_and(|until| until <= now.monotonic) {
                self.seal(EndReason::Cancelled, None, now, batch);
            } else if self.expires().is_some_and(|at| at <= now.monotonic) {
                self.seal(EndReason::Expired, None, now, batch);
            }
        }
        let over = self.ended.is_some();
        for group in self.groups.values_mut() {
            group.expire_leases(now.monotonic, &self.window, batch);
            if over {
                group.wake_all(batch);
            }
        }
    }

    /// When an open session expires if nothing happens in it, or an ended one vanishes.
    pub(crate) fn expires(&self) -> Option<Instant> {
        match &self.ended {
            None => self.last_activity.monotonic.checked_add(self.terms.ttl?),
            Some(ended) => ended.at.checked_add(self.terms.retention),
        }
    }

    /// The wall time of [`expires`](Self::expires), for display.
    pub(crate) fn expires_wall(&self) -> Option<Timestamp> {
        let (from, after) = match &self.ended {
            None => (self.last_activity.wall, self.terms.ttl?),
            Some(ended) => (ended.wall, self.terms.retention),
        };
        let after = jiff::SignedDuration::try_from(after).ok()?;
        from.checked_add(after).ok()
    }

    /// Whether an ended session has been readable for long enough, or was removed.
    pub(crate) fn is_gone(&self, now: Instant) -> bool {
        self.ended.as_ref().is_some_and(|ended| {
            ended.reason == EndReason::Deleted || self.expires().is_some_and(|at| at <= now)
        })
    }

    /// When to look at the session again.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let grace = self
            .cancelled
            .as_ref()
            .filter(|_| self.ended.is_none())
            .and_then(|c| c.grace_until);
        let leases = self.groups.values().filter_map(Group::next_expiry).min();
        [self.expires(), grace, leases].into_iter().flatten().min()
    }

    // ---- reading --------------------------------------------------------------------------------

    /// The position at which a reader begins, and what it misses there.
    pub(crate) fn start(
        &self,
        start: Start,
        filtered: bool,
    ) -> Result<(Position, Option<Gap>), ReadError> {
        let (oldest, latest) = (self.window.oldest(), self.window.latest());
        let at = start.resolve(self.epoch, oldest, latest)?;
        let gap = Gap::expired(self.cursor(at), oldest, filtered);
        Ok((at.max(oldest), gap))
    }

    /// Events from `from` on that match, at most `limit` events and about `bytes` bytes, and the
    /// position up to which the log has been looked through.
    pub(crate) fn read(
        &self,
        from: Position,
        filter: &Filter,
        limit: usize,
        bytes: usize,
    ) -> (Vec<Event>, Position) {
        let (mut events, mut weight) = (Vec::new(), 0);
        for event in self.window.from(from) {
            if !filter.matches(event) {
                continue;
            }
            weight += event.weight();
            if events.len() == limit || (weight > bytes && !events.is_empty()) {
                return (events, event.position());
            }
            events.push(event.clone());
        }
        (events, self.window.latest().max(from))
    }

    pub(crate) fn waiters(&self) -> usize {
        self.watchers.len() + self.groups.values().map(Group::waiting).sum::<usize>()
    }

    /// Refuses a place beyond the end, where a reader would wait in silence.
    pub(crate) fn check_ahead(&self, from: Position) -> Result<(), ReadError> {
        let (oldest, latest) = (self.window.oldest(), self.window.latest());
        Start::At(from).resolve(self.epoch, oldest, latest)?;
        Ok(())
    }

    /// Whether one more may wait. A call of its own before registering, so that the waker of one who
    /// may not is dropped by its owner, after the lock.
    pub(crate) fn check_waiters(&self) -> Result<(), ReadError> {
        let limit = self.terms.max_waiters;
        if self.waiters() >= limit {
            return Err(ReadError::TooManyWaiters { limit });
        }
        Ok(())
    }

    // ---- taking ---------------------------------------------------------------------------------

    /// The group of this name, which begins with the oldest event.
    pub(crate) fn group(&mut self, name: &Label) -> Result<&mut Group, ReadError> {
        let limit = self.terms.max_groups;
        if self.groups.len() >= limit && !self.groups.contains_key(name) {
            return Err(ReadError::TooManyGroups { limit });
        }
        Ok(self.groups.entry(name.clone()).or_default())
    }

    /// The parts that taking needs at once.
    pub(crate) fn group_and_window(
        &mut self,
        name: &Label,
    ) -> Result<(&mut Group, &Window), ReadError> {
        self.group(name)?;
        match self.groups.get_mut(name) {
            Some(group) => Ok((group, &self.window)),
            None => Err(ReadError::TooManyGroups {
                limit: self.terms.max_groups,
            }),
        }
    }

    /// How far a group has settled its events without a hole.
    pub(crate) fn consumed(&mut self, name: &Label) -> Result<Cursor, ReadError> {
        let (group, window) = self.group_and_window(name)?;
        group.account(window);
        let next = group.next();
        Ok(self.cursor(next))
    }

    /// Tells a group what it lost since it was last told.
    pub(crate) fn told_lost(&mut self, name: &Label, filtered: bool) -> Option<Gap> {
        let group = self.groups.get_mut(name)?;
        group.account(&self.window);
        let ranges = group.told_lost();
        let resumes_at = Cursor::session(self.epoch, group.next());
        (!ranges.is_empty()).then(|| Gap {
            reason: GapReason::Expired,
            missed: (!filtered).then(|| ranges.count()),
            ranges,
            requested: None,
            resumes_at,
            repair: None,
            overflow: None,
        })
    }

    pub(crate) fn leave_group(
        &mut self,
        name: &Label,
        key: WaiterKey,
        batch: &mut WakeBatch,
    ) -> Option<Removed<Taker>> {
        self.groups.get_mut(name)?.leave(key, &self.window, batch)
    }

    /// Settles a lease or gives its event back. Settling is activity. What is due at `now` has been
    /// done, so that a lease that is held is not over.
    pub(crate) fn settle(
        &mut self,
        name: &Label,
        lease: LeaseId,
        done: bool,
        now: Now,
        batch: &mut WakeBatch,
    ) -> Result<(), SettleError> {
        if lease.epoch != self.epoch {
            return Err(SettleError::Fenced);
        }
        let group = self.groups.get_mut(name).ok_or(SettleError::Fenced)?;
        if done {
            group.ack(lease)?;
        } else {
            group.nack(lease, &self.window, batch)?;
        }
        self.touch(now);
        self.settled(batch);
        Ok(())
    }

    /// After the end, a taker may be waiting only for what another taker holds: let it look again.
    pub(crate) fn settled(&mut self, batch: &mut WakeBatch) {
        if self.ended.is_some() {
            for group in self.groups.values_mut() {
                group.wake_all(batch);
            }
        }
    }
}
