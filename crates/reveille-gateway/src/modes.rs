//! The modes in which events are published: structured, batch, binary, and the short form.
//!
//! Specification: <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md>,
//! section 3.

use std::str;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use reveille_types::cloudevents::{
    BinaryEvent, decode_batch, decode_binary, decode_header, decode_structured, encode_binary,
    encode_header,
};
use reveille_types::wire::{CLOUDEVENT_BATCH_JSON, CLOUDEVENT_JSON, CURSOR_HEADER};
use reveille_types::{Cursor, Event, EventDraft, Invalid, Label, decode_event};
use serde_json::value::RawValue;

use crate::body::{malformed, media_type};
use crate::json_shape;
use crate::problem::Refusal;

/// The prefix of headers that are attributes.
const PREFIX: &str = "ce-";
/// The headers one of which at least an event in binary mode has.
const REQUIRED: [&str; 4] = ["ce-specversion", "ce-id", "ce-source", "ce-type"];

/// The events of a request, in any mode. An event without trace context gets that of the request.
pub(crate) fn drafts(headers: &HeaderMap, body: Bytes) -> Result<Vec<EventDraft>, Refusal> {
    let mut drafts = match essence(headers)? {
        kind if kind.starts_with("application/cloudevents") => {
            match media_type(headers, &[CLOUDEVENT_JSON, CLOUDEVENT_BATCH_JSON])? {
                CLOUDEVENT_JSON => event(&body, decode_structured)?,
                _ => batch(&body, decode_structured)?,
            }
        }
        // With one of them the others are missing, which the answer must name.
        _ if REQUIRED.iter().any(|name| headers.contains_key(*name)) => {
            vec![binary(headers, body)?]
        }
        _ => {
            let offered = ["application/json", CLOUDEVENT_JSON, CLOUDEVENT_BATCH_JSON];
            media_type(headers, &offered)?;
            match body.trim_ascii_start().first() {
                Some(b'[') => batch(&body, decode_event)?,
                _ => event(&body, decode_event)?,
            }
        }
    };
    trace(&mut drafts, headers);
    Ok(drafts)
}

/// One event in binary mode: attributes in headers, its data as the body.
pub(crate) fn binary_answer(event: &Event, cursor: Cursor) -> Response {
    let BinaryEvent {
        content_type,
        attributes,
        body,
    } = encode_binary(event);
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    let attributes = attributes
        .iter()
        .map(|(name, value)| (format!("{PREFIX}{name}"), encode_header(value)));
    let rest = [
        (CURSOR_HEADER.to_owned(), cursor.to_string()),
        ("cache-control".to_owned(), "no-store".to_owned()),
    ];
    let content_type = content_type.map(|value| ("content-type".to_owned(), value));
    for (name, value) in attributes.chain(rest).chain(content_type) {
        // Attribute names are letters and digits, and values were encoded for headers.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    response
}

/// The media type of the body in lower case, without parameters; empty if there is none.
fn essence(headers: &HeaderMap) -> Result<String, Refusal> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Ok(String::new());
    };
    let text = value.to_str().map_err(|_| not_text("content-type"))?;
    let essence = text.split(';').next().unwrap_or_default();
    Ok(essence.trim().to_ascii_lowercase())
}

/// Reads one event: a full one alone, or the short form as well.
type Decode = fn(&str) -> Result<EventDraft, Invalid>;

fn event(body: &[u8], decode: Decode) -> Result<Vec<EventDraft>, Refusal> {
    json(body, |text| Ok(vec![decode(text)?]))
}

fn batch(body: &[u8], decode: Decode) -> Result<Vec<EventDraft>, Refusal> {
    json(body, |text| decode_batch(text, decode))
}

/// What the body says in JSON. Broken JSON is malformed, and not an event that does not fit.
fn json<T>(body: &[u8], read: impl FnOnce(&str) -> Result<T, Invalid>) -> Result<T, Refusal> {
    let text = str::from_utf8(body)
        .map_err(|_| Refusal::bad_request("invalid_json", "the body is not UTF-8"))?;
    // A batch is one level around its events.
    let around = usize::from(text.trim_start().starts_with('['));
    json_shape::check(body, json_shape::DEPTH + around)?;
    read(text).map_err(|found| match serde_json::from_str::<&RawValue>(text) {
        Ok(_) => invalid(&found),
        Err(error) => malformed(&error),
    })
}

/// One event: attributes in headers, the body as data, its media type as the data's.
fn binary(headers: &HeaderMap, body: Bytes) -> Result<EventDraft, Refusal> {
    let mut event = BinaryEvent {
        body,
        ..BinaryEvent::default()
    };
    if let Some(value) = headers.get(header::CONTENT_TYPE) {
        let text = value.to_str().map_err(|_| not_text("content-type"))?;
        event.content_type = Some(text.to_owned());
        if essence(headers)?.ends_with("json") {
            // As deep as the same data is within an event.
            json_shape::check(&event.body, json_shape::DEPTH - 1)?;
        }
    }
    for (header, value) in headers {
        let Some(name) = header.as_str().strip_prefix(PREFIX) else {
            continue;
        };
        let text = decode_header(value.as_bytes()).map_err(|_| not_text(header.as_str()))?;
        event.attributes.push((name.to_owned(), text));
    }
    decode_binary(event).map_err(|e| invalid(&e))
}

fn invalid(invalid: &Invalid) -> Refusal {
    let code = match invalid {
        Invalid::Reserved { .. } => "reserved_kind",
        _ => "invalid_event",
    };
    Refusal::invalid(StatusCode::UNPROCESSABLE_ENTITY, code, invalid)
}

fn not_text(header: &str) -> Refusal {
    Refusal::bad_request("invalid_parameter", format!("{header} is not text")).field(header)
}

/// The `traceparent` of a request; one that is malformed, or stands twice, counts as none.
pub(crate) fn traceparent(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all("traceparent").iter();
    let value = values.next().filter(|_| values.next().is_none());
    let text = value.and_then(|value| value.to_str().ok());
    text.filter(|text| is_traceparent(text))
}

/// Gives the trace context of the request to events that have none. An event's own is the start of its
/// trace and stays; a request's that is malformed counts as none, as W3C Trace Context demands.
fn trace(drafts: &mut [EventDraft], headers: &HeaderMap) {
    let Some(parent) = traceparent(headers) else {
        return;
    };
    // Many headers of that name are one list.
    let states: Vec<&str> = headers
        .get_all("tracestate")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    let state = states.join(",");
    let Ok(parent) = Label::parse(parent) else {
        return;
    };
    for draft in drafts.iter_mut().filter(|d| d.traceparent.is_none()) {
        draft.traceparent = Some(parent.clone());
        let state = (!state.is_empty()).then(|| state.as_str().into());
        let own = std::mem::replace(&mut draft.tracestate, state);
        if draft.check().is_err() {
            draft.tracestate = own;
        }
    }
}

/// Whether the text is a `traceparent` (<https://www.w3.org/TR/trace-context/>, section 3.2).
fn is_traceparent(text: &str) -> bool {
    let is_hex = |text: &str, digits: usize| {
        text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_id = |text: &str, digits| is_hex(text, digits) && text.bytes().any(|b| b != b'0');
    let mut parts = text.split('-');
    let (version, id, parent, flags) = (parts.next(), parts.next(), parts.next(), parts.next());
    version.is_some_and(|v| is_hex(v, 2) && v != "ff")
        && id.is_some_and(|id| is_id(id, 32))
        && parent.is_some_and(|id| is_id(id, 16))
        && flags.is_some_and(|flags| is_hex(flags, 2))
        // Versions to come may have more parts.
        && (version != Some("00") || parts.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn request(headers: &[(&'static str, &str)], body: &str) -> Result<Vec<EventDraft>, Refusal> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        drafts(&map, Bytes::from(body.to_owned()))
    }

    #[test]
    fn a_request_is_read_in_the_mode_that_its_headers_say() {
        let one = r#"{"specversion":"1.0","id":"1","source":"/s","type":"a"}"#;
        let two = format!("[{one},{one}]");
        let two = two.as_str();
        let short = r#"{"type":"a"}"#;
        let count =
            |headers: &[(&'static str, &str)], body| request(headers, body).map(|d| d.len());
        for (content_type, body, events) in [
            ("Application/CloudEvents+JSON; charset=utf-8", one, 1),
            ("APPLICATION/CLOUDEVENTS-BATCH+JSON", two, 2),
            ("application/cloudevents-batch+json", "[]", 0),
            ("application/json", one, 1),
            ("application/json", two, 2),
            ("application/json", short, 1),
            ("application/x-www-form-urlencoded", short, 1),
        ] {
            let found = count(&[("content-type", content_type)], body);
            assert_eq!(found.unwrap(), events, "{content_type}");
        }
        assert_eq!(count(&[], two).unwrap(), 2);
        for (content_type, body) in [
            ("application/cloudevents+json", two),
            ("application/cloudevents+json", short),
            ("application/cloudevents-batch+json", one),
            ("application/cloudevents+xml", one),
            ("application/cloudevents-batch+avro", two),
            ("text/plain", one),
        ] {
            let refused = count(&[("content-type", content_type)], body);
            assert!(refused.is_err(), "{content_type}");
        }
    }

    #[test]
    fn structured_media_types_win_over_attributes_in_headers() {
        const BODY: &str = r#"{"specversion":"1.0","id":"1","source":"/s","type":"body"}"#;
        let headers = [
            ("content-type", "application/cloudevents+json"),
            ("ce-specversion", "1.0"),
            ("ce-type", "header"),
        ];
        let drafts = request(&headers, BODY).unwrap();
        assert_eq!(drafts[0].kind.as_str(), "body");
    }

    #[test]
    fn trace_context_is_taken_from_the_request_only_if_the_event_has_none() {
        let headers = [
            ("traceparent", TRACE),
            ("tracestate", "a=1"),
            ("tracestate", "b=2"),
        ];
        let body =
            r#"[{"type":"a"},{"type":"b","traceparent":"own"},{"type":"c","tracestate":"x=1"}]"#;
        let drafts = request(&headers, body).unwrap();
        let of = |index: usize| {
            let draft: &EventDraft = &drafts[index];
            let parent = draft.traceparent.as_ref().map(Label::as_str);
            (parent, draft.tracestate.as_deref())
        };
        assert_eq!(of(0), (Some(TRACE), Some("a=1,b=2")));
        assert_eq!(of(1), (Some("own"), None));
        assert_eq!(of(2), (Some(TRACE), Some("a=1,b=2")));
        for malformed in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
        ] {
            let headers = [("traceparent", malformed), ("tracestate", "a=1")];
            let drafts = request(&headers, r#"{"type":"a"}"#).unwrap();
            assert_eq!(drafts[0].traceparent, None, "{malformed}");
            assert_eq!(drafts[0].tracestate, None, "{malformed}");
        }
        assert!(is_traceparent(&TRACE.replacen("00", "01", 1)));
        assert!(is_traceparent(&format!(
            "{}-more",
            TRACE.replacen("00", "cc", 1)
        )));
    }
}
