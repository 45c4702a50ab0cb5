//! Waiting for an event, however often the server goes away meanwhile.

use std::time::Duration;

use reveille_types::wire::{CURSOR_HEADER, WaitAnswer, WaitOutcomeKind};
use reveille_types::{Cursor, EndReason, Gap};
use serde_json::value::RawValue;

use crate::after::After;
use crate::backoff::Backoff;
use crate::client::{json, send};
use crate::deadline::Deadline;
use crate::error::ClientError;
use crate::session::Session;

/// The longest that one request waits: below what proxies on the way cut off.
pub(crate) const CHUNK: Duration = Duration::from_secs(25);
/// How long the first request waits: its answer tells which incarnation of the log this is, so that a
/// server that is started anew later is recognised.
const FIRST_CHUNK: Duration = Duration::from_secs(1);
/// How much longer than its own time-out an answer may take.
pub(crate) const GRACE: Duration = Duration::from_secs(10);
/// How much longer than the deadline the last answer may take.
const LAST_GRACE: Duration = Duration::from_secs(1);

/// What to wait for.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct WaitRequest {
    /// Patterns over kinds; every event if none.
    pub patterns: Vec<String>,
    /// Whether each pattern must be matched, and not any.
    pub all: bool,
    /// Where to begin.
    pub after: After,
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

/// What happened on the way.
#[derive(Debug)]
pub enum WaitNote {
    /// The server is away; the wait goes on.
    Away {
        /// What went wrong.
        error: ClientError,
        /// After how long it is tried again.
        retry: Duration,
    },
    /// The server does not know the place any more where the wait stood, because it was started anew
    /// without its log: events of before are lost, nobody can know how many, and the wait goes on from
    /// the oldest event there is.
    LostPlace,
    /// Events are missing.
    Gap(Gap),
}

impl Session {
    /// Waits for events. A server that is away, stopped or started anew is waited for, too, until the
    /// time is up; what happens on the way, and above all what is missing, is told to `note`.
    ///
    /// The time is kept even when the server does not answer, to within a second.
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
        let deadline = Deadline::within(request.timeout);
        let mut after = request.after;
        let mut next: Option<Cursor> = None;
        // Whether the server may have been started anew since the wait began.
        let mut was_away = false;
        let mut backoff = Backoff::default();
        loop {
            let longest = match (after, next) {
                // "From now on" is one place for the whole wait, told by the first answer.
                (After::Latest, _) => Duration::ZERO,
                (_, None) => FIRST_CHUNK,
                (_, Some(_)) => CHUNK,
            };
            match self.wait_once(request, after, longest, deadline).await {
                Ok(waited) => {
                    backoff.reset();
                    let told = waited.cursor();
                    if next.is_some_and(|known| known.epoch() != told.epoch()) {
                        note(WaitNote::LostPlace);
                    }
                    next = Some(told);
                    match waited {
                        Waited::Answer(answer) => return result(answer, note),
                        // Patterns that have been matched already would have to be carried over, so a
                        // wait for all of them begins anew where it began.
                        Waited::TimedOut(cursor) => {
                            if !request.all || after == After::Latest {
                                after = After::Cursor(cursor);
                            }
                        }
                    }
                }
                Err(error) if lost_place(&error, after, was_away || next.is_some()) => {
                    note(WaitNote::LostPlace);
                    after = After::Earliest;
                    next = None;
                }
                Err(error) if error.is_temporary() => {
                    was_away = true;
                    let retry = backoff.after(&error);
                    note(WaitNote::Away { error, retry });
                    deadline.sleep(retry).await;
                }
                Err(error) => return Err(error),
            }
            if deadline.is_over() {
                return Ok(WaitResult::TimedOut { next });
            }
        }
    }

    async fn wait_once(
        &self,
        request: &WaitRequest,
        after: After,
        longest: Duration,
        deadline: Deadline,
    ) -> Result<Waited, ClientError> {
        let left = deadline.left();
        let timeout = longest.min(left);
        let mut query: Vec<(&str, String)> = Vec::new();
        for pattern in &request.patterns {
            query.push(("match", pattern.clone()));
        }
        if request.all {
            query.push(("mode", "all".to_owned()));
        }
        query.push(("after", after.to_string()));
        query.push(("timeout", format!("{}ms", timeout.as_millis())));
        let sent = self
            .client
            .get(&self.path("/wait"))?
            .query(&query)
            .timeout((timeout + GRACE).min(left.saturating_add(LAST_GRACE)));
        let answer = send(sent).await?;
        if answer.status() != 204 {
            return json(answer).await.map(Waited::Answer);
        }
        answer
            .headers()
            .get(CURSOR_HEADER)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(Waited::TimedOut)
            .ok_or_else(|| ClientError::protocol("a time-out without a cursor"))
    }
}

enum Waited {
    Answer(WaitAnswer),
    TimedOut(Cursor),
}

impl Waited {
    fn cursor(&self) -> Cursor {
        match self {
            Self::Answer(answer) => answer.cursor,
            Self::TimedOut(cursor) => *cursor,
        }
    }
}

fn result(answer: WaitAnswer, mut note: impl FnMut(WaitNote)) -> Result<WaitResult, ClientError> {
    if let Some(gap) = answer.gap {
        note(WaitNote::Gap(gap));
    }
    match (answer.outcome, answer.reason) {
        (WaitOutcomeKind::Matched, _) => Ok(WaitResult::Matched {
            events: answer.events,
            cursor: answer.cursor,
        }),
        (WaitOutcomeKind::Ended, Some(reason)) => Ok(WaitResult::Ended { reason }),
        (WaitOutcomeKind::Ended, None) => Err(ClientError::protocol("an end without a reason")),
    }
}

/// Whether the server was started anew and does not know the place any more. A cursor ahead of the log
/// means that only if the server told it before; a caller's own is a mistake.
fn lost_place(error: &ClientError, after: After, told: bool) -> bool {
    match error.code() {
        "unknown_cursor" => matches!(after, After::Cursor(_)),
        "cursor_ahead" => told,
        _ => false,
    }
}
