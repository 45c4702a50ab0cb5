//! How a checked name is made: one macro, so that all names parse, print and serialise alike.

/// Declares a checked, cheaply cloned name, validated once by `parse`. Its text is an `Arc<str>` unless
/// another type is named.
macro_rules! checked_name {
    ($(#[$doc:meta])* $name:ident, $field:literal, $check:expr) => {
        checked_name! { $(#[$doc])* $name(std::sync::Arc<str>), $field, $check }
    };
    ($(#[$doc:meta])* $name:ident($text:ty), $field:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($text);

        impl $name {
            /// Checks `text` and makes the name.
            ///
            /// # Errors
            /// [`Invalid`](crate::Invalid) names the field and what is wrong with it.
            pub fn parse(text: impl AsRef<str>) -> Result<Self, $crate::Invalid> {
                let text = text.as_ref();
                let check: fn(&'static str, &str) -> Result<(), $crate::Invalid> = $check;
                check($field, text)?;
                Ok(Self(text.into()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::Invalid;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::parse(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                Self::parse(text).map_err(serde::de::Error::custom)
            }
        }
    };
}

pub(crate) use checked_name;
