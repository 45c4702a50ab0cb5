//! What a stream reads and what is due on it, whoever writes it.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reveille_core::Cancelled;
use reveille_types::Cursor;
use reveille_types::sets::OverflowPolicy;
use reveille_types::wire::{Reconnect, ReconnectReason};
use tokio::time::{Instant, Sleep};

use super::{Beginning, Seat};
use crate::due::{Due, random};
use crate::feed::{Feed, Interrupted, Item};
use crate::frames::{Dialect, Frame, FrameCache};
use crate::read::Streaming;

/// Frames that are ready together leave in one write, up to about this many bytes.
const WRITE_BYTES: usize = 64 * 1024;
/// A filtered stream tells how far it has looked after this many skipped events.
const BOOKMARK_EVENTS: u64 = 1_000;
/// While the server drains, streams end at this distance from each other.
const DRAIN_PER_STREAM: Duration = Duration::from_millis(2);

/// A stream: what it reads, and what is due on it.
pub(crate) struct StreamState {
    feed: Feed,
    dialect: Dialect,
    seat: Seat,
    draining: Cancelled,
    /// The credential is taken back; none where that cannot be.
    revoked: Option<Cancelled>,
    retry: Duration,
    /// Whether heartbeats are frames, which pages can see.
    visible: bool,
    due: Due,
    /// Fires when something is due; none if nothing ever is.
    timer: Option<Pin<Box<Sleep>>>,
    out: BytesMut,
    /// The last place that the client has been told.
    told: Cursor,
    /// Events that were written and not counted yet.
    delivered: u64,
    over: bool,
    /// Why the stream ends; by its client unless it is known better.
    closing: &'static str,
}

impl StreamState {
    pub(super) fn new(
        seat: Seat,
        feed: Feed,
        beginning: Beginning,
        streaming: &Streaming,
        dialect: Dialect,
    ) -> Self {
        let gateway = &seat.gateway;
        let config = gateway.config();
        let retry = jittered(config.retry);
        let Beginning { mut open, gap } = beginning;
        let told = feed.cursor();
        open.connection = seat.connection.id().to_string();
        open.cursor = told;
        open.heartbeat_ms = u64::try_from(streaming.heartbeat.as_millis()).unwrap_or(u64::MAX);
        let mut out = BytesMut::new();
        dialect.encode(&mut out, &Frame::Open(&open, retry));
        gateway.metrics().opened();
        if let Some(gap) = &gap {
            gateway.metrics().gap(gap);
            dialect.encode(&mut out, &Frame::Gap(gap));
        }
        let due = Due::new(streaming.heartbeat, config.max_age, &seat.connection);
        let timer = due.next().map(|at| Box::pin(tokio::time::sleep_until(at)));
        Self {
            draining: gateway.draining().cancelled(),
            revoked: seat.connection.revoked(),
            feed,
            dialect,
            seat,
            retry,
            visible: streaming.visible,
            due,
            timer,
            out,
            told,
            delivered: 0,
            over: false,
            closing: "client",
        }
    }

    /// What there is to write now; nothing more, ever, once that is over. `reader` is woken when there
    /// is more to read, `cx` when something is due.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut Context<'_>,
    ) -> Poll<Option<Bytes>> {
        if self.over {
            return Poll::Ready(None);
        }
        if let Some(revoked) = &mut self.revoked
            && Pin::new(revoked).poll(cx).is_ready()
        {
            // Nothing may follow: what was not written yet is not.
            self.out.clear();
            self.close("credential");
            return Poll::Ready(None);
        }
        self.collect(reader, None);
        if !self.over {
            self.bookmark(BOOKMARK_EVENTS);
            self.drain(cx);
        }
        if !self.over
            && let Some(lost) = &mut self.seat.lost
            && Pin::new(lost).poll(cx).is_ready()
        {
            self.end_connection(ReconnectReason::BackendLost);
        }
        if !self.over {
            self.tick(cx);
        }
        if self.out.is_empty() && !self.over {
            return Poll::Pending;
        }
        self.count();
        match self.out.is_empty() {
            true => Poll::Ready(None),
            // An idle stream keeps no buffer.
            false => Poll::Ready(Some(mem::take(&mut self.out).freeze())),
        }
    }

    /// Appends what there is to read to `out`, up to one write.
    pub(super) fn fetch(
        &mut self,
        reader: &mut Context<'_>,
        out: &mut BytesMut,
        frames: &mut FrameCache,
        now: Instant,
    ) {
        let before = out.len();
        mem::swap(&mut self.out, out);
        self.collect(reader, Some(frames));
        if !self.over {
            self.bookmark(BOOKMARK_EVENTS);
        }
        mem::swap(&mut self.out, out);
        if out.len() > before {
            self.due.wrote(now);
            self.count();
        }
    }

    /// Whether something other than reading has the next word.
    pub(super) fn is_ending(&self) -> bool {
        self.over || self.due.drain.is_some() || self.due.pace.is_some()
    }

    /// Tells how far the stream is.
    fn count(&mut self) {
        self.seat.connection.is_at(self.feed.cursor().place());
        if self.delivered > 0 {
            let delivered = mem::take(&mut self.delivered);
            self.seat.gateway.metrics().delivered(delivered);
        }
    }

    fn write(&mut self, frame: &Frame<'_>) {
        self.dialect.encode(&mut self.out, frame);
    }

    /// Encodes what is ready, up to one write.
    fn collect(&mut self, cx: &mut Context<'_>, mut frames: Option<&mut FrameCache>) {
        if let Some(replay) = &mut self.seat.replay {
            self.due.pace = replay.pause();
            if self.due.pace.is_some() || replay.poll(cx).is_pending() {
                return;
            }
        }
        let before = self.out.len();
        self.collect_items(cx, &mut frames);
        if let Some(replay) = &mut self.seat.replay {
            replay.has_read(self.out.len() - before);
        }
    }

    fn collect_items(&mut self, cx: &mut Context<'_>, frames: &mut Option<&mut FrameCache>) {
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
                Item::Event(event, cursor) => {
                    let frame = Frame::Event(event, *cursor);
                    match frames {
                        // The same for all who read the session itself.
                        Some(frames) if self.feed.is_log() => {
                            frames.encode(self.dialect, &mut self.out, &frame, *cursor);
                        }
                        _ => self.write(&frame),
                    }
                    self.delivered += 1;
                }
                Item::Gap(gap) => {
                    self.seat.gateway.metrics().gap(gap);
                    self.write(&Frame::Gap(gap));
                }
                Item::CaughtUp(cursor) => {
                    self.seat.replay = None;
                    self.write(&Frame::CaughtUp(*cursor));
                }
                Item::Ended(end) => {
                    self.seat.replay = None;
                    self.write(&Frame::End(*end));
                    self.close("end");
                }
            }
            self.told = self.feed.cursor();
        }
    }

    fn reconnect(&self, reason: ReconnectReason) -> Reconnect {
        let retry_ms = u64::try_from(self.retry.as_millis()).unwrap_or(u64::MAX);
        Reconnect { reason, retry_ms }
    }

    fn end_connection(&mut self, reason: ReconnectReason) {
        self.write(&Frame::Reconnect(self.reconnect(reason)));
        if reason == ReconnectReason::SlowConsumer {
            let policy = OverflowPolicy::FailSubscriber.as_str();
            self.seat.gateway.metrics().overflow(policy);
        }
        self.close(word(reason));
    }

    fn close(&mut self, why: &'static str) {
        self.over = true;
        self.closing = why;
    }

    /// Once the server is told to stop, ends the connection as soon as its turn has come and all that
    /// was there by then has been written.
    fn drain(&mut self, cx: &mut Context<'_>) {
        if self.due.drain.is_none() && Pin::new(&mut self.draining).poll(cx).is_ready() {
            let gateway = &self.seat.gateway;
            // Few streams need little time; many take up to four fifths of what there is.
            let streams = u32::try_from(gateway.connections().len()).unwrap_or(u32::MAX);
            let spread = DRAIN_PER_STREAM.saturating_mul(streams);
            let spread = spread.min(gateway.drain_over().mul_f64(0.8));
            self.due.drain = Some(Instant::now() + spread.mul_f64(random()));
        }
        let Some(turn) = self.due.drain.filter(|turn| *turn <= Instant::now()) else {
            return;
        };
        self.due.drain = Some(turn);
        let at = *self.due.drain_at.get_or_insert(self.feed.latest());
        if self.feed.cursor().place() >= at.place() {
            self.end_connection(ReconnectReason::Drain);
        }
    }

    /// Does what is due, and sets the timer for what is next.
    fn tick(&mut self, cx: &mut Context<'_>) {
        loop {
            let now = Instant::now();
            if self.due.credential(now, &self.seat.connection) {
                // Nothing may follow: what was not written yet is not.
                self.out.clear();
                return self.close("credential");
            }
            if self.due.announce(now, &self.seat.connection) {
                let reason = ReconnectReason::TokenExpired;
                self.write(&Frame::Reconnect(self.reconnect(reason)));
            }
            if self.due.pace.is_some_and(|at| at <= now) {
                self.due.pace = None;
                // What there is to read is read first thing.
                cx.waker().wake_by_ref();
            }
            if self.due.age.is_some_and(|at| at <= now) {
                return self.end_connection(ReconnectReason::MaxAge);
            }
            if self.out.is_empty() && self.due.silence.is_some_and(|at| at <= now) {
                self.bookmark(if self.visible { 0 } else { 1 });
                if self.out.is_empty() {
                    self.write(&Frame::Heartbeat);
                }
            }
            if !self.out.is_empty() {
                self.due.wrote(now);
            }
            let (Some(timer), Some(next)) = (&mut self.timer, self.due.next()) else {
                return;
            };
            // It is put off only when it fires, so that a write costs no timer.
            if timer.deadline() > next || timer.is_elapsed() {
                timer.as_mut().reset(next);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return;
            }
            timer
                .as_mut()
                .reset(next.max(now + Duration::from_millis(1)));
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

impl Drop for StreamState {
    fn drop(&mut self) {
        self.seat.gateway.metrics().closed(self.closing);
    }
}

fn word(reason: ReconnectReason) -> &'static str {
    match reason {
        ReconnectReason::Drain => "drain",
        ReconnectReason::MaxAge => "max_age",
        ReconnectReason::TokenExpired => "token_expired",
        ReconnectReason::SlowConsumer => "slow_consumer",
        ReconnectReason::Overloaded => "overloaded",
        ReconnectReason::BackendLost => "backend_lost",
    }
}

/// Up to twice the time, at random, so that clients do not come back all at once.
fn jittered(retry: Duration) -> Duration {
    retry + retry.mul_f64(random())
}
