//! Server-sent events as clients see them.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::time::Duration;

use reveille_e2e::{Server, SseReader, publish};
use reveille_gateway::GatewayConfig;
use serde_json::{Value, json};

fn steps(count: u64) -> Value {
    (0..count)
        .map(|n| json!({"type": "step", "data": {"n": n}}))
        .collect()
}

async fn the_frames_come_in_their_order(server: Server) {
    publish(&server.url, "build", &steps(2)).await;
    let url = server.at("/v1/sessions/build/events?after=earliest");
    let mut stream = SseReader::open(&url, None).await;

    let open = stream.next().await.unwrap();
    assert!(open.is("reveille.open"));
    assert!(open.id.is_some(), "the first frame carries an id");
    assert!(open.retry.unwrap().parse::<u64>().unwrap() >= 2_000);
    for n in 0..2 {
        let event = stream.next().await.unwrap();
        assert_eq!(event.event, None, "events are unnamed");
        assert_eq!(event.json()["data"]["n"], n);
        assert_eq!(event.json()["reveillecursor"], event.id.unwrap());
    }
    assert!(stream.next().await.unwrap().is("reveille.caught_up"));
    let close = server.at("/v1/sessions/build/close");
    let answer = reqwest::Client::new().post(close).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let end = stream.next().await.unwrap();
    assert!(end.is("reveille.end"));
    assert_eq!(end.json()["reason"], "closed");
    assert_eq!(stream.next().await, None);
}

async fn resuming_after_any_frame_gives_exactly_the_rest(server: Server) {
    publish(&server.url, "s", &steps(5)).await;
    let url = server.at("/v1/sessions/s/events?after=earliest");
    let mut stream = SseReader::open(&url, None).await;
    let mut ids = vec![stream.next().await.unwrap().id.unwrap()];
    for _ in 0..5 {
        ids.push(stream.next().await.unwrap().id.unwrap());
    }
    for (split, id) in ids.iter().enumerate() {
        // A browser repeats its old URL: the header wins.
        let mut resumed = SseReader::open(&url, Some(id)).await;
        let open = resumed.next().await.unwrap();
        assert_eq!(open.json()["resumed"], true);
        for n in split..5 {
            assert_eq!(resumed.next().await.unwrap().json()["data"]["n"], n);
        }
        assert!(resumed.next().await.unwrap().is("reveille.caught_up"));
    }
}

#[tokio::test]
async fn silence_brings_heartbeats_that_are_comments() {
    let mut config = GatewayConfig::default();
    config.heartbeat = Duration::from_millis(100);
    let server = Server::with(config).await;
    let mut stream = SseReader::open(&server.at("/v1/sessions/s/events"), None).await;
    assert!(stream.next().await.unwrap().is("reveille.open"));
    assert!(stream.next().await.unwrap().is("reveille.caught_up"));
    for _ in 0..3 {
        let block = stream.next().await.unwrap();
        assert_eq!(block.comment.as_deref(), Some(""));
    }
}

async fn a_cursor_that_cannot_be_followed_is_a_gap_and_not_an_error(server: Server) {
    publish(&server.url, "s", &steps(2)).await;
    let url = server.at("/v1/sessions/s/events");
    for foreign in [
        "nonsense",
        "00000000000000zz.0",
        "0123456789abcdef.00000000000000000001",
    ] {
        let mut stream = SseReader::open(&url, Some(foreign)).await;
        assert!(stream.next().await.unwrap().is("reveille.open"));
        let gap = stream.next().await.unwrap();
        assert!(gap.is("reveille.gap"));
        assert_eq!(gap.json()["reason"], "unknown_cursor");
        assert_eq!(stream.next().await.unwrap().json()["data"]["n"], 0);
    }
    let mut stream = SseReader::open(&format!("{url}?on_gap=latest"), Some("nonsense")).await;
    assert!(stream.next().await.unwrap().is("reveille.open"));
    assert!(stream.next().await.unwrap().is("reveille.gap"));
    assert!(stream.next().await.unwrap().is("reveille.caught_up"));
    let failing = reqwest::Client::new()
        .get(format!("{url}?gap=fail"))
        .header("Last-Event-ID", "nonsense");
    assert_eq!(failing.send().await.unwrap().status(), 410);
}

async fn what_retention_dropped_is_told_before_the_next_event(server: Server) {
    let create = reqwest::Client::new()
        .put(server.at("/v1/sessions/s"))
        .json(&json!({"max_events": 3}));
    assert_eq!(create.send().await.unwrap().status(), 201);
    let receipt = publish(&server.url, "s", &steps(1)).await;
    publish(&server.url, "s", &steps(10)).await;
    let id = receipt["cursor"].as_str().unwrap();
    let mut stream = SseReader::open(&server.at("/v1/sessions/s/events"), Some(id)).await;
    assert!(stream.next().await.unwrap().is("reveille.open"));
    let gap = stream.next().await.unwrap();
    assert!(gap.is("reveille.gap"));
    assert_eq!(gap.json()["reason"], "expired");
    assert_eq!(gap.json()["ranges"], json!([[1, 7]]));
    assert_eq!(gap.json()["missed"], 7);
    assert_eq!(gap.id.unwrap(), gap_resumes(&gap.data.unwrap()));
    assert_eq!(stream.next().await.unwrap().json()["data"]["n"], 7);
}

fn gap_resumes(data: &str) -> String {
    let data: Value = serde_json::from_str(data).unwrap();
    data["resumes_at"].as_str().unwrap().to_owned()
}

async fn a_session_read_to_its_end_answers_204(server: Server) {
    publish(
        &server.url,
        "s",
        &json!([{"type": "a"}, {"type": "task.result"}]),
    )
    .await;
    let url = server.at("/v1/sessions/s/events");
    let mut stream = SseReader::open(&format!("{url}?after=earliest"), None).await;
    let blocks = stream.rest().await;
    let end = blocks.last().unwrap();
    assert!(end.is("reveille.end"));
    assert_eq!(end.json()["reason"], "completed");

    let again = |id: String| {
        reqwest::Client::new()
            .get(&url)
            .header("Last-Event-ID", id)
            .send()
    };
    assert_eq!(again(end.id.clone().unwrap()).await.unwrap().status(), 204);
    // Before the end: the rest, then the end once more.
    let first = blocks.iter().find(|b| b.is_event()).unwrap();
    let mut replay = SseReader::of(again(first.id.clone().unwrap()).await.unwrap());
    let replay = replay.rest().await;
    assert_eq!(replay.iter().filter(|b| b.is_event()).count(), 1);
    assert!(replay.last().unwrap().is("reveille.end"));
}

async fn ndjson_has_events_and_control_lines(server: Server) {
    publish(
        &server.url,
        "s",
        &json!([{"type": "a"}, {"type": "task.result"}]),
    )
    .await;
    let answer = reqwest::Client::new()
        .get(server.at("/v1/sessions/s/events?after=earliest"))
        .header("accept", "application/x-ndjson")
        .send()
        .await
        .unwrap();
    let text = answer.text().await.unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(lines[0]["reveille.open"].is_object());
    assert_eq!(lines[1]["type"], "a");
    assert_eq!(lines[2]["type"], "task.result");
    assert!(lines[3]["reveille.caught_up"].is_object());
    assert_eq!(lines[4]["reveille.end"]["reason"], "completed");
    assert_eq!(lines.len(), 5);
}

async fn filtered_streams_get_what_matches(server: Server) {
    publish(
        &server.url,
        "s",
        &json!([{"type": "task.started"}, {"type": "other"}, {"type": "task.completed"}]),
    )
    .await;
    let url = server.at("/v1/sessions/s/events?after=earliest&match=task.*&names=type");
    let mut stream = SseReader::open(&url, None).await;
    assert!(stream.next().await.unwrap().is("reveille.open"));
    assert!(stream.next().await.unwrap().is("task.started"));
    assert!(stream.next().await.unwrap().is("task.completed"));
    assert!(stream.next().await.unwrap().is("reveille.caught_up"));
}

reveille_e2e::on_every_backend!(
    the_frames_come_in_their_order,
    resuming_after_any_frame_gives_exactly_the_rest,
    a_cursor_that_cannot_be_followed_is_a_gap_and_not_an_error,
    what_retention_dropped_is_told_before_the_next_event,
    a_session_read_to_its_end_answers_204,
    ndjson_has_events_and_control_lines,
    filtered_streams_get_what_matches,
);
