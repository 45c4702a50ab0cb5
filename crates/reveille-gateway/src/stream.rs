//! The body of a streaming answer: frames in order, heartbeats in silence, an orderly end.
//!
//! Order of frames: `open`, [`gap`], history, `caught_up`, live with `gap` and `bookmark`, and at last
//! `end` (nothing follows, ever) or `reconnect` (come back).

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use reveille_core::Cancelled;
use reveille_types::wire::{
    CURSOR_HEADER, LATEST_HEADER, OLDEST_HEADER, Open, Reconnect, ReconnectReason,
};
use reveille_types::{Cursor, Gap};
use tokio::time::{Instant, Sleep};

use crate::feed::{Feed, Interrupted, Item};
use crate::frames::{Dialect, Frame};
use crate::gateway::Gateway;

/// Frames that are ready together leave in one write, up to about this many bytes.
const WRITE_BYTES: usize = 64 * 1024;
/// A filtered stream tells how far it has looked after this many skipped events.
const BOOKMARK_EVENTS: u64 = 1_000;

/// What a stream begins with.
#[derive(Debug)]
pub(crate) struct Beginning {
    /// The first frame, but for what the stream knows better.
    pub(crate) open: Open,
    pub(crate) gap: Option<Gap>,
}

/// What the headers of the answer say.
#[derive(Debug, Clone, Copy)]
struct Head {
    cursor: Cursor,
    oldest: Cursor,
    latest: Cursor,
}

/// The body of a streaming answer.
pub(crate) struct EventStream {
    feed: Feed,
    dialect: Dialect,
    draining: Cancelled,
    /// The end of the log when the server was told to stop: the stream goes there, then ends.
    drain_at: Option<Cursor>,
    retry: Duration,
    heartbeat: Duration,
    /// Fires after `heartbeat` without a write; none if there are no heartbeats.
    silence: Option<Pin<Box<Sleep>>>,
    out: BytesMut,
    head: Head,
    /// The last place that the client has been told.
    told: Cursor,
    over: bool,
}

impl EventStream {
    pub(crate) fn new(
        gateway: &Gateway,
        feed: Feed,
        beginning: Beginning,
        heartbeat: Duration,
        dialect: Dialect,
    ) -> Self {
        let retry = jittered(gateway.config().retry);
        let Beginning { mut open, gap } = beginning;
        let told = feed.cursor();
        open.connection = uuid::Uuid::now_v7().to_string();
        open.cursor = told;
        open.heartbeat_ms = u64::try_from(heartbeat.as_millis()).unwrap_or(u64::MAX);
        let head = Head {
            cursor: open.cursor,
            oldest: open.oldest,
            latest: open.latest,
        };
        let mut out = BytesMut::new();
        dialect.encode(&mut out, &Frame::Open(&open, retry));
        if let Some(gap) = &gap {
            dialect.encode(&mut out, &Frame::Gap(gap));
        }
        let silence = (!heartbeat.is_zero()).then(|| Box::pin(tokio::time::sleep(heartbeat)));
        Self {
            feed,
            dialect,
            draining: gateway.draining().cancelled(),
            drain_at: None,
            retry,
            heartbeat,
            silence,
            out,
            head,
            told,
            over: false,
        }
    }

    fn write(&mut self, frame: &Frame<'_>) {
        self.dialect.encode(&mut self.out, frame);
    }

    /// Encodes what is ready, up to one write.
    fn collect(&mut self, cx: &mut Context<'_>) {
        while self.out.len() < WRITE_BYTES && !self.over {
            let item = match self.feed.poll_item(cx) {
                Poll::Pending => return,
                Poll::Ready(None) => {
                    self.over = true;
                    return;
                }
                Poll::Ready(Some(Err(interrupted))) => {
                    return self.end_connection(match interrupted {
                        Interrupted::Overloaded => ReconnectReason::Overloaded,
                        Interrupted::TooSlow => ReconnectReason::SlowConsumer,
                    });
                }
                Poll::Ready(Some(Ok(item))) => item,
            };
            match &item {
                Item::Event(event, cursor) => self.write(&Frame::Event(event, *cursor)),
                Item::Gap(gap) => self.write(&Frame::Gap(gap)),
                Item::CaughtUp(cursor) => self.write(&Frame::CaughtUp(*cursor)),
                Item::Ended(end) => {
                    self.write(&Frame::End(*end));
                    self.over = true;
                }
            }
            self.told = self.feed.cursor();
        }
    }

    fn end_connection(&mut self, reason: ReconnectReason) {
        let retry_ms = u64::try_from(self.retry.as_millis()).unwrap_or(u64::MAX);
        self.write(&Frame::Reconnect(Reconnect { reason, retry_ms }));
        self.over = true;
    }

    /// Once the server is told to stop, ends the connection as soon as all that was there by then has
    /// been written.
    fn drain(&mut self, cx: &mut Context<'_>) {
        if self.drain_at.is_none() && Pin::new(&mut self.draining).poll(cx).is_ready() {
            self.drain_at = Some(self.feed.latest());
        }
        let reached = |at: Cursor| self.feed.cursor().place() >= at.place();
        if self.drain_at.is_some_and(reached) {
            self.end_connection(ReconnectReason::Drain);
        }
    }

    /// Tells how far the stream has looked, if that is news.
    fn bookmark(&mut self, at_least: u64) {
        let cursor = self.feed.cursor();
        if cursor.place().saturating_sub(self.told.place()) >= at_least {
            self.write(&Frame::Bookmark(cursor));
            self.told = cursor;
        }
    }
}

/// Up to twice the time, at random, so that clients do not come back all at once.
fn jittered(retry: Duration) -> Duration {
    // The last bytes of a version 7 UUID are random.
    let random = uuid::Uuid::now_v7().as_bytes()[15];
    retry + retry.mul_f64(f64::from(random) / 255.0)
}

impl IntoResponse for EventStream {
    fn into_response(self) -> Response {
        let headers = [
            (
                header::CONTENT_TYPE.as_str(),
                self.dialect.content_type().to_owned(),
            ),
            (
                header::CACHE_CONTROL.as_str(),
                "no-store, no-transform".to_owned(),
            ),
            (header::VARY.as_str(), "Origin, Accept".to_owned()),
            ("x-accel-buffering", "no".to_owned()),
            ("x-content-type-options", "nosniff".to_owned()),
            (CURSOR_HEADER, self.head.cursor.to_string()),
            (OLDEST_HEADER, self.head.oldest.to_string()),
            (LATEST_HEADER, self.head.latest.to_string()),
        ];
        (headers, Body::from_stream(self)).into_response()
    }
}

impl Stream for EventStream {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.over {
            return Poll::Ready(None);
        }
        this.collect(cx);
        if !this.over {
            this.bookmark(BOOKMARK_EVENTS);
            this.drain(cx);
        }
        if this.out.is_empty() && !this.over {
            let Some(silence) = &mut this.silence else {
                return Poll::Pending;
            };
            if silence.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            this.bookmark(1);
            if this.out.is_empty() {
                this.write(&Frame::Heartbeat);
            }
        }
        if let Some(silence) = &mut this.silence {
            silence.as_mut().reset(Instant::now() + this.heartbeat);
        }
        match this.out.is_empty() {
            true => Poll::Ready(None),
            false => Poll::Ready(Some(Ok(this.out.split().freeze()))),
        }
    }
}
