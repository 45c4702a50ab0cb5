//! Binary mode without a protocol: attributes as text beside the bytes of the data.
//!
//! Two things that an event says have no place there by the specification, and get attributes of
//! Reveille's own, so that an event is the same after its way through any mode: which extension
//! attributes are no strings, and that data is there but has no bytes.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;

use super::{Body, attribute, check_extension, each_attribute, finish};
use crate::draft::EventDraft;
use crate::event::{Event, ExtensionValue};
use crate::invalid::Invalid;
use crate::kind::Kind;

/// Which extension attributes are no strings: `attempt=Integer,sampled=Boolean`.
const TYPES: &str = "reveilletypes";
/// `true` when there is data of no bytes, which is not the same as no data.
const EMPTY: &str = "reveilleempty";

/// An event taken apart. Names of attributes have no prefix, values are plain text: a protocol whose
/// headers hold less encodes them, as HTTP with [`encode_header`](super::encode_header).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BinaryEvent {
    /// What the data is; none when nobody knows.
    pub content_type: Option<String>,
    /// All other attributes, `specversion` included.
    pub attributes: Vec<(String, String)>,
    /// The data.
    pub body: Bytes,
}

/// Takes an event apart.
#[must_use]
pub fn encode_binary(event: &Event) -> BinaryEvent {
    let mut out = BinaryEvent::default();
    each_attribute(event, |name, value| {
        out.attributes.push((name.to_owned(), value.to_string()));
    });
    if let Some(schema) = event.payload().schema() {
        let schema = ("dataschema".to_owned(), schema.to_owned());
        out.attributes.push(schema);
    }
    let types: Vec<String> = event
        .envelope()
        .extensions
        .iter()
        .filter_map(|(name, value)| match value {
            ExtensionValue::Boolean(_) => Some(format!("{name}=Boolean")),
            ExtensionValue::Integer(_) => Some(format!("{name}=Integer")),
            ExtensionValue::String(_) => None,
        })
        .collect();
    if !types.is_empty() {
        out.attributes.push((TYPES.to_owned(), types.join(",")));
    }
    let payload = event.payload();
    out.content_type = payload.content_type().map(ToOwned::to_owned);
    if let Some(bytes) = payload.as_bytes() {
        if bytes.is_empty() {
            out.attributes.push((EMPTY.to_owned(), "true".to_owned()));
        }
        out.body = bytes.clone();
    }
    out
}

/// Puts an event together. Attributes that only the server sets are ignored; unknown ones are the
/// producer's own strings. A body of no bytes is no data.
///
/// # Errors
/// [`Invalid`] names the attribute: missing, malformed, over its limit, standing twice; or `data`.
pub fn decode_binary(event: BinaryEvent) -> Result<EventDraft, Invalid> {
    let BinaryEvent {
        content_type,
        attributes,
        body,
    } = event;
    let mut seen = HashSet::with_capacity(attributes.len());
    if let Some((name, _)) = attributes.iter().find(|(n, _)| !seen.insert(n.as_str())) {
        return Err(Invalid::form(name.clone(), "stands twice"));
    }
    let required = ["specversion", "id", "source", "type"];
    if let Some(missing) = required.iter().find(|name| !seen.contains(**name)) {
        return Err(Invalid::Empty {
            field: (*missing).into(),
        });
    }
    let value = |name: &str| {
        let found = attributes.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    };
    let types = types_of(value(TYPES))?;
    let is_empty = match value(EMPTY) {
        None | Some("false") => false,
        Some("true") if body.is_empty() => true,
        Some("true") => return Err(Invalid::form(EMPTY, "is true beside data")),
        Some(_) => return Err(Invalid::form(EMPTY, "is not a boolean")),
    };
    let mut draft = EventDraft::new(Kind::parse(value("type").unwrap_or_default())?);
    let mut parts = Body {
        content_type,
        bytes: (is_empty || !body.is_empty()).then_some(body),
        ..Body::default()
    };
    for (name, value) in &attributes {
        match name.as_str() {
            "type" | TYPES | EMPTY => continue,
            "datacontenttype" | "data" | "data_base64" => {
                let problem = "is not an attribute of an event in binary mode";
                return Err(Invalid::form(name.clone(), problem));
            }
            _ => {}
        }
        match types.get(name.as_str()) {
            None => {
                // Text always serialises.
                let json = serde_json::value::to_raw_value(value).unwrap_or_default();
                attribute(&mut draft, &mut parts, name, &json)?;
            }
            Some(kind) => {
                let value = typed(kind, value)
                    .ok_or_else(|| Invalid::form(name.clone(), format!("is no {kind}")))?;
                check_extension(name, &value)?;
                draft.extensions.insert(name.as_str().into(), value);
            }
        }
    }
    finish(draft, parts)
}

fn typed(kind: &str, text: &str) -> Option<ExtensionValue> {
    match kind {
        "Boolean" => text.parse().ok().map(ExtensionValue::Boolean),
        _ => text.parse().ok().map(ExtensionValue::Integer),
    }
}

/// The extension attributes that are no strings, with their types.
fn types_of(list: Option<&str>) -> Result<BTreeMap<&str, &str>, Invalid> {
    let Some(list) = list else {
        return Ok(BTreeMap::new());
    };
    list.split(',')
        .map(|one| match one.split_once('=') {
            Some((name, kind @ ("Boolean" | "Integer"))) => Ok((name, kind)),
            _ => Err(Invalid::form(TYPES, "is no list of names and types")),
        })
        .collect()
}
