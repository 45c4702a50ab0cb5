//! The stamp in each payload: which event of its channel it is, and when it was published.

use memchr::memmem::Finder;

/// What a stamp begins with: in JSON no text within a string can look like this.
const MARK: &str = "\"bench\":\"";
/// Digits of each of its two numbers.
const DIGITS: usize = 20;

/// One event as its readers know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// How many events of its channel came before it.
    pub(crate) number: u64,
    /// Nanoseconds on the clock of the load.
    pub(crate) at: u64,
}

impl Stamp {
    /// Appends a payload with this stamp, of about so many bytes.
    pub(crate) fn write(self, out: &mut Vec<u8>, payload: usize) {
        let begun = out.len();
        let Self { number, at } = self;
        out.extend_from_slice(format!("{{{MARK}{number:020}.{at:020}\",\"fill\":\"").as_bytes());
        let fill = payload.saturating_sub(out.len() - begun + 2);
        out.resize(out.len() + fill, b'x');
        out.extend_from_slice(b"\"}");
    }
}

/// Finds stamps.
#[derive(Debug)]
pub(crate) struct Stamps(Finder<'static>);

impl Stamps {
    pub(crate) fn new() -> Self {
        Self(Finder::new(MARK))
    }

    /// The stamp in a frame, if it has one.
    pub(crate) fn find(&self, frame: &[u8]) -> Option<Stamp> {
        let text = frame.get(self.0.find(frame)? + MARK.len()..)?;
        let (number, rest) = text.split_at_checked(DIGITS)?;
        let at = rest.strip_prefix(b".")?.get(..DIGITS)?;
        Some(Stamp {
            number: digits(number)?,
            at: digits(at)?,
        })
    }
}

pub(crate) fn digits(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_found_in_what_was_written() {
        let stamp = Stamp {
            number: 42,
            at: u64::MAX,
        };
        for payload in [0, 100, 256, 4_096] {
            let mut text = b"data: {\"type\":\"bench\",\"data\":".to_vec();
            let before = text.len();
            stamp.write(&mut text, payload);
            assert!(payload < 100 || text.len() - before == payload);
            text.extend_from_slice(b"}");
            assert_eq!(Stamps::new().find(&text), Some(stamp));
        }
    }

    #[test]
    fn what_is_no_stamp_is_none() {
        for text in [
            "",
            "\"bench\":\"",
            "\"bench\":\"1.2\"",
            "data: {\"bench\":1}",
        ] {
            assert_eq!(Stamps::new().find(text.as_bytes()), None, "{text}");
        }
    }
}
