//! Waiting for an event, however often the server goes away meanwhile.

use std::time::Duration;

use reveille_types::wire::{WaitAnswer, WaitOutcomeKind};
use reveille_types::{Cursor, EndReason, Gap};
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::client::{json, send};
use crate::error::ClientError;
use crate::session::{Session, cursor_of};

/// The longest that one request waits: below what proxies on the way cut off.
const CHUNK: Duration = Duration::from_secs(25);
/// How long the first request waits: its answer tells which incarnation of the log this is, so that a
/// server that is started anew later is recognised.
const FIRST_CHUNK: Duration = Duration::from_secs(1);
/// How much longer than its own time-out an answer may take.
const GRACE: Duration = Duration::from_secs(10);

/// What to wait for.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct WaitRequest {
    /// Patterns over kinds; every event if none.
    pub patterns: Vec<String>,
    /// Whether each pattern must be matched, and not any.
    pub all: bool,
    /// Where to begin: a cursor, `earliest` (the default) or `latest`.
    pub after: Option<String>,
    /// After how long to give up; never if none.
    pub timeout: Option<Duration>,
}

/// How a wait came out.
#[derive(Debug)]
pub enum WaitResult {
    /// The events are here.
    Matched {
        /// The events, in log order.
        events: Vec<Box<RawValue>>,
        /// Where to go on.
        cursor: Cursor,
    },
    /// The time was up.
    TimedOut {
        /// Where to go on, if the server has said so.
        next: Option<Cursor>,
    },
    /// The session is over without a match.
    Ended {
        /// Why.
        reason: EndReason,
    },
}

/// What happened on the way, for people.
#[derive(Debug)]
pub enum WaitNote {
    /// The server is away; the wait goes on.
    Unreachable(ClientError),
    /// The server does not know the cursor any more: events of before are lost, and the wait goes on
    /// from the oldest event there is.
    LostPlace,
    /// Events are missing.
    Gap(Gap),
}

impl Session {
    /// Waits for events. A server that is away, stopped or started anew is waited for, too, until the
    /// time is up; what happens on the way is told to `note`.
    ///
    /// # Errors
    /// [`ClientError`] when the server refuses.
    ///
    /// # Cancel safety
    /// A dropped future leaves nothing behind.
    pub async fn wait(
        &self,
        request: &WaitRequest,
        mut note: impl FnMut(WaitNote),
    ) -> Result<WaitResult, ClientError> {
        let deadline = request.timeout.map(|timeout| Instant::now() + timeout);
        let mut after = request.after.clone();
        let mut next: Option<Cursor> = None;
        // Whether the server may have been started anew since the wait began.
        let mut was_away = false;
        let mut backoff = Backoff::default();
        loop {
            let left = deadline.map_or(CHUNK, |at| at.saturating_duration_since(Instant::now()));
            let longest = next.map_or(FIRST_CHUNK, |_| CHUNK);
            let chunk = left.min(longest);
            match self.wait_once(request, after.as_deref(), chunk).await {
                Ok(Waited::Answer(answer)) => {
                    if next.is_some_and(|known| known.epoch() != answer.cursor.epoch()) {
                        note(WaitNote::LostPlace);
                    }
                    if let Some(gap) = answer.gap {
                        note(WaitNote::Gap(gap));
                    }
                    return match (answer.outcome, answer.reason) {
                        (WaitOutcomeKind::Matched, _) => Ok(WaitResult::Matched {
                            events: answer.events,
                            cursor: answer.cursor,
                        }),
                        (WaitOutcomeKind::Ended, Some(reason)) => Ok(WaitResult::Ended { reason }),
                        (WaitOutcomeKind::Ended, None) => {
                            Err(ClientError::protocol("an end without a reason"))
                        }
                    };
                }
                Ok(Waited::TimedOut(cursor)) => {
                    backoff.reset();
                    if next.is_some_and(|known| known.epoch() != cursor.epoch()) {
                        note(WaitNote::LostPlace);
                    }
                    // Patterns that have been matched already would have to be carried over, so a wait
                    // for all of them begins anew where it began.
                    if !request.all {
                        after = Some(cursor.to_string());
                    }
                    next = Some(cursor);
                }
                Err(error) if error.is_lost_cursor() && (was_away || next.is_some()) => {
                    note(WaitNote::LostPlace);
                    after = Some("earliest".to_owned());
                    next = None;
                }
                Err(error) if error.is_temporary() => {
                    note(WaitNote::Unreachable(error));
                    was_away = true;
                    let pause = backoff.next();
                    let pause = deadline.map_or(pause, |at| {
                        pause.min(at.saturating_duration_since(Instant::now()))
                    });
                    tokio::time::sleep(pause).await;
                }
                Err(error) => return Err(error),
            }
            if deadline.is_some_and(|at| at <= Instant::now()) {
                return Ok(WaitResult::TimedOut { next });
            }
        }
    }

    async fn wait_once(
        &self,
        request: &WaitRequest,
        after: Option<&str>,
        timeout: Duration,
    ) -> Result<Waited, ClientError> {
        let mut query: Vec<(&str, String)> = Vec::new();
        for pattern in &request.patterns {
            query.push(("match", pattern.clone()));
        }
        if request.all {
            query.push(("mode", "all".to_owned()));
        }
        if let Some(after) = after {
            query.push(("after", after.to_owned()));
        }
        query.push(("timeout", format!("{}ms", timeout.as_millis())));
        let sent = self
            .client
            .get(&self.path("/wait"))?
            .query(&query)
            .timeout(timeout + GRACE);
        let answer = send(sent).await?;
        if answer.status() == 204 {
            return cursor_of(&answer).map(Waited::TimedOut);
        }
        json(answer).await.map(Waited::Answer)
    }
}

enum Waited {
    Answer(WaitAnswer),
    TimedOut(Cursor),
}
