//! What is published over HTTP comes out of a stream of server-sent events, read as the specification
//! says, exactly as out of a stream of lines. The first byte chooses the content type of the rest.

#![no_main]

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use bytes::Bytes;
use http_body_util::BodyExt;
use libfuzzer_sys::fuzz_target;
use reveille_gateway::{Gateway, GatewayConfig};
use reveille_memory::MemoryBackend;
use reveille_queue::{Sessions, TailLimits};
use serde_json::Value;
use tower::ServiceExt;

const CONTENT_TYPES: [&str; 5] = [
    "application/json",
    "application/cloudevents+json",
    "application/cloudevents-batch+json",
    "text/plain",
    "application/octet-stream",
];

fuzz_target!(|data: &[u8]| {
    let Some((choice, body)) = data.split_first() else {
        return;
    };
    let content_type = CONTENT_TYPES[usize::from(*choice) % CONTENT_TYPES.len()];
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(published(content_type, body.to_vec()));
});

async fn published(content_type: &str, body: Vec<u8>) {
    let sessions = Sessions::builder(MemoryBackend::new())
        .tail(TailLimits::default())
        .build();
    let router = Gateway::new(sessions, GatewayConfig::default()).router();
    let publish = Request::post("/v1/sessions/s/events")
        .header("content-type", content_type)
        // Attributes of binary mode, which JSON forms do not look at.
        .header("ce-specversion", "1.0")
        .header("ce-id", "1")
        .header("ce-source", "s")
        .header("ce-type", "step");
    let (status, _) = ask(&router, publish.body(Body::from(body)).unwrap()).await;
    assert!(status.is_success() || status.is_client_error(), "{status}");
    if !status.is_success() {
        return;
    }
    let close = Request::post("/v1/sessions/s/close").header("content-type", "application/json");
    // The event may have ended the session.
    ask(&router, close.body(Body::from("{}")).unwrap()).await;

    let read = |accept| {
        Request::get("/v1/sessions/s/events?after=earliest")
            .header("accept", accept)
            .body(Body::empty())
            .unwrap()
    };
    let (status, stream) = ask(&router, read("text/event-stream")).await;
    assert_eq!(status, StatusCode::OK);
    let (status, lines) = ask(&router, read("application/x-ndjson")).await;
    assert_eq!(status, StatusCode::OK);
    let lines = String::from_utf8(lines.into()).unwrap();
    let lines = lines
        .lines()
        .filter(|line| !line.starts_with("{\"reveille."));
    assert_eq!(events(&stream), Vec::from_iter(lines));
}

async fn ask(router: &Router, request: Request<Body>) -> (StatusCode, Bytes) {
    let answer = router.clone().oneshot(request).await.unwrap();
    let status = answer.status();
    (
        status,
        answer.into_body().collect().await.unwrap().to_bytes(),
    )
}

/// The data of the unnamed events of a stream (HTML standard, section 9.2.6).
fn events(stream: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(stream).unwrap();
    let (mut events, mut name, mut data) = (Vec::new(), String::new(), Vec::new());
    for line in text.replace("\r\n", "\n").split(['\n', '\r']) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" if line.is_empty() => {
                if !data.is_empty() && name.is_empty() {
                    let data = data.join("\n");
                    serde_json::from_str::<Value>(&data).unwrap();
                    events.push(data);
                }
                name.clear();
                data.clear();
            }
            "event" => name = value.to_owned(),
            "data" => data.push(value.to_owned()),
            _ => {}
        }
    }
    events
}
