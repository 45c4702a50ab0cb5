//! `wait`: look without consuming.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use reveille_core::{WaiterKey, WakeBatch};
use reveille_types::{Cursor, EndReason, Event, Filter, Gap, Position, Start};

use crate::deadline::within;
use crate::error::ReadError;
use crate::log::SessionLog;
use crate::options::WaitOptions;
use crate::outcome::WaitOutcome;
use crate::read::join;
use crate::state::{Look, SessionState, Watcher};

/// A wait in progress. Dropping it takes its waiter out.
pub(crate) struct Waiting<'a> {
    log: &'a SessionLog,
    began: Instant,
    filters: Arc<[Filter]>,
    needed: usize,
    start: Start,
    stage: Stage,
    /// What is missing at the start. Known from the first poll on.
    gap: Option<Box<Gap>>,
}

enum Stage {
    Starting,
    /// Everything before the place has been looked at.
    Looking(Look, Position),
    Registered(WaiterKey),
    Over,
}

/// What ended a wait before its time was up.
pub(crate) enum Found {
    Events(Vec<Event>, Position),
    End(EndReason),
}

impl SessionLog {
    /// Waits until enough of the filters have been matched by events from the start on, and gives the
    /// first event that matched each. Does not consume: every waiter gets the same events, whether it
    /// came before them or after.
    ///
    /// Needs a tokio runtime with timers if a time-out is given.
    ///
    /// # Errors
    /// [`ReadError`] when the start cannot be followed, an option is not allowed, too many wait, or the store
    /// failed that may have the start.
    ///
    /// # Cancel safety
    /// A dropped future leaves nothing behind.
    pub async fn wait(&self, options: WaitOptions) -> Result<WaitOutcome, ReadError> {
        self.load_to(options.start).await?;
        let timeout = options.timeout;
        let mut waiting = Waiting::new(self, options)?;
        match within(timeout, poll_fn(|cx| waiting.poll(cx))).await {
            Some(found) => Ok(waiting.outcome(found?)),
            None => Ok(waiting.give_up()),
        }
    }
}

impl<'a> Waiting<'a> {
    pub(crate) fn new(log: &'a SessionLog, options: WaitOptions) -> Result<Self, ReadError> {
        options.check().map_err(ReadError::InvalidOption)?;
        Ok(Self {
            log,
            began: log.now().monotonic,
            filters: options.filters.into(),
            needed: options.needed,
            start: options.start,
            stage: Stage::Starting,
            gap: None,
        })
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Found, ReadError>> {
        loop {
            if let Some(polled) = self.step(cx.waker().clone()) {
                return polled;
            }
        }
    }

    /// Goes on as far as one lock may; `None` to be called again.
    fn step(&mut self, waker: Waker) -> Option<Poll<Result<Found, ReadError>>> {
        let now = self.log.now();
        // What is not needed any more is dropped after the lock, and so is the batch: see `WaitList`.
        let _discarded;
        let mut batch = WakeBatch::new();
        let mut state = self.log.lock_due(now, &mut batch);
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Starting => {
                let (from, gap) = match state.start(self.start, self.is_filtered()) {
                    Ok(begin) => begin,
                    Err(error) => return Some(Poll::Ready(Err(error))),
                };
                self.gap = gap.map(Box::new);
                let look = Look::new(Arc::clone(&self.filters), self.needed);
                self.stage = Stage::Looking(look, from);
                None
            }
            Stage::Looking(mut look, at) => {
                let oldest = state.window.oldest();
                if let Some(gap) = Gap::expired(state.cursor(at), oldest, self.is_filtered()) {
                    let mut joined = self.gap.take().map(|gap| *gap);
                    join(&mut joined, gap);
                    self.gap = joined.map(Box::new);
                }
                let at = state.scan(at.max(oldest), &mut look);
                if look.is_done() {
                    let (events, after) = look.into_events();
                    return Some(Poll::Ready(Ok(Found::Events(events, after))));
                }
                if at < state.window.latest() {
                    self.stage = Stage::Looking(look, at);
                    return None;
                }
                if let Some(ended) = &state.ended {
                    let end = Found::End(ended.reason);
                    _discarded = (Some(look), None, None);
                    return Some(Poll::Ready(Ok(end)));
                }
                if let Err(error) = state.check_waiters() {
                    _discarded = (Some(look), None, None);
                    return Some(Poll::Ready(Err(error)));
                }
                let key = state.watchers.insert(Some(waker), Watcher::Look(look));
                self.stage = Stage::Registered(key);
                Some(Poll::Pending)
            }
            Stage::Registered(key) => {
                if let Some(found) = found(&state, key) {
                    let removed = state.watchers.remove(key);
                    let (found, rest) = found.with(removed);
                    _discarded = (None, rest, Some(waker));
                    return Some(Poll::Ready(Ok(found)));
                }
                self.stage = Stage::Registered(key);
                _discarded = (None, state.watchers.set_waker(key, waker), None);
                Some(Poll::Pending)
            }
            Stage::Over => Some(Poll::Pending),
        }
    }

    fn is_filtered(&self) -> bool {
        !self.filters.iter().any(Filter::is_all)
    }

    /// Ends the wait when its time is up: what was found until now counts, and so does the end. Else
    /// tells where to go on, so that nothing that counts is before it: neither an event that matched
    /// one filter of several, nor a gap that has not been told.
    pub(crate) fn give_up(mut self) -> WaitOutcome {
        match self.last_look() {
            Ok(found) => self.outcome(found),
            Err(next) => WaitOutcome::TimedOut {
                next,
                waited: self
                    .log
                    .now()
                    .monotonic
                    .saturating_duration_since(self.began),
            },
        }
    }

    fn last_look(&mut self) -> Result<Found, Cursor> {
        let _discarded;
        let mut state = self.log.0.state.lock();
        let latest = state.latest();
        let Stage::Registered(key) = std::mem::replace(&mut self.stage, Stage::Over) else {
            return Err(latest);
        };
        let found = found(&state, key);
        let removed = state.watchers.remove(key);
        match found {
            Some(found) => {
                let (found, rest) = found.with(removed);
                _discarded = (rest, None);
                Ok(found)
            }
            None => {
                let hit = match removed.as_ref().map(|removed| &removed.data) {
                    Some(Watcher::Look(look)) => look.first_hit(),
                    _ => None,
                };
                _discarded = (None, removed);
                let unmatched = hit.map_or(latest, |position| state.cursor(position));
                let missing = self.gap.as_ref().and_then(|gap| gap.requested);
                Err(missing.unwrap_or(unmatched))
            }
        }
    }

    pub(crate) fn outcome(&mut self, found: Found) -> WaitOutcome {
        let gap = self.gap.take().map(|gap| *gap);
        match found {
            Found::Events(events, after) => WaitOutcome::Matched {
                events,
                cursor: Cursor::session(self.log.epoch(), after),
                gap,
            },
            Found::End(reason) => WaitOutcome::Ended {
                reason,
                cursor: self.log.latest(),
                gap,
            },
        }
    }
}

/// What ends a registered wait.
enum Reason {
    Matched,
    Ended(EndReason),
}

fn found(state: &SessionState, key: WaiterKey) -> Option<Reason> {
    match state.watchers.get(key) {
        Some(Watcher::Look(look)) if look.is_done() => Some(Reason::Matched),
        _ => state.ended.as_ref().map(|e| Reason::Ended(e.reason)),
    }
}

impl Reason {
    fn with(self, removed: Option<reveille_core::Removed<Watcher>>) -> (Found, Option<Waker>) {
        let (look, waker) = match removed {
            Some(removed) => (Some(removed.data), removed.waker),
            None => (None, None),
        };
        let found = match (self, look) {
            (Self::Matched, Some(Watcher::Look(look))) => {
                let (events, after) = look.into_events();
                Found::Events(events, after)
            }
            (Self::Matched, _) => Found::Events(Vec::new(), Position::START),
            (Self::Ended(reason), _) => Found::End(reason),
        };
        (found, waker)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Stage::Registered(key) = self.stage {
            let removed = self.log.0.state.lock().watchers.remove(key);
            drop(removed);
        }
    }
}
