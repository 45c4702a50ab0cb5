//! Places in logs: positions, sequence numbers and epochs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::invalid::Invalid;

/// Writes twenty digits, zero-padded, in one piece: the padding of `{:020}` goes digit by digit.
pub(crate) fn padded(mut number: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut digits = [b'0'; 20];
    for digit in digits.iter_mut().rev() {
        *digit += (number % 10) as u8;
        number /= 10;
    }
    // Digits are ASCII.
    f.write_str(std::str::from_utf8(&digits).unwrap_or_default())
}

/// Declares a 64-bit place that is a string of 20 digits in JSON and in cursors: JSON numbers lose
/// precision in JavaScript, and padded digits sort as text.
macro_rules! place {
    ($(#[$doc:meta])* $name:ident, $field:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u64);

        impl $name {
            /// The next one. Saturates at the end of the 64-bit range, which no log reaches.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }

            /// `count` places further on, saturating.
            #[must_use]
            pub fn plus(self, count: usize) -> Self {
                Self(self.0.saturating_add(count as u64))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        /// Twenty digits, zero-padded.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                padded(self.0, f)
            }
        }

        /// Reads 1 to 20 digits.
        impl FromStr for $name {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                let wrong = || Invalid::form($field, "is not a number of 1 to 20 digits");
                if text.is_empty() || text.len() > 20 || !text.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(wrong());
                }
                text.parse().map(Self).map_err(|_| wrong())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

place! {
    /// A place in one session log: position *p* means that *p* events precede it. Dense.
    ///
    /// So an inclusive start `from = p` and an exclusive start `after = p` are the same number: the
    /// first event stands at position 0, and whoever has read it continues at position 1.
    Position, "position"
}

place! {
    /// A place in the order of one tenant on one bus or shared backend. Assigned at append,
    /// ascending from 1, not dense.
    Seq, "seq"
}

impl Position {
    /// Before the first event.
    pub const START: Self = Self(0);

    /// How many places lie between `earlier` and this one; 0 if it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// An incarnation of a log or bus: new whenever continuity cannot be proven. Compared for equality
/// only, never for order.
///
/// Text form: 16 characters of lower-case Crockford base 32 (48 bits of Unix milliseconds, 32 random
/// bits).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch([u8; Self::LEN]);

/// Crockford's alphabet (<https://www.crockford.com/base32.html>) in lower case.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

impl Epoch {
    /// Length of the text form in characters.
    pub const LEN: usize = 16;

    /// Makes an epoch from Unix milliseconds (the low 48 bits count) and random bits.
    #[must_use]
    pub fn from_parts(unix_millis: u64, random: u32) -> Self {
        let bits = (u128::from(unix_millis & 0xFFFF_FFFF_FFFF) << 32) | u128::from(random);
        let mut text = [0; Self::LEN];
        for (place, byte) in text.iter_mut().enumerate() {
            let shift = 5 * (Self::LEN - 1 - place);
            *byte = ALPHABET[(bits >> shift) as usize & 31];
        }
        Self(text)
    }

    /// The text form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Both constructors fill the array from the ASCII alphabet only.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Epoch {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match <[u8; Self::LEN]>::try_from(text.as_bytes()) {
            Ok(bytes) if bytes.iter().all(|b| ALPHABET.contains(b)) => Ok(Self(bytes)),
            _ => Err(Invalid::form(
                "epoch",
                "is not 16 characters of lower-case Crockford base 32",
            )),
        }
    }
}

impl Serialize for Epoch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Epoch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
