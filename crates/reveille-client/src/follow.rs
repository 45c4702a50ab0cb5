//! A stream that survives lost connections and restarted servers.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::Stream;
use futures_util::future::BoxFuture;
use reveille_types::wire::{At, End, NDJSON, Open, Reconnect};
use reveille_types::{Cursor, EndReason, Gap};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Sleep;

use crate::after::After;
use crate::backoff::Backoff;
use crate::client::Client;
use crate::client::{ANSWER, send};
use crate::connection::Connection;
use crate::error::ClientError;
use crate::session::Session;

/// What to follow.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct FollowOptions {
    /// Patterns over kinds; every event if none.
    pub patterns: Vec<String>,
    /// Where to begin.
    pub after: After,
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
        /// The end of the log.
        cursor: Option<Cursor>,
    },
}

/// A stream of one session: see [`Session::follow`].
///
/// Connecting, a pause, and the watch over a silent connection go on from one poll to the next, so it
/// may be polled beside other things (`select!`) without ever beginning anew.
pub struct Follow {
    client: Client,
    /// The path of what is followed.
    path: String,
    options: FollowOptions,
    /// Behind the last event or gap that was told. A place that is only announced does not count: the
    /// gap before it may not have come yet.
    cursor: Option<Cursor>,
    state: State,
    backoff: Backoff,
    /// Whether the server has let this stream in before.
    was_open: bool,
}

enum State {
    Pausing(Pin<Box<Sleep>>),
    Connecting(BoxFuture<'static, Result<Option<Connection>, ClientError>>),
    Connected(Connection),
    Over,
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

impl Client {
    /// Follows all sessions of the tenant in one order. Ends never by itself; otherwise as
    /// [`Session::follow`].
    #[must_use]
    pub fn follow(&self, options: FollowOptions) -> Follow {
        Follow::new(self.clone(), "v1/events".to_owned(), options)
    }
}

impl Session {
    /// Follows the session until it is over. Lost connections are made anew, after the last place; a
    /// server that was started anew and lost its log says so by a gap. A connection counts as lost, too,
    /// when three heartbeats have not come.
    ///
    /// Needs a tokio runtime with timers. Nothing is sent before the stream is polled.
    #[must_use]
    pub fn follow(&self, options: FollowOptions) -> Follow {
        Follow::new(self.client.clone(), self.path("/events"), options)
    }
}

/// Asks for a connection; it is `None` when all has been read and nothing will come.
fn connect(client: Client, path: String, patterns: Vec<String>, after: After) -> State {
    State::Connecting(Box::pin(async move {
        let mut request = client
            .get(&path)?
            .header("accept", NDJSON)
            .query(&[("after", after.to_string())]);
        for pattern in &patterns {
            request = request.query(&[("match", pattern)]);
        }
        let answer = tokio::time::timeout(ANSWER, send(request))
            .await
            .map_err(|_| ClientError::Silent)??;
        Ok((answer.status() != 204).then(|| Connection::new(answer)))
    }))
}

impl Follow {
    fn new(client: Client, path: String, options: FollowOptions) -> Self {
        let patterns = options.patterns.clone();
        Self {
            state: connect(client.clone(), path.clone(), patterns, options.after),
            client,
            path,
            options,
            cursor: None,
            backoff: Backoff::default(),
            was_open: false,
        }
    }

    /// Where to go on: behind the last event or gap that was yielded; what the options say if there
    /// was none.
    #[must_use]
    pub fn after(&self) -> After {
        self.cursor.map_or(self.options.after, After::Cursor)
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
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Followed>, ClientError>> {
        loop {
            match &mut self.state {
                State::Pausing(pause) => {
                    ready!(pause.as_mut().poll(cx));
                    let patterns = self.options.patterns.clone();
                    let (client, path) = (self.client.clone(), self.path.clone());
                    self.state = connect(client, path, patterns, self.after());
                }
                State::Connecting(connecting) => match ready!(connecting.as_mut().poll(cx))? {
                    Some(connection) => self.state = State::Connected(connection),
                    None => {
                        self.state = State::Over;
                        // Only a reader that came with the cursor of the end is answered so.
                        let cursor = match self.after() {
                            After::Cursor(cursor) => Some(cursor),
                            After::Earliest | After::Latest => None,
                        };
                        let reason = None;
                        return Poll::Ready(Ok(Some(Followed::Ended { reason, cursor })));
                    }
                },
                State::Connected(connection) => match ready!(connection.poll_line(cx))? {
                    Some(line) => {
                        if let Some(item) = self.item(&line)? {
                            return Poll::Ready(Ok(Some(item)));
                        }
                    }
                    None => {
                        let retry = self.backoff.next();
                        return Poll::Ready(Ok(Some(self.disconnected(None, retry))));
                    }
                },
                State::Over => return Poll::Ready(Ok(None)),
            }
        }
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
            self.was_open = true;
            if self.after() == After::Latest {
                self.cursor = Some(open.cursor);
            }
            if let State::Connected(connection) = &mut self.state {
                connection.expect_heartbeats(Duration::from_millis(open.heartbeat_ms));
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
            return Ok(Some(self.disconnected(None, retry)));
        }
        if let Some(end) = control.end {
            self.state = State::Over;
            self.cursor = Some(end.cursor);
            return Ok(Some(Followed::Ended {
                reason: Some(end.reason),
                cursor: Some(end.cursor),
            }));
        }
        // A frame of a later version: nothing that a reader must know.
        Ok(None)
    }

    /// Whether to come back. Too many at once (429) stops only a stream that was never let in.
    fn is_temporary(&self, error: &ClientError) -> bool {
        error.is_temporary() || (self.was_open && error.status() == Some(429))
    }

    fn disconnected(&mut self, error: Option<ClientError>, retry: Duration) -> Followed {
        self.state = State::Pausing(Box::pin(tokio::time::sleep(retry)));
        Followed::Disconnected { error, retry }
    }
}

impl Stream for Follow {
    type Item = Result<Followed, ClientError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        Poll::Ready(match ready!(this.poll_step(cx)) {
            Err(error) if this.is_temporary(&error) => {
                let retry = this.backoff.after(&error);
                Some(Ok(this.disconnected(Some(error), retry)))
            }
            Err(error) => {
                this.state = State::Over;
                Some(Err(error))
            }
            Ok(item) => item.map(Ok),
        })
    }
}

/// What a stream yields that has these bytes, for fuzz targets: how many items, up to the first that is
/// not in the contract.
#[cfg(fuzzing)]
#[doc(hidden)]
pub fn read_stream(client: &Client, bytes: &[u8]) -> usize {
    let mut follow = client.follow(FollowOptions::default());
    let mut lines = crate::lines::Lines::default();
    let mut count = 0;
    for piece in bytes.chunks(7) {
        if lines.feed(piece).is_err() {
            break;
        }
        while let Some(line) = lines.next() {
            match follow.item(&line) {
                Ok(item) => count += usize::from(item.is_some()),
                Err(_) => return count,
            }
        }
    }
    count
}

impl std::fmt::Debug for Follow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follow")
            .field("path", &self.path)
            .field("cursor", &self.cursor)
            .field("connected", &matches!(self.state, State::Connected(_)))
            .finish_non_exhaustive()
    }
}
