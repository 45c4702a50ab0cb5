//! Lines out of pieces.

use bytes::{Buf, Bytes, BytesMut};

/// Most bytes of a line: far beyond what a server sends.
const LINE_BYTES: usize = 16 * 1024 * 1024;

/// Lines out of pieces that may end anywhere.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    bytes: BytesMut,
    /// The bytes before it hold no line feed.
    searched: usize,
}

/// A line that is too long to be one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

impl Lines {
    pub(crate) fn feed(&mut self, piece: &[u8]) -> Result<(), TooLong> {
        self.bytes.extend_from_slice(piece);
        let unsearched = self.bytes.get(self.searched..).unwrap_or_default();
        if self.bytes.len() > LINE_BYTES && !unsearched.contains(&b'\n') {
            return Err(TooLong);
        }
        Ok(())
    }

    /// The next whole line, without its end. What comes after the last line feed is no line: the
    /// connection may have broken within it.
    pub(crate) fn next(&mut self) -> Option<Bytes> {
        let unsearched = self.bytes.get(self.searched..)?;
        let Some(end) = unsearched.iter().position(|b| *b == b'\n') else {
            self.searched = self.bytes.len();
            return None;
        };
        let line = self.bytes.split_to(self.searched + end).freeze();
        self.bytes.advance(1);
        self.searched = 0;
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lines_do_not_depend_on_the_pieces(
            lines in prop::collection::vec("[a-z]{0,5}", 0..8),
            tail in "[a-z]{0,5}",
            cuts in prop::collection::vec(1..4_usize, 1..40),
        ) {
            let text = lines.iter().map(|l| format!("{l}\n")).collect::<String>() + &tail;
            let mut parser = Lines::default();
            let mut found = Vec::new();
            let mut rest = text.as_bytes();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                parser.feed(piece).unwrap();
                while let Some(line) = parser.next() {
                    found.push(String::from_utf8(line.to_vec()).unwrap());
                }
                rest = after;
            }
            prop_assert_eq!(found, lines);
        }
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut lines = Lines::default();
        let piece = vec![b'a'; LINE_BYTES / 2 + 1];
        assert_eq!(lines.feed(&piece), Ok(()));
        assert_eq!(lines.next(), None);
        assert_eq!(lines.feed(&piece), Err(TooLong));
    }
}
