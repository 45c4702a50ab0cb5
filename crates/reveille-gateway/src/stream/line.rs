//! The way from a stream to its client: through the HTTP server, or past it.
//!
//! The server's task of a connection does much for each piece of a body, and is run for each. On a
//! connection of its own (HTTP/1.1 without TLS) the frames of a stream are therefore written by the
//! [pump](crate::fan_out), straight into the socket, as chunks of the body that the server is in the
//! middle of. The body as the server sees it yields only what is due by time: its beginning, heartbeats,
//! its end. Both write whole chunks, and only one at a time: the pump while the wire is
//! [quiet](Wire::is_quiet), which the stream's lock keeps so.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;

use super::state::StreamState;
use crate::fan_out::{Pump, Scratch, is_full};
use crate::server::Wire;

/// One stream, for its body and for the pump.
pub(crate) struct Line {
    /// None once the body is dropped.
    state: Mutex<Option<Open>>,
    /// Whether the pump has it among what it is to look at.
    queued: AtomicBool,
    /// Whether the pump was here while the wire was not quiet.
    behind: AtomicBool,
    past: OnceLock<Past>,
    /// Whether the server has left the connection to the stream.
    alone: AtomicBool,
}

struct Open {
    stream: StreamState,
    /// The task that polls the body, where the pump writes.
    body: Option<Waker>,
    /// Whether the pump is about to write what it has fetched.
    writing: bool,
    /// Whether the body was polled meanwhile.
    held: bool,
}

impl Open {
    fn wake_body(&self) {
        if let Some(body) = &self.body {
            body.wake_by_ref();
        }
    }
}

/// The way past the server.
struct Past {
    wire: Arc<Wire>,
    pump: Pump,
}

impl Line {
    pub(super) fn new(stream: StreamState) -> Self {
        Self {
            state: Mutex::new(Some(Open {
                stream,
                body: None,
                writing: false,
                held: false,
            })),
            queued: AtomicBool::new(false),
            behind: AtomicBool::new(false),
            past: OnceLock::new(),
            alone: AtomicBool::new(false),
        }
    }

    /// From now on the pump writes on this wire, whenever it is quiet. To be called before the body is
    /// polled.
    pub(crate) fn leave_to(self: &Arc<Self>, pump: Pump, wire: &Arc<Wire>) {
        let past = Past {
            wire: Arc::clone(wire),
            pump,
        };
        if self.past.set(past).is_ok() {
            wire.carries(Some(Arc::downgrade(self)));
        }
    }

    fn open(&self) -> MutexGuard<'_, Option<Open>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next piece of the body.
    pub(crate) fn poll_body(self: &Arc<Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut guard = self.open();
        let Some(open) = &mut *guard else {
            return Poll::Ready(None);
        };
        let Some(past) = self.past.get() else {
            let waker = cx.waker().clone();
            return open.stream.poll(cx, &mut Context::from_waker(&waker));
        };
        match &mut open.body {
            Some(body) => body.clone_from(cx.waker()),
            None => open.body = Some(cx.waker().clone()),
        }
        if open.writing {
            // What comes next comes after it.
            open.held = true;
            return Poll::Pending;
        }
        let waker = Waker::from(Arc::clone(self));
        let polled = open.stream.poll(cx, &mut Context::from_waker(&waker));
        if polled.is_ready() {
            past.wire.is_busy();
        }
        polled
    }

    /// The body is dropped, as the server sees it.
    pub(super) fn leave_body(&self) {
        if !self.alone.load(Ordering::SeqCst) {
            self.close();
        }
    }

    /// The server is about to drop the body: the stream goes on without it, until it is closed.
    pub(crate) fn go_on_alone(&self) {
        self.alone.store(true, Ordering::SeqCst);
    }

    /// Nothing is read any more.
    pub(crate) fn close(&self) {
        // Not under the lock: it ends a subscription.
        let open = self.open().take();
        drop(open);
        if let Some(past) = self.past.get() {
            past.wire.carries(None);
        }
    }

    /// What is to be written, for the pump to [write](Self::write) soon.
    pub(crate) fn fetch(self: &Arc<Self>, scratch: &mut Scratch) -> Option<Range<usize>> {
        self.queued.store(false, Ordering::SeqCst);
        let mut guard = self.open();
        let (open, past) = (guard.as_mut()?, self.past.get()?);
        if open.stream.is_ending() {
            open.wake_body();
            return None;
        }
        if !self.may_write(&past.wire) {
            return None;
        }
        let waker = Waker::from(Arc::clone(self));
        let mut cx = Context::from_waker(&waker);
        let now = scratch.now;
        let chunk = scratch.chunk(|out, frames| open.stream.fetch(&mut cx, out, frames, now));
        open.writing = chunk.is_some();
        match &chunk {
            // There may be more.
            Some(chunk) if is_full(chunk) => self.wake_by_ref(),
            None if open.stream.is_ending() => open.wake_body(),
            _ => {}
        }
        chunk
    }

    /// Ends the stream at once, without a word that could pass for its end.
    pub(crate) fn cut(&self) {
        if let Some(past) = self.past.get() {
            past.wire.cut();
        }
        self.close();
    }

    /// Writes what was fetched.
    pub(crate) fn write(&self, chunk: &[u8]) {
        let Some(past) = self.past.get() else {
            return;
        };
        let is_whole = past.wire.write(chunk);
        let mut guard = self.open();
        let Some(open) = &mut *guard else {
            return;
        };
        open.writing = false;
        if !is_whole || std::mem::take(&mut open.held) || open.stream.is_ending() {
            open.wake_body();
        }
    }

    /// Whether the pump may write; if not, it will be [called](Self::is_quiet).
    fn may_write(&self, wire: &Wire) -> bool {
        if wire.is_quiet() {
            return true;
        }
        self.behind.store(true, Ordering::SeqCst);
        // It may have become quiet in between, when nobody was behind yet.
        wire.is_quiet() && self.behind.swap(false, Ordering::SeqCst)
    }

    /// The server has written all that it had.
    pub(crate) fn is_quiet(self: &Arc<Self>) {
        if self.behind.swap(false, Ordering::SeqCst) {
            self.wake_by_ref();
        }
    }
}

/// There is something to read.
impl Wake for Line {
    fn wake(self: Arc<Self>) {
        if let Some(past) = self.past.get()
            && !self.queued.swap(true, Ordering::SeqCst)
        {
            past.pump.clone().send(self);
        }
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(past) = self.past.get()
            && !self.queued.swap(true, Ordering::SeqCst)
        {
            past.pump.send(Arc::clone(self));
        }
    }
}
