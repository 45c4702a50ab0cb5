//! `subscribe`: follow a log.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use reveille_core::{WaiterKey, WakeBatch};
use reveille_types::{Cursor, Event, Filter, Gap, Position};

use crate::error::ReadError;
use crate::log::SessionLog;
use crate::options::SubscribeOptions;
use crate::outcome::StreamItem;
use crate::state::{Follow, Progress, Watcher};

/// Most events that a subscription fetches at once.
const FETCH_EVENTS: usize = 256;
/// Most bytes that a subscription fetches at once, one event aside.
const FETCH_BYTES: usize = 256 * 1024;

/// A live stream of a log: history from the start on, then what comes, then the end.
///
/// A subscription is a place in the log, not a queue: it holds at most a few events that it fetched at
/// once, never more, however slow its reader is. What retention drops before the reader comes there is
/// told as a [`Gap`]. It holds nothing while its reader works, so any operation may be called from
/// within; dropping it releases everything at once.
pub struct Subscription {
    log: SessionLog,
    filter: Filter,
    /// Everything before it has been fetched or told as missing.
    next: Position,
    /// Fetched and not yet handed out.
    fetched: VecDeque<Event>,
    gap: Option<Gap>,
    /// The place up to which items have been handed out.
    cursor: Cursor,
    waiter: Option<WaiterKey>,
    /// Who is woken by the event after those fetched, when they were all there is: the next look would
    /// find nothing.
    waits: Option<Waker>,
    stage: Stage,
    /// The subscription among those of the session, and how far it says that it is.
    reader: usize,
    progress: Arc<Progress>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    History,
    Live,
    Over,
}

impl SessionLog {
    /// Follows the log. The subscription counts from now on, before its first poll.
    ///
    /// # Errors
    /// [`ReadError::Cursor`] when the start cannot be followed.
    pub fn subscribe(&self, options: SubscribeOptions) -> Result<Subscription, ReadError> {
        let now = self.now();
        let mut batch = WakeBatch::new();
        let mut state = self.lock_due(now, &mut batch);
        let filtered = !options.filter.is_all();
        let (next, gap) = state.start(options.start, filtered)?;
        let progress = Arc::new(Progress::default());
        let cursor = match &gap {
            Some(gap) => gap.requested.unwrap_or(gap.resumes_at),
            None => state.cursor(next),
        };
        progress.set_read_to(cursor.position().unwrap_or(next));
        let reader = state.readers.enter(Arc::clone(&progress));
        drop(state);
        Ok(Subscription {
            log: self.clone(),
            filter: options.filter,
            next,
            fetched: VecDeque::new(),
            gap,
            cursor,
            waiter: None,
            waits: None,
            stage: Stage::History,
            reader,
            progress,
        })
    }
}

impl Subscription {
    /// The log that is followed.
    #[must_use]
    pub fn log(&self) -> &SessionLog {
        &self.log
    }

    /// Where to resume to get exactly what has not been handed out. Moves on over events that the
    /// filter skips, too.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// The next item; `None` after [`StreamItem::Ended`].
    ///
    /// # Errors
    /// [`ReadError::TooManyWaiters`] when there is nothing to read and too many wait.
    ///
    /// # Cancel safety
    /// A dropped future has taken no item.
    pub async fn next(&mut self) -> Option<Result<StreamItem, ReadError>> {
        std::future::poll_fn(|cx| self.poll_item(cx)).await
    }

    /// Polls for the next item, as [`next`](Self::next).
    pub fn poll_item(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<StreamItem, ReadError>>> {
        if let Some(item) = self.fetched_item() {
            return Poll::Ready(Some(Ok(item)));
        }
        if self.stage == Stage::Over {
            return Poll::Ready(None);
        }
        if self
            .waits
            .take()
            .is_some_and(|waits| waits.will_wake(cx.waker()))
        {
            return Poll::Pending;
        }
        loop {
            match self.look(cx.waker().clone()) {
                Poll::Ready(Some(item)) => return Poll::Ready(Some(item)),
                // Nothing that matches as far as one lock may go.
                Poll::Ready(None) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Looks at the log once: an item, nothing so far, or nothing to be had before a wake-up.
    fn look(&mut self, waker: Waker) -> Poll<Option<Result<StreamItem, ReadError>>> {
        let now = self.log.now();
        // What is not needed any more is dropped after the lock, and so is the batch: see `WaitList`.
        let (_discarded, _replaced);
        let mut batch = WakeBatch::new();
        let mut state = self.log.lock_due(now, &mut batch);
        if let Some(Watcher::Follow(follow)) = self.waiter.and_then(|key| state.watchers.get(key)) {
            self.next = self.next.max(follow.next());
        }
        let at = state.cursor(self.next);
        if let Some(gap) = Gap::expired(at, state.window.oldest(), !self.filter.is_all()) {
            self.next = state.window.oldest();
            drop(state);
            self.tell(&gap);
            return Poll::Ready(Some(Ok(StreamItem::Gap(gap))));
        }
        let read = state.read(self.next, &self.filter, FETCH_EVENTS, FETCH_BYTES);
        self.next = read.next;
        self.fetched = read.events.into();
        if !self.fetched.is_empty() {
            if self.stage == Stage::Live
                && state.ended.is_none()
                && self.next == state.window.latest()
                && let Some(key) = self.waiter
            {
                if let Some(Watcher::Follow(follow)) = state.watchers.get_mut(key) {
                    follow.caught_up(self.next);
                }
                _replaced = state.watchers.set_waker(key, waker.clone());
                self.waits = Some(waker);
            }
            drop(state);
            return Poll::Ready(self.fetched_item().map(Ok));
        }
        self.cursor = state.cursor(self.next);
        self.progress.set_read_to(self.next);
        if self.next < state.window.latest() {
            return Poll::Ready(None);
        }
        if self.stage == Stage::History {
            self.stage = Stage::Live;
            return Poll::Ready(Some(Ok(StreamItem::CaughtUp(self.cursor))));
        }
        if let Some(ended) = &state.ended {
            self.stage = Stage::Over;
            let item = StreamItem::Ended {
                reason: ended.reason,
                cursor: self.cursor,
            };
            _discarded = self
                .waiter
                .take()
                .and_then(|key| state.watchers.remove(key));
            return Poll::Ready(Some(Ok(item)));
        }
        match self.waiter {
            Some(key) => {
                if let Some(Watcher::Follow(follow)) = state.watchers.get_mut(key) {
                    follow.caught_up(self.next);
                }
                _replaced = state.watchers.set_waker(key, waker);
            }
            None => {
                state.check_waiters()?;
                let watcher = Watcher::Follow(Follow::new(self.filter.clone(), self.next));
                let key = state.watchers.insert(Some(waker), watcher);
                state.readers.waits(self.reader, key);
                self.waiter = Some(key);
            }
        }
        Poll::Pending
    }

    /// A gap is handed out.
    fn tell(&mut self, gap: &Gap) {
        self.cursor = gap.resumes_at;
        self.progress.add_missed(gap.ranges.count());
        if let Some(position) = gap.resumes_at.position() {
            self.progress.set_read_to(position);
        }
    }

    /// What can be handed out without looking at the log.
    fn fetched_item(&mut self) -> Option<StreamItem> {
        if let Some(gap) = self.gap.take() {
            self.tell(&gap);
            return Some(StreamItem::Gap(gap));
        }
        let event = self.fetched.pop_front()?;
        let read_to = match self.fetched.is_empty() {
            // Everything up to `next` has been looked through.
            true => self.next,
            false => event.position().next(),
        };
        self.cursor = Cursor::session(self.log.epoch(), read_to);
        self.progress.set_read_to(read_to);
        Some(StreamItem::Event(event))
    }
}

impl Stream for Subscription {
    type Item = Result<StreamItem, ReadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_item(cx)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let removed = {
            let mut state = self.log.0.state.lock();
            state.readers.leave(self.reader);
            self.waiter
                .take()
                .and_then(|key| state.watchers.remove(key))
        };
        drop(removed);
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("log", &self.log)
            .field("cursor", &format_args!("{}", self.cursor))
            .finish_non_exhaustive()
    }
}
