//! `CloudEvents` over real HTTP: three modes in, structured and batches out.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use reqwest::{RequestBuilder, Response};
use reveille_e2e::{Server, publish};
use reveille_types::cloudevents::{decode_structured, encode_binary, encode_header};
use reveille_types::{Event, EventDraft, EventId, Payload, decode_event};
use serde_json::{Value, json};

const BATCH: &str = "application/cloudevents-batch+json";
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn post(server: &Server, session: &str) -> RequestBuilder {
    reqwest::Client::new().post(server.at(&format!("/v1/sessions/{session}/events")))
}

/// A publish in binary mode of the event with this id.
fn binary(server: &Server, session: &str, id: &str) -> RequestBuilder {
    post(server, session)
        .header("ce-specversion", "1.0")
        .header("ce-id", id)
        .header("ce-source", "/s")
        .header("ce-type", "a.b")
}

/// The status and the body of an answer.
async fn answer(request: RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn read(server: &Server, session: &str, query: &str, accept: &str) -> Response {
    let url = server.at(&format!("/v1/sessions/{session}/events{query}"));
    let request = reqwest::Client::new().get(url).header("accept", accept);
    request.send().await.unwrap()
}

async fn page(server: &Server, session: &str) -> Vec<Value> {
    let page = read(server, session, "", "application/json").await;
    let page: Value = page.json().await.unwrap();
    page["events"].as_array().unwrap().clone()
}

/// The events of a session as the server holds them.
fn stored(server: &Server, session: &str) -> Vec<Event> {
    let key = format!("default/session/{session}").parse().unwrap();
    let log = server.sessions.get(&key).unwrap();
    let options = reveille_queue::PageOptions::from(reveille_types::Start::Earliest, 100);
    log.page(&options).unwrap().events
}

/// Requirement C-7.
#[tokio::test]
async fn every_byte_survives_binary_mode_with_and_without_a_type() {
    let server = Server::start().await;
    let bytes: Vec<u8> = (0..=255).collect();
    for (id, content_type) in [("1", None), ("2", Some("application/octet-stream"))] {
        let mut request = binary(&server, "s", id).body(bytes.clone());
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let (status, receipt) = answer(request).await;
        assert_eq!((status, &receipt["results"][0]["id"]), (201, &json!(id)));
    }
    let events = page(&server, "s").await;
    let encoded = &events[0]["data_base64"];
    assert!(encoded.as_str().unwrap().starts_with("AAECAwQF"));
    assert_eq!(encoded, &events[1]["data_base64"]);
    assert!(events[0].get("datacontenttype").is_none());
    assert_eq!(events[1]["datacontenttype"], "application/octet-stream");
    for event in &events {
        let payload = decode_event(&event.to_string()).unwrap().payload;
        assert_eq!(payload.as_bytes().unwrap(), &bytes);
    }
    for event in stored(&server, "s") {
        assert_eq!(encode_binary(&event).body, bytes);
    }
}

/// Requirement C-5.
#[tokio::test]
async fn values_of_headers_are_decoded_once_and_must_be_utf_8() {
    let server = Server::start().await;
    let request = binary(&server, "s", "1")
        .header("ce-subject", "Euro%20%E2%82%AC%20%2520")
        .header("ce-comment", r#""a \"quoted\" text""#)
        .header("ce-raw", "100%")
        .header("content-type", "application/json; charset=utf-8")
        .body("{ \"a\": 1 }");
    assert_eq!(answer(request).await.0, 201);
    let event = &page(&server, "s").await[0];
    assert_eq!(event["subject"], "Euro € %20");
    assert_eq!(event["comment"], "a \"quoted\" text");
    assert_eq!(event["raw"], "100%");
    assert_eq!(event["data"], json!({"a": 1}));
    assert_eq!(event["datacontenttype"], "application/json; charset=utf-8");

    let request = binary(&server, "s", "2").header("ce-subject", "%C0%A0");
    let (status, problem) = answer(request).await;
    assert_eq!((status, &problem["field"]), (400, &json!("ce-subject")));
}

/// Requirements C-1 and C-6.
#[tokio::test]
async fn missing_and_illegal_attributes_are_refused_by_name_in_every_mode() {
    let server = Server::start().await;
    let required = [
        ("specversion", "1.0"),
        ("id", "1"),
        ("source", "/s"),
        ("type", "a"),
    ];
    for (missing, _) in required {
        let mut event = json!({});
        let mut request = post(&server, "s");
        for (name, value) in required.iter().filter(|(name, _)| *name != missing) {
            request = request.header(format!("ce-{name}"), *value);
            event[*name] = json!(value);
        }
        let (status, problem) = answer(request).await;
        assert_eq!((status, &problem["field"]), (422, &json!(missing)));
        let structured = post(&server, "s").header("content-type", "application/cloudevents+json");
        let (status, problem) = answer(structured.body(event.to_string())).await;
        assert_eq!((status, &problem["field"]), (422, &json!(missing)));
        let batch = post(&server, "s").header("content-type", BATCH);
        let good = r#"{"specversion":"1.0","id":"1","source":"/s","type":"a"}"#;
        let (status, problem) = answer(batch.body(format!("[{good},{event}]"))).await;
        let field = format!("[1].{missing}");
        assert_eq!((status, &problem["field"]), (422, &json!(field)));
    }
    for (name, value) in [
        ("ce-foo_bar", "x"),
        ("ce-subject", "%00"),
        ("ce-time", "now"),
        ("ce-datacontenttype", "text/plain"),
    ] {
        let (status, problem) = answer(binary(&server, "s", "1").header(name, value)).await;
        assert_eq!(status, 422, "{name}");
        assert_eq!(problem["field"], name.trim_start_matches("ce-"));
    }
    for (name, value) in [
        ("n", json!(3_000_000_000_u64)),
        ("foo", json!("a\u{1}")),
        ("foo", json!({"a": 1})),
        ("Foo", json!("x")),
        ("foo_bar", json!("x")),
    ] {
        let event = json!({"type": "a", name: value});
        let (status, problem) = answer(post(&server, "s").json(&event)).await;
        assert_eq!((status, &problem["field"]), (422, &json!(name)));
    }
    let gone = reqwest::get(server.at("/v1/sessions/s")).await.unwrap();
    assert_eq!(gone.status(), 404, "nothing of it was stored");
}

/// Requirements C-1 and C-3.
#[tokio::test]
async fn media_types_are_read_in_any_case_and_modes_are_not_mixed_up() {
    let server = Server::start().await;
    let event = r#"{"specversion":"1.0","id":"1","source":"/s","type":"a"}"#;
    let other = r#"{"specversion":"1.0","id":"2","source":"/s","type":"a"}"#;
    let send = |content_type: &'static str, body: String| {
        let request = post(&server, "s").header("content-type", content_type);
        answer(request.body(body))
    };
    let structured = "Application/CloudEvents+JSON; Charset=UTF-8";
    assert_eq!(send(structured, event.into()).await.0, 201);
    let both = format!("[{event},{other}]");
    let (status, receipt) = send("APPLICATION/CLOUDEVENTS-BATCH+JSON", both.clone()).await;
    assert_eq!(status, 201);
    let again: Vec<&Value> = receipt["results"].as_array().unwrap().iter().collect();
    assert_eq!(again[0]["deduplicated"], true);
    assert_eq!(again[1]["deduplicated"], false);

    let (status, problem) = send(BATCH, "[]".into()).await;
    assert_eq!((status, &problem["code"]), (422, &json!("empty_batch")));
    let (status, problem) = send(BATCH, event.into()).await;
    assert_eq!((status, &problem["code"]), (422, &json!("invalid_event")));
    assert_eq!(send("application/cloudevents+json", both).await.0, 422);
    assert_eq!(send(BATCH, "[{]".into()).await.0, 400);
    assert_eq!(
        send("application/cloudevents+xml", event.into()).await.0,
        415
    );
    assert_eq!(send("text/plain", event.into()).await.0, 415);
    assert_eq!(page(&server, "s").await.len(), 2);
}

/// Requirements C-2, C-3 and C-4.
#[tokio::test]
async fn a_batch_is_a_bare_array_whose_cursor_stands_in_a_header() {
    let server = Server::start().await;
    let events: Value = (0..3).map(|n| json!({"type": "step", "data": n})).collect();
    publish(&server.url, "s", &events).await;
    let first = read(
        &server,
        "s",
        "?limit=2",
        "Application/CloudEvents-Batch+JSON",
    )
    .await;
    assert_eq!(first.status(), 200);
    assert_eq!(first.headers()["content-type"], BATCH);
    let cursor = first.headers()["reveille-cursor"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(first.headers().contains_key("reveille-latest"));
    let first: Vec<Value> = first.json().await.unwrap();
    assert_eq!(first.len(), 2);
    assert_eq!(first[1]["reveillecursor"], cursor);
    for event in &first {
        assert!(event.as_object().unwrap().values().all(|v| !v.is_null()));
        decode_structured(&event.to_string()).unwrap();
    }
    let rest = read(&server, "s", &format!("?after={cursor}&wait=5s"), BATCH).await;
    let cursor = rest.headers()["reveille-cursor"]
        .to_str()
        .unwrap()
        .to_owned();
    let rest: Vec<Value> = rest.json().await.unwrap();
    assert_eq!((rest.len(), &rest[0]["data"]), (1, &json!(2)));

    let none = read(&server, "s", &format!("?after={cursor}"), BATCH).await;
    assert_eq!(none.text().await.unwrap(), "[]");
    let late = read(&server, "s", &format!("?after={cursor}&wait=10ms"), BATCH).await;
    assert_eq!(late.status(), 204);
    assert_eq!(late.headers()["reveille-cursor"], cursor);
}

#[tokio::test]
async fn trace_context_of_the_request_is_that_of_events_without() {
    let server = Server::start().await;
    let own = "00-11111111111111111111111111111111-2222222222222222-00";
    let events = json!([{"type": "a"}, {"type": "b", "traceparent": own}]);
    let request = post(&server, "s")
        .header("traceparent", TRACE)
        .header("tracestate", "vendor=1")
        .json(&events);
    assert_eq!(answer(request).await.0, 201);
    let events = page(&server, "s").await;
    assert_eq!(events[0]["traceparent"], TRACE);
    assert_eq!(events[0]["tracestate"], "vendor=1");
    assert_eq!(events[1]["traceparent"], own);
    assert!(events[1].get("tracestate").is_none());
}

#[tokio::test]
async fn a_publish_repeated_in_another_mode_and_span_is_recognised() {
    let server = Server::start().await;
    let event = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "a.b"});
    publish(&server.url, "s", &event).await;
    let again = binary(&server, "s", "1").header("traceparent", TRACE);
    let (status, receipt) = answer(again).await;
    assert_eq!(status, 201);
    assert_eq!(receipt["results"][0]["deduplicated"], true);
    let other = binary(&server, "s", "1").header("ce-subject", "another");
    assert_eq!(answer(other).await.0, 409);
}

/// Requirement C-9, over HTTP: structured, stored, binary, stored, batch.
#[tokio::test]
async fn an_event_is_the_same_after_its_way_through_every_mode() {
    let server = Server::start().await;
    let event = json!({
        "specversion": "1.0", "id": "é 1", "source": "https://example.com/a", "type": "task.error",
        "time": "2026-01-31T12:00:00.250Z", "subject": "50% \"done\" €",
        "reveilletags": "a%2Cb,100%25", "reveilleagent": "agent 7", "reveilleclass": "metering",
        "reveillefinal": "operation", "reveilleprivacy": "internal", "correlationid": "c",
        "causationid": "d", "traceparent": TRACE, "tracestate": "v=\"x\"",
        "sampled": true, "attempt": -2, "text": "true", "empty": "",
        "dataschema": "https://example.com/schema", "datacontenttype": "application/vnd.a+json",
        "data": {"text": "line\n\u{2028}€", "n": 1.5}
    });
    let structured = post(&server, "one")
        .header("content-type", "application/cloudevents+json")
        .body(event.to_string());
    assert_eq!(answer(structured).await.0, 201);
    let one = stored(&server, "one").remove(0);

    let parts = encode_binary(&one);
    let mut request = post(&server, "two").body(parts.body);
    if let Some(content_type) = parts.content_type {
        request = request.header("content-type", content_type);
    }
    for (name, value) in parts.attributes {
        request = request.header(format!("ce-{name}"), encode_header(&value));
    }
    assert_eq!(answer(request).await.0, 201);
    let two = stored(&server, "two").remove(0);
    // All but place and key.
    let draft = |event: &Event| EventDraft {
        session: None,
        idempotency_key: None,
        ..EventDraft::from(event)
    };
    assert_eq!(draft(&two), draft(&one));

    let batch = read(&server, "two", "", BATCH).await.text().await.unwrap();
    let request = post(&server, "three").header("content-type", BATCH);
    assert_eq!(answer(request.body(batch)).await.0, 201);
    let three = stored(&server, "three").remove(0);
    assert_eq!(draft(&three), draft(&one));
    let read = page(&server, "three").await.remove(0);
    for (name, value) in event.as_object().unwrap() {
        assert_eq!(&read[name], value, "{name}");
    }
}

#[tokio::test]
async fn an_empty_body_is_no_data() {
    let server = Server::start().await;
    let request = binary(&server, "s", "1").header("content-type", "application/json");
    assert_eq!(answer(request).await.0, 201);
    let event = stored(&server, "s").remove(0);
    assert_eq!(event.id(), &EventId::parse("1").unwrap());
    assert_eq!(event.payload().as_bytes(), None);
    assert_ne!(*event.payload(), Payload::none(), "its type is kept");
}

/// C-2: one event in binary mode on request, whatever its bytes.
#[tokio::test]
async fn a_wait_gives_one_event_in_binary_mode() {
    let server = Server::start().await;
    let bytes: Vec<u8> = (0..=255).collect();
    let sent = reqwest::Client::new()
        .post(server.at("/v1/sessions/s/events"))
        .header("ce-specversion", "1.0")
        .header("ce-id", "1")
        .header("ce-source", "urn:test")
        .header("ce-type", "blob")
        .header("ce-subject", "Euro%20%E2%82%AC")
        .header("content-type", "application/octet-stream")
        .body(bytes.clone());
    assert_eq!(sent.send().await.unwrap().status(), 201);
    let answer = reqwest::get(server.at("/v1/sessions/s/wait?match=blob&content=binary"));
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 200);
    let headers = answer.headers().clone();
    assert_eq!(headers["ce-type"], "blob");
    assert_eq!(headers["ce-subject"], "Euro%20%E2%82%AC");
    assert_eq!(headers["content-type"], "application/octet-stream");
    assert!(headers.contains_key("reveille-cursor"));
    assert_eq!(answer.bytes().await.unwrap(), bytes);
    let all = reqwest::get(server.at("/v1/sessions/s/wait?mode=all&content=binary")).await;
    assert_eq!(all.unwrap().status(), 400);
}

/// C-8: a web hook asks before it sends; only origins that were named are told yes.
#[tokio::test]
async fn the_handshake_of_web_hooks_is_answered_for_known_origins() {
    let mut config = reveille_gateway::GatewayConfig::default();
    config.webhook_origins = vec!["events.example.com".into()];
    let server = Server::with(config).await;
    let ask = |origin: &str| {
        reqwest::Client::new()
            .request(reqwest::Method::OPTIONS, server.at("/v1/sessions/s/events"))
            .header("webhook-request-origin", origin)
            .send()
    };
    let yes = ask("events.example.com").await.unwrap();
    assert_eq!(yes.status(), 200);
    assert_eq!(
        yes.headers()["webhook-allowed-origin"],
        "events.example.com"
    );
    let no = ask("elsewhere.example.com").await.unwrap();
    assert!(!no.headers().contains_key("webhook-allowed-origin"));
}
