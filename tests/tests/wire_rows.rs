//! Rows of the requirements over HTTP: what earlier systems got wrong on the wire, turned round.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::time::Duration;

use reqwest::Client;
use reveille_e2e::{Server, SseReader, publish, soon, with_key};
use reveille_gateway::{Action, GatewayConfig, Grant};
use serde_json::{Value, json};

async fn post(server: &Server, path: &str, body: &Value) -> (u16, Value) {
    let answer = Client::new()
        .post(server.at(path))
        .json(body)
        .send()
        .await
        .unwrap();
    (
        answer.status().as_u16(),
        answer.json().await.unwrap_or_default(),
    )
}

async fn get(server: &Server, path: &str) -> (u16, Value) {
    let asked = Client::new()
        .get(server.at(path))
        .header("accept", "application/json");
    let answer = asked.send().await.unwrap();
    (
        answer.status().as_u16(),
        answer.json().await.unwrap_or_default(),
    )
}

/// 001-D08: every frame carries the place to resume at, and the header wins over the URL.
#[tokio::test]
async fn d001_08_a_reader_resumes_after_the_frame_it_handled() {
    let server = Server::start().await;
    let events: Vec<Value> = (0..4)
        .map(|n| json!({"type": "task.progress", "data": {"current": n, "total": 4}}))
        .collect();
    publish(&server.url, "workflow%2Fw", &json!(events)).await;
    let url = server.at("/events/workflows/w");
    let mut stream = SseReader::open(&url, None).await;
    let connected = stream.next().await.unwrap();
    assert_eq!(connected.json()["type"], "connected");
    assert!(connected.id.is_some() && connected.retry.is_some());
    let mut third = None;
    for _ in 0..3 {
        let frame = stream.next().await.unwrap();
        assert!(frame.id.is_some() && frame.event.is_none());
        third = frame.id;
    }
    drop(stream);
    // A browser repeats the old URL.
    for alias in [
        "",
        "?after=earliest",
        "?lastEventId=earliest",
        "?last_event_id=earliest",
    ] {
        let mut stream = SseReader::open(&format!("{url}{alias}"), third.as_deref()).await;
        assert_eq!(stream.next().await.unwrap().json()["type"], "connected");
        assert_eq!(stream.next().await.unwrap().json()["current"], 3, "{alias}");
    }
}

/// 001-D09: silence is filled with comments that no client takes for an event.
#[tokio::test]
async fn d001_09_silence_brings_heartbeats_on_the_task_paths() {
    let mut config = GatewayConfig::default();
    config.heartbeat = Duration::from_millis(20);
    let server = Server::with(config).await;
    publish(&server.url, "workflow%2Fw", &json!({"type": "a"})).await;
    let mut stream = SseReader::open(&server.at("/events/workflows/w?after=latest"), None).await;
    assert_eq!(stream.next().await.unwrap().json()["type"], "connected");
    for _ in 0..3 {
        let beat = stream.next().await.unwrap();
        assert_eq!(beat.comment.as_deref(), Some(""));
        assert!(beat.id.is_none() && beat.data.is_none());
    }
}

/// 001-D11: an unknown task is 404 before any byte of a stream, a finished one 204 once it is read.
#[tokio::test]
async fn d001_11_an_unknown_task_is_a_404_and_a_finished_one_a_204() {
    let server = Server::start().await;
    let unknown = reqwest::get(server.at("/events/workflows/w"))
        .await
        .unwrap();
    assert_eq!(unknown.status(), 404);
    assert_eq!(
        unknown.headers()["content-type"],
        "application/problem+json"
    );
    let problem: Value = unknown.json().await.unwrap();
    assert_eq!(problem["code"], "session_not_found");
    let last = json!({"type": "task.status.cancelled", "data": {"state": "cancelled"}});
    publish(&server.url, "workflow%2Fw", &json!([{"type": "a"}, last])).await;
    let mut stream = SseReader::open(&server.at("/events/workflows/w"), None).await;
    let frames = stream.rest().await;
    let end = frames.last().unwrap();
    assert!(end.is("end"));
    assert_eq!(end.json()["reason"], "cancelled");
    let again = Client::new().get(server.at("/events/workflows/w"));
    let again = again
        .header("last-event-id", end.id.clone().unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(again.status(), 204);
}

/// 001-D26: the states of the tables and those of A2A are one set on the way in.
#[tokio::test]
async fn d001_26_states_of_a2a_are_read_and_end_the_stream() {
    let server = Server::start().await;
    for (said, reason) in [
        ("canceled", "cancelled"),
        ("rejected", "rejected"),
        ("failed", "failed"),
    ] {
        let id = format!("workflow%2F{said}");
        let event = json!({"type": format!("task.status.{reason}"), "data": {"state": said}});
        publish(&server.url, &id, &event).await;
        let mut stream =
            SseReader::open(&server.at(&format!("/events/workflows/{said}")), None).await;
        assert_eq!(stream.rest().await.last().unwrap().json()["reason"], reason);
    }
}

/// 000-D16: publishing is authorised per session, and control namespaces are closed to all.
#[tokio::test]
async fn d000_16_nobody_publishes_where_they_may_not() {
    let grant = Grant {
        sessions: vec!["agent-*".parse().unwrap()],
        ..Grant::everything([Action::Publish])
    };
    let mut config = GatewayConfig::default();
    config.auto_create = Some(true);
    let grants = vec![grant, Grant::everything([Action::Wait])];
    let (server, known) = with_key(config, "acme", grants).await;
    let send = async |session: &str, key: Option<&str>| {
        let url = server.at(&format!("/v1/sessions/{session}/events"));
        let sent = Client::new().post(url).json(&json!({"type": "pr.merged"}));
        let sent = match key {
            Some(key) => sent.bearer_auth(key),
            None => sent,
        };
        sent.send().await.unwrap().status()
    };
    let key = Some(known.expose());
    assert_eq!(send("system%2Fcontrol", key).await, 403);
    assert_eq!(send("system%2Fcontrol", None).await, 401);
    assert_eq!(send("main", key).await, 403);
    assert!(server.sessions.is_empty());
    assert_eq!(send("agent-7", key).await, 201);
}

/// 000-F13 to F17: waiting for types after an id, and notifying, between processes.
#[tokio::test]
async fn f000_13_to_17_a_wait_for_types_gets_what_another_process_tells() {
    let server = Server::start().await;
    let waiting =
        server.at("/v1/sessions/run/wait?match=worker.completed&match=agent.message&timeout=300s");
    let waiting = tokio::spawn(reqwest::get(waiting));
    soon("the wait", async {
        while get(&server, "/v1/sessions/run").await.1["waiters"] != 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let told = json!({
        "type": "agent.message",
        "data": {"agent_id": "w1", "status": "done", "changes": ["a.rs"], "message": "ready"},
    });
    // What is not asked for wakes nobody.
    publish(&server.url, "run", &json!({"type": "agent.other"})).await;
    publish(&server.url, "run", &told).await;
    let found: Value = waiting.await.unwrap().unwrap().json().await.unwrap();
    assert_eq!(found["outcome"], "matched");
    assert_eq!(found["events"][0]["data"]["changes"], json!(["a.rs"]));
    // The id that comes back is where the next wait begins.
    let next = found["cursor"].as_str().unwrap();
    let (status, _) = get(
        &server,
        &format!("/v1/sessions/run/wait?match=agent.message&after={next}&timeout=1ms"),
    )
    .await;
    assert_eq!(status, 204);
    // A notification without an event, or that is none, fails and says so.
    assert_eq!(
        post(&server, "/v1/sessions/run/events", &json!({})).await.0,
        422
    );
    let nothing = Client::new()
        .post(server.at("/v1/sessions/run/events"))
        .send()
        .await
        .unwrap();
    assert_eq!(nothing.status(), 400);
    assert_eq!(get(&server, "/v1/sessions/run").await.1["retained"], 2);
}

#[tokio::test]
async fn a_connection_is_ended_at_its_age_and_the_stream_goes_on() {
    let mut config = GatewayConfig::default();
    config.max_age = Duration::from_millis(50);
    let server = Server::with(config).await;
    publish(&server.url, "s", &json!({"type": "a"})).await;
    let url = server.at("/v1/sessions/s/events?after=earliest");
    let frames = SseReader::open(&url, None).await.rest().await;
    let last = frames.last().unwrap();
    assert!(last.is("reveille.reconnect"));
    assert_eq!(last.json()["reason"], "max_age");
    let resume = frames
        .iter()
        .rev()
        .find_map(|frame| frame.id.clone())
        .unwrap();
    publish(&server.url, "s", &json!({"type": "b"})).await;
    let frames = SseReader::open(&url, Some(&resume)).await.rest().await;
    let events: Vec<Value> = frames
        .iter()
        .filter(|f| f.is_event())
        .map(|f| f.json()["type"].clone())
        .collect();
    assert_eq!(events, ["b"]);
}

#[tokio::test]
async fn heartbeats_that_are_frames_are_seen_by_pages() {
    let mut config = GatewayConfig::default();
    config.heartbeat = Duration::from_millis(20);
    let server = Server::with(config).await;
    let url = server.at("/v1/sessions/s/events?heartbeat=event");
    let mut stream = SseReader::open(&url, None).await;
    for _ in 0..3 {
        let mut frame = stream.next().await.unwrap();
        while !frame.is("reveille.bookmark") {
            assert_eq!(frame.comment, None);
            frame = stream.next().await.unwrap();
        }
        assert!(frame.id.is_some() && frame.data.is_some());
    }
}

#[tokio::test]
async fn limits_tell_what_holds() {
    let server = Server::start().await;
    let (status, limits) = get(&server, "/v1/limits").await;
    assert_eq!(status, 200);
    assert_eq!(limits["event_bytes"], 256 * 1024);
    assert_eq!(limits["streams_per_token"], 100);
    assert_eq!(limits["wait_max_ms"], 300_000);
    // Everything that can be run into.
    for name in [
        "body_bytes",
        "url_bytes",
        "header_bytes",
        "json_depth",
        "json_members",
        "batch_events",
        "matchers",
        "matcher_bytes",
        "session_events",
        "session_bytes",
        "bytes_per_tenant",
        "sessions_per_tenant",
        "waits_per_session",
        "waits_per_tenant",
        "groups_per_session",
        "leases_per_group",
        "tickets_per_tenant",
        "streams_per_tenant",
        "replays_per_token_and_session",
        "replay_bytes_per_second",
        "failures_per_minute",
        "connections_per_address",
        "signals_pending",
        "signal_value_bytes",
        "merge_inputs",
        "merge_inputs_pending",
        "signal_waiters",
    ] {
        assert!(
            limits[name].as_u64().is_some_and(|n| n > 0),
            "{name}: {limits}"
        );
    }
    for name in [
        "streams_per_second",
        "events_per_second",
        "bytes_per_second",
        "delivered_bytes_per_second",
        "unauthenticated_per_second",
    ] {
        let (count, burst) = (&limits[name]["count"], &limits[name]["burst"]);
        assert!(
            count.as_u64() > Some(0) && burst.as_u64() >= count.as_u64(),
            "{name}"
        );
    }
    let (status, ready) = get(&server, "/readyz").await;
    assert_eq!((status, &ready["status"]), (200, &json!("ready")));
}

#[tokio::test]
async fn a_session_is_the_same_only_with_all_its_options() {
    let server = Server::start().await;
    let put = async |options: Value| {
        let sent = Client::new()
            .put(server.at("/v1/sessions/s"))
            .json(&options);
        let answer = sent.send().await.unwrap();
        (
            answer.status().as_u16(),
            answer.json::<Value>().await.unwrap(),
        )
    };
    let all = json!({"ttl_ms": 60_000, "lifetime_ms": 120_000, "max_events": 5,
        "max_bytes": 5_000, "max_deliveries": 3});
    let (status, made) = put(all.clone()).await;
    assert_eq!(status, 201);
    for (name, value) in all.as_object().unwrap() {
        assert_eq!(made[name], *value);
        let mut other = all.clone();
        other[name] = json!(value.as_u64().unwrap() + 1);
        let (status, problem) = put(other).await;
        assert_eq!(
            (status, &problem["code"]),
            (409, &json!("session_exists")),
            "{name}"
        );
        // What is not said may be anything.
        let mut less = all.clone();
        less.as_object_mut().unwrap().remove(name);
        assert_eq!(put(less).await.0, 200, "{name}");
    }
    assert_eq!(put(all).await.0, 200);
    // Nor is one without a bound the same as one that has it.
    let sent = Client::new().put(server.at("/v1/sessions/t"));
    assert_eq!(sent.send().await.unwrap().status(), 201);
    for bound in [json!({"lifetime_ms": 1}), json!({"max_deliveries": 1})] {
        let sent = Client::new().put(server.at("/v1/sessions/t")).json(&bound);
        assert_eq!(sent.send().await.unwrap().status(), 409, "{bound}");
    }
}

#[tokio::test]
async fn a_lease_that_is_not_renewed_poisons_its_signal() {
    let server = Server::start().await;
    let leased = json!({"name": "build", "lease_ms": 300});
    let (_, dying) = post(&server, "/v1/signals", &leased).await;
    let (_, living) = post(&server, "/v1/signals", &leased).await;
    let path = |signal: &Value, rest: &str| {
        format!("/v1/signals/{}{rest}", signal["handle"].as_str().unwrap())
    };
    let wait = tokio::spawn({
        let url = server.at(&path(&dying, "?timeout=60s"));
        async move {
            reqwest::get(url)
                .await
                .unwrap()
                .json::<Value>()
                .await
                .unwrap()
        }
    });
    let renewal = json!({"secret": living["secret"]});
    let wait = soon("the end of the lease", async {
        while !wait.is_finished() {
            let (status, renewed) = post(&server, &path(&living, "/renew"), &renewal).await;
            assert_eq!((status, &renewed["lease_ms"]), (200, &json!(300)));
        }
        wait.await.unwrap()
    });
    let ended = wait.await;
    assert_eq!(ended["status"], "poisoned");
    assert_eq!(ended["poison"]["reason"], "lease ran out");
    assert_eq!(
        get(&server, &path(&living, "")).await.1["status"],
        "pending"
    );
    let (status, problem) = post(
        &server,
        &path(&dying, "/renew"),
        &json!({"secret": dying["secret"]}),
    )
    .await;
    assert_eq!(status, 409, "{problem}");
    let wrong = post(
        &server,
        &path(&living, "/renew"),
        &json!({"secret": "wrong"}),
    )
    .await;
    assert_eq!(wrong.0, 403);
    let (_, free) = post(&server, "/v1/signals", &json!({})).await;
    let (status, problem) = post(
        &server,
        &path(&free, "/renew"),
        &json!({"secret": free["secret"]}),
    )
    .await;
    assert_eq!((status, &problem["code"]), (409, &json!("no_lease")));
    assert_eq!(
        post(&server, "/v1/signals", &json!({"lease_ms": 1}))
            .await
            .0,
        422
    );
}

#[tokio::test]
async fn why_names_what_blocks_a_merge_and_who_owes_it() {
    let server = Server::start().await;
    let (_, a) = post(&server, "/v1/signals", &json!({"name": "a"})).await;
    let (_, b) = post(&server, "/v1/signals", &json!({"name": "b"})).await;
    let inputs = json!({"inputs": [a["handle"], b["handle"]]});
    let (_, merged) = post(&server, "/v1/signals:merge", &inputs).await;
    let path = |signal: &Value, rest: &str| {
        format!("/v1/signals/{}{rest}", signal["handle"].as_str().unwrap())
    };
    let (_, why) = get(&server, &path(&merged, "/why")).await;
    let pending = why["pending"].as_array().unwrap();
    assert_eq!(pending.len(), 3);
    assert_eq!(pending[0]["mode"], "all_settled");
    assert_eq!(pending[0]["waits_for"], inputs["inputs"]);
    assert_eq!(pending[1]["name"], "a");
    assert_eq!(pending[1]["owed_by"], "anybody");
    assert!(pending[1]["since"].is_string());
    let done = json!({"secret": a["secret"]});
    assert_eq!(post(&server, &path(&a, "/trigger"), &done).await.0, 200);
    let (_, why) = get(&server, &path(&merged, "/why")).await;
    assert_eq!(why["pending"][0]["waits_for"], json!([b["handle"]]));
    let (_, why) = get(&server, &path(&a, "/why")).await;
    assert_eq!(why["pending"], json!([]));
}
