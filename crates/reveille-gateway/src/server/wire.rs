//! The socket of a connection, which its HTTP server and the pump of its stream share.
//!
//! The server writes through [`WireIo`]. While it has nothing to write the wire is quiet, and the pump
//! may write; what the socket does not take of that stands before whatever the server writes next.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::stream::Line;

/// The socket of a connection.
pub(crate) struct Wire {
    socket: TcpStream,
    /// Whether all is written that the server and the pump had.
    quiet: AtomicBool,
    /// What the socket did not take of the pump's last write.
    rest: Mutex<Vec<u8>>,
    /// The stream that the pump writes.
    line: Mutex<Option<Weak<Line>>>,
}

impl Wire {
    pub(super) fn new(socket: TcpStream) -> Self {
        Self {
            socket,
            quiet: AtomicBool::new(false),
            rest: Mutex::default(),
            line: Mutex::default(),
        }
    }

    /// This stream is told when the wire becomes quiet. It is not, until the server has written the head
    /// of the answer.
    pub(crate) fn carries(&self, line: Option<Weak<Line>>) {
        self.is_busy();
        let mut carried = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        *carried = line;
    }

    /// The server has something to write.
    pub(crate) fn is_busy(&self) {
        self.quiet.store(false, Ordering::SeqCst);
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet.load(Ordering::SeqCst)
    }

    fn rest(&self) -> MutexGuard<'_, Vec<u8>> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a chunk on a wire that is quiet; whether the socket took it all. If not, the server has to
    /// be polled: it writes the rest, or finds what is wrong.
    pub(crate) fn write(&self, chunk: &[u8]) -> bool {
        let mut rest = self.rest();
        let taken = self.socket.try_write(chunk).unwrap_or(0);
        if taken == chunk.len() {
            return true;
        }
        rest.extend_from_slice(&chunk[taken..]);
        self.is_busy();
        false
    }

    fn line(&self) -> Option<Arc<Line>> {
        let line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        line.as_ref().and_then(Weak::upgrade)
    }

    /// The stream, once the server has nothing more to say than what the stream does.
    pub(super) fn alone(&self) -> Option<Arc<Line>> {
        self.line().filter(|_| self.is_quiet())
    }

    /// Puts bytes behind what is left to write.
    pub(super) fn push(&self, pieces: &[&[u8]]) {
        let mut rest = self.rest();
        pieces
            .iter()
            .for_each(|piece| rest.extend_from_slice(piece));
    }

    /// Writes what is left, and lets the pump write.
    pub(super) fn poll_quiet(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_rest(cx))?;
        if !self.quiet.swap(true, Ordering::SeqCst)
            && let Some(line) = self.line()
        {
            line.is_quiet();
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when the client has gone. What it says is not listened to.
    pub(super) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut ignored = [0; 256];
        loop {
            if ready!(self.socket.poll_read_ready(cx)).is_err() {
                return Poll::Ready(());
            }
            match self.socket.try_read(&mut ignored) {
                Ok(0) => return Poll::Ready(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Poll::Ready(()),
            }
        }
    }

    /// Ends the connection in both directions: whoever polls it finds out.
    pub(crate) fn cut(&self) {
        // It may have ended already.
        let _ = socket2::SockRef::from(&self.socket).shutdown(std::net::Shutdown::Both);
    }

    /// Says that nothing more comes.
    pub(super) fn shut(&self) -> io::Result<()> {
        let socket = socket2::SockRef::from(&self.socket);
        match socket.shutdown(std::net::Shutdown::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            done => done,
        }
    }

    /// Writes what is left of the pump's.
    fn poll_rest(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut rest = self.rest();
        while !rest.is_empty() {
            let taken = ready!(self.poll_io(cx, || self.socket.try_write(&rest)))?;
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            rest.drain(..taken);
            if rest.is_empty() {
                *rest = Vec::new();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Tries until it works or the socket takes nothing.
    fn poll_io(
        &self,
        cx: &mut Context<'_>,
        mut attempt: impl FnMut() -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.socket.poll_write_ready(cx))?;
            match attempt() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }
}

/// What the server reads and writes.
pub(super) struct WireIo(pub(super) Arc<Wire>);

impl AsyncRead for WireIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let socket = &self.0.socket;
        loop {
            ready!(socket.poll_read_ready(cx))?;
            match socket.try_read_buf(buffer) {
                Ok(_) => return Poll::Ready(Ok(())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for WireIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wire = &self.0;
        ready!(wire.poll_rest(cx))?;
        wire.poll_io(cx, || wire.socket.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wire = &self.0;
        ready!(wire.poll_rest(cx))?;
        wire.poll_io(cx, || wire.socket.try_write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// The server calls it when it has written all that it had.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_quiet(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = &self.0;
        ready!(wire.poll_rest(cx))?;
        Poll::Ready(wire.shut())
    }
}
