//! The paths of task dashboards, and the scenarios of the streams that ended wrongly.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use reveille_e2e::{Block, Server, SseReader, publish};
use reveille_types::{SessionKey, Tenant};
use serde_json::{Value, json};

async fn create(server: &Server, session: &str) {
    let url = server.at(&format!("/v1/sessions/{session}"));
    let answer = reqwest::Client::new().put(url).send().await.unwrap();
    assert_eq!(answer.status(), 201);
}

async fn get(server: &Server, path: &str) -> (u16, Value) {
    let answer = reqwest::get(server.at(path)).await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.bytes().await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

async fn post(server: &Server, path: &str, body: &Value) -> (u16, Value) {
    let request = reqwest::Client::new().post(server.at(path)).json(body);
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// 001-D12: a recoverable error does not end the stream.
async fn d001_12_a_recoverable_error_does_not_end_the_stream(server: Server) {
    create(&server, "ingestion%2Fjob").await;
    let url = server.at("/events/ingestion/job");
    let mut stream = SseReader::open(&url, None).await;
    for event in [
        json!({"type": "task.progress", "data": {"current": 1, "total": 2}}),
        json!({"type": "task.error", "data": {"error_type": "io", "error_message": "m", "recoverable": true}}),
        json!({"type": "task.progress", "data": {"current": 2, "total": 2}}),
        json!({"type": "task.result", "data": {"result": {}}}),
    ] {
        publish(&server.url, "ingestion%2Fjob", &event).await;
    }
    let blocks = stream.rest().await;
    let types: Vec<String> = blocks
        .iter()
        .filter(|b| b.is_event())
        .map(Block::json)
        .filter_map(|event| Some(event["event_type"].as_str()?.to_owned()))
        .collect();
    assert_eq!(types, ["progress", "error", "progress", "complete"]);
    let end = blocks.last().unwrap();
    assert_eq!(end.event.as_deref(), Some("end"));
    assert_eq!(end.json()["reason"], "completed");
}

/// 001-D12, the other half: an error that says it is not recoverable ends the session as failed.
async fn d001_12_an_unrecoverable_error_ends_the_session_as_failed(server: Server) {
    create(&server, "workflow%2Fw").await;
    let mut stream = SseReader::open(&server.at("/events/workflows/w"), None).await;
    let error = json!({"type": "task.error", "data": {"error_type": "x", "error_message": "m", "recoverable": false}});
    publish(&server.url, "workflow%2Fw", &error).await;
    let blocks = stream.rest().await;
    assert_eq!(blocks.last().unwrap().json()["reason"], "failed");
}

/// 001-D13: a final status ends the stream, with its reason, and the server closes the connection.
#[tokio::test]
async fn d001_13_a_cancelled_status_ends_the_stream() {
    for (state, reason) in [
        ("cancelled", "cancelled"),
        ("failed", "failed"),
        ("rejected", "rejected"),
        ("completed", "completed"),
    ] {
        let server = Server::start().await;
        create(&server, "workflow%2Fw").await;
        let mut stream = SseReader::open(&server.at("/events/workflows/w"), None).await;
        publish(
            &server.url,
            "workflow%2Fw",
            &json!({"type": "task.status.working"}),
        )
        .await;
        let last = json!({"type": format!("task.status.{state}")});
        publish(&server.url, "workflow%2Fw", &last).await;
        let blocks = stream.rest().await;
        let states: Vec<Value> = blocks
            .iter()
            .filter(|b| b.is_event() && b.json()["event_type"] == "status")
            .map(|b| b.json()["state"].clone())
            .collect();
        assert_eq!(states, ["working", state]);
        assert_eq!(blocks.last().unwrap().json()["reason"], reason);
    }
}

/// 001-D05: the cursor of the last handled frame gives exactly the rest.
async fn d001_05_resuming_after_the_last_handled_frame_gives_the_rest(server: Server) {
    create(&server, "workflow%2Fw").await;
    let events: Value = (0..5)
        .map(|n| json!({"type": "step", "data": {"n": n}}))
        .collect();
    publish(&server.url, "workflow%2Fw", &events).await;
    let url = server.at("/events/workflows/w");
    let mut ids = Vec::new();
    {
        let mut stream = SseReader::open(&url, None).await;
        let connected = stream.next().await.unwrap();
        assert_eq!(connected.json()["type"], "connected");
        assert_eq!(connected.json()["task_id"], "w");
        assert_eq!(connected.json()["offset"], 0);
        ids.push(connected.id.unwrap());
        for n in 0..5 {
            let event = stream.next().await.unwrap();
            assert_eq!(event.json()["n"], n);
            assert_eq!(event.json()["offset"], n);
            ids.push(event.id.unwrap());
        }
    }
    for (split, id) in ids.iter().enumerate() {
        let mut rest = SseReader::open(&url, Some(id)).await;
        assert_eq!(rest.next().await.unwrap().json()["offset"], split);
        for n in split..5 {
            assert_eq!(rest.next().await.unwrap().json()["n"], n);
        }
    }
}

/// 001-D06: an offset past the end is an error that says where the end is.
async fn d001_06_an_offset_past_the_end_is_refused(server: Server) {
    let events = json!([{"type": "a"}, {"type": "a"}, {"type": "a"}]);
    publish(&server.url, "workflow%2Fw", &events).await;
    let (status, problem) = get(&server, "/events/workflows/w?from_offset=10").await;
    assert_eq!((status, &problem["code"]), (416, &json!("cursor_ahead")));
    let latest = problem["latest"].as_str().unwrap();
    assert!(latest.ends_with(".00000000000000000003"), "{latest}");
    let mut stream = SseReader::open(&server.at("/events/workflows/w?from_offset=2"), None).await;
    assert_eq!(stream.next().await.unwrap().json()["offset"], 2);
    assert_eq!(stream.next().await.unwrap().json()["offset"], 2);
    assert_eq!(
        get(&server, "/events/workflows/w?from_offset=-1").await.0,
        422
    );
}

/// 001-D15 over HTTP: a workflow's id is nothing in another namespace.
async fn d001_15_ids_of_two_namespaces_do_not_meet(server: Server) {
    publish(&server.url, "workflow%2Fx", &json!({"type": "of.workflow"})).await;
    assert_eq!(get(&server, "/events/ingestion/x").await.0, 404);
    publish(
        &server.url,
        "ingestion%2Fx",
        &json!({"type": "of.ingestion"}),
    )
    .await;
    let mut stream = SseReader::open(&server.at("/events/ingestion/x"), None).await;
    assert_eq!(stream.event().await.json()["type"], "connected");
    assert_eq!(stream.event().await.json()["event_type"], "of.ingestion");
    let (status, problem) = get(&server, "/events/queues/x").await;
    assert_eq!((status, &problem["code"]), (409, &json!("ambiguous_id")));
    let (status, queue) = get(&server, "/events/queues/x?namespace=workflow").await;
    assert_eq!((status, &queue["event_count"]), (200, &json!(1)));
}

/// 001-D15 through sessions of another tenant: they cannot be seen.
async fn d001_15_another_tenants_session_looks_like_none(server: Server) {
    let other = SessionKey::in_tenant(Tenant::parse("other").unwrap(), "workflow/secret").unwrap();
    let options = reveille_queue::SessionOptions::default();
    server.sessions.create(other, options).await.unwrap();
    let foreign = get(&server, "/events/workflows/secret").await;
    let unknown = get(&server, "/events/workflows/unknown").await;
    assert_eq!(foreign.0, 404);
    assert_eq!(foreign.1["code"], unknown.1["code"]);
    assert_eq!(
        get(&server, "/events/queues?tenant_id=other").await.1,
        json!([])
    );
}

async fn the_queue_paths_answer_as_dashboards_expect(server: Server) {
    assert_eq!(get(&server, "/events/workflows/w").await.0, 404);
    assert_eq!(get(&server, "/events/queues").await.0, 422);
    create(&server, "workflow%2Fw").await;
    let (_, offset) = get(&server, "/events/queues/w/offset").await;
    assert_eq!(offset, json!({"task_id": "w", "offset": 0}));
    publish(&server.url, "workflow%2Fw", &json!({"type": "a"})).await;
    let (_, offset) = get(&server, "/events/queues/w/offset").await;
    assert_eq!(offset["offset"], 1);
    let (_, list) = get(&server, "/events/queues?tenant_id=default").await;
    assert_eq!(list[0]["task_id"], "w");
    assert_eq!(list[0]["is_closed"], false);

    let reason = json!({"reason": "User requested"});
    let (status, answer) = post(&server, "/events/workflows/w/cancel", &reason).await;
    assert_eq!((status, &answer["cancelled"]), (200, &json!(true)));
    assert_eq!(answer["task_id"], "w");
    let (_, queue) = get(&server, "/events/queues/w").await;
    assert_eq!(queue["is_cancelled"], true);
    let (status, _) = post(&server, "/events/workflows/unknown/cancel", &json!({})).await;
    assert_eq!(status, 404);
}

reveille_e2e::on_every_backend!(
    d001_12_a_recoverable_error_does_not_end_the_stream,
    d001_12_an_unrecoverable_error_ends_the_session_as_failed,
    d001_05_resuming_after_the_last_handled_frame_gives_the_rest,
    d001_06_an_offset_past_the_end_is_refused,
    d001_15_ids_of_two_namespaces_do_not_meet,
    d001_15_another_tenants_session_looks_like_none,
    the_queue_paths_answer_as_dashboards_expect,
);
