//! The pumps: tasks that write what streams have to say, many of them in one go.
//!
//! A stream that finds something to read puts itself into the queue of its pump, once. So an event with
//! many readers wakes one task and not as many as there are readers, and a frame is made once for all of
//! them. Several events that come before a stream has its turn leave in one write. A pump never waits
//! for a client: what a socket does not take is the server's to finish.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{BufMut, BytesMut};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use crate::frames::FrameCache;
use crate::stream::Line;

/// How many streams have their turn before other tasks have theirs.
const TURNS: usize = 128;
/// The size line of a chunk: eight digits and a line end.
const SIZE_LINE: usize = 10;
/// A chunk with more in it than this may not be all there is.
const FULL: usize = 64 * 1024;
/// A buffer larger than this is not kept.
const KEPT: usize = 1024 * 1024;

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
    let mut writes = Vec::with_capacity(TURNS);
    let mut scratch = Scratch::new();
    while lines.recv_many(&mut turns, TURNS).await > 0 {
        scratch.begin();
        // First all chunks, then all writes: a client that is woken by its chunk finds the next ones
        // coming.
        for line in turns.drain(..) {
            match catch_unwind(AssertUnwindSafe(|| line.fetch(&mut scratch))) {
                Ok(Some(chunk)) => writes.push((line, chunk)),
                Ok(None) => {}
                // A panic stays in its stream; the scratch begins anew with each chunk.
                Err(_) => line.cut(),
            }
        }
        for (line, chunk) in writes.drain(..) {
            line.write(scratch.bytes(chunk));
        }
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
    /// The chunk that is being made.
    chunk: BytesMut,
    /// The chunks of these turns, one after the other, and where the last one is.
    chunks: Vec<u8>,
    last: Range<usize>,
    frames: FrameCache,
    /// When the present turns began.
    pub(crate) now: Instant,
}

impl Scratch {
    fn new() -> Self {
        Self {
            chunk: BytesMut::new(),
            chunks: Vec::new(),
            last: 0..0,
            frames: FrameCache::new(),
            now: Instant::now(),
        }
    }

    fn begin(&mut self) {
        self.now = Instant::now();
        self.last = 0..0;
        self.chunks.clear();
        self.chunks.shrink_to(KEPT);
    }

    /// Makes a chunk of what is appended, and says where it is; nothing if that is nothing.
    pub(crate) fn chunk(
        &mut self,
        append: impl FnOnce(&mut BytesMut, &mut FrameCache),
    ) -> Option<Range<usize>> {
        self.chunk.clear();
        self.chunk.put_bytes(b'0', SIZE_LINE);
        append(&mut self.chunk, &mut self.frames);
        let mut size = self.chunk.len() - SIZE_LINE;
        if size == 0 {
            return None;
        }
        for digit in self.chunk[..SIZE_LINE - 2].iter_mut().rev() {
            *digit = b"0123456789ABCDEF"[size % 16];
            size /= 16;
        }
        self.chunk[SIZE_LINE - 2..SIZE_LINE].copy_from_slice(b"\r\n");
        self.chunk.put_slice(b"\r\n");
        // Readers at one place have the same to read.
        if self.chunks[self.last.clone()] != self.chunk[..] {
            let begin = self.chunks.len();
            self.chunks.extend_from_slice(&self.chunk);
            self.last = begin..self.chunks.len();
        }
        Some(self.last.clone())
    }

    /// A chunk of these turns.
    fn bytes(&self, chunk: Range<usize>) -> &[u8] {
        &self.chunks[chunk]
    }
}

/// Whether a chunk ends where writes end, so that there may be more.
pub(crate) fn is_full(chunk: &Range<usize>) -> bool {
    chunk.len() >= FULL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_chunk_has_its_size_before_it_and_equal_ones_are_one() {
        let mut scratch = Scratch::new();
        assert_eq!(scratch.chunk(|_, _| {}), None);
        let mut chunk = |byte, size| {
            let chunk = scratch.chunk(|out, _| out.put_bytes(byte, size)).unwrap();
            (chunk.clone(), scratch.bytes(chunk).to_vec())
        };
        let (first, text) = chunk(b'x', 0x1ab);
        let text = String::from_utf8(text).unwrap();
        let (size, rest) = text.split_once("\r\n").unwrap();
        assert_eq!(usize::from_str_radix(size, 16), Ok(0x1ab));
        assert_eq!(rest.len(), 0x1ab + 2);
        assert!(rest.ends_with("x\r\n") && !is_full(&first));
        assert_eq!(chunk(b'x', 0x1ab).0, first);
        assert_ne!(chunk(b'y', 0x1ab).0, first);
        assert!(is_full(&chunk(b'y', FULL).0));
    }
}
