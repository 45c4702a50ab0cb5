//! `take`: consume, exactly once per group and event.

use std::future::poll_fn;
use std::task::{Context, Poll};

use reveille_core::{WaiterKey, WakeBatch};
use reveille_types::{EndReason, Label};

use crate::deadline::within;
use crate::error::ReadError;
use crate::log::SessionLog;
use crate::options::TakeOptions;
use crate::outcome::{TakeOutcome, Taken};
use crate::state::{TakeStep, Wanted};

/// A take in progress. Dropping it gives back what was reserved for it.
struct Taking<'a> {
    log: &'a SessionLog,
    group: &'a Label,
    wanted: &'a Wanted,
    waiter: Option<WaiterKey>,
}

/// What ended a take before its time was up.
enum Found {
    Events(Vec<Taken>),
    End(EndReason),
}

impl SessionLog {
    /// Takes the oldest events that match and that nobody of the group has taken; waits for one if
    /// there is none, first come, first served. An event is this taker's at the moment the future
    /// returns it: for good, or for the time of the lease.
    ///
    /// Needs a tokio runtime with timers if a time-out is given.
    ///
    /// # Errors
    /// [`ReadError`] when an option is not allowed, or too many wait.
    ///
    /// # Cancel safety
    /// A dropped future has taken nothing: what was reserved for it goes to the next taker.
    pub async fn take(&self, options: TakeOptions) -> Result<TakeOutcome, ReadError> {
        options.check().map_err(ReadError::InvalidOption)?;
        let began = self.now().monotonic;
        let filtered = !options.filter.is_all();
        let wanted = Wanted {
            filter: options.filter,
            from: options.from,
            max: options.max,
            lease: options.lease,
        };
        let mut taking = Taking {
            log: self,
            group: &options.group,
            wanted: &wanted,
            waiter: None,
        };
        let found = within(options.timeout, poll_fn(|cx| taking.poll(cx))).await;
        let found = match found {
            Some(found) => Some(found?),
            // What was reserved while the time ran out is this taker's.
            None => taking.last_look()?,
        };
        drop(taking);

        let mut state = self.0.state.lock();
        if options.lease.is_some() {
            self.remind(&mut state);
        }
        let next = state.group(&options.group)?.next();
        Ok(match found {
            Some(Found::Events(taken)) => TakeOutcome::Taken {
                taken,
                cursor: state.cursor(next),
                gap: state.told_lost(&options.group, filtered),
            },
            Some(Found::End(reason)) => TakeOutcome::Ended {
                reason,
                cursor: state.latest(),
                gap: state.told_lost(&options.group, filtered),
            },
            None => TakeOutcome::TimedOut {
                next: state.cursor(next),
                waited: self.now().monotonic.saturating_duration_since(began),
            },
        })
    }
}

impl Taking<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Found, ReadError>> {
        let now = self.log.now();
        let waker = cx.waker().clone();
        let mut batch = WakeBatch::new();
        // What is not needed any more is dropped after the lock: see `WaitList`.
        let _discarded;
        let mut state = self.log.lock_due(now, &mut batch);
        let (epoch, end) = (state.epoch, state.ended.as_ref().map(|e| e.reason));
        if self.waiter.is_none() {
            state.check_waiters()?;
        }
        let (group, window) = state.group_and_window(self.group)?;
        let (step, waker) = match self.waiter {
            None => {
                let step = group.take_now(self.wanted, window, epoch, now.monotonic);
                (step, Some(waker))
            }
            Some(key) => {
                let (step, discarded) = group.poll(key, waker, epoch, now.monotonic);
                _discarded = discarded;
                (step, None)
            }
        };
        match (step, end) {
            (TakeStep::Taken(taken), _) => {
                self.waiter = None;
                state.settled(&mut batch);
                Poll::Ready(Ok(Found::Events(taken)))
            }
            (
                TakeStep::Nothing {
                    may_come_back: false,
                },
                Some(reason),
            ) => Poll::Ready(Ok(Found::End(reason))),
            (TakeStep::Nothing { .. }, _) => {
                if let Some(waker) = waker {
                    self.waiter = Some(group.register(waker, self.wanted.clone()));
                }
                Poll::Pending
            }
        }
    }

    /// Claims what is there when the time is up.
    fn last_look(&mut self) -> Result<Option<Found>, ReadError> {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match self.poll(&mut cx) {
            Poll::Ready(found) => found.map(Some),
            Poll::Pending => Ok(None),
        }
    }
}

impl Drop for Taking<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.waiter {
            let mut batch = WakeBatch::new();
            let removed = self
                .log
                .0
                .state
                .lock()
                .leave_group(self.group, key, &mut batch);
            drop(removed);
            batch.wake_all();
        }
    }
}
