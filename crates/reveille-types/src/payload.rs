//! What an event carries: bytes with a content type.

use std::fmt;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::invalid::{Invalid, VISIBLE, check_text};
use crate::json;
use crate::limits;

/// The bytes an event carries and what they are, kept byte for byte unless they are JSON. JSON has
/// the line ends U+0085, U+2028 and U+2029 as escapes and is kept compact: one line, without
/// white space between tokens, numbers as they were written.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Payload {
    content_type: Option<Box<str>>,
    schema: Option<Box<str>>,
    bytes: Option<Bytes>,
}

/// The content type of a payload that states none.
pub(crate) const JSON: &str = "application/json";

impl Payload {
    /// No payload at all, which is not the same as JSON `null`.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// `value` as JSON.
    ///
    /// # Errors
    /// [`Invalid`] when the value cannot be written as JSON (a map with keys that are no strings).
    pub fn json(value: &impl Serialize) -> Result<Self, Invalid> {
        let text = serde_json::to_string(value)
            .map_err(|e| Invalid::form("data", format!("cannot be written as JSON: {e}")))?;
        // White space can be in it even so: a value may hold raw JSON.
        let text = json::compact(&text).unwrap_or(text);
        Ok(Self {
            content_type: Some(JSON.into()),
            schema: None,
            bytes: Some(text.into()),
        })
    }

    /// JSON text, which may be spread over lines.
    ///
    /// # Errors
    /// [`Invalid`] when it is not JSON.
    pub fn json_text(text: &str) -> Result<Self, Invalid> {
        Self::bytes(Some(JSON), text.as_bytes().to_vec())
    }

    /// Bytes with their content type; `None` means that nobody knows what they are.
    ///
    /// # Errors
    /// [`Invalid`] when the content type is malformed, or says JSON and the bytes are not.
    pub fn bytes(content_type: Option<&str>, bytes: impl Into<Bytes>) -> Result<Self, Invalid> {
        let mut bytes = bytes.into();
        let mut payload = Self::absent(content_type)?;
        if content_type.is_some_and(is_json) {
            let text = std::str::from_utf8(&bytes)
                .ok()
                .filter(|text| json::is_valid(text))
                .ok_or_else(|| Invalid::form("data", "is not valid JSON"))?;
            if let Some(compact) = json::compact(text) {
                bytes = compact.into();
            }
        }
        payload.bytes = Some(bytes);
        Ok(payload)
    }

    /// A JSON value, with the content type of it.
    ///
    /// # Errors
    /// [`Invalid`] when the content type is malformed.
    pub(crate) fn raw_json(content_type: &str, value: &RawValue) -> Result<Self, Invalid> {
        let mut payload = Self::absent(Some(content_type))?;
        let text = json::compact(value.get()).unwrap_or_else(|| value.get().to_owned());
        payload.bytes = Some(text.into());
        Ok(payload)
    }

    /// A payload as a store kept it: the bytes were checked and made compact before they were stored,
    /// and are not looked at again.
    ///
    /// # Errors
    /// [`Invalid`] when the content type is malformed.
    pub fn stored(content_type: Option<&str>, bytes: Option<Bytes>) -> Result<Self, Invalid> {
        let mut payload = Self::absent(content_type)?;
        payload.bytes = bytes;
        Ok(payload)
    }

    /// No payload, but the content type that it would have.
    ///
    /// # Errors
    /// [`Invalid`] when the content type is malformed.
    pub(crate) fn absent(content_type: Option<&str>) -> Result<Self, Invalid> {
        if let Some(text) = content_type {
            check_text(
                "datacontenttype",
                text,
                limits::CONTENT_TYPE_BYTES,
                (
                    |c| c == ' ' || c.is_ascii_graphic(),
                    "visible ASCII and space",
                ),
            )?;
        }
        Ok(Self {
            content_type: content_type.map(Into::into),
            ..Self::default()
        })
    }

    /// The same payload with the URI of its schema (`CloudEvents` `dataschema`).
    ///
    /// # Errors
    /// [`Invalid`] when the text cannot be a URI.
    pub fn with_schema(mut self, schema: &str) -> Result<Self, Invalid> {
        check_text("dataschema", schema, limits::CONTENT_TYPE_BYTES, VISIBLE)?;
        self.schema = Some(schema.into());
        Ok(self)
    }

    /// The content type, such as `application/json`.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }

    /// The URI of the payload's schema.
    #[must_use]
    pub fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// The bytes, if there is a payload.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&Bytes> {
        self.bytes.as_ref()
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.as_ref().map_or(0, Bytes::len)
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the payload is JSON.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.bytes.is_some() && self.content_type.as_deref().is_some_and(is_json)
    }

    /// The payload as text, if it is UTF-8.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        std::str::from_utf8(self.bytes.as_ref()?).ok()
    }

    /// Reads a JSON payload as `T`.
    ///
    /// # Errors
    /// [`Invalid`] when the payload is not JSON or not a `T`.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Invalid> {
        let bytes = match &self.bytes {
            Some(bytes) if self.is_json() => bytes,
            _ => return Err(Invalid::form("data", "is not JSON")),
        };
        serde_json::from_slice(bytes).map_err(|e| Invalid::form("data", e.to_string()))
    }
}

/// What it is and how long, never the content.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payload")
            .field("content_type", &self.content_type)
            .field("schema", &self.schema)
            .field("bytes", &self.bytes.as_ref().map(Bytes::len))
            .finish()
    }
}

/// Whether a media type is JSON: `*/json` or `*/*+json`, parameters aside (`CloudEvents` JSON format,
/// section 3.1).
pub(crate) fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let Some((_, subtype)) = essence.split_once('/') else {
        return false;
    };
    subtype.eq_ignore_ascii_case("json")
        || subtype
            .len()
            .checked_sub(5)
            .and_then(|at| subtype.get(at..))
            .is_some_and(|suffix| suffix.eq_ignore_ascii_case("+json"))
}
