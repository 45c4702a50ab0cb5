//! Frames of server-sent events, out of pieces of any size.

use memchr::memmem::Finder;

/// Cuts pieces into frames. What is no whole frame yet is kept until the rest comes.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    rest: Vec<u8>,
}

/// Finds the ends of frames.
#[derive(Debug)]
pub(crate) struct Ends(Finder<'static>);

impl Ends {
    pub(crate) fn new() -> Self {
        Self(Finder::new("\n\n"))
    }
}

impl Frames {
    /// Gives each whole frame to `each`, without the blank line at its end.
    pub(crate) fn feed(&mut self, ends: &Ends, piece: &[u8], mut each: impl FnMut(&[u8])) {
        if self.rest.is_empty() {
            let left = cut(ends, piece, &mut each);
            self.rest.extend_from_slice(left);
            return;
        }
        self.rest.extend_from_slice(piece);
        let left = cut(ends, &self.rest, &mut each).len();
        self.rest.drain(..self.rest.len() - left);
        if self.rest.is_empty() {
            // Many connections wait between frames: they keep no memory then.
            self.rest = Vec::new();
        }
    }
}

/// What is left after the last whole frame.
fn cut<'a>(ends: &Ends, mut piece: &'a [u8], each: &mut impl FnMut(&[u8])) -> &'a [u8] {
    while let Some(end) = ends.0.find(piece) {
        each(&piece[..end]);
        piece = &piece[end + 2..];
    }
    piece
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_the_same_however_they_are_cut() {
        let text = b"id: 1\ndata: a\n\n:\nid: 2\ndata: bb\n\n\n\ndata: c\n\ndata";
        let whole = ["id: 1\ndata: a", ":\nid: 2\ndata: bb", "", "data: c"];
        for size in 1..=text.len() {
            let (mut frames, mut seen) = (Frames::default(), Vec::new());
            for piece in text.chunks(size) {
                frames.feed(&Ends::new(), piece, |frame| {
                    seen.push(String::from_utf8(frame.to_vec()).unwrap());
                });
            }
            assert_eq!(seen, whole, "pieces of {size}");
        }
    }
}
