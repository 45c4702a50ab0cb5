//! One connection that publishes: one request at a time, on a connection that is kept.

use std::io::{ErrorKind, Read, Write};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::body::head;
use crate::error::LoadError;
use crate::plan::Target;
use crate::reader::is_too_early;

/// One connection that publishes.
#[derive(Debug)]
pub(crate) struct Publisher {
    /// None before the first request, and after the server has closed it.
    socket: Option<TcpStream>,
    /// The request that is on its way; none if the publisher is free.
    pending: Option<Pending>,
    /// The bytes of the request, and how many of them are written.
    out: Vec<u8>,
    written: usize,
    /// The answer so far.
    answer: Vec<u8>,
}

/// A request on its way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pending {
    /// How many requests came before it.
    pub(crate) number: u64,
    /// When it was made, in nanoseconds on the clock of the load.
    pub(crate) at: u64,
}

/// What became of a request.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) request: Pending,
    /// None if the connection ended first.
    pub(crate) status: Option<u16>,
    /// What the answer says, of one that is no success.
    pub(crate) text: String,
}

impl Publisher {
    pub(crate) fn new() -> Self {
        Self {
            socket: None,
            pending: None,
            out: Vec::new(),
            written: 0,
            answer: Vec::new(),
        }
    }

    /// Sends a request, which `write` appends to the bytes given. The publisher must be free.
    pub(crate) fn send(
        &mut self,
        target: &Target,
        (registry, token): (&Registry, Token),
        request: Pending,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), LoadError> {
        self.out.clear();
        write(&mut self.out);
        self.written = 0;
        self.answer.clear();
        self.pending = Some(request);
        let address = target.address();
        let failed = |source| LoadError::Connection { address, source };
        if self.socket.is_some() {
            return self.write().map_err(failed);
        }
        let mut socket = TcpStream::connect(address).map_err(failed)?;
        // A request must not wait for more to come.
        let _ = socket.set_nodelay(true);
        let interest = Interest::READABLE | Interest::WRITABLE;
        registry
            .register(&mut socket, token, interest)
            .map_err(failed)?;
        self.socket = Some(socket);
        Ok(())
    }

    fn write(&mut self) -> std::io::Result<()> {
        let Some(socket) = &mut self.socket else {
            return Ok(());
        };
        while self.written < self.out.len() {
            match socket.write(&self.out[self.written..]) {
                Ok(written) => self.written += written,
                Err(error) if is_too_early(&error) => return Ok(()),
                // The end of the connection is found by reading.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Does what can be done; what became of the request, if that is known now.
    pub(crate) fn turn(
        &mut self,
        target: &Target,
        buffer: &mut [u8],
    ) -> Result<Option<Answered>, LoadError> {
        let address = target.address();
        let failed = |source| LoadError::Connection { address, source };
        let Some(socket) = &self.socket else {
            return Ok(None);
        };
        if let Some(error) = socket.take_error().map_err(failed)?
            && error.kind() == ErrorKind::ConnectionRefused
        {
            return Err(failed(error));
        }
        self.write().map_err(failed)?;
        while let Some(socket) = &mut self.socket {
            match socket.read(buffer) {
                Ok(0) => self.socket = None,
                Ok(read) => {
                    self.answer.extend_from_slice(&buffer[..read]);
                    if read < buffer.len() {
                        break;
                    }
                }
                Err(error) if is_too_early(&error) => break,
                Err(_) => self.socket = None,
            }
        }
        let Some(request) = self.pending else {
            return Ok(None);
        };
        let whole = head(&self.answer)?.filter(|(head, length)| {
            let body = (self.answer.len() - length) as u64;
            head.length.is_some_and(|length| body >= length)
        });
        let (status, text) = match (whole, &self.socket) {
            (None, Some(_)) => return Ok(None),
            (None, None) => (None, String::new()),
            (Some((head, _)), _) if (200..300).contains(&head.status) => {
                (Some(head.status), String::new())
            }
            (Some((head, length)), _) => (
                Some(head.status),
                String::from_utf8_lossy(&self.answer[length..]).into_owned(),
            ),
        };
        self.pending = None;
        Ok(Some(Answered {
            request,
            status,
            text,
        }))
    }
}
