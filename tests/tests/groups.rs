//! Groups over HTTP: dead letters, moving on, strict filters, lifetimes.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use reqwest::Client;
use reveille_e2e::{Server, publish, soon};
use serde_json::{Value, json};

async fn send(server: &Server, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let sent = Client::new().request(method, server.at(path));
    let sent = sent.header("accept", "application/json");
    let sent = if body.is_null() {
        sent
    } else {
        sent.json(body)
    };
    let answer = sent.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap_or_default())
}

async fn take(server: &Server, group: &str) -> Value {
    let asked = json!({"group": group, "timeout_ms": 1_000});
    let (status, taken) = send(server, "POST", "/v1/sessions/s/take", &asked).await;
    assert_eq!(status, 200, "{taken}");
    taken
}

#[tokio::test]
async fn an_event_that_nobody_can_handle_becomes_a_dead_letter_and_can_be_tried_again() {
    let server = Server::start().await;
    let created = send(
        &server,
        "PUT",
        "/v1/sessions/s",
        &json!({"max_deliveries": 2}),
    )
    .await;
    assert_eq!(created.0, 201);
    publish(
        &server.url,
        "s",
        &json!([{"type": "bad"}, {"type": "good"}]),
    )
    .await;
    for _ in 0..2 {
        let taken = take(&server, "g").await;
        assert_eq!(taken["events"][0]["type"], "bad");
        let back = json!({"group": "g", "leases": [taken["leases"][0]["lease"]]});
        assert_eq!(
            send(&server, "POST", "/v1/sessions/s/nack", &back).await.0,
            200
        );
    }
    assert_eq!(take(&server, "g").await["events"][0]["type"], "good");
    let path = "/v1/sessions/s/groups/g/dead-letters";
    let (_, list) = send(&server, "GET", path, &Value::Null).await;
    assert_eq!(list["letters"][0]["event"]["type"], "bad");
    assert_eq!(list["letters"][0]["deliveries"], 2);
    let (_, info) = send(&server, "GET", "/v1/sessions/s/groups/g", &Value::Null).await;
    assert_eq!((&info["dead"], &info["died"]), (&json!(1), &json!(1)));

    let (_, done) = send(
        &server,
        "POST",
        path,
        &json!({"retry": [0], "discard": [7]}),
    )
    .await;
    assert_eq!(done, json!({"retried": 1, "discarded": 0}));
    assert_eq!(take(&server, "g").await["events"][0]["type"], "bad");
    let (status, _) = send(&server, "GET", "/v1/sessions/s/groups/none", &Value::Null).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn a_group_that_is_moved_on_takes_only_what_comes_then() {
    let server = Server::start().await;
    let first = publish(&server.url, "s", &json!([{"type": "a"}, {"type": "b"}])).await;
    let path = "/v1/sessions/s/groups/g/skip";
    let (status, moved) = send(&server, "POST", path, &json!({"to": first["cursor"]})).await;
    assert_eq!(status, 200);
    assert_eq!(moved["cursor"], first["cursor"]);
    publish(&server.url, "s", &json!({"type": "c"})).await;
    assert_eq!(take(&server, "g").await["events"][0]["type"], "c");
    let (status, problem) = send(&server, "POST", path, &json!({"to": "nonsense"})).await;
    assert_eq!((status, &problem["field"]), (400, &json!("to")));
    let (status, _) = send(&server, "POST", path, &json!({})).await;
    assert_eq!(status, 422);
}

#[tokio::test]
async fn a_strict_filter_refuses_a_kind_that_nobody_knows_and_names_the_nearest() {
    let server = Server::start().await;
    publish(
        &server.url,
        "s",
        &json!({"type": "task.progress", "data": {}}),
    )
    .await;
    for path in [
        "/v1/sessions/s/events?strict=true&match=task.progres",
        "/v1/sessions/s/wait?strict=true&timeout=1ms&match=task.progres",
        "/v1/events?strict=true&match=task.progres",
    ] {
        let (status, problem) = send(&server, "GET", path, &Value::Null).await;
        assert_eq!(
            (status, &problem["code"]),
            (422, &json!("unknown_kind")),
            "{path}"
        );
        assert!(
            problem["detail"]
                .as_str()
                .unwrap()
                .contains("task.progress"),
            "{problem}"
        );
        let (status, _) = send(
            &server,
            "GET",
            &path.replace("progres", "progress"),
            &Value::Null,
        )
        .await;
        assert!(status == 200, "{path}");
    }
    let asked = json!({"match": ["task.progres"], "strict": true});
    assert_eq!(
        send(&server, "POST", "/v1/sessions/s/take", &asked).await.0,
        422
    );
}

#[tokio::test]
async fn a_session_with_a_lifetime_ends_whatever_happens_in_it() {
    let server = Server::start().await;
    let created = send(
        &server,
        "PUT",
        "/v1/sessions/s",
        &json!({"lifetime_ms": 50}),
    )
    .await;
    assert_eq!(created.0, 201);
    soon("the end of the session", async {
        loop {
            let event = json!({"type": "a"});
            let (status, _) = send(&server, "POST", "/v1/sessions/s/events", &event).await;
            if status != 201 {
                return assert!(status == 409 || status == 404, "{status}");
            }
        }
    })
    .await;
    let zero = send(&server, "PUT", "/v1/sessions/t", &json!({"lifetime_ms": 0})).await;
    assert_eq!(zero.0, 422);
}
