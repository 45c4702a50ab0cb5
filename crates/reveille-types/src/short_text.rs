//! A text that needs no memory of its own while it is as short as a UUID.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// An immutable text, cheap to clone. Equal texts are in the same variant.
#[derive(Clone)]
pub(crate) enum ShortText {
    /// Up to as many bytes as there is room for.
    Inline { len: u8, bytes: [u8; ROOM] },
    /// Everything longer.
    Shared(Arc<str>),
}

/// Room for a hyphenated UUID, and what alignment leaves besides.
const ROOM: usize = 38;

impl ShortText {
    /// In bytes.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Inline { len, .. } => usize::from(*len),
            Self::Shared(text) => text.len(),
        }
    }
}

impl From<&str> for ShortText {
    fn from(text: &str) -> Self {
        let mut bytes = [0; ROOM];
        match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(room), Ok(len)) => {
                room.copy_from_slice(text.as_bytes());
                Self::Inline { len, bytes }
            }
            _ => Self::Shared(text.into()),
        }
    }
}

impl Deref for ShortText {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            // The bytes were copied from a text of this length.
            Self::Inline { len, bytes } => {
                let text = bytes.get(..usize::from(*len)).unwrap_or_default();
                std::str::from_utf8(text).unwrap_or_default()
            }
            Self::Shared(text) => text,
        }
    }
}

impl PartialEq for ShortText {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Inline { len, bytes },
                Self::Inline {
                    len: other_len,
                    bytes: other,
                },
            ) => len == other_len && bytes == other,
            (Self::Shared(text), Self::Shared(other)) => text == other,
            _ => false,
        }
    }
}

impl Eq for ShortText {}

impl PartialOrd for ShortText {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ShortText {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl Hash for ShortText {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const _: () = assert!(size_of::<ShortText>() == 40);

    proptest! {
        /// Whatever its length, it is the text, and compares as the text does.
        #[test]
        fn a_short_text_is_its_text(one in "[a-c\u{e9}]{0,80}", other in "[a-c\u{e9}]{0,80}") {
            let (short, other_short) = (ShortText::from(&*one), ShortText::from(&*other));
            prop_assert_eq!(&*short, &*one);
            prop_assert_eq!(&*short.clone(), &*one);
            prop_assert_eq!(short == other_short, one == other);
            prop_assert_eq!(short.cmp(&other_short), one.cmp(&other));
            prop_assert!(short == ShortText::from(&*one));
        }
    }
}
