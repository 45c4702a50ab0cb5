//! The name of one signal: which system, which slot, which generation.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How many hexadecimal digits the text form has.
const DIGITS: usize = 32;

/// The copyable name of a signal. It owns nothing and keeps nothing alive.
///
/// As a number it is the system's id in the upper 64 bits, then the slot's index and the
/// generation in 32 bits each. As text, and so in JSON, it is that number as 32 lower-case
/// hexadecimal digits, which no reader of JSON rounds. Handles sort by system, slot and
/// generation, as numbers and as texts.
///
/// ```
/// use reveille_core::SignalHandle;
///
/// let handle = SignalHandle::from_raw((7 << 64) | (5 << 32) | 1);
/// assert_eq!((handle.system_id(), handle.index(), handle.generation()), (7, 5, 1));
/// assert_eq!(handle.to_string(), "00000000000000070000000500000001");
/// assert_eq!(handle.to_string().parse(), Ok(handle));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SignalHandle {
    // In this order, by which handles compare.
    system: u64,
    index: u32,
    generation: u32,
}

impl SignalHandle {
    /// The handle that is this number. Systems answer handles that they never gave out with
    /// [`UnknownSignal`](crate::SignalError::UnknownSignal).
    ///
    /// ```
    /// use reveille_core::SignalHandle;
    ///
    /// let handle = SignalHandle::from_raw((7 << 64) | 1);
    /// assert_eq!((handle.system_id(), handle.generation()), (7, 1));
    /// ```
    pub const fn from_raw(raw: u128) -> Self {
        Self {
            system: (raw >> 64) as u64,
            index: (raw >> 32) as u32,
            generation: raw as u32,
        }
    }

    /// The handle as a number.
    ///
    /// ```
    /// use reveille_core::SignalHandle;
    ///
    /// let raw = (7 << 64) | (5 << 32) | 1;
    /// assert_eq!(SignalHandle::from_raw(raw).raw(), raw);
    /// ```
    pub const fn raw(self) -> u128 {
        ((self.system as u128) << 64) | ((self.index as u128) << 32) | self.generation as u128
    }

    /// The system that gave it out.
    ///
    /// ```
    /// use reveille_core::SignalHandle;
    ///
    /// assert_eq!(SignalHandle::from_raw(7 << 64).system_id(), 7);
    /// ```
    pub const fn system_id(self) -> u64 {
        self.system
    }

    /// The slot in its system.
    ///
    /// ```
    /// use reveille_core::SignalHandle;
    ///
    /// assert_eq!(SignalHandle::from_raw(5 << 32).index(), 5);
    /// ```
    pub const fn index(self) -> u32 {
        self.index
    }

    /// Which signal of its slot it is, from 1.
    ///
    /// ```
    /// let system = reveille_core::SignalSystem::<()>::new();
    /// assert_eq!(system.create()?.handle().generation(), 1);
    /// assert_eq!(system.create()?.handle().generation(), 2, "the slot was free again");
    /// # Ok::<(), reveille_core::SignalError>(())
    /// ```
    pub const fn generation(self) -> u32 {
        self.generation
    }

    /// The handle of another generation of the same slot.
    ///
    /// ```
    /// use reveille_core::SignalHandle;
    ///
    /// let first = SignalHandle::from_raw((5 << 32) | 1);
    /// assert_eq!(first.with_generation(2), SignalHandle::from_raw((5 << 32) | 2));
    /// ```
    pub const fn with_generation(self, generation: u32) -> Self {
        Self { generation, ..self }
    }

    pub(super) fn new(system: NonZeroU64, index: u32, generation: u32) -> Self {
        Self {
            system: system.get(),
            index,
            generation,
        }
    }
}

impl fmt::Display for SignalHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0DIGITS$x}", self.raw())
    }
}

impl fmt::Debug for SignalHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignalHandle({self})")
    }
}

/// A text that is not 32 lower-case hexadecimal digits.
///
/// ```
/// use reveille_core::SignalHandle;
///
/// let error = "not a handle".parse::<SignalHandle>().unwrap_err();
/// assert_eq!(error.to_string(), "a signal handle is 32 lower-case hexadecimal digits");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a signal handle is {DIGITS} lower-case hexadecimal digits")]
pub struct ParseHandleError;

impl ParseHandleError {
    /// The stable code of this error.
    ///
    /// ```
    /// use reveille_core::SignalHandle;
    ///
    /// let error = "7".parse::<SignalHandle>().unwrap_err();
    /// assert_eq!(error.code(), "invalid_signal_handle");
    /// ```
    pub fn code(&self) -> &'static str {
        "invalid_signal_handle"
    }
}

impl FromStr for SignalHandle {
    type Err = ParseHandleError;

    fn from_str(text: &str) -> Result<Self, ParseHandleError> {
        // One handle has one text, so that texts can be compared: no sign, no upper case.
        let plain = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if text.len() != DIGITS || !plain {
            return Err(ParseHandleError);
        }
        u128::from_str_radix(text, 16)
            .map(Self::from_raw)
            .map_err(|_| ParseHandleError)
    }
}

impl Serialize for SignalHandle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SignalHandle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_handle_survives_text_and_json(raw: u128, generation: u32) {
            let handle = SignalHandle::from_raw(raw);
            prop_assert_eq!(handle.to_string().parse(), Ok(handle));
            let json = serde_json::to_string(&handle).unwrap();
            prop_assert_eq!(serde_json::from_str::<SignalHandle>(&json).unwrap(), handle);

            let system = NonZeroU64::new(handle.system_id()).unwrap_or(NonZeroU64::MIN);
            let made = SignalHandle::new(system, handle.index(), handle.generation());
            prop_assert_eq!(made.raw() as u64, raw as u64);
            let other = handle.with_generation(generation);
            prop_assert_eq!(other.generation(), generation);
            prop_assert_eq!(other.raw() >> 32, raw >> 32);
        }

        #[test]
        fn order_of_texts_is_order_of_handles(a: u128, b: u128) {
            let (a, b) = (SignalHandle::from_raw(a), SignalHandle::from_raw(b));
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        }

        #[test]
        fn any_text_parses_or_is_refused(text: String) {
            let _ = text.parse::<SignalHandle>();
        }
    }

    /// 002-D10: a number of 39 digits is rounded by readers that know only doubles.
    #[test]
    fn d10_json_form_is_a_string_of_one_spelling() {
        let handle = SignalHandle::from_raw(u128::MAX - 1);
        let json = serde_json::to_value(handle).unwrap();
        assert_eq!(json, serde_json::json!("fffffffffffffffffffffffffffffffe"));
        for wrong in [
            "",
            "1",
            "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFE",
            "+0000000000000000000000000000001",
        ] {
            assert_eq!(
                wrong.parse::<SignalHandle>(),
                Err(ParseHandleError),
                "{wrong}"
            );
        }
        assert!(serde_json::from_str::<SignalHandle>("1").is_err());
    }
}
