//! Reading history: a few streams of a token in a session at a time, and each at a pace.
//!
//! History is there all at once, and whoever reads it costs much for a while. A stream that has no turn
//! yet, or that was faster than its pace, waits with its reading alone: its heartbeats come.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use reveille_types::{SessionKey, Tenant};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::config::StreamLimits;

/// Fewer keys than this are never looked through for ones that nobody uses.
const SWEEP_KEYS: usize = 1_000;

/// A token in a session; in all sessions, if none.
type Reader = ((Tenant, String), Option<SessionKey>);

/// The turns of all who read history.
#[derive(Debug)]
pub(crate) struct Replays {
    limits: StreamLimits,
    readers: Mutex<Turns>,
}

#[derive(Debug)]
struct Turns {
    of: HashMap<Reader, Weak<Semaphore>>,
    sweep_at: usize,
}

impl Replays {
    pub(crate) fn new(limits: StreamLimits) -> Self {
        Self {
            limits,
            readers: Mutex::new(Turns {
                of: HashMap::new(),
                sweep_at: SWEEP_KEYS,
            }),
        }
    }

    /// One more that wants to read.
    pub(crate) fn turn(&self, token: (Tenant, String), of: Option<SessionKey>) -> Replay {
        let mut turns = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if turns.of.len() >= turns.sweep_at {
            turns.of.retain(|_, used| used.strong_count() > 0);
            turns.sweep_at = SWEEP_KEYS.max(2 * turns.of.len());
        }
        let known = turns.of.entry((token, of)).or_default();
        let semaphore = known.upgrade().unwrap_or_else(|| {
            let turns = self.limits.replays.clamp(1, Semaphore::MAX_PERMITS);
            let new = Arc::new(Semaphore::new(turns));
            *known = Arc::downgrade(&new);
            new
        });
        Replay {
            turn: Turn::Awaited(Box::pin(semaphore.acquire_owned())),
            bytes_per_second: self.limits.replay_bytes.max(1),
            begun: Instant::now(),
            read: 0,
        }
    }
}

/// A stream that reads history, until it is dropped.
pub(crate) struct Replay {
    turn: Turn,
    bytes_per_second: usize,
    begun: Instant,
    read: usize,
}

enum Turn {
    Awaited(Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>),
    /// Never an error: nobody closes the semaphore.
    Come(
        #[expect(dead_code, reason = "it is given back when it is dropped")]
        Result<OwnedSemaphorePermit, AcquireError>,
    ),
}

impl Replay {
    /// Ready when it is its turn.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Turn::Awaited(turn) = &mut self.turn {
            self.turn = Turn::Come(ready!(turn.as_mut().poll(cx)));
            self.begun = Instant::now();
        }
        Poll::Ready(())
    }

    /// So much was read.
    pub(crate) fn has_read(&mut self, bytes: usize) {
        self.read += bytes;
    }

    /// Until when it must not go on; none if it may. What a second brings may be read at once.
    pub(crate) fn pause(&self) -> Option<Instant> {
        let ahead = self.read.saturating_sub(self.bytes_per_second);
        let time = Duration::from_secs_f64(ahead as f64 / self.bytes_per_second as f64);
        let until = self.begun + time;
        (until > Instant::now()).then_some(until)
    }
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay")
            .field("read", &self.read)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn is_ready(replay: &mut Replay) -> bool {
        replay
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_ready()
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_has_a_few_turns_in_a_session_and_others_have_their_own() {
        let limits = StreamLimits {
            replays: 2,
            ..StreamLimits::default()
        };
        let replays = Replays::new(limits);
        let turn = |subject: &str| {
            let token = ("acme".parse().unwrap(), subject.to_owned());
            replays.turn(token, None)
        };
        let mut first = turn("a");
        let mut second = turn("a");
        let mut third = turn("a");
        assert!(is_ready(&mut first) && is_ready(&mut second));
        assert!(!is_ready(&mut third));
        assert!(is_ready(&mut turn("b")));
        drop(first);
        assert!(is_ready(&mut third));
        drop((second, third));
        assert!(is_ready(&mut turn("a")));
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_second_brings_comes_at_once_and_the_rest_at_its_pace() {
        let limits = StreamLimits {
            replay_bytes: 100,
            ..StreamLimits::default()
        };
        let replays = Replays::new(limits);
        let mut replay = replays.turn(("acme".parse().unwrap(), "a".to_owned()), None);
        assert!(is_ready(&mut replay));
        replay.has_read(100);
        assert_eq!(replay.pause(), None);
        replay.has_read(50);
        let until = replay.pause().unwrap();
        assert_eq!(until - Instant::now(), Duration::from_millis(500));
        tokio::time::sleep_until(until).await;
        assert_eq!(replay.pause(), None);
    }
}
