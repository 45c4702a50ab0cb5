//! One connection of a stream: its lines, and how it is found dead.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use tokio::time::{Instant, Sleep};

use crate::error::ClientError;
use crate::lines::Lines;

/// Silence after which a connection is given up, while the server has not said how often it sends
/// heartbeats.
const SILENCE: Duration = Duration::from_secs(60);
/// Missed heartbeats after which a connection is given up.
const MISSED_HEARTBEATS: u32 = 3;

/// One connection of a stream.
pub(crate) struct Connection {
    chunks: Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>,
    lines: Lines,
    /// How long the server may be silent; for ever if none.
    silence: Option<Duration>,
    /// Fires when the server has been silent for that long.
    dead: Pin<Box<Sleep>>,
}

impl Connection {
    pub(crate) fn new(answer: reqwest::Response) -> Self {
        Self {
            chunks: Box::pin(answer.bytes_stream()),
            lines: Lines::default(),
            silence: Some(SILENCE),
            dead: Box::pin(tokio::time::sleep(SILENCE)),
        }
    }

    /// The server says after how much silence it sends a heartbeat; zero means never.
    pub(crate) fn expect_heartbeats(&mut self, every: Duration) {
        let silence = every.saturating_mul(MISSED_HEARTBEATS);
        self.silence = (!silence.is_zero()).then_some(silence);
        self.heard();
    }

    fn heard(&mut self) {
        let deadline = self
            .silence
            .and_then(|silence| Instant::now().checked_add(silence));
        if let Some(deadline) = deadline {
            self.dead.as_mut().reset(deadline);
        }
    }

    /// The next line; `None` when the connection has ended.
    pub(crate) fn poll_line(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, ClientError>> {
        loop {
            if let Some(line) = self.lines.next() {
                return Poll::Ready(Ok(Some(line)));
            }
            // What has come is read before the silence counts: it may be the caller who was away.
            match self.chunks.as_mut().poll_next(cx)? {
                Poll::Ready(Some(chunk)) => {
                    self.heard();
                    if self.lines.feed(&chunk).is_err() {
                        return Poll::Ready(Err(ClientError::protocol("a line without end")));
                    }
                }
                Poll::Ready(None) => return Poll::Ready(Ok(None)),
                Poll::Pending => break,
            }
        }
        match self.silence.is_some() && self.dead.as_mut().poll(cx).is_ready() {
            true => Poll::Ready(Err(ClientError::Silent)),
            false => Poll::Pending,
        }
    }
}
