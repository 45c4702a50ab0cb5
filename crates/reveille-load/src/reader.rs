//! One connection that reads a stream.

use std::io::{ErrorKind, Read, Write};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::body::{Body, head};
use crate::error::LoadError;
use crate::frames::{Ends, Frames};
use crate::plan::Target;
use crate::seen::Seen;

/// How much of a refusal's body is told.
const REFUSAL_BYTES: usize = 300;

/// One connection that reads a stream.
#[derive(Debug)]
pub(crate) struct Reader {
    socket: TcpStream,
    pub(crate) channel: usize,
    stage: Stage,
    frames: Frames,
    pub(crate) seen: Seen,
}

#[derive(Debug)]
enum Stage {
    /// The request is to be sent once the connection is there.
    Connecting(Vec<u8>),
    /// In the head of the answer.
    Head(Vec<u8>),
    Open(Body),
    Lost,
}

/// What became of a reader when there was something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    GoesOn,
    /// Its stream has been opened.
    Opened,
    /// The connection has ended.
    Lost,
}

impl Reader {
    /// Begins to connect.
    pub(crate) fn connect(
        target: &Target,
        (channel, name): (usize, &str),
        registry: &Registry,
        token: Token,
    ) -> Result<Self, LoadError> {
        let address = target.address();
        let failed = |source| LoadError::Connection { address, source };
        let mut socket = TcpStream::connect(address).map_err(failed)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        registry
            .register(&mut socket, token, interest)
            .map_err(failed)?;
        Ok(Self {
            socket,
            channel,
            stage: Stage::Connecting(target.stream_request(name)),
            frames: Frames::default(),
            seen: Seen::default(),
        })
    }

    /// Does what can be done. Gives each whole frame to `each`.
    pub(crate) fn turn(
        &mut self,
        buffer: &mut [u8],
        ends: &Ends,
        mut each: impl FnMut(&mut Seen, usize, &[u8]),
    ) -> Result<Turn, LoadError> {
        if let Stage::Connecting(request) = &self.stage {
            let failed = |source| match self.socket.peer_addr() {
                Ok(address) => LoadError::Connection { address, source },
                Err(_) => LoadError::System {
                    what: "a connection",
                    source,
                },
            };
            if let Some(error) = self.socket.take_error().map_err(failed)? {
                return Err(failed(error));
            }
            match (&self.socket).write(request) {
                // A request is far smaller than what the kernel buffers.
                Ok(_) => self.stage = Stage::Head(Vec::new()),
                Err(error) if is_too_early(&error) => return Ok(Turn::GoesOn),
                Err(error) => return Err(failed(error)),
            }
        }
        let mut turn = Turn::GoesOn;
        loop {
            let read = match self.socket.read(buffer) {
                Ok(0) => return self.lost(),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(turn),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return self.lost(),
            };
            if self.take(&buffer[..read], ends, &mut each)? {
                turn = Turn::Opened;
            }
            // Less than was asked for was all there was; more of it is told anew.
            if read < buffer.len() {
                return Ok(turn);
            }
        }
    }

    fn lost(&mut self) -> Result<Turn, LoadError> {
        if let Stage::Head(_) = self.stage {
            return Err(LoadError::Malformed {
                problem: "the connection ended before it",
            });
        }
        self.stage = Stage::Lost;
        Ok(Turn::Lost)
    }

    /// Whether that opened the stream.
    fn take(
        &mut self,
        piece: &[u8],
        ends: &Ends,
        mut each: impl FnMut(&mut Seen, usize, &[u8]),
    ) -> Result<bool, LoadError> {
        let Self {
            stage,
            frames,
            seen,
            channel,
            ..
        } = self;
        let mut feed = |body: &mut Body, piece: &[u8]| {
            body.feed(piece, |data| {
                frames.feed(ends, data, |frame| each(seen, *channel, frame));
            })
        };
        match stage {
            Stage::Connecting(_) | Stage::Lost => Ok(false),
            Stage::Open(body) => feed(body, piece).map(|()| false),
            Stage::Head(text) => {
                text.extend_from_slice(piece);
                let Some((head, length)) = head(text)? else {
                    return Ok(false);
                };
                let rest = &text[length..];
                if head.status != 200 {
                    let text = &rest[..rest.len().min(REFUSAL_BYTES)];
                    return Err(LoadError::Refused {
                        what: "stream",
                        status: head.status,
                        text: String::from_utf8_lossy(text).into_owned(),
                    });
                }
                let mut body = Body::new(&head);
                feed(&mut body, rest)?;
                *stage = Stage::Open(body);
                Ok(true)
            }
        }
    }
}

/// Whether the connection is still on its way.
pub(crate) fn is_too_early(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::NotConnected | ErrorKind::Interrupted
    )
}
