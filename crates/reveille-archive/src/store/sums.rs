//! Checksums over what a row says and where it stands, so that no other row can pass for it.

/// A CRC-32 over numbers and texts, each of which is told apart from its neighbours.
#[derive(Debug, Default)]
pub(super) struct Sum(crc32fast::Hasher);

impl Sum {
    pub(super) fn number(mut self, number: i64) -> Self {
        self.0.update(&number.to_le_bytes());
        self
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    pub(super) fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    pub(super) fn optional(self, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.number(1).text(text),
            None => self.number(0),
        }
    }

    pub(super) fn finish(self) -> i64 {
        self.0.finalize().into()
    }
}
