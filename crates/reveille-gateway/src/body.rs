//! Request bodies: bounded in size and time, and JSON that says what is wrong with it.

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use reveille_types::wire;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::GatewayConfig;
use crate::problem::Refusal;

/// Reads a body within the bounds.
pub(crate) async fn read(body: Body, config: &GatewayConfig) -> Result<Bytes, Refusal> {
    let limited = Limited::new(body, config.body_bytes);
    match tokio::time::timeout(config.body_deadline, limited.collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
        )
        .detail(format!("the limit is {} bytes", config.body_bytes))),
        Ok(Err(_)) => Err(Refusal::bad_request("invalid_body", "the body broke off")),
        Err(_) => Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "body_timeout")),
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
    media_type(headers, &["application/json"])?;
    serde_json::from_slice(&bytes).map_err(|e| malformed(&e))
}

/// What is wrong with a body that should be JSON: a syntax error is malformed (400), a value of the
/// wrong shape does not fit the schema (422).
pub(crate) fn malformed(error: &serde_json::Error) -> Refusal {
    let refusal = Refusal::bad_request("invalid_json", error.to_string());
    match error.classify() {
        serde_json::error::Category::Data => refusal.with_status(StatusCode::UNPROCESSABLE_ENTITY),
        _ => refusal,
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
