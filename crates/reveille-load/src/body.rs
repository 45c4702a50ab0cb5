//! An answer of HTTP/1.1, out of pieces of any size.

use crate::error::LoadError;
use crate::stamp::digits;

/// Most bytes of an answer's head, and of a chunk's size line.
const HEAD_BYTES: usize = 16 * 1024;
const SIZE_BYTES: usize = 64;

/// What the head of an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// None if the body is in chunks or goes on to the end of the connection.
    pub(crate) length: Option<u64>,
    chunked: bool,
}

/// The head at the beginning of `text`, and how long it is; nothing if there is more of it to come.
pub(crate) fn head(text: &[u8]) -> Result<Option<(Head, usize)>, LoadError> {
    let Some(end) = memchr::memmem::find(text, b"\r\n\r\n") else {
        return match text.len() > HEAD_BYTES {
            true => Err(LoadError::Malformed {
                problem: "its head does not end",
            }),
            false => Ok(None),
        };
    };
    let mut lines = text[..end].split(|b| *b == b'\n');
    let first = lines.next().unwrap_or_default();
    let status = first
        .strip_prefix(b"HTTP/1.1 ")
        .and_then(|rest| digits(rest.get(..3)?));
    let status =
        status
            .and_then(|status| u16::try_from(status).ok())
            .ok_or(LoadError::Malformed {
                problem: "it does not begin with a status line of HTTP/1.1",
            })?;
    let mut head = Head {
        status,
        length: None,
        chunked: false,
    };
    for line in lines {
        let line = line.trim_ascii().to_ascii_lowercase();
        if let Some(length) = line.strip_prefix(b"content-length:") {
            head.length = digits(length.trim_ascii());
        } else if let Some(coding) = line.strip_prefix(b"transfer-encoding:") {
            head.chunked = coding.trim_ascii().ends_with(b"chunked");
        }
    }
    if status == 204 {
        head.length = Some(0);
    }
    Ok(Some((head, end + 4)))
}

/// Where a body is.
#[derive(Debug)]
pub(crate) enum Body {
    /// All that comes, to the end of the connection.
    Plain,
    /// In the line with the size of the next chunk.
    Size(Vec<u8>),
    /// In a chunk with so many bytes to come, the line end after it included.
    Chunk(u64),
}

impl Body {
    pub(crate) fn new(head: &Head) -> Self {
        match head.chunked {
            true => Self::Size(Vec::new()),
            false => Self::Plain,
        }
    }

    /// Gives what is in the chunks to `each`.
    pub(crate) fn feed(
        &mut self,
        mut piece: &[u8],
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), LoadError> {
        while !piece.is_empty() {
            match self {
                Self::Plain => {
                    each(piece);
                    return Ok(());
                }
                Self::Size(line) => {
                    let end = memchr::memchr(b'\n', piece);
                    line.extend_from_slice(&piece[..end.unwrap_or(piece.len())]);
                    if line.len() > SIZE_BYTES {
                        return Err(LoadError::Malformed {
                            problem: "the size of a chunk is too long",
                        });
                    }
                    let Some(end) = end else {
                        return Ok(());
                    };
                    piece = &piece[end + 1..];
                    *self = Self::Chunk(size(line)? + 2);
                }
                Self::Chunk(left) => {
                    let all = usize::try_from(*left).unwrap_or(usize::MAX);
                    let (now, rest) = piece.split_at(piece.len().min(all));
                    // The last two bytes are the line end after the chunk.
                    let data = usize::try_from(left.saturating_sub(2)).unwrap_or(usize::MAX);
                    each(&now[..now.len().min(data)]);
                    *left -= now.len() as u64;
                    if *left == 0 {
                        *self = Self::Size(Vec::new());
                    }
                    piece = rest;
                }
            }
        }
        Ok(())
    }
}

fn size(line: &[u8]) -> Result<u64, LoadError> {
    let text = std::str::from_utf8(line).unwrap_or_default();
    let number = text.split(';').next().unwrap_or_default().trim();
    u64::from_str_radix(number, 16)
        .ok()
        .filter(|size| *size < u64::MAX - 2)
        .ok_or(LoadError::Malformed {
            problem: "the size of a chunk is no number",
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_whole() {
        let text = b"HTTP/1.1 201 Created\r\nContent-Length: 12\r\n\r\nbody";
        assert_eq!(head(&text[..30]).unwrap(), None);
        let (head, length) = head(text).unwrap().unwrap();
        assert_eq!((head.status, head.length), (201, Some(12)));
        assert_eq!(&text[length..], b"body");
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for text in [
            "HTTP/1.0 200 OK\r\n\r\n",
            "hello\r\n\r\n",
            "HTTP/1.1 abc\r\n\r\n",
        ] {
            assert!(head(text.as_bytes()).is_err(), "{text}");
        }
        assert!(head(&[b'x'; HEAD_BYTES + 1]).is_err());
    }

    #[test]
    fn chunks_are_the_same_however_they_are_cut() {
        let text = b"5\r\nhello\r\n1;x=y\r\n \r\nA\r\n0123456789\r\n";
        for size in 1..=text.len() {
            let mut body = Body::Size(Vec::new());
            let mut all = Vec::new();
            for piece in text.chunks(size) {
                body.feed(piece, |data| all.extend_from_slice(data))
                    .unwrap();
            }
            assert_eq!(all, b"hello 0123456789", "pieces of {size}");
        }
        let mut body = Body::Size(Vec::new());
        assert!(body.feed(b"zz\r\n", |_| {}).is_err());
    }
}
