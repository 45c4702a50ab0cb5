//! The bus over HTTP: all sessions of the tenant in one order, filtered, resumable.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use reveille_e2e::{Server, SseReader, publish, soon};
use serde_json::{Value, json};

async fn get(server: &Server, path: &str) -> (u16, Value) {
    let request = reqwest::Client::new().get(server.at(path));
    let answer = request.header("accept", "application/json").send();
    let answer = soon("an answer", answer).await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.bytes().await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

fn kinds(page: &Value) -> Vec<&str> {
    let events = page["events"].as_array().unwrap();
    events.iter().map(|e| e["type"].as_str().unwrap()).collect()
}

async fn events_of_all_sessions_come_in_one_order(server: Server) {
    publish(&server.url, "a", &json!({"type": "task.started"})).await;
    let mut stream = SseReader::open(&server.at("/v1/events?after=earliest"), None).await;
    let open = stream.next().await.unwrap();
    assert!(open.is("reveille.open"));
    assert_eq!(open.json()["session"], Value::Null);
    publish(
        &server.url,
        "workflow%2Fb",
        &json!({"type": "task.completed"}),
    )
    .await;
    publish(&server.url, "a", &json!({"type": "custom"})).await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let event = stream.event().await;
        let json = event.json();
        assert_eq!(
            json["reveillecursor"],
            event.id.unwrap(),
            "the cursor is the bus's"
        );
        seen.push((json["reveillesession"].clone(), json["type"].clone()));
    }
    assert_eq!(
        json!(seen),
        json!([
            ["a", "task.started"],
            ["workflow/b", "task.completed"],
            ["a", "custom"]
        ])
    );
}

async fn a_filtered_stream_resumes_exactly_and_only_with_its_filter(server: Server) {
    for n in 0..4 {
        let batch = json!([
            {"type": "task.step", "reveilleagent": "w1", "data": n},
            {"type": "task.step", "reveilleagent": "w2", "data": n},
            {"type": "other", "reveilleagent": "w1"},
        ]);
        publish(&server.url, &format!("s{n}"), &batch).await;
    }
    let url = server.at("/v1/events?match=task.*&agent=w1");
    let mut stream = SseReader::open(&format!("{url}&after=earliest"), None).await;
    let mut ids = Vec::new();
    for n in 0..4 {
        let event = stream.event().await;
        assert_eq!(event.json()["data"], n);
        ids.push(event.id.unwrap());
    }
    for (n, id) in ids.iter().enumerate() {
        let mut rest = SseReader::open(&url, Some(id)).await;
        assert_eq!(rest.next().await.unwrap().json()["resumed"], true);
        for n in n + 1..4 {
            assert_eq!(rest.event().await.json()["data"], n);
        }
        assert!(rest.next().await.unwrap().is("reveille.caught_up"));
    }
    // Another filter, a session's cursor, another server's: a gap, then the oldest.
    let session = publish(&server.url, "s0", &json!({"type": "x"})).await;
    for (url, id) in [
        (server.at("/v1/events?match=task.*"), ids[0].as_str()),
        (url, session["cursor"].as_str().unwrap()),
    ] {
        let mut stream = SseReader::open(&url, Some(id)).await;
        assert!(stream.next().await.unwrap().is("reveille.open"));
        let gap = stream.next().await.unwrap();
        assert_eq!(gap.json()["reason"], "unknown_cursor");
        assert_eq!(stream.event().await.json()["data"], 0);
    }
}

async fn pages_are_history_and_follow_each_other(server: Server) {
    assert_eq!(kinds(&get(&server, "/v1/events").await.1), [""; 0]);
    for n in 0..5 {
        publish(
            &server.url,
            &format!("s{n}"),
            &json!({"type": format!("e.{n}")}),
        )
        .await;
    }
    let (_, first) = get(&server, "/v1/events?limit=2").await;
    assert_eq!(
        (kinds(&first), &first["caught_up"]),
        (vec!["e.0", "e.1"], &json!(false))
    );
    let after = first["cursor"].as_str().unwrap();
    let (_, rest) = get(&server, &format!("/v1/events?after={after}")).await;
    assert_eq!(kinds(&rest), ["e.2", "e.3", "e.4"]);
    assert_eq!(rest["caught_up"], true);
    let (_, some) = get(&server, "/v1/events?match=e.1&match=e.3").await;
    assert_eq!(kinds(&some), ["e.1", "e.3"]);
    let (_, some) = get(&server, "/v1/events?session=s4").await;
    assert_eq!(kinds(&some), ["e.4"]);
    let (status, problem) = get(&server, "/v1/events?after=nonsense").await;
    assert_eq!((status, &problem["code"]), (400, &json!("unknown_cursor")));
    let (status, problem) = get(&server, "/v1/events?agnet=x").await;
    assert_eq!((status, &problem["field"]), (400, &json!("agnet")));
}

async fn a_batch_is_an_array_of_events(server: Server) {
    publish(&server.url, "s", &json!([{"type": "a"}, {"type": "b"}])).await;
    let batch = "application/cloudevents-batch+json";
    let request = reqwest::Client::new().get(server.at("/v1/events"));
    let answer = request.header("accept", batch).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], batch);
    let cursor = answer.headers()["reveille-cursor"].clone();
    let events: Value = answer.json().await.unwrap();
    assert_eq!(events[1]["type"], "b");
    assert_eq!(events[1]["reveillecursor"], cursor.to_str().unwrap());
}

async fn a_long_poll_waits_for_what_matches(server: Server) {
    let url = "/v1/events?match=done&after=latest&wait=300s";
    let waiting = get(&server, url);
    let publishing = async {
        let tenant = reveille_types::Tenant::default_tenant();
        let tail = server
            .sessions
            .tail_or_begin(&tenant)
            .await
            .unwrap()
            .unwrap();
        soon("a watcher", async {
            while tail.info().watchers == 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        publish(
            &server.url,
            "s",
            &json!([{"type": "other"}, {"type": "done"}]),
        )
        .await;
    };
    let ((status, page), ()) = tokio::join!(waiting, publishing);
    assert_eq!((status, kinds(&page)), (200, vec!["done"]));
    let (status, _) = get(&server, "/v1/events?match=never&wait=50ms").await;
    assert_eq!(status, 204);
}

async fn a_long_filter_goes_in_the_body(server: Server) {
    publish(
        &server.url,
        "s",
        &json!([
            {"type": "a", "reveilletags": "x,y"},
            {"type": "task.result", "reveilletags": "y"},
        ]),
    )
    .await;
    let ask = |body: Value| {
        reqwest::Client::new()
            .post(server.at("/v1/events:query"))
            .header("accept", "application/json")
            .json(&body)
            .send()
    };
    let filter = json!({"filter": {"tag": ["x", "y"], "final": ["session"]}, "limit": 5});
    let page: Value = ask(filter).await.unwrap().json().await.unwrap();
    assert_eq!(kinds(&page), ["task.result"]);
    // An empty list would match nothing, silently.
    let refused = ask(json!({"filter": {"tag": []}})).await.unwrap();
    assert_eq!(refused.status(), 400);
    let problem: Value = refused.json().await.unwrap();
    assert_eq!(problem["field"], "tag");
    let refused = ask(json!({"filtre": {}})).await.unwrap();
    assert_eq!(refused.status(), 422);
}

async fn removed_sessions_leave_no_events_and_a_gap(server: Server) {
    publish(&server.url, "keep", &json!({"type": "a"})).await;
    publish(&server.url, "gone", &json!({"type": "secret"})).await;
    publish(&server.url, "keep", &json!({"type": "b"})).await;
    let remove = reqwest::Client::new().delete(server.at("/v1/sessions/gone"));
    assert_eq!(remove.send().await.unwrap().status(), 204);
    let mut stream = SseReader::open(&server.at("/v1/events?after=earliest"), None).await;
    assert!(stream.next().await.unwrap().is("reveille.open"));
    assert_eq!(stream.next().await.unwrap().json()["type"], "a");
    let gap = stream.next().await.unwrap();
    assert!(gap.is("reveille.gap"));
    assert_eq!(gap.json()["missed"], 1);
    assert_eq!(stream.next().await.unwrap().json()["type"], "b");
}

async fn events_are_asked_for_by_path_and_attributes(server: Server) {
    for (session, event) in [
        (
            "run%2Fr1",
            json!({"type": "a", "region": "eu-west", "attempt": 3}),
        ),
        ("run%2Fr1%2Fw", json!({"type": "b", "region": "us-east"})),
        ("run%2Fr10", json!({"type": "c", "region": "eu-west"})),
        (
            "other",
            json!({"type": "d", "reveilleprivacy": "secret", "data": {"redacted_summary": "s", "n": 1}}),
        ),
    ] {
        publish(&server.url, session, &event).await;
    }
    for (query, expected) in [
        ("path=run/r1", vec!["a"]),
        ("path=run/r1/**", vec!["a", "b"]),
        ("path=run/**&match=c", vec!["c"]),
        (
            r#"attributes={"region":[{"prefix":"eu-"}]}"#,
            vec!["a", "c"],
        ),
        (r#"attributes={"attempt":[{"numeric":[">",2]}]}"#, vec!["a"]),
        (
            r#"path=run/**&attributes={"attempt":[{"exists":false}]}"#,
            vec!["b", "c"],
        ),
    ] {
        let (status, page) = get(&server, &format!("/v1/events?after=earliest&{query}")).await;
        assert_eq!((status, kinds(&page)), (200, expected), "{query}");
    }
    for query in [
        "path=run/*",
        r#"attributes={"a":[{"like":"x"}]}"#,
        "attributes=x",
    ] {
        let (status, problem) = get(&server, &format!("/v1/events?{query}")).await;
        assert_eq!(status, 400, "{query}: {problem}");
    }
    let (_, page) = get(&server, "/v1/events?after=earliest&match=d").await;
    assert_eq!(page["events"][0]["data"], json!({"redacted_summary": "s"}));
}

reveille_e2e::on_every_backend!(
    events_are_asked_for_by_path_and_attributes,
    events_of_all_sessions_come_in_one_order,
    a_filtered_stream_resumes_exactly_and_only_with_its_filter,
    pages_are_history_and_follow_each_other,
    a_batch_is_an_array_of_events,
    a_long_poll_waits_for_what_matches,
    a_long_filter_goes_in_the_body,
    removed_sessions_leave_no_events_and_a_gap,
);
