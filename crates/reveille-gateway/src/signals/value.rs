//! What a signal carries: JSON, or nothing.

use reveille_types::{Invalid, Payload};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// The value of a signal, as a gateway keeps it and gives it to others: any JSON, or none.
///
/// ```
/// use reveille_gateway::SignalValue;
///
/// let value: SignalValue = serde_json::from_str("[1.10]")?;
/// assert_eq!(serde_json::to_string(&value)?, "[1.10]");
/// assert_eq!(serde_json::to_string(&SignalValue::default())?, "null");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SignalValue(Payload);

impl SignalValue {
    /// The JSON without white space.
    pub(super) fn of(text: &RawValue) -> Result<Self, Invalid> {
        Payload::json(&text).map(Self)
    }

    /// How many bytes it takes.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The JSON, if there is any.
    pub(super) fn json(&self) -> Option<Box<RawValue>> {
        self.0.parse().ok()
    }
}

impl Serialize for SignalValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SignalValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Option::<Box<RawValue>>::deserialize(deserializer)?;
        match text {
            Some(text) => Self::of(&text).map_err(serde::de::Error::custom),
            None => Ok(Self::default()),
        }
    }
}
