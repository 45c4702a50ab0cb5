//! A stream that survives lost connections and restarted servers.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use reveille_types::wire::{At, End, NDJSON, Open, Reconnect};
use reveille_types::{Cursor, EndReason, Gap};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::backoff::Backoff;
use crate::client::send;
use crate::error::ClientError;
use crate::lines::Lines;
use crate::session::Session;

/// Silence after which a connection is given up, while the server has not said how often it sends
/// heartbeats.
const SILENCE: Duration = Duration::from_secs(60);
/// Missed heartbeats after which a connection is given up.
const MISSED_HEARTBEATS: u32 = 3;

/// What to follow.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct FollowOptions {
    /// Patterns over kinds; every event if none.
    pub patterns: Vec<String>,
    /// Where to begin: a cursor, `earliest` or `latest`; with what comes if none.
    pub after: Option<String>,
}

/// An event as it came.
#[derive(Debug, Clone)]
pub struct ReceivedEvent {
    /// The event, one line of `CloudEvents` JSON.
    pub json: Box<RawValue>,
    /// What happened.
    pub kind: String,
    /// Where to go on after it.
    pub cursor: Cursor,
}

/// What a stream yields.
#[derive(Debug)]
pub enum Followed {
    /// A connection was made.
    Open(Box<Open>),
    /// An event.
    Event(ReceivedEvent),
    /// Events are missing exactly here.
    Gap(Gap),
    /// History is done, live begins.
    CaughtUp,
    /// The connection was lost or ended by the server; another one is made after this time.
    Disconnected {
        /// What went wrong; nothing if the server ended it in an orderly way.
        error: Option<ClientError>,
        /// The pause.
        retry: Duration,
    },
    /// The session is over. Nothing follows.
    Ended {
        /// Why, unless all of it had been read before.
        reason: Option<EndReason>,
    },
}

/// A stream of one session: see [`Session::follow`].
pub struct Follow {
    session: Session,
    options: FollowOptions,
    /// The last place that was told.
    cursor: Option<Cursor>,
    connection: Option<Connection>,
    pause: Option<Duration>,
    backoff: Backoff,
    over: bool,
}

struct Connection {
    chunks: Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>,
    lines: Lines,
    silence: Duration,
}

/// The attributes of an event that a stream needs.
#[derive(Deserialize)]
struct Attributes {
    #[serde(rename = "type")]
    kind: String,
    reveillecursor: Cursor,
}

/// A control line has one member, named like its frame.
#[derive(Deserialize)]
struct Control {
    #[serde(rename = "reveille.open")]
    open: Option<Box<Open>>,
    #[serde(rename = "reveille.gap")]
    gap: Option<Gap>,
    #[serde(rename = "reveille.caught_up")]
    caught_up: Option<At>,
    #[serde(rename = "reveille.bookmark")]
    bookmark: Option<At>,
    #[serde(rename = "reveille.reconnect")]
    reconnect: Option<Reconnect>,
    #[serde(rename = "reveille.end")]
    end: Option<End>,
}

impl Session {
    /// Follows the session until it is over. Lost connections are made anew, after the last place; a
    /// server that was started anew and lost its log says so by a gap.
    #[must_use]
    pub fn follow(&self, options: FollowOptions) -> Follow {
        Follow {
            session: self.clone(),
            options,
            cursor: None,
            connection: None,
            pause: None,
            backoff: Backoff::default(),
            over: false,
        }
    }
}

impl Follow {
    /// Where to go on: after the last event that was yielded, or the last place that was told.
    #[must_use]
    pub fn cursor(&self) -> Option<Cursor> {
        self.cursor
    }

    /// The next item; `None` after [`Followed::Ended`].
    ///
    /// # Errors
    /// [`ClientError`] when the server refuses; then the stream is over. A server that cannot be
    /// reached is no error but [`Followed::Disconnected`].
    ///
    /// # Cancel safety
    /// A dropped future has taken no item.
    pub async fn next(&mut self) -> Option<Result<Followed, ClientError>> {
        if self.over {
            return None;
        }
        if let Some(pause) = self.pause {
            tokio::time::sleep(pause).await;
            self.pause = None;
        }
        let item = match self.step().await {
            Ok(item) => item,
            Err(error) if error.is_temporary() => self.disconnected(Some(error), None),
            Err(error) => {
                self.over = true;
                return Some(Err(error));
            }
        };
        Some(Ok(item))
    }

    async fn step(&mut self) -> Result<Followed, ClientError> {
        if self.connection.is_none() {
            match self.connect().await? {
                Some(connection) => self.connection = Some(connection),
                None => {
                    self.over = true;
                    return Ok(Followed::Ended { reason: None });
                }
            }
        }
        loop {
            let Some(connection) = &mut self.connection else {
                return Ok(self.disconnected(None, None));
            };
            let Some(line) = connection.line().await? else {
                return Ok(self.disconnected(None, None));
            };
            if let Some(item) = self.item(&line)? {
                return Ok(item);
            }
        }
    }

    /// Opens a connection; `None` when all has been read and nothing will come.
    async fn connect(&self) -> Result<Option<Connection>, ClientError> {
        let session = &self.session;
        let mut request = session
            .client
            .get(&session.path("/events"))?
            .header("accept", NDJSON);
        for pattern in &self.options.patterns {
            request = request.query(&[("match", pattern)]);
        }
        match (self.cursor, &self.options.after) {
            (Some(cursor), _) => request = request.header("last-event-id", cursor.to_string()),
            (None, Some(after)) => request = request.query(&[("after", after)]),
            (None, None) => {}
        }
        let answer = send(request).await?;
        if answer.status() == 204 {
            return Ok(None);
        }
        Ok(Some(Connection {
            chunks: Box::pin(answer.bytes_stream()),
            lines: Lines::default(),
            silence: SILENCE,
        }))
    }

    /// What a line says; nothing for a heartbeat or a bookmark.
    fn item(&mut self, line: &[u8]) -> Result<Option<Followed>, ClientError> {
        if line.is_empty() {
            return Ok(None);
        }
        let line = std::str::from_utf8(line).map_err(ClientError::protocol)?;
        if !line.starts_with("{\"reveille.") {
            let attributes: Attributes =
                serde_json::from_str(line).map_err(ClientError::protocol)?;
            let json = RawValue::from_string(line.to_owned()).map_err(ClientError::protocol)?;
            self.cursor = Some(attributes.reveillecursor);
            return Ok(Some(Followed::Event(ReceivedEvent {
                json,
                kind: attributes.kind,
                cursor: attributes.reveillecursor,
            })));
        }
        let control: Control = serde_json::from_str(line).map_err(ClientError::protocol)?;
        if let Some(open) = control.open {
            self.backoff.reset();
            self.cursor = Some(open.cursor);
            if let Some(connection) = &mut self.connection
                && open.heartbeat_ms > 0
            {
                let heartbeat = Duration::from_millis(open.heartbeat_ms);
                connection.silence = heartbeat.saturating_mul(MISSED_HEARTBEATS);
            }
            return Ok(Some(Followed::Open(open)));
        }
        if let Some(gap) = control.gap {
            self.cursor = Some(gap.resumes_at);
            return Ok(Some(Followed::Gap(gap)));
        }
        if let Some(at) = control.bookmark {
            self.cursor = Some(at.cursor);
            return Ok(None);
        }
        if let Some(at) = control.caught_up {
            self.cursor = Some(at.cursor);
            return Ok(Some(Followed::CaughtUp));
        }
        if let Some(reconnect) = control.reconnect {
            let retry = Duration::from_millis(reconnect.retry_ms);
            return Ok(Some(self.disconnected(None, Some(retry))));
        }
        if let Some(end) = control.end {
            self.over = true;
            self.cursor = Some(end.cursor);
            return Ok(Some(Followed::Ended {
                reason: Some(end.reason),
            }));
        }
        // A frame of a later version: nothing that a reader must know.
        Ok(None)
    }

    fn disconnected(&mut self, error: Option<ClientError>, retry: Option<Duration>) -> Followed {
        self.connection = None;
        let retry = retry.unwrap_or_else(|| self.backoff.next());
        self.pause = Some(retry);
        Followed::Disconnected { error, retry }
    }
}

impl Connection {
    /// The next line; `None` when the connection has ended or has been silent for too long.
    async fn line(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            if let Some(line) = self.lines.next() {
                return Ok(Some(line));
            }
            let chunk = match tokio::time::timeout(self.silence, self.chunks.next()).await {
                Ok(Some(chunk)) => chunk.map_err(ClientError::Unreachable)?,
                Ok(None) | Err(_) => return Ok(None),
            };
            self.lines
                .feed(&chunk)
                .map_err(|_| ClientError::protocol("a line without end"))?;
        }
    }
}

impl std::fmt::Debug for Follow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follow")
            .field("session", &self.session)
            .field("cursor", &self.cursor)
            .field("connected", &self.connection.is_some())
            .finish_non_exhaustive()
    }
}
