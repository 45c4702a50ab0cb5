//! `wait`: look without consuming.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use reveille_core::WaiterKey;
use reveille_types::{EndReason, Event, Filter, Gap, Position};

use crate::deadline::within;
use crate::error::ReadError;
use crate::log::SessionLog;
use crate::options::WaitOptions;
use crate::outcome::WaitOutcome;
use crate::state::{Look, SessionState, Watcher};

/// A wait in progress. Dropping it takes its waiter out.
struct Waiting<'a> {
    log: &'a SessionLog,
    stage: Stage,
    gap: Option<Gap>,
}

enum Stage {
    Starting(Look, Position),
    Registered(WaiterKey),
    Over,
}

/// What ended a wait before its time was up.
enum Found {
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
    /// [`ReadError`] when the start cannot be followed, an option is not allowed, or too many wait.
    ///
    /// # Cancel safety
    /// A dropped future leaves nothing behind.
    pub async fn wait(&self, options: WaitOptions) -> Result<WaitOutcome, ReadError> {
        options.check().map_err(ReadError::InvalidOption)?;
        let began = self.now().monotonic;
        let filtered = !options.filters.iter().any(Filter::is_all);
        let filters: Arc<[Filter]> = options.filters.into();
        let (start, gap) = {
            let state = self.0.state.lock();
            state.start(options.start, filtered)?
        };
        let mut waiting = Waiting {
            log: self,
            stage: Stage::Starting(Look::new(filters, options.needed), start),
            gap,
        };
        let found = within(options.timeout, poll_fn(|cx| waiting.poll(cx))).await;
        let gap = waiting.gap.take();
        match found {
            Some(found) => Ok(outcome(&self.0.state.lock(), found?, gap)),
            None => Ok(match waiting.give_up() {
                (Some(found), _) => outcome(&self.0.state.lock(), found, gap),
                (None, next) => WaitOutcome::TimedOut {
                    next: reveille_types::Cursor::session(self.epoch(), next),
                    waited: self.now().monotonic.saturating_duration_since(began),
                },
            }),
        }
    }
}

fn outcome(state: &SessionState, found: Found, gap: Option<Gap>) -> WaitOutcome {
    match found {
        Found::Events(events, after) => WaitOutcome::Matched {
            events,
            cursor: state.cursor(after),
            gap,
        },
        Found::End(reason) => WaitOutcome::Ended {
            reason,
            cursor: state.latest(),
            gap,
        },
    }
}

impl Waiting<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Found, ReadError>> {
        let waker = cx.waker().clone();
        // What is not needed any more is dropped after the lock: see `WaitList`.
        let _discarded;
        let mut state = self.log.0.state.lock();
        match &mut self.stage {
            Stage::Starting(look, start) => {
                for event in state.window.from(*start) {
                    if look.offer(event) {
                        break;
                    }
                }
                let end = state.ended.as_ref().map(|ended| ended.reason);
                let Stage::Starting(look, _) = std::mem::replace(&mut self.stage, Stage::Over)
                else {
                    return Poll::Pending;
                };
                if look.is_done() {
                    let (events, after) = look.into_events();
                    return Poll::Ready(Ok(Found::Events(events, after)));
                }
                if let Some(reason) = end {
                    return Poll::Ready(Ok(Found::End(reason)));
                }
                let key = state.register(waker, Watcher::Look(look))?;
                self.stage = Stage::Registered(key);
                Poll::Pending
            }
            Stage::Registered(key) => {
                let key = *key;
                if let Some(found) = found(&state, key) {
                    let removed = state.watchers.remove(key);
                    self.stage = Stage::Over;
                    let (found, rest) = found.with(removed);
                    _discarded = (rest, Some(waker));
                    return Poll::Ready(Ok(found));
                }
                _discarded = (None, state.watchers.set_waker(key, waker));
                Poll::Pending
            }
            Stage::Over => Poll::Pending,
        }
    }

    /// Ends the wait when its time is up: what was found until now counts, and so does the end. Else
    /// tells how far was looked without finding anything.
    fn give_up(&mut self) -> (Option<Found>, Position) {
        let _discarded;
        let mut state = self.log.0.state.lock();
        let latest = state.window.latest();
        let Stage::Registered(key) = std::mem::replace(&mut self.stage, Stage::Over) else {
            return (None, latest);
        };
        let found = found(&state, key);
        let removed = state.watchers.remove(key);
        match found {
            Some(found) => {
                let (found, rest) = found.with(removed);
                _discarded = rest;
                (Some(found), latest)
            }
            None => {
                _discarded = removed.and_then(|r| r.waker);
                (None, latest)
            }
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
    fn with(
        self,
        removed: Option<reveille_core::Removed<Watcher>>,
    ) -> (Found, Option<std::task::Waker>) {
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
