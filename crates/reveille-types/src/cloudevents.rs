//! `CloudEvents` 1.0 in all three modes, both ways, without a protocol that carries them.
//!
//! Structured mode is [`Event::json`] and [`decode`], a batch is an array of the same, and binary mode
//! has the attributes beside the data, for headers whose values need a codec of their own.
//! Specification: <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>.
//! Positions and sequence numbers are strings, because a `CloudEvents` Integer has 32 bits.

mod batch;
mod binary;
mod header;

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::{self, Write as _};

use bytes::Bytes;
use data_encoding::BASE64;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::draft::{DraftDefaults, EventDraft};
use crate::event::{Event, EventId, ExtensionValue, Label, Place, Privacy, Source};
use crate::invalid::{Invalid, PLAIN, check_size, check_text};
use crate::json::escape_line_ends;
use crate::kind::{Class, Finality, Kind};
use crate::limits;
use crate::payload::{JSON, Payload, is_json};
use crate::registry::KindRegistry;
use crate::time::{self, rfc3339};

pub use batch::{decode_batch, encode_batch};
pub use binary::{BinaryEvent, decode_binary, encode_binary};
pub use header::{decode_header, encode_header};

/// Attributes that the server sets. Given on input they are ignored, so that an event that was read
/// can be published again as it is.
const SERVER_SET: [&str; 4] = [
    "reveillesession",
    "reveillecursor",
    "reveilleposition",
    "reveilleseq",
];

/// Attributes of `CloudEvents` that an envelope or a payload has a field for, and `data` itself. With
/// everything below `reveille` these are no names for a producer's own attributes.
const OWN: [&str; 13] = [
    "specversion",
    "id",
    "source",
    "type",
    "time",
    "subject",
    "datacontenttype",
    "dataschema",
    "data",
    "correlationid",
    "causationid",
    "traceparent",
    "tracestate",
];

/// Up to so many members are compared with one another.
const FEW: usize = 16;

/// The begin of the member that holds the cursor.
pub(crate) const CURSOR_MEMBER: &str = "\"reveillecursor\":";

/// The event as one line of JSON.
pub(crate) fn encode(event: &Event) -> String {
    let mut out = Object::of(event);
    each_attribute(event, |name, value| match value {
        Written::Boolean(value) => out.value(name, &value),
        Written::Integer(value) => out.value(name, &value),
        Written::Text(value) => out.text(name, value),
    });
    encode_payload(&mut out, event.payload());
    escape_line_ends(out.finish())
}

/// The value of an attribute as it is written.
enum Written<'a> {
    Boolean(bool),
    Integer(i32),
    Text(&'a str),
}

impl fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Text(value) => f.write_str(value),
        }
    }
}

/// Every attribute that the event has, but for those that tell what its data is.
fn each_attribute(event: &Event, mut write: impl FnMut(&str, Written<'_>)) {
    fn label(label: Option<&Label>) -> Option<&str> {
        label.map(Label::as_str)
    }
    let envelope = event.envelope();
    let time = rfc3339(envelope.time);
    let session = event.session().name();
    let place = event.place();
    let (position, seq) = (place.position.to_string(), place.seq.to_string());
    let mut cursor = String::with_capacity(64);
    // Writing to a string does not fail.
    let _ = write!(cursor, "{}", event.cursor());
    let tags = join_tags(&envelope.tags);
    let known = [
        ("specversion", Some("1.0")),
        ("id", Some(envelope.id.as_str())),
        ("source", Some(envelope.source.as_str())),
        ("type", Some(envelope.kind.as_str())),
        ("time", Some(&*time)),
        ("subject", envelope.subject.as_deref()),
        ("reveillesession", Some(&*session)),
        ("reveilleposition", Some(&*position)),
        ("reveilleseq", Some(&*seq)),
        ("reveillecursor", Some(&*cursor)),
        // Always written, because a reader takes an absent one as registered, and registries differ.
        ("reveilleclass", Some(envelope.class.as_str())),
        ("reveillefinal", Some(envelope.finality.as_str())),
        ("reveilleagent", label(envelope.agent.as_ref())),
        ("reveillerun", label(envelope.run.as_ref())),
        ("reveilleturn", label(envelope.turn.as_ref())),
        ("reveilleprivacy", envelope.privacy.map(Privacy::as_str)),
        ("reveilletags", (!tags.is_empty()).then_some(&*tags)),
        ("correlationid", label(envelope.correlation.as_ref())),
        ("causationid", label(envelope.caused_by.as_ref())),
        ("traceparent", label(envelope.traceparent.as_ref())),
        ("tracestate", envelope.tracestate.as_deref()),
    ];
    for (name, value) in known {
        if let Some(value) = value {
            write(name, Written::Text(value));
        }
    }
    for (name, value) in &envelope.extensions {
        let value = match value {
            ExtensionValue::Boolean(value) => Written::Boolean(*value),
            ExtensionValue::Integer(value) => Written::Integer(*value),
            ExtensionValue::String(value) => Written::Text(value),
        };
        write(name, value);
    }
}

fn encode_payload(out: &mut Object, payload: &Payload) {
    out.optional("datacontenttype", payload.content_type());
    out.optional("dataschema", payload.schema());
    let Some(bytes) = payload.as_bytes() else {
        return;
    };
    match (payload.content_type(), payload.as_text()) {
        (Some(_), Some(json)) if payload.is_json() => out.raw("data", json),
        (Some(_), Some(text)) => out.text("data", text),
        _ => out.text("data_base64", &BASE64.encode(bytes)),
    }
}

/// A JSON object that is written member by member, in a fixed order.
struct Object(String);

impl Object {
    /// An empty one, with room for most events: what a record weighs beside its texts is about as much
    /// as the names of the attributes.
    fn of(event: &Event) -> Self {
        let mut text = String::with_capacity(event.weight());
        text.push('{');
        Self(text)
    }

    fn member(&mut self, name: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        // Attribute names are lower-case letters, digits and `_`: nothing to escape.
        self.0.push('"');
        self.0.push_str(name);
        self.0.push_str("\":");
    }

    fn raw(&mut self, name: &str, json: &str) {
        self.member(name);
        self.0.push_str(json);
    }

    fn value(&mut self, name: &str, value: &impl Serialize) {
        // Strings, booleans, integers and unit variants always serialise.
        self.raw(name, &serde_json::to_string(value).unwrap_or_default());
    }

    fn text(&mut self, name: &str, text: &str) {
        if text.bytes().any(is_escaped) {
            return self.value(name, &text);
        }
        self.member(name);
        self.0.push('"');
        self.0.push_str(text);
        self.0.push('"');
    }

    fn optional(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

/// Whether a byte of a text stands in JSON as something else.
fn is_escaped(byte: u8) -> bool {
    byte < b' ' || matches!(byte, b'"' | b'\\')
}

fn join_tags(tags: &[Label]) -> String {
    let escaped: Vec<String> = tags
        .iter()
        .map(|t| t.as_str().replace('%', "%25").replace(',', "%2C"))
        .collect();
    escaped.join(",")
}

fn split_tags(text: &str) -> Result<Vec<Label>, Invalid> {
    text.split(',')
        .map(|t| {
            Label::parse(t.replace("%2C", ",").replace("%25", "%"))
                .map_err(|_| Invalid::form("reveilletags", "holds a malformed tag"))
        })
        .collect()
}

/// The members of an event as they came.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an event object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(8);
                while let Some((Text(name), value)) = map.next_entry()? {
                    members.push((name, value));
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Each).map(Self)
    }
}

/// A string, borrowed where nothing in it is escaped.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The name of a member that stands twice.
fn repeated<'m>(members: &'m [(Cow<'_, str>, &RawValue)]) -> Option<&'m str> {
    let names = members.iter().map(|(name, _)| &**name);
    if members.len() <= FEW {
        let mut names = names.enumerate();
        return names
            .find(|(at, name)| members[..*at].iter().any(|(before, _)| before == name))
            .map(|(_, name)| name);
    }
    let mut seen = HashSet::with_capacity(members.len());
    names.into_iter().find(|name| !seen.insert(*name))
}

/// Reads one event: full `CloudEvents` 1.0 JSON, or the short form `{"type": ..., "data": ...}`, which
/// is the same without `specversion`. Attributes that only the server sets are ignored, `null`
/// attributes are absent, unknown attributes are the producer's own.
///
/// # Errors
/// [`Invalid`] names the attribute: missing, of the wrong type, over its limit, standing twice.
pub fn decode(json: &str) -> Result<EventDraft, Invalid> {
    let (draft, body) = read(json, false)?;
    finish(draft, body)
}

/// As [`decode`], but without the short form: `specversion`, `id` and `source` must be there.
///
/// # Errors
/// As [`decode`].
pub fn decode_structured(json: &str) -> Result<EventDraft, Invalid> {
    let (draft, body) = read(json, true)?;
    finish(draft, body)
}

/// Reads an event back that was written by [`Event::json`], at the place where it stands: for stores
/// that keep the text. What only Reveille itself may publish is read, too. Idempotency keys are not in
/// the text.
///
/// # Errors
/// As [`decode_structured`].
pub fn decode_at(json: &str, place: Place) -> Result<Event, Invalid> {
    let (mut draft, body) = read(json, true)?;
    draft.payload = body.into_payload()?;
    // Both are in every full event, so neither is made up here.
    let missing = |field: &'static str| Invalid::Empty {
        field: field.into(),
    };
    let id = draft.id.clone().ok_or_else(|| missing("id"))?;
    let time = draft.time.ok_or_else(|| missing("time"))?;
    let event = draft.complete(DraftDefaults {
        id,
        time,
        source: &Source::of_session(&place.session),
        registry: &KindRegistry::empty(),
    });
    Ok(event.at(place))
}

fn read(json: &str, is_full: bool) -> Result<(EventDraft, Body<'_>), Invalid> {
    let Members(members) = serde_json::from_str(json)
        .map_err(|_| Invalid::form("event", "is not a JSON object of an event"))?;
    if let Some(name) = repeated(&members) {
        return Err(Invalid::form(name.to_owned(), "stands twice"));
    }
    let mut draft: Option<EventDraft> = None;
    let mut rest = Vec::with_capacity(members.len());
    for (name, value) in members {
        if value.get() == "null" && name != "data" {
            continue;
        }
        match &*name {
            "type" => draft = Some(EventDraft::new(Kind::parse(text("type", value)?)?)),
            _ => rest.push((name, value)),
        }
    }
    let mut draft = draft.ok_or(Invalid::Empty {
        field: "type".into(),
    })?;
    let has_version = rest.iter().any(|(name, _)| name == "specversion");
    let mut body = Body::default();
    for (name, value) in rest {
        match &*name {
            "data" => body.data = Some(value),
            name => attribute(&mut draft, &mut body, name, value)?,
        }
    }
    if is_full || has_version {
        let required = [
            ("specversion", !has_version),
            ("id", draft.id.is_none()),
            ("source", draft.source.is_none()),
        ];
        if let Some((name, _)) = required.iter().find(|(_, missing)| *missing) {
            return Err(Invalid::Empty {
                field: (*name).into(),
            });
        }
    }
    Ok((draft, body))
}

/// The draft with its payload, checked.
fn finish(mut draft: EventDraft, body: Body<'_>) -> Result<EventDraft, Invalid> {
    draft.payload = body.into_payload()?;
    draft.check()?;
    Ok(draft)
}

/// The members that make up the payload.
#[derive(Default)]
struct Body<'a> {
    content_type: Option<String>,
    schema: Option<String>,
    data: Option<&'a RawValue>,
    base64: Option<String>,
    /// The data as it is, which only binary mode has.
    bytes: Option<Bytes>,
}

impl Body<'_> {
    fn into_payload(self) -> Result<Payload, Invalid> {
        let content_type = self.content_type.as_deref();
        // First, so that a malformed type is told by its name, whatever the data.
        let absent = Payload::absent(content_type)?;
        let payload = match (self.data, self.base64) {
            (Some(_), Some(_)) => {
                return Err(Invalid::form("data_base64", "stands beside data"));
            }
            (Some(data), None) => {
                let content_type = content_type.unwrap_or(JSON);
                if is_json(content_type) {
                    Payload::raw_json(content_type, data)?
                } else {
                    Payload::bytes(Some(content_type), text("data", data)?)?
                }
            }
            (None, Some(base64)) => {
                let bytes = BASE64
                    .decode(base64.as_bytes())
                    .map_err(|_| Invalid::form("data_base64", "is not base64 (RFC 4648)"))?;
                Payload::bytes(content_type, bytes)?
            }
            (None, None) => match self.bytes {
                Some(bytes) => Payload::bytes(content_type, bytes)?,
                None => absent,
            },
        };
        match &self.schema {
            Some(schema) => payload.with_schema(schema),
            None => Ok(payload),
        }
    }
}

fn attribute(
    draft: &mut EventDraft,
    body: &mut Body<'_>,
    name: &str,
    value: &RawValue,
) -> Result<(), Invalid> {
    let label = |field: &'static str| -> Result<Option<Label>, Invalid> {
        let text = text(field, value)?;
        check_text(field, &text, limits::LABEL_BYTES, PLAIN)?;
        Label::parse(text).map(Some)
    };
    match name {
        "specversion" => {
            if text("specversion", value)? != "1.0" {
                return Err(Invalid::form("specversion", "is not \"1.0\""));
            }
        }
        "id" => draft.id = Some(EventId::parse(text("id", value)?)?),
        "source" => draft.source = Some(Source::parse(text("source", value)?)?),
        "time" => {
            draft.time = Some(time::parse("time", &text("time", value)?)?);
        }
        "subject" => draft.subject = Some(text("subject", value)?.into()),
        "datacontenttype" => body.content_type = Some(text("datacontenttype", value)?),
        "dataschema" => body.schema = Some(text("dataschema", value)?),
        "data_base64" => body.base64 = Some(text("data_base64", value)?),
        "reveilleclass" => draft.class = Some(word::<Class>("reveilleclass", value)?),
        "reveillefinal" => draft.finality = Some(word::<Finality>("reveillefinal", value)?),
        "reveilleprivacy" => draft.privacy = Some(word::<Privacy>("reveilleprivacy", value)?),
        "reveilleagent" => draft.agent = label("reveilleagent")?,
        "reveillerun" => draft.run = label("reveillerun")?,
        "reveilleturn" => draft.turn = label("reveilleturn")?,
        "reveilletags" => draft.tags = split_tags(&text("reveilletags", value)?)?,
        "correlationid" => draft.correlation = label("correlationid")?,
        "causationid" => draft.caused_by = label("causationid")?,
        "traceparent" => draft.traceparent = label("traceparent")?,
        "tracestate" => draft.tracestate = Some(text("tracestate", value)?.into()),
        name if SERVER_SET.contains(&name) => {}
        name => {
            let value = extension(name, value)?;
            check_extension(name, &value)?;
            draft.extensions.insert(name.into(), value);
        }
    }
    Ok(())
}

fn text(field: &'static str, value: &RawValue) -> Result<String, Invalid> {
    serde_json::from_str(value.get()).map_err(|_| Invalid::form(field, "is not a string"))
}

fn word<T: for<'de> Deserialize<'de>>(field: &'static str, value: &RawValue) -> Result<T, Invalid> {
    serde_json::from_str(value.get()).map_err(|_| Invalid::form(field, "is not one of its values"))
}

fn extension(name: &str, value: &RawValue) -> Result<ExtensionValue, Invalid> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Plain {
        Boolean(bool),
        Integer(i32),
        String(String),
    }
    let plain = serde_json::from_str(value.get()).map_err(|_| {
        Invalid::form(
            name.to_owned(),
            "is not a boolean, a 32-bit integer or a string",
        )
    })?;
    Ok(match plain {
        Plain::Boolean(value) => ExtensionValue::Boolean(value),
        Plain::Integer(value) => ExtensionValue::Integer(value),
        Plain::String(value) => ExtensionValue::String(value.into()),
    })
}

/// Checks a producer's own attribute.
pub(crate) fn check_extension(name: &str, value: &ExtensionValue) -> Result<(), Invalid> {
    let named = |problem: &'static str| Invalid::form(name.to_owned(), problem);
    check_size(
        name.to_owned(),
        name.len(),
        limits::EXTENSION_NAME_BYTES,
        "bytes",
    )?;
    if name.is_empty()
        || !name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    {
        return Err(named("is not a name of lower-case letters and digits"));
    }
    if OWN.contains(&name) || name.starts_with("reveille") {
        return Err(Invalid::Reserved {
            field: name.to_owned().into(),
            name: name.into(),
        });
    }
    if let ExtensionValue::String(text) = value {
        check_size(
            name.to_owned(),
            text.len(),
            limits::EXTENSION_VALUE_BYTES,
            "bytes",
        )?;
        if !text.chars().all(PLAIN.0) {
            return Err(named("holds a control character"));
        }
    }
    Ok(())
}
