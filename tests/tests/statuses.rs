//! Each status that the wire knows, and the code that stands with it.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use reqwest::{Client, Method, Response};
use reveille_e2e::{Server, publish};
use reveille_gateway::GatewayConfig;
use serde_json::{Value, json};

/// A request, and what it gets.
struct Row(&'static str, &'static str, Value, u16, &'static str);

async fn send(server: &Server, method: &str, path: &str, body: &Value) -> Response {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let sent = Client::new().request(method, server.at(path));
    let sent = sent.header("accept", "application/json");
    let sent = if body.is_null() {
        sent
    } else {
        sent.json(body)
    };
    sent.send().await.unwrap()
}

fn rows(expired: &str, ahead: &str) -> Vec<(Row, Option<&'static str>)> {
    let after = |path: &str, cursor: &str| -> &'static str {
        Box::leak(format!("{path}after={cursor}").into_boxed_str())
    };
    let events = "/v1/sessions/s/events";
    let row = |method, path, body, status, code| Row(method, path, body, status, code);
    vec![
        (
            row(
                "GET",
                "/v1/sessions/s/wait?match=never&timeout=1ms",
                Value::Null,
                204,
                "",
            ),
            None,
        ),
        (
            row(
                "GET",
                "/v1/sessions/s/events?macth=a",
                Value::Null,
                400,
                "unknown_parameter",
            ),
            Some("macth"),
        ),
        (
            row(
                "GET",
                "/v1/sessions/s/events?limit=0",
                Value::Null,
                400,
                "invalid_parameter",
            ),
            Some("limit"),
        ),
        (
            row(
                "GET",
                "/v1/sessions/s/events?after=nonsense",
                Value::Null,
                400,
                "unknown_cursor",
            ),
            Some("after"),
        ),
        (
            row(
                "GET",
                after("/v1/sessions/s/events?", ahead),
                Value::Null,
                400,
                "cursor_ahead",
            ),
            Some("after"),
        ),
        (
            row(
                "GET",
                "/v1/sessions/a%20b",
                Value::Null,
                400,
                "invalid_session",
            ),
            Some("session"),
        ),
        (
            row(
                "GET",
                "/v1/signals/nonsense",
                Value::Null,
                400,
                "invalid_signal_handle",
            ),
            Some("handle"),
        ),
        (
            row(
                "POST",
                "/v1/sessions/system%2Fx/events",
                json!({"type": "a"}),
                403,
                "reserved_name",
            ),
            Some("namespace"),
        ),
        (
            row(
                "GET",
                "/v1/sessions/unknown",
                Value::Null,
                404,
                "session_not_found",
            ),
            None,
        ),
        (
            row("GET", "/nowhere", Value::Null, 404, "no_such_path"),
            None,
        ),
        (
            row(
                "PATCH",
                "/v1/sessions/s",
                Value::Null,
                405,
                "method_not_allowed",
            ),
            None,
        ),
        (
            row(
                "POST",
                "/v1/sessions/ended/events",
                json!({"type": "a"}),
                409,
                "session_ended",
            ),
            None,
        ),
        (
            row("PUT", "/v1/sessions/ended", json!({}), 409, "session_ended"),
            None,
        ),
        (
            row(
                "PUT",
                "/v1/sessions/s",
                json!({"max_events": 7}),
                409,
                "session_exists",
            ),
            None,
        ),
        (
            row(
                "POST",
                "/v1/sessions/s/ack",
                json!({"leases": ["no lease"]}),
                422,
                "invalid_option",
            ),
            None,
        ),
        (
            row(
                "POST",
                events,
                json!({"type": "a", "data": "x".repeat(300 * 1024)}),
                413,
                "event_too_large",
            ),
            Some("[0]"),
        ),
        (
            row(
                "POST",
                events,
                json!({"type": "a", "data": "x".repeat(5 * 1024 * 1024)}),
                413,
                "body_too_large",
            ),
            None,
        ),
        (
            row(
                "GET",
                "/events/workflows/w?from_offset=9",
                Value::Null,
                416,
                "cursor_ahead",
            ),
            None,
        ),
        (
            row("POST", events, json!({"type": ""}), 422, "invalid_event"),
            Some("type"),
        ),
        (
            row(
                "POST",
                events,
                json!({"type": "reveille.mine"}),
                422,
                "reserved_kind",
            ),
            None,
        ),
        (row("POST", events, json!([]), 422, "empty_batch"), None),
        (
            row(
                "PUT",
                "/v1/sessions/new",
                json!({"ttl_ms": 0}),
                422,
                "invalid_option",
            ),
            None,
        ),
        (
            row(
                "PUT",
                "/v1/sessions/new",
                json!({"tll_ms": 1}),
                422,
                "invalid_json",
            ),
            None,
        ),
        (
            row(
                "GET",
                after("/v1/sessions/small/events?gap=fail&", expired),
                Value::Null,
                410,
                "cursor_expired",
            ),
            Some("after"),
        ),
    ]
}

#[tokio::test]
async fn every_status_comes_as_a_problem_with_its_code_and_field() {
    let mut config = GatewayConfig::default();
    config.signals.waiters = 0;
    let server = Server::with(config).await;
    let first = publish(&server.url, "s", &json!({"type": "a"})).await;
    publish(&server.url, "workflow%2Fw", &json!({"type": "a"})).await;
    publish(
        &server.url,
        "ended",
        &json!({"type": "task.status.completed", "data": {"state": "completed"}}),
    )
    .await;
    send(
        &server,
        "PUT",
        "/v1/sessions/small",
        &json!({"max_events": 1}),
    )
    .await;
    let start = send(&server, "GET", "/v1/sessions/small", &Value::Null).await;
    let start: Value = start.json().await.unwrap();
    publish(&server.url, "small", &json!([{"type": "a"}, {"type": "b"}])).await;
    let expired = start["latest"].as_str().unwrap();
    let cursor = first["cursor"].as_str().unwrap();
    let ahead = format!("{}.{:020}", cursor.split('.').next().unwrap(), 99);
    let mut wrong = Vec::new();
    for (Row(method, path, body, status, code), field) in rows(expired, &ahead) {
        let name = format!("{method} {path}");
        let stream = path.contains("gap=fail");
        let answer = match stream {
            true => reqwest::get(server.at(path)).await.unwrap(),
            false => send(&server, method, path, &body).await,
        };
        let found = answer.status().as_u16();
        if status == 204 {
            let has_cursor = answer.headers().contains_key("reveille-cursor");
            assert!(found == 204 && has_cursor, "{name}");
            continue;
        }
        let media_type = answer.headers()["content-type"].clone();
        let problem: Value = answer.json().await.unwrap_or_default();
        let as_expected = found == status
            && media_type == "application/problem+json"
            && problem["code"] == code
            && problem["status"] == status
            && problem["type"] == format!("urn:reveille:problem:{code}")
            && problem["trace_id"].is_string()
            && field.is_none_or(|field| problem["field"] == field);
        if !as_expected {
            wrong.push(format!(
                "{name}: {found}, not {status} {code} {field:?}: {problem}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");

    let typed = Client::new().post(server.at("/v1/sessions/s/events"));
    let typed = typed
        .header("content-type", "text/plain")
        .body("{}")
        .send()
        .await
        .unwrap();
    assert_eq!(typed.status(), 415);
    let broken = Client::new().post(server.at("/v1/sessions/s/events"));
    let broken = broken
        .header("content-type", "application/json")
        .body("{")
        .send()
        .await
        .unwrap();
    assert_eq!(broken.status(), 400);
    for path in ["/v1/signals", "/v1/sessions/s/ack"] {
        let list = send(&server, "POST", path, &json!([null, []])).await;
        assert_eq!(list.status(), 422, "an array is no object: {path}");
    }
    let odd = Client::new()
        .get(server.at("/v1/sessions/s/events"))
        .header("accept", "image/png");
    assert_eq!(odd.send().await.unwrap().status(), 406);
    // A stream has no pages, and a limit is wrong there all the same.
    for path in ["/v1/sessions/s/events?limit=0", "/v1/events?limit=0"] {
        let stream = reqwest::get(server.at(path)).await.unwrap();
        assert_eq!(stream.status(), 400, "{path}");
    }
    let moved = Client::new()
        .post(server.at("/v1/sessions/s/events"))
        .header("reveille-expected-cursor", cursor)
        .json(&json!({"type": "b"}));
    let moved = || moved.try_clone().unwrap().send();
    assert_eq!(moved().await.unwrap().status(), 201);
    let conflict = moved().await.unwrap();
    assert_eq!(conflict.status(), 412);
    assert_eq!(
        conflict.json::<Value>().await.unwrap()["code"],
        "position_conflict"
    );
    let keyed = |kind: &str| {
        let sent = Client::new().post(server.at("/v1/sessions/s/events"));
        sent.header("idempotency-key", "k")
            .json(&json!({"type": kind}))
            .send()
    };
    assert_eq!(keyed("a").await.unwrap().status(), 201);
    assert_eq!(keyed("a").await.unwrap().status(), 201);
    assert_eq!(keyed("b").await.unwrap().status(), 409);

    let taken = send(&server, "POST", "/v1/sessions/s/take", &json!({})).await;
    let taken: Value = taken.json().await.unwrap();
    let leases = json!({"leases": [taken["leases"][0]["lease"]]});
    let ack = async || send(&server, "POST", "/v1/sessions/s/ack", &leases).await;
    assert_eq!(ack().await.status(), 200);
    let fenced = ack().await;
    assert_eq!(fenced.status(), 409);
    assert_eq!(fenced.json::<Value>().await.unwrap()["code"], "fenced");

    let signal = send(&server, "POST", "/v1/signals", &json!({})).await;
    let signal: Value = signal.json().await.unwrap();
    let path = format!(
        "/v1/signals/{}?timeout=1s",
        signal["handle"].as_str().unwrap()
    );
    let crowded = send(&server, "GET", &path, &Value::Null).await;
    assert_eq!(crowded.status(), 429);
    assert_eq!(crowded.headers()["retry-after"], "1");
    let waiting = tokio::spawn(reqwest::get(
        server.at("/v1/sessions/s/wait?match=never&timeout=60s"),
    ));
    while server.sessions.info().open == 0 || waiters(&server).await == 0 {
        tokio::task::yield_now().await;
    }
    server.stop().await;
    let stopped = waiting.await.unwrap().unwrap();
    assert_eq!(stopped.status(), 503);
    assert!(stopped.headers().contains_key("retry-after"));
}

async fn waiters(server: &Server) -> u64 {
    let info = send(server, "GET", "/v1/sessions/s", &Value::Null).await;
    info.json::<Value>().await.unwrap()["waiters"]
        .as_u64()
        .unwrap()
}
