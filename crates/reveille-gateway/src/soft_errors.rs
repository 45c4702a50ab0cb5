//! Errors as streams, for clients that can read nothing else: an `EventSource` gives up for good on
//! any status but 200, so with `errors=stream` the refusal comes as the only frame of a stream.

use axum::body::to_bytes;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use reveille_types::json_line;
use reveille_types::wire::{EVENT_STREAM, frame};
use serde_json::{Value, json};

/// The parameter that asks for it.
const PARAMETER: &str = "errors";
/// Most bytes of a problem.
const PROBLEM_BYTES: usize = 64 * 1024;
/// How long to stay away, in milliseconds, if the problem does not say.
const RETRY_MS: u64 = 5_000;

/// Takes `errors=stream` out of a query; whether it was there.
pub(crate) fn asked(uri: &mut Uri) -> bool {
    let query = uri.query().unwrap_or_default();
    let is_asking = |(name, value): &(std::borrow::Cow<'_, str>, std::borrow::Cow<'_, str>)| {
        name == PARAMETER && value == "stream"
    };
    if !form_urlencoded::parse(query.as_bytes()).any(|pair| is_asking(&pair)) {
        return false;
    }
    let rest = form_urlencoded::parse(query.as_bytes()).filter(|pair| !is_asking(pair));
    let rest = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(rest)
        .finish();
    set_query(uri, &rest);
    true
}

/// Puts another query into a URI.
pub(crate) fn set_query(uri: &mut Uri, query: &str) {
    let path = match query.is_empty() {
        true => uri.path().to_owned(),
        false => format!("{}?{query}", uri.path()),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = path.parse().ok();
    if let Ok(changed) = Uri::from_parts(parts) {
        *uri = changed;
    }
}

/// A refusal as a stream of one frame: `reveille.end` where a retry cannot help, else
/// `reveille.reconnect`. Other answers pass.
pub(crate) async fn soften(response: Response) -> Response {
    let (name, mut reason) = match response.status() {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => (frame::END, "rejected"),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            (frame::RECONNECT, "overloaded")
        }
        _ => return response,
    };
    let body = to_bytes(response.into_body(), PROBLEM_BYTES).await;
    let problem: Value = serde_json::from_slice(&body.unwrap_or_default()).unwrap_or_default();
    if problem["code"] == "backend_unavailable" {
        reason = "backend_lost";
    }
    let retry_ms = problem["retry_after_ms"].as_u64().unwrap_or(RETRY_MS);
    let data = json!({"reason": reason, "retry_ms": retry_ms, "problem": problem});
    let text = format!(
        "event: {name}\nretry: {retry_ms}\ndata: {}\n\n",
        json_line(&data)
    );
    let headers = [
        (
            header::CONTENT_TYPE,
            format!("{EVENT_STREAM}; charset=utf-8"),
        ),
        (header::CACHE_CONTROL, "no-store, no-transform".to_owned()),
    ];
    (headers, text).into_response()
}
