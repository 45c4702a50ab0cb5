//! A stream that the HTTP server has left the connection to.
//!
//! Once the head of an answer is written, all that the server does for a stream is to put its body into
//! chunks; but it keeps buffers, and the state of a request, for as long as the connection is open. So it
//! is dropped, and this small task does the same until the stream or its client ends. The answer said
//! that the connection ends with it.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::wire::Wire;
use crate::stream::Line;

/// A stream with its connection. Dropped, it ends both.
pub(super) struct Alone {
    line: Arc<Line>,
    wire: Arc<Wire>,
    /// Whether the last chunk is written or about to be.
    over: bool,
}

impl Alone {
    /// The stream on this connection, if the server has nothing more to do for it.
    pub(super) fn of(wire: &Arc<Wire>) -> Option<Self> {
        let line = wire.alone()?;
        line.go_on_alone();
        Some(Self {
            line,
            wire: Arc::clone(wire),
            over: false,
        })
    }

    /// Goes on until the stream is over or its client has gone.
    pub(super) async fn run(mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll(cx)).await?;
        self.wire.shut()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.wire.poll_gone(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        loop {
            // What is not taken yet holds up what comes next.
            ready!(self.wire.poll_quiet(cx))?;
            if self.over {
                return Poll::Ready(Ok(()));
            }
            match ready!(self.line.poll_body(cx)) {
                Some(piece) => {
                    let size = format!("{:X}\r\n", piece.len());
                    self.wire.push(&[size.as_bytes(), &piece, b"\r\n"]);
                }
                None => {
                    self.over = true;
                    self.wire.push(&[b"0\r\n\r\n"]);
                }
            }
        }
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.line.close();
    }
}
