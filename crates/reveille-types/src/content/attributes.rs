//! What a filter asks of attributes, as people and programs write it.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::Condition;

/// The member with alternatives. No attribute has this name.
pub(crate) const OR: &str = "$or";

/// Conditions on attributes by their names in `CloudEvents`, all of which must match. In JSON the
/// alternatives are the member `$or` beside the names.
///
/// ```
/// use reveille_types::{Filter, FilterSpec};
///
/// let spec: FilterSpec = serde_json::from_str(
///     r#"{"attributes": {
///         "stage": [{"equals-ignore-case": "live"}],
///         "$or": [{"region": [{"wildcard": "eu-*-1"}]}, {"attempt": [{"numeric": [">", 3]}]}]
///     }}"#,
/// )?;
/// let filter = Filter::compile(&spec)?;
/// assert!(!filter.is_all());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes {
    /// Conditions by the names of attributes: of each one must hold.
    pub each: BTreeMap<String, Vec<Condition>>,
    /// Alternatives, of which one must match besides; none if it is empty.
    pub any: Vec<Attributes>,
}

impl From<BTreeMap<String, Vec<Condition>>> for Attributes {
    fn from(each: BTreeMap<String, Vec<Condition>>) -> Self {
        let any = Vec::new();
        Self { each, any }
    }
}

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut members = BTreeMap::<String, Value>::deserialize(deserializer)?;
        let any = match members.remove(OR) {
            None => Vec::new(),
            Some(alternatives) => {
                let any: Vec<Self> =
                    serde_json::from_value(alternatives).map_err(D::Error::custom)?;
                if any.is_empty() {
                    // Told apart from no member here, while the difference can still be seen.
                    return Err(D::Error::custom("attributes.$or is empty"));
                }
                any
            }
        };
        let each = members.into_iter().map(|(name, conditions)| {
            serde_json::from_value(conditions).map(|conditions| (name, conditions))
        });
        let each = each.collect::<Result<_, _>>().map_err(D::Error::custom)?;
        Ok(Self { each, any })
    }
}

impl Serialize for Attributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if !self.any.is_empty() {
            map.serialize_entry(OR, &self.any)?;
        }
        for (name, conditions) in &self.each {
            map.serialize_entry(name, conditions)?;
        }
        map.end()
    }
}
