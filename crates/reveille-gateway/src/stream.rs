//! The body of a streaming answer: frames in order, heartbeats in silence, an orderly end.
//!
//! Order of frames: `open`, perhaps `gap`, history, `caught_up`, live with `gap` and `bookmark`, and at last
//! `end` (nothing follows, ever) or `reconnect` (come back).

mod gzip;
mod line;
mod state;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_core::Stream;
use reveille_core::Cancelled;
use reveille_types::wire::{CURSOR_HEADER, LATEST_HEADER, OLDEST_HEADER, Open};
use reveille_types::{Cursor, Gap};

use crate::admission::StreamPermit;
use crate::auth::Caller;
use crate::connections::Connection;
use crate::feed::Feed;
use crate::frames::Dialect;
use crate::gateway::Gateway;
use crate::problem::Refusal;
use crate::read::Streaming;
use crate::replay::Replay;
use gzip::Gzip;
use state::StreamState;

pub(crate) use gzip::reads_gzip;
pub(crate) use line::Line;

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

/// One of the streams that may be open, and whose it is.
#[derive(Debug)]
pub(crate) struct Seat {
    gateway: Gateway,
    connection: Connection,
    /// Its turn to read history, until it has.
    replay: Option<Replay>,
    /// The store is lost; none where that cannot be.
    lost: Option<Cancelled>,
    _permit: StreamPermit,
}

impl Seat {
    /// Lets one more stream in.
    pub(crate) fn take(gateway: &Gateway, caller: &Caller, feed: &Feed) -> Result<Self, Refusal> {
        let admission = gateway.admission();
        let permit = admission.stream(caller.identity(), !feed.is_log())?;
        let identity = Arc::clone(caller.identity());
        let place = feed.cursor().place();
        let connection = Connection::new(gateway, Arc::clone(&identity), feed.log(), place);
        let lost = gateway.store_watch().watch(gateway)?;
        let has_history = place < feed.latest().place();
        Ok(Self {
            replay: has_history
                .then(|| admission.replay(&identity, feed.key()))
                .flatten(),
            connection,
            lost,
            gateway: gateway.clone(),
            _permit: permit,
        })
    }
}

/// The body of a streaming answer.
pub(crate) struct EventStream {
    line: Arc<Line>,
    dialect: Dialect,
    head: Head,
    gzip: bool,
}

impl EventStream {
    pub(crate) fn new(
        seat: Seat,
        feed: Feed,
        beginning: Beginning,
        streaming: &Streaming,
        dialect: Dialect,
    ) -> Self {
        let head = Head {
            cursor: feed.cursor(),
            oldest: beginning.open.oldest,
            latest: beginning.open.latest,
        };
        let state = StreamState::new(seat, feed, beginning, streaming, dialect);
        Self {
            line: Arc::new(Line::new(state)),
            dialect,
            head,
            gzip: streaming.gzip,
        }
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.line.leave_body();
    }
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
        if self.gzip {
            // It stays with the server: what is compressed is another text for each reader, which a pump
            // could not share.
            let gzip = [
                (header::CONTENT_ENCODING, "gzip"),
                (header::VARY, "Origin, Accept, Accept-Encoding"),
            ];
            return (headers, gzip, Body::from_stream(Gzip::of(self))).into_response();
        }
        let line = Arc::clone(&self.line);
        let mut response = (headers, Body::from_stream(self)).into_response();
        // For the connection, which may let the line past the server.
        response.extensions_mut().insert(line);
        response
    }
}

impl Stream for EventStream {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.line.poll_body(cx).map(|piece| piece.map(Ok))
    }
}
