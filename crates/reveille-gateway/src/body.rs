//! Request bodies: bounded in size and time, and JSON that says what is wrong with it.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use reveille_types::wire;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Number, Value};
use tokio::time::{Instant, timeout_at};

use crate::config::GatewayConfig;
use crate::json_shape;
use crate::problem::Refusal;

/// The slowest that a body may come, once the time for its beginning is over.
const BYTES_PER_SECOND: usize = 1024;

/// Most room that is made for a body before it comes.
const ROOM: usize = 64 * 1024;

/// The longest name of a member that is repeated in an answer.
const FIELD_BYTES: usize = 64;

/// Reads a body within the bounds.
pub(crate) async fn read(body: Body, config: &GatewayConfig) -> Result<Bytes, Refusal> {
    let limit = config.body_bytes;
    let mut body = Limited::new(body, limit);
    let begun = Instant::now();
    let announced = body.size_hint().exact().unwrap_or_default();
    let announced = usize::try_from(announced).unwrap_or(ROOM).min(ROOM);
    let mut read = BytesMut::new();
    loop {
        let earned = Duration::from_secs((read.len() / BYTES_PER_SECOND) as u64);
        let deadline = begun + config.body_deadline + earned;
        let frame = match timeout_at(deadline, body.frame()).await {
            Ok(None) => return Ok(read.freeze()),
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) if error.is::<LengthLimitError>() => {
                return Err(
                    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large")
                        .detail(format!("the limit is {limit} bytes"))
                        .limit(limit),
                );
            }
            Ok(Some(Err(_))) => {
                return Err(Refusal::bad_request("invalid_body", "the body broke off"));
            }
            Err(_) => return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "body_timeout")),
        };
        if let Ok(data) = frame.into_data() {
            if read.is_empty() && body.is_end_stream() {
                return Ok(data);
            }
            if read.is_empty() {
                read.reserve(announced);
            }
            read.extend_from_slice(&data);
        }
    }
}

/// Reads a JSON body; an empty one is the default.
pub(crate) async fn json<T: DeserializeOwned + Default>(
    headers: &HeaderMap,
    body: Body,
    config: &GatewayConfig,
) -> Result<T, Refusal> {
    let bytes = read(body, config).await?;
    if bytes.is_empty() {
        return Ok(T::default());
    }
    object(headers, &bytes)
}

/// Reads a JSON body that must be there.
pub(crate) async fn required<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
    config: &GatewayConfig,
) -> Result<T, Refusal> {
    object(headers, &read(body, config).await?)
}

/// Reads an object. The library would take an array for one, member by member.
fn object<T: DeserializeOwned>(headers: &HeaderMap, bytes: &[u8]) -> Result<T, Refusal> {
    media_type(headers, &["application/json"])?;
    json_shape::check(bytes, json_shape::DEPTH)?;
    let found = match serde_json::from_slice(bytes) {
        Err(error) if is_of_float(&error) => {
            whole_numbers(bytes).ok_or_else(|| malformed(&error))?
        }
        found => found.map_err(|e| malformed(&e))?,
    };
    match bytes.trim_ascii_start().first() {
        Some(b'{') => Ok(found),
        _ => Err(
            Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_json")
                .detail("the body is no object"),
        ),
    }
}

/// Whether a number stands where a whole one must.
fn is_of_float(error: &serde_json::Error) -> bool {
    error.is_data()
        && error
            .to_string()
            .starts_with("invalid type: floating point")
}

/// Reads an object in which whole numbers are written as others: `117.0` is one to JSON Schema, and to
/// languages that know no other numbers.
fn whole_numbers<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    fn whole(value: &mut Value) {
        match value {
            Value::Number(number) => {
                let float = number.as_f64().filter(|_| number.is_f64());
                // Up to here all whole numbers can be told apart.
                if let Some(float) = float.filter(|f| f.fract() == 0.0 && f.abs() < 9e15) {
                    *number = Number::from(float as i64);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(whole),
            Value::Object(members) => members.values_mut().for_each(whole),
            _ => {}
        }
    }
    let mut value: Value = serde_json::from_slice(bytes).ok()?;
    whole(&mut value);
    // As text again: some members are kept as they are written.
    let text = value.to_string();
    // Of members that stand twice the value has one.
    let is_whole = json_shape::members(bytes) == json_shape::members(text.as_bytes());
    serde_json::from_str(&text).ok().filter(|_| is_whole)
}

/// What is wrong with a body that should be JSON: a syntax error is malformed (400), a value of the
/// wrong shape does not fit the schema (422). Names of members are told, values are not.
pub(crate) fn malformed(error: &serde_json::Error) -> Refusal {
    let (line, column) = (error.line(), error.column());
    let place = format!("line {line}, column {column}");
    if error.classify() != serde_json::error::Category::Data {
        let detail = format!("it is no JSON from {place} on");
        return Refusal::bad_request("invalid_json", detail);
    }
    let refusal = Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_json");
    let text = error.to_string();
    let of_member = ["unknown field `", "missing field `", "duplicate field `"];
    let named = of_member.iter().find_map(|begin| {
        let (name, _) = text.strip_prefix(begin)?.split_once('`')?;
        (name.len() <= FIELD_BYTES).then_some(name)
    });
    match named {
        Some(name) => refusal.field(name).detail(text.as_str()),
        None => refusal.detail(format!("what stands at {place} does not fit")),
    }
}

/// The media type of the body in lower case, without parameters: one of `allowed`, the first of which
/// is also what a body without a type is.
pub(crate) fn media_type(
    headers: &HeaderMap,
    allowed: &[&'static str],
) -> Result<&'static str, Refusal> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Ok(allowed[0]);
    };
    let text = value.to_str().unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim();
    // What curl sends for `-d` without a header: people paste such commands.
    if essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Ok(allowed[0]);
    }
    allowed
        .iter()
        .find(|known| known.eq_ignore_ascii_case(essence))
        .copied()
        .ok_or_else(|| {
            Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type")
                .field("content-type")
                .detail(format!("expected one of {}", allowed.join(", ")))
        })
}

/// An answer in JSON.
pub(crate) fn answer(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => (
            status,
            [
                (header::CONTENT_TYPE, "application/json"),
                (header::CACHE_CONTROL, "no-store"),
            ],
            body,
        )
            .into_response(),
        Err(_) => Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal").into_response(),
    }
}

/// The answer that the time was up, with where to go on.
pub(crate) fn timed_out(cursor: reveille_types::Cursor) -> Response {
    (
        StatusCode::NO_CONTENT,
        [(wire::CURSOR_HEADER, cursor.to_string())],
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    use reveille_types::wire::{CreateRequest, EventQuery, TriggerRequest};

    use super::*;

    #[test]
    fn an_array_is_no_filter() {
        let none = HeaderMap::new();
        let read = |text: &str| object::<EventQuery>(&none, text.as_bytes());
        assert!(read(r#"{"filter": null}"#).unwrap().filter.is_none());
        let found = read(r#"{"filter": {"match": ["a"]}}"#).unwrap();
        assert!(found.filter.unwrap().kinds.is_some());
        assert_eq!(read(r#"{"filter": [["a"]]}"#).unwrap_err().status(), 422);
    }

    #[test]
    fn whole_numbers_are_read_however_they_are_written() {
        let none = HeaderMap::new();
        let read = |text: &str| object::<CreateRequest>(&none, text.as_bytes());
        let found = read(r#"{"ttl_ms": 117.0, "max_events": 1e3}"#).unwrap();
        assert_eq!((found.ttl_ms, found.max_events), (Some(117), Some(1_000)));
        for wrong in [
            r#"{"ttl_ms": 117.5}"#,
            r#"{"ttl_ms": -1.0}"#,
            r#"{"ttl_ms": 1e300}"#,
            r#"{"ttl_ms": 3.0, "ttl_ms": 3.0}"#,
            r#"{"ttl_ms": 3, "ttl_ms": 3.0}"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        // What is kept as it is written stays so.
        let value = r#"{"secret": "s", "value": 7.0}"#;
        let found: TriggerRequest = object(&none, value.as_bytes()).unwrap();
        assert_eq!(found.value.unwrap().get(), "7.0");
    }
}
