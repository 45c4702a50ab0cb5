//! What is to be known of a file: its size, its SHA-256, and the lines and words of a text.

use std::io::{self, Read};

use serde::Serialize;
use sha2::{Digest, Sha256};

/// What is known of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Facts {
    /// Size in bytes.
    pub(super) size: u64,
    /// SHA-256 in lower-case hexadecimal.
    pub(super) sha256: String,
    /// Lines and words, if the file is a text: UTF-8 without NUL.
    #[serde(flatten)]
    pub(super) text: Option<TextFacts>,
}

/// What is known of a text, as `wc` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(super) struct TextFacts {
    /// Line feeds.
    pub(super) lines: u64,
    /// Runs of characters that are no white space.
    pub(super) words: u64,
}

/// Bytes read at once.
const CHUNK: usize = 64 * 1024;

impl Facts {
    /// Reads to the end.
    ///
    /// # Errors
    /// What reading fails with.
    pub(super) fn of(mut file: impl Read) -> io::Result<Self> {
        let mut hash = Sha256::new();
        let mut text = TextCounter::default();
        let mut size = 0;
        let mut chunk = vec![0; CHUNK];
        loop {
            let read = match file.read(&mut chunk) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            size += read as u64;
            hash.update(&chunk[..read]);
            text.feed(&chunk[..read]);
        }
        let digest = hash.finalize();
        Ok(Self {
            size,
            sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
            text: text.finish(),
        })
    }
}

/// Counts a text that comes in pieces, which may end within a character.
#[derive(Debug, Default)]
struct TextCounter {
    counts: TextFacts,
    in_word: bool,
    is_binary: bool,
    /// The begin of a character whose rest has not come yet: at most 3 bytes.
    rest: Vec<u8>,
}

impl TextCounter {
    fn feed(&mut self, bytes: &[u8]) {
        if self.is_binary {
            return;
        }
        let mut bytes = bytes;
        while !self.rest.is_empty() && !bytes.is_empty() {
            self.rest.push(bytes[0]);
            bytes = &bytes[1..];
            let joined = std::mem::take(&mut self.rest);
            self.feed_whole(&joined);
            if self.is_binary {
                return;
            }
        }
        if !bytes.is_empty() {
            self.feed_whole(bytes);
        }
    }

    fn feed_whole(&mut self, bytes: &[u8]) {
        let (valid, rest) = match std::str::from_utf8(bytes) {
            Ok(text) => (text, &[][..]),
            Err(error) => {
                // An error without a length is a character that is cut off at the end.
                self.is_binary = error.error_len().is_some();
                let (valid, rest) = bytes.split_at(error.valid_up_to());
                (std::str::from_utf8(valid).unwrap_or_default(), rest)
            }
        };
        self.count(valid);
        self.rest = rest.to_vec();
    }

    fn count(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '\0' => self.is_binary = true,
                '\n' => self.counts.lines += 1,
                _ => {}
            }
            let in_word = !c.is_whitespace();
            self.counts.words += u64::from(in_word && !self.in_word);
            self.in_word = in_word;
        }
    }

    fn finish(self) -> Option<TextFacts> {
        (!self.is_binary && self.rest.is_empty()).then_some(self.counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads one byte at a time.
    struct Dripping<'a>(&'a [u8]);

    impl Read for Dripping<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let (Some((first, rest)), Some(place)) = (self.0.split_first(), into.first_mut())
            else {
                return Ok(0);
            };
            *place = *first;
            self.0 = rest;
            Ok(1)
        }
    }

    fn text(bytes: &[u8]) -> Option<TextFacts> {
        let at_once = Facts::of(bytes).unwrap();
        assert_eq!(Facts::of(Dripping(bytes)).unwrap(), at_once);
        at_once.text
    }

    #[test]
    fn lines_and_words_are_counted_whatever_the_pieces() {
        let counts = |lines, words| Some(TextFacts { lines, words });
        assert_eq!(text(b""), counts(0, 0));
        assert_eq!(text(b"one two\nthree"), counts(1, 3));
        assert_eq!(text(b"  \n\n a\tb \n"), counts(3, 2));
        assert_eq!(text("grüße → 漢字\n".as_bytes()), counts(1, 3));
    }

    #[test]
    fn what_is_not_utf8_or_has_a_nul_is_no_text() {
        assert_eq!(text(b"a\0b"), None);
        assert_eq!(text(b"caf\xe9 au lait"), None);
        assert_eq!(text(b"cut \xe2\x82"), None);
    }

    #[test]
    fn the_digest_is_that_of_the_standard() {
        // FIPS 180-2, appendix B.1.
        let facts = Facts::of(&b"abc"[..]).unwrap();
        assert_eq!(
            facts.sha256,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(facts.size, 3);
    }
}
