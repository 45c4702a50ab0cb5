//! The bounds of tokens, sessions and tenants.

use std::time::{Duration, Instant};

use reqwest::{Client, Response};
use reveille_e2e::{SseReader, soon};
use reveille_gateway::{Rate, Secret};
use reveille_queue::QueueLimits;
use serde_json::{Value, json};

use crate::known::{EVENTS, config, known, refused};

#[tokio::test]
async fn a_tenant_holds_so_many_bytes_and_a_batch_that_can_never_fit_is_told_so() {
    let mut limits = QueueLimits::default();
    limits.bytes_per_tenant = 10_000;
    let known = known(config(), limits).await;
    let send = async |key: &Secret, bytes: usize| {
        let body = json!({"type": "a", "data": "x".repeat(bytes)});
        known.send(key, EVENTS, &body).await
    };
    let rival = send(&known.rival, 5_000).await;
    assert_eq!(rival.status(), 201);
    // What comes later takes the place of what came before.
    for _ in 0..5 {
        assert_eq!(send(&known.ours, 5_000).await.status(), 201);
    }
    let problem = refused(send(&known.ours, 11_000).await, 507, "store_full").await;
    assert_eq!(problem["limit"], 10_000);
    let info = known.info(&known.rival, "s").await;
    assert_eq!(
        (&info["retained"], &info["dropped"]),
        (&json!(1), &json!(0))
    );
}

#[tokio::test]
async fn a_tenant_publishes_so_many_events_and_bytes_in_a_second() {
    let mut config = config();
    config.traffic.events = Rate::per_second(1, 5);
    config.traffic.bytes = Rate::per_second(100, 1_000);
    let known = known(config, QueueLimits::default()).await;
    let events = async |key: &Secret, count: usize| {
        let body: Vec<Value> = (0..count).map(|_| json!({"type": "a"})).collect();
        known.send(key, EVENTS, &json!(body)).await
    };
    assert_eq!(events(&known.ours, 4).await.status(), 201);
    assert_eq!(events(&known.ours, 1).await.status(), 201);
    let problem = refused(events(&known.other, 2).await, 429, "too_many_events").await;
    assert_eq!(problem["limit"], 1);
    assert!(problem["retry_after_ms"].as_u64().unwrap() <= 2_000);
    assert_eq!(events(&known.rival, 1).await.status(), 201);
    let large = json!({"type": "a", "data": "x".repeat(990)});
    refused(
        known.send(&known.rival, EVENTS, &large).await,
        429,
        "too_many_bytes",
    )
    .await;
}

#[tokio::test]
async fn a_tenant_publishes_so_much_to_so_many_readers() {
    let mut config = config();
    config.traffic.delivered_bytes = Rate::per_second(1_000, 1_000);
    let known = known(config, QueueLimits::default()).await;
    let send = async |key: &Secret| {
        let body = json!({"type": "a", "data": "x".repeat(450)});
        known.send(key, EVENTS, &body).await
    };
    // Nobody reads: nothing is delivered.
    for _ in 0..3 {
        assert_eq!(send(&known.ours).await.status(), 201);
    }
    let of_session = known.stream(&known.ours, EVENTS).await;
    let of_all = known.stream(&known.ours, "/v1/events").await;
    assert_eq!(
        (of_session.status(), of_all.status()),
        (200.try_into().unwrap(), 200.try_into().unwrap())
    );
    assert_eq!(send(&known.ours).await.status(), 201);
    let problem = refused(send(&known.ours).await, 429, "too_many_bytes_delivered").await;
    assert_eq!(problem["limit"], 1_000);
    assert_eq!(send(&known.rival).await.status(), 201);
    // They are gone, and with them what they cost.
    drop((of_session, of_all));
    soon("room", async {
        while send(&known.ours).await.status() != 201 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn streams_are_bounded_by_token_tenant_node_and_rate() {
    let mut config = config();
    (config.streams.per_token, config.streams.per_tenant) = (2, 3);
    config.streams.per_node = 4;
    config.traffic.streams = Rate::per_minute(6);
    let known = known(config, QueueLimits::default()).await;
    let first = known.stream(&known.ours, EVENTS).await;
    let second = known.stream(&known.ours, EVENTS).await;
    assert_eq!(
        (first.status().as_u16(), second.status().as_u16()),
        (200, 200)
    );
    let third = known.stream(&known.ours, EVENTS).await;
    let problem = refused(third, 429, "too_many_streams_of_token").await;
    assert_eq!(problem["limit"], 2);
    let third = known.stream(&known.other, EVENTS).await;
    assert_eq!(third.status(), 200);
    let fourth = known.stream(&known.other, EVENTS).await;
    let problem = refused(fourth, 429, "too_many_streams_of_tenant").await;
    assert_eq!(problem["limit"], 3);
    let of_rival = known.stream(&known.rival, EVENTS).await;
    assert_eq!(of_rival.status(), 200);
    let fifth = known.stream(&known.rival, EVENTS).await;
    refused(fifth, 503, "too_many_streams").await;
    // The sixth of this minute is the last.
    refused(
        known.stream(&known.other, EVENTS).await,
        429,
        "too_many_streams_of_tenant",
    )
    .await;
    let seventh = known.stream(&known.other, EVENTS).await;
    refused(seventh, 429, "too_many_new_streams").await;
}

#[tokio::test]
async fn waits_are_bounded_by_session_and_by_tenant() {
    let mut config = config();
    config.waits_per_tenant = 3;
    let mut limits = QueueLimits::default();
    limits.waiters_per_session = 2;
    let known = known(config, limits).await;
    let wait = |key: &Secret, session: &str| {
        let path = format!("/v1/sessions/{session}/wait?match=never&timeout=60s");
        tokio::spawn(known.get(key, &path).send())
    };
    let answer = async |wait: tokio::task::JoinHandle<reqwest::Result<Response>>| {
        soon("an answer", wait).await.unwrap().unwrap()
    };
    let (first, _second) = (wait(&known.ours, "s"), wait(&known.ours, "s"));
    known.waiters("s", 2).await;
    let problem = refused(
        answer(wait(&known.ours, "s")).await,
        429,
        "too_many_waiters",
    )
    .await;
    assert_eq!(problem["limit"], 2);
    // Of another session, one more; by whatever way it waits.
    let poll = known.get(&known.other, "/v1/sessions/t/events?wait=60s");
    let _third = tokio::spawn(poll.header("accept", "application/json").send());
    let too_many = "too_many_waits_of_tenant";
    let fourth = async || {
        let path = "/v1/sessions/u/wait?match=never&timeout=1ms";
        known.get(&known.ours, path).send().await.unwrap()
    };
    known.waiters("t", 1).await;
    let problem = refused(fourth().await, 429, too_many).await;
    assert_eq!(problem["limit"], 3);
    let take = json!({"match": ["never"], "timeout_ms": 1});
    let take = known.send(&known.ours, "/v1/sessions/u/take", &take).await;
    refused(take, 429, too_many).await;
    let signal = known.send(&known.ours, "/v1/signals", &json!({})).await;
    let signal: Value = signal.json().await.unwrap();
    let signal = signal["handle"].as_str().unwrap();
    let path = format!("/v1/signals/{signal}?timeout=1ms");
    refused(
        known.get(&known.ours, &path).send().await.unwrap(),
        429,
        too_many,
    )
    .await;
    let bus = known.get(&known.ours, "/v1/events?wait=1ms&after=latest");
    let bus = bus
        .header("accept", "application/json")
        .send()
        .await
        .unwrap();
    refused(bus, 429, too_many).await;
    // What is there already waits for nothing.
    assert_eq!(
        known
            .send(&known.ours, "/v1/sessions/u/events", &json!({"type": "a"}))
            .await
            .status(),
        201
    );
    let there = known.get(&known.ours, "/v1/sessions/u/wait?match=a");
    assert_eq!(there.send().await.unwrap().status(), 200);
    let path = "/v1/sessions/s/wait?match=never&timeout=1ms";
    let rival = known.get(&known.rival, path).send().await.unwrap();
    assert_eq!(rival.status(), 204);
    first.abort();
    soon("room", async {
        while fourth().await.status() != 204 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn tickets_sessions_groups_and_leases_are_bounded() {
    let mut config = config();
    config.tickets_per_tenant = 2;
    let mut limits = QueueLimits::default();
    (limits.sessions_per_tenant, limits.groups_per_session) = (2, 1);
    limits.leases_per_group = 1;
    let known = known(config, limits).await;
    let ticket = async |key: &Secret, ttl: u64| {
        let body = json!({"session": "s", "ttl_ms": ttl});
        known.send(key, "/v1/tickets", &body).await
    };
    assert_eq!(ticket(&known.ours, 500).await.status(), 201);
    assert_eq!(ticket(&known.ours, 60_000).await.status(), 201);
    let problem = refused(ticket(&known.ours, 60_000).await, 429, "too_many_tickets").await;
    assert_eq!(problem["limit"], 2);
    assert_eq!(ticket(&known.rival, 60_000).await.status(), 201);
    soon("the end of a ticket", async {
        while ticket(&known.ours, 60_000).await.status() != 201 {
            tokio::task::yield_now().await;
        }
    })
    .await;

    let create = async |key: &Secret, session: &str| {
        let path = format!("/v1/sessions/{session}/events");
        known
            .send(key, &path, &json!([{"type": "a"}, {"type": "a"}]))
            .await
    };
    assert_eq!(create(&known.ours, "s").await.status(), 201);
    assert_eq!(create(&known.ours, "t").await.status(), 201);
    let problem = refused(create(&known.ours, "u").await, 429, "too_many_sessions").await;
    assert_eq!(problem["limit"], 2);
    assert_eq!(create(&known.rival, "s").await.status(), 201);

    let take = async |group: &str| {
        let body = json!({"group": group, "timeout_ms": 1});
        known.send(&known.ours, "/v1/sessions/s/take", &body).await
    };
    assert_eq!(take("g").await.status(), 200);
    refused(take("h").await, 429, "too_many_groups").await;
    refused(take("g").await, 429, "too_many_leases").await;
}

#[tokio::test]
async fn signals_are_bounded_in_number_width_and_value() {
    let mut config = config();
    (config.signals.pending, config.signals.value_bytes) = (3, 10);
    (config.signals.merge_inputs, config.signals.waiters) = (2, 1);
    let known = known(config, QueueLimits::default()).await;
    let create = async |key: &Secret| known.send(key, "/v1/signals", &json!({})).await;
    let first: Value = create(&known.ours).await.json().await.unwrap();
    let second: Value = create(&known.ours).await.json().await.unwrap();
    let merge = async |inputs: Value| {
        let body = json!({"inputs": inputs});
        known.send(&known.ours, "/v1/signals:merge", &body).await
    };
    let handles = [&first["handle"], &second["handle"], &first["handle"]];
    let problem = refused(merge(json!(handles)).await, 413, "merge_too_wide").await;
    assert_eq!(
        (&problem["limit"], &problem["actual"]),
        (&json!(2), &json!(3))
    );
    assert_eq!(merge(json!(handles[..2])).await.status(), 201);
    assert_eq!(create(&known.ours).await.status(), 201);
    let problem = refused(create(&known.ours).await, 429, "exhausted").await;
    assert_eq!(problem["limit"], 3);
    assert_eq!(create(&known.rival).await.status(), 201);
    let path = format!("/v1/signals/{}/trigger", first["handle"].as_str().unwrap());
    let trigger = async |bytes: usize| {
        let body = json!({"secret": first["secret"], "value": "x".repeat(bytes - 2)});
        known.send(&known.ours, &path, &body).await
    };
    let problem = refused(trigger(11).await, 413, "invalid_signal").await;
    assert_eq!(
        (&problem["limit"], &problem["actual"]),
        (&json!(10), &json!(11))
    );
    assert_eq!(trigger(10).await.status(), 200);
}

#[tokio::test]
async fn history_is_read_by_a_few_streams_of_a_token_at_a_time() {
    let mut config = config();
    config.streams.replays = 2;
    let known = known(config, QueueLimits::default()).await;
    // More than the kernel buffers for who does not read.
    let body: Vec<Value> = (0..10)
        .map(|_| json!({"type": "a", "data": "x".repeat(200_000)}))
        .collect();
    for _ in 0..4 {
        let sent = known.send(&known.ours, EVENTS, &json!(body)).await;
        assert_eq!(sent.status(), 201);
    }
    let path = "/v1/sessions/s/events?after=earliest";
    // They do not read on.
    let first = known.stream(&known.ours, path).await;
    let second = known.stream(&known.ours, path).await;
    let mut third = SseReader::of(known.stream(&known.ours, path).await);
    assert!(third.next().await.unwrap().is("reveille.open"));
    // Whoever has no history to read needs no turn, and another token has turns of its own.
    let mut live = SseReader::of(known.stream(&known.ours, EVENTS).await);
    while !live.next().await.unwrap().is("reveille.caught_up") {}
    let mut other = SseReader::of(known.stream(&known.other, path).await);
    while !other.next().await.unwrap().is("reveille.caught_up") {}
    let early = tokio::time::timeout(Duration::from_millis(200), third.next()).await;
    assert!(early.is_err(), "it is not its turn");
    drop(first);
    let mut events = 0;
    loop {
        let block = soon("its turn", third.next()).await.unwrap();
        events += usize::from(block.is_event());
        if block.is("reveille.caught_up") {
            break;
        }
    }
    assert_eq!(events, 40);
    drop(second);
}

#[tokio::test]
async fn history_is_read_at_a_pace() {
    let mut config = config();
    config.streams.replay_bytes = 500_000;
    let known = known(config, QueueLimits::default()).await;
    let body: Vec<Value> = (0..10)
        .map(|_| json!({"type": "a", "data": "x".repeat(100_000)}))
        .collect();
    let sent = known.send(&known.ours, EVENTS, &json!(body)).await;
    assert_eq!(sent.status(), 201);
    // Past the server and through it.
    for http2 in [false, true] {
        let client = match http2 {
            true => Client::builder().http2_prior_knowledge().build().unwrap(),
            false => Client::new(),
        };
        let begun = Instant::now();
        let asked = client.get(known.server.at("/v1/sessions/s/events?after=earliest"));
        let asked = asked.bearer_auth(known.ours.expose());
        let mut stream = SseReader::of(asked.send().await.unwrap());
        let mut events = 0;
        loop {
            let block = soon("the next event", stream.next()).await.unwrap();
            events += usize::from(block.is_event());
            if block.is("reveille.caught_up") {
                break;
            }
        }
        assert_eq!(events, 10);
        // 1 MB: half of it at once, and the other half in a second.
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(800), "{took:?}");
    }
}
