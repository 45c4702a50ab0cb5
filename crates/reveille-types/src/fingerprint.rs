//! Digests that are the same in every process: for cursors of filters and for idempotency.

use std::hash::Hasher;

/// FNV-1a with 64 bits (<http://www.isthe.com/chongo/tech/comp/fnv/>). Not a secret and not safe from
/// people who look for collisions; whoever uses it must be harmless when two digests are equal.
#[derive(Debug, Clone)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// The digest of a text.
    ///
    /// ```
    /// # use reveille_types::Fingerprint;
    /// assert_eq!(Fingerprint::of("a"), 0xaf63_dc4c_8601_ec8c);
    /// ```
    #[must_use]
    pub fn of(text: &str) -> u64 {
        let mut fingerprint = Self::default();
        fingerprint.write(text.as_bytes());
        fingerprint.finish()
    }
}

impl Default for Fingerprint {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fingerprint {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_published_vectors() {
        assert_eq!(Fingerprint::of(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(Fingerprint::of("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(Fingerprint::of("foobar"), 0x8594_4171_f739_67e8);
    }
}
