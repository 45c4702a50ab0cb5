//! `take`: consume, exactly once per group and event.

use std::future::poll_fn;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use reveille_core::{WaiterKey, WakeBatch};
use reveille_types::Label;

use crate::deadline::within;
use crate::error::ReadError;
use crate::log::SessionLog;
use crate::options::TakeOptions;
use crate::outcome::TakeOutcome;
use crate::state::{Looked, TakeStep, TakerPlace, Wanted};

/// A take in progress. Dropping it gives back what was reserved for it.
struct Taking<'a> {
    log: &'a SessionLog,
    group: &'a Label,
    wanted: &'a Wanted,
    waiter: Option<WaiterKey>,
    looked: Looked,
}

impl SessionLog {
    /// Takes the oldest events that match and that nobody of the group has taken; waits for one if
    /// there is none, first come, first served. An event is this taker's at the moment the future
    /// returns it: for good, or for the time of the lease.
    ///
    /// On a stored session this holds for all processes on the store, and over restarts: what is taken is
    /// kept in the store before it is returned. Taken without a lease, it is taken at most once, whatever
    /// ends the process.
    ///
    /// Needs a tokio runtime with timers if a time-out is given, and for a stored session.
    ///
    /// # Errors
    /// [`ReadError`] when an option is not allowed, too many wait or are on lease, or the store failed.
    ///
    /// # Cancel safety
    /// A dropped future has taken nothing: what was reserved for it goes to the next taker.
    pub async fn take(&self, options: TakeOptions) -> Result<TakeOutcome, ReadError> {
        options.check().map_err(ReadError::InvalidOption)?;
        match &self.0.stored {
            None => self.take_here(options).await,
            // Larger, and not for those to carry who do not need it.
            Some(_) => Box::pin(self.take_stored(options)).await,
        }
    }

    /// Takes what is available in this process.
    pub(crate) async fn take_here(&self, options: TakeOptions) -> Result<TakeOutcome, ReadError> {
        // Looked at only when the time is up.
        let began = options.timeout.map(|_| self.now().monotonic);
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
            looked: Looked::default(),
        };
        match within(options.timeout, poll_fn(|cx| taking.poll(cx))).await {
            Some(outcome) => outcome,
            None => taking.give_up(began.unwrap_or_else(|| self.now().monotonic)),
        }
    }
}

impl Taking<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<TakeOutcome, ReadError>> {
        loop {
            match self.step(cx.waker().clone()) {
                Poll::Ready(Ok(Some(outcome))) => return Poll::Ready(Ok(outcome)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(None)) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Goes on as far as one lock may; ready without an outcome to be called again.
    fn step(&mut self, waker: Waker) -> Poll<Result<Option<TakeOutcome>, ReadError>> {
        let now = self.log.now();
        // What is not needed any more is dropped after the lock, and so is the batch: see `WaitList`.
        let (_removed, _replaced);
        let mut batch = WakeBatch::new();
        let mut state = self.log.lock_due(now, &mut batch);
        let end = state.ended.as_ref().map(|e| e.reason);
        if self.waiter.is_none() {
            state.check_ahead(self.wanted.from)?;
        }
        let place = match self.waiter {
            None => TakerPlace::Looking(&mut self.looked),
            Some(key) => TakerPlace::Waiting(key),
        };
        let (step, removed) = state.take(self.group, place, self.wanted, now, &mut batch)?;
        _removed = removed;
        let filtered = !self.wanted.filter.is_all();
        match (step, end) {
            (TakeStep::Taken { taken, next, lost }, _) => {
                self.waiter = None;
                state.settled(&mut batch);
                if self.wanted.lease.is_some() {
                    self.log.remind(&mut state);
                }
                let gap = state.lost(lost, next, filtered);
                let cursor = state.cursor(next);
                Poll::Ready(Ok(Some(TakeOutcome::Taken { taken, cursor, gap })))
            }
            (TakeStep::Nothing, Some(reason)) if !state.may_come_back(self.group, self.wanted) => {
                Poll::Ready(Ok(Some(TakeOutcome::Ended {
                    reason,
                    cursor: state.latest(),
                    gap: state.told_lost(self.group, filtered),
                })))
            }
            (TakeStep::More, _) => Poll::Ready(Ok(None)),
            (TakeStep::TooManyLeases, _) => {
                self.waiter = None;
                let limit = state.terms.group.leases;
                Poll::Ready(Err(ReadError::TooManyLeases { limit }))
            }
            (TakeStep::Nothing, _) => {
                match self.waiter {
                    Some(key) => _replaced = state.set_taker_waker(self.group, key, waker),
                    None => {
                        state.check_waiters()?;
                        self.waiter = state.register_taker(self.group, waker, self.wanted.clone());
                    }
                }
                Poll::Pending
            }
        }
    }

    /// Ends the take when its time is up: what was reserved for it until now is its own.
    fn give_up(&mut self, began: Instant) -> Result<TakeOutcome, ReadError> {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        if let Poll::Ready(outcome) = self.poll(&mut cx) {
            return outcome;
        }
        let waited = self.log.now().monotonic.saturating_duration_since(began);
        let mut state = self.log.0.state.lock();
        let from = state.cursor(self.wanted.from);
        let consumed = state.consumed(self.group);
        Ok(TakeOutcome::TimedOut {
            next: match consumed.position() < from.position() {
                true => from,
                false => consumed,
            },
            waited,
        })
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
