//! Who a node is: its system's id, and which process has it.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use reveille_core::{IdSource, SystemIds};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How many bits of a run are random; the upper ones are milliseconds.
const RANDOM_BITS: u32 = 20;

/// The id of a signal system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct System(pub(super) u64);

/// One life of a node. Of two with the same system, the greater one is the later one, as far as their
/// wall clocks agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Run(pub(super) u64);

impl Run {
    /// A run that begins now.
    pub(super) fn begin() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let millis = since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0));
        let random = SystemIds.random_u64() >> (u64::BITS - RANDOM_BITS);
        Self(millis << RANDOM_BITS | random)
    }
}

/// Both are 16 hexadecimal digits: no reader of JSON rounds them, and they fit into a subject.
macro_rules! as_digits {
    ($type:ident) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                let read = u64::from_str_radix(&text, 16).map(Self).ok();
                read.filter(|read| read.to_string() == text)
                    .ok_or_else(|| serde::de::Error::custom("not 16 hexadecimal digits"))
            }
        }
    };
}

as_digits!(System);
as_digits!(Run);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_runs_are_greater() {
        let first = Run::begin();
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(Run::begin() > first);
    }

    #[test]
    fn ids_have_one_spelling() {
        let text = "\"00000000000000ff\"";
        assert_eq!(serde_json::from_str::<System>(text).unwrap(), System(255));
        assert_eq!(serde_json::to_string(&System(255)).unwrap(), text);
        for wrong in [
            "\"ff\"",
            "\"00000000000000FF\"",
            "\"+0000000000000ff\"",
            "255",
        ] {
            assert!(serde_json::from_str::<System>(wrong).is_err(), "{wrong}");
        }
    }
}
