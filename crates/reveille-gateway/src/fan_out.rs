//! The pumps: tasks that write what streams have to say, many of them in one go.
//!
//! A stream that finds something to read puts itself into the queue of its pump, once. So an event with
//! many readers wakes one task and not as many as there are readers, and a frame is made once for all of
//! them. Several events that come before a stream has its turn leave in one write. A pump never waits
//! for a client: what a socket does not take is the server's to finish.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{BufMut, BytesMut};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use crate::frames::FrameCache;
use crate::stream::Line;

/// How many streams have their turn before other tasks have theirs.
const TURNS: usize = 64;
/// The size line of a chunk: eight digits and a line end.
const SIZE_LINE: usize = 10;
/// A chunk with more in it than this may not be all there is.
const FULL: usize = 64 * 1024;
/// A buffer larger than this is not kept.
const KEPT: usize = 256 * 1024;

/// One pump. It ends when the last stream that it writes is gone.
#[derive(Debug, Clone)]
pub(crate) struct Pump(UnboundedSender<Arc<Line>>);

impl Pump {
    fn start() -> Self {
        // Each stream is in it once at most.
        let (sender, lines) = unbounded_channel();
        tokio::spawn(run(lines));
        Self(sender)
    }

    /// Has the line looked at.
    pub(crate) fn send(&self, line: Arc<Line>) {
        // It ends with its runtime only, and nothing is served then.
        let _ = self.0.send(line);
    }
}

async fn run(mut lines: UnboundedReceiver<Arc<Line>>) {
    let mut turns = Vec::with_capacity(TURNS);
    let mut scratch = Scratch::new();
    while lines.recv_many(&mut turns, TURNS).await > 0 {
        scratch.now = Instant::now();
        for line in turns.drain(..) {
            line.pump(&mut scratch);
        }
        scratch.shrink();
        // Those who publish and connect have their turn, too; and what they publish meanwhile shares
        // a write.
        tokio::task::yield_now().await;
    }
}

/// As many pumps as may run at once.
#[derive(Debug, Clone)]
pub(crate) struct Pumps {
    pumps: Arc<[Pump]>,
    next: Arc<AtomicUsize>,
}

impl Pumps {
    /// Starts them.
    pub(crate) fn start() -> Self {
        let count = tokio::runtime::Handle::current().metrics().num_workers();
        Self {
            pumps: (0..count.max(1)).map(|_| Pump::start()).collect(),
            next: Arc::default(),
        }
    }

    /// The pump of one more stream.
    pub(crate) fn take(&self) -> Pump {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        self.pumps[turn % self.pumps.len()].clone()
    }
}

/// What a pump writes with.
pub(crate) struct Scratch {
    out: BytesMut,
    frames: FrameCache,
    /// When the present turns began.
    pub(crate) now: Instant,
}

impl Scratch {
    fn new() -> Self {
        Self {
            out: BytesMut::new(),
            frames: FrameCache::new(),
            now: Instant::now(),
        }
    }

    /// Makes a chunk of what is appended.
    pub(crate) fn chunk(&mut self, append: impl FnOnce(&mut BytesMut, &mut FrameCache)) {
        self.out.clear();
        self.out.put_bytes(b'0', SIZE_LINE);
        append(&mut self.out, &mut self.frames);
        let size = self.out.len() - SIZE_LINE;
        if size == 0 {
            return self.out.clear();
        }
        let mut digits = size;
        for digit in self.out[..SIZE_LINE - 2].iter_mut().rev() {
            *digit = b"0123456789ABCDEF"[digits % 16];
            digits /= 16;
        }
        self.out[SIZE_LINE - 2..SIZE_LINE].copy_from_slice(b"\r\n");
        self.out.put_slice(b"\r\n");
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Whether the chunk ends where writes end.
    pub(crate) fn is_full(&self) -> bool {
        self.out.len() >= FULL
    }

    /// The chunk.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.out
    }

    fn shrink(&mut self) {
        if self.out.capacity() > KEPT {
            self.out = BytesMut::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_chunk_has_its_size_before_it() {
        let mut scratch = Scratch::new();
        scratch.chunk(|_, _| {});
        assert!(scratch.is_empty());
        scratch.chunk(|out, _| out.put_bytes(b'x', 0x1ab));
        let text = std::str::from_utf8(scratch.bytes()).unwrap();
        let (size, rest) = text.split_once("\r\n").unwrap();
        assert_eq!(usize::from_str_radix(size, 16), Ok(0x1ab));
        assert_eq!(rest.len(), 0x1ab + 2);
        assert!(rest.ends_with("x\r\n") && !scratch.is_full());
    }
}
