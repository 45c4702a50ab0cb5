//! Each limit below itself, at itself and above itself: what is documented is answered, and another
//! tenant notices nothing.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::{Client, RequestBuilder, Response};
use reveille_e2e::{Server, SseReader, soon};
use reveille_gateway::{
    Action, ApiKeyConfig, AuthConfig, GatewayConfig, Grant, Rate, Secret, StaticAuthorizer,
    new_api_key,
};
use reveille_memory::MemoryBackend;
use reveille_queue::{QueueLimits, Sessions, TailLimits};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A server with two tenants; `ours` and `other` are keys of the first.
struct Known {
    server: Server,
    client: Client,
    ours: Secret,
    other: Secret,
    rival: Secret,
}

async fn known(config: GatewayConfig, limits: QueueLimits) -> Known {
    let mut auth = AuthConfig::default();
    let mut key = |id: &str, tenant: &str| {
        let new = new_api_key(id).unwrap();
        auth.keys.push(ApiKeyConfig {
            id: id.into(),
            sha256: new.sha256,
            tenant: tenant.parse().unwrap(),
            subject: None,
            grants: vec![Grant::everything(Action::ALL)],
            expires_at: None,
        });
        new.key
    };
    let (ours, other) = (key("ours", "acme"), key("other", "acme"));
    let rival = key("rival", "rival");
    let sessions = Sessions::builder(MemoryBackend::new())
        .tail(TailLimits::default())
        .limits(limits)
        .build();
    let known = Arc::new(StaticAuthorizer::new(auth).unwrap());
    Known {
        client: Client::new(),
        server: Server::over(sessions, config, Some(known)).await,
        ours,
        other,
        rival,
    }
}

/// With sessions that are created on first use.
fn config() -> GatewayConfig {
    let mut config = GatewayConfig::default();
    config.auto_create = Some(true);
    config
}

impl Known {
    fn get(&self, key: &Secret, path: &str) -> RequestBuilder {
        let asked = self.client.get(self.server.at(path));
        asked.bearer_auth(key.expose())
    }

    fn post(&self, key: &Secret, path: &str, body: &Value) -> RequestBuilder {
        let sent = self.client.post(self.server.at(path));
        sent.bearer_auth(key.expose()).json(body)
    }

    async fn send(&self, key: &Secret, path: &str, body: &Value) -> Response {
        self.post(key, path, body).send().await.unwrap()
    }

    async fn stream(&self, key: &Secret, path: &str) -> Response {
        let asked = self.get(key, path).header("accept", "text/event-stream");
        asked.send().await.unwrap()
    }

    /// Waits until so many wait in a session.
    async fn waiters(&self, session: &str, count: u64) {
        let path = format!("/v1/sessions/{session}");
        soon("waiters", async {
            loop {
                let info = self.get(&self.ours, &path).send().await.unwrap();
                if info.json::<Value>().await.unwrap()["waiters"] == count {
                    return;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

const EVENTS: &str = "/v1/sessions/s/events";

/// The problem of an answer that says what the limit is, and when to come back if that helps.
async fn refused(answer: Response, status: u16, code: &str) -> Value {
    let found = answer.status();
    let comes_back = answer.headers().contains_key("retry-after");
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(found, status, "{problem}");
    assert_eq!(problem["code"], code, "{problem}");
    assert_eq!(comes_back, matches!(status, 429 | 503), "{problem}");
    problem
}

fn nested(depth: usize) -> String {
    format!(
        r#"{{"type":"a","data":{}{}}}"#,
        "[".repeat(depth - 1),
        "]".repeat(depth - 1)
    )
}

fn object(members: usize) -> String {
    let members: Vec<String> = (0..members).map(|n| format!("\"{n}\":0")).collect();
    format!(r#"{{"type":"a","data":{{{}}}}}"#, members.join(","))
}

#[tokio::test]
async fn a_body_is_as_large_as_it_may_be() {
    let mut config = config();
    config.body_bytes = 1_000;
    let known = known(config, QueueLimits::default()).await;
    let sent = async |bytes: usize| {
        let around = json!({"type": "a", "data": ""}).to_string().len();
        let body = json!({"type": "a", "data": "x".repeat(bytes - around)});
        known.send(&known.ours, EVENTS, &body).await
    };
    assert_eq!(sent(999).await.status(), 201);
    assert_eq!(sent(1_000).await.status(), 201);
    let problem = refused(sent(1_001).await, 413, "body_too_large").await;
    assert_eq!(problem["limit"], 1_000);
}

#[tokio::test]
async fn an_event_and_a_batch_are_as_large_as_they_may_be() {
    let mut limits = QueueLimits::default();
    (limits.event_bytes, limits.batch_events) = (2_000, 3);
    limits.bytes_per_tenant = 10_000;
    let known = known(config(), limits).await;
    let batch = async |events: usize| {
        let body: Vec<Value> = (0..events).map(|_| json!({"type": "a"})).collect();
        known.send(&known.ours, EVENTS, &json!(body)).await
    };
    assert_eq!(batch(2).await.status(), 201);
    assert_eq!(batch(3).await.status(), 201);
    let problem = refused(batch(4).await, 413, "batch_too_large").await;
    assert_eq!(
        (&problem["limit"], &problem["actual"]),
        (&json!(3), &json!(4))
    );

    // The envelope counts, too: the answer says by how much it is over.
    let event = async |bytes: usize| {
        let body = json!({"type": "a", "id": "1", "source": "/s", "data": "x".repeat(bytes)});
        let sent = known.post(&known.ours, EVENTS, &body);
        sent.header("idempotency-key", bytes).send().await.unwrap()
    };
    let problem = refused(event(2_000).await, 413, "event_too_large").await;
    let over = problem["actual"].as_u64().unwrap() - 2_000;
    let most = 2_000 - usize::try_from(over).unwrap();
    assert_eq!(event(most - 1).await.status(), 201);
    assert_eq!(event(most).await.status(), 201);
    refused(event(most + 1).await, 413, "event_too_large").await;
}

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
    let info = known
        .get(&known.rival, "/v1/sessions/s")
        .send()
        .await
        .unwrap();
    let info: Value = info.json().await.unwrap();
    assert_eq!(
        (&info["retained"], &info["dropped"]),
        (&json!(1), &json!(0))
    );
}

#[tokio::test]
async fn a_url_and_headers_are_as_long_as_they_may_be() {
    let known = known(config(), QueueLimits::default()).await;
    for http2 in [false, true] {
        let client = Client::builder();
        let client = match http2 {
            true => client.http2_prior_knowledge(),
            false => client,
        };
        let client = client.build().unwrap();
        let url = async |bytes: usize| {
            let path = "/v1/limits?x=";
            let path = format!("{path}{}", "a".repeat(bytes - path.len()));
            let asked = client.get(known.server.at(&path));
            asked.bearer_auth(known.ours.expose()).send().await.unwrap()
        };
        // It is not known, but it is read.
        assert_eq!(url(8_191).await.status(), 400);
        assert_eq!(url(8_192).await.status(), 400);
        let problem = refused(url(8_193).await, 414, "url_too_long").await;
        assert_eq!(problem["limit"], 8_192);
        assert_eq!(problem["actual"], 8_193);

        let headers = async |bytes: usize| {
            let asked = client.get(known.server.at("/v1/limits"));
            let asked = asked.bearer_auth(known.ours.expose());
            asked.header("x-long", "a".repeat(bytes)).send().await
        };
        assert_eq!(headers(15_000).await.unwrap().status(), 200);
        let answer = headers(16_500).await.unwrap();
        assert_eq!(answer.status(), 431, "http2: {http2}");
        if !http2 {
            let problem = refused(answer, 431, "headers_too_large").await;
            assert_eq!(problem["limit"], 16_384);
        }
    }
}

#[tokio::test]
async fn json_is_as_deep_and_as_wide_as_it_may_be_and_says_nothing_twice() {
    let known = known(config(), QueueLimits::default()).await;
    let send = async |body: String| {
        let sent = Client::new().post(known.server.at(EVENTS));
        let sent = sent.bearer_auth(known.ours.expose());
        let sent = sent.header("content-type", "application/json").body(body);
        sent.send().await.unwrap()
    };
    assert_eq!(send(nested(63)).await.status(), 201);
    assert_eq!(send(nested(64)).await.status(), 201);
    let problem = refused(send(nested(65)).await, 422, "json_too_deep").await;
    assert_eq!(problem["limit"], 64);
    // What may be published alone may be so in a batch.
    assert_eq!(send(format!("[{}]", nested(64))).await.status(), 201);
    refused(
        send(format!("[{}]", nested(65))).await,
        422,
        "json_too_deep",
    )
    .await;
    refused(send(nested(100_000)).await, 422, "json_too_deep").await;

    assert_eq!(send(object(9_999)).await.status(), 201);
    assert_eq!(send(object(10_000)).await.status(), 201);
    let problem = refused(send(object(10_001)).await, 422, "json_too_many_members").await;
    assert_eq!(problem["limit"], 10_000);

    let twice = r#"{"type":"a","type":"b"}"#.to_owned();
    let problem = refused(send(twice).await, 422, "invalid_event").await;
    assert_eq!(problem["field"], "type");
    let put = Client::new().put(known.server.at("/v1/sessions/t"));
    let put = put.bearer_auth(known.ours.expose());
    let put = put.body(r#"{"max_events":1,"max_events":2}"#).send();
    let problem = refused(put.await.unwrap(), 422, "invalid_json").await;
    assert_eq!(problem["field"], "max_events");
    // Binary mode carries the same data.
    let binary = async |depth: usize| {
        let sent = Client::new().post(known.server.at(EVENTS));
        let mut sent = sent.bearer_auth(known.ours.expose());
        let attributes = [
            ("ce-specversion", "1.0"),
            ("ce-id", "1"),
            ("ce-source", "/s"),
            ("ce-type", "a"),
            ("content-type", "application/json"),
        ];
        for (name, value) in attributes {
            sent = sent.header(name, value);
        }
        sent = sent.header("idempotency-key", depth);
        let data = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        sent.body(data).send().await.unwrap()
    };
    assert_eq!(binary(63).await.status(), 201);
    refused(binary(64).await, 422, "json_too_deep").await;
}

#[tokio::test]
async fn a_body_that_is_compressed_is_not_read() {
    let known = known(config(), QueueLimits::default()).await;
    let send = async |encoding: &str| {
        let sent = known.post(&known.ours, EVENTS, &json!({"type": "a"}));
        let sent = sent.header("content-encoding", encoding);
        sent.send().await.unwrap()
    };
    assert_eq!(send("identity").await.status(), 201);
    for encoding in [
        "gzip",
        "br",
        "zstd",
        "deflate",
        "identity, gzip",
        "unheard-of",
    ] {
        let problem = refused(send(encoding).await, 415, "unsupported_encoding").await;
        assert_eq!(problem["field"], "content-encoding");
    }
}

#[tokio::test]
async fn so_many_matchers_of_such_a_length_are_compiled() {
    let known = known(config(), QueueLimits::default()).await;
    let ask = async |count: usize, bytes: usize| {
        let name = |n: usize| {
            let begin = format!("*.x{n}");
            let rest = ".a".repeat((bytes - begin.len()) / 2);
            format!(
                "match={begin}{rest}{}",
                "b".repeat((bytes - begin.len()) % 2)
            )
        };
        let names: Vec<String> = (0..count).map(name).collect();
        let path = format!("/v1/sessions/s/wait?timeout=1ms&{}", names.join("&"));
        known.get(&known.ours, &path).send().await.unwrap()
    };
    assert_eq!(ask(63, 8).await.status(), 204);
    assert_eq!(ask(64, 8).await.status(), 204);
    let problem = refused(ask(65, 8).await, 422, "invalid_parameter").await;
    assert_eq!(
        (&problem["limit"], &problem["actual"]),
        (&json!(64), &json!(65))
    );
    assert_eq!(ask(1, 128).await.status(), 204);
    assert_eq!(ask(1, 256).await.status(), 204);
    let problem = refused(ask(1, 257).await, 422, "invalid_parameter").await;
    assert_eq!(
        (&problem["limit"], &problem["actual"]),
        (&json!(256), &json!(257))
    );
    // All that may be asked for, in the body.
    let patterns: Vec<String> = (0..65).map(|n| format!("a{n}")).collect();
    let query = json!({"filter": {"match": patterns}});
    let asked = known.send(&known.ours, "/v1/events:query", &query).await;
    assert_eq!(asked.status(), 422);
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

#[tokio::test]
async fn connections_are_bounded_by_address_and_in_all() {
    let mut config = config();
    config.traffic.connections_per_address = 2;
    let known = known(config, QueueLimits::default()).await;
    let address = known.server.url.trim_start_matches("http://").to_owned();
    let told = async || {
        let mut socket = TcpStream::connect(&address).await.unwrap();
        let mut said = String::new();
        let read =
            tokio::time::timeout(Duration::from_millis(300), socket.read_to_string(&mut said));
        let ended = read.await.is_ok();
        (socket, ended, said)
    };
    let (first, ended, _) = told().await;
    assert!(!ended);
    let (_second, ended, _) = told().await;
    assert!(!ended);
    let (_, ended, said) = told().await;
    assert!(ended && said.starts_with("HTTP/1.1 429"), "{said}");
    assert!(said.contains("retry-after: 1"), "{said}");
    drop(first);
    soon("a place", async {
        while told().await.1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn connections_in_all_are_bounded_without_authentication_too() {
    let mut config = GatewayConfig::default();
    config.traffic.connections = 1;
    let server = Server::with(config).await;
    let address = server.url.trim_start_matches("http://").to_owned();
    let mut first = TcpStream::connect(&address).await.unwrap();
    first
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut answer = [0; 12];
    first.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    let mut second = TcpStream::connect(&address).await.unwrap();
    let mut said = String::new();
    soon("the end", second.read_to_string(&mut said))
        .await
        .unwrap();
    assert!(said.starts_with("HTTP/1.1 429"), "{said}");
}

#[tokio::test]
async fn an_address_asks_so_often_without_a_credential() {
    let mut config = config();
    config.traffic.anonymous = Rate::per_minute(3);
    let known = known(config, QueueLimits::default()).await;
    for path in ["/healthz", "/v1/limits", "/nowhere", "/openapi.json"] {
        reqwest::get(known.server.at(path)).await.unwrap();
    }
    for path in ["/healthz", "/v1/limits"] {
        let answer = reqwest::get(known.server.at(path)).await.unwrap();
        let problem = refused(answer, 429, "too_many_requests").await;
        assert_eq!(problem["limit"], 3);
    }
    let ours = known.get(&known.ours, "/v1/limits").send().await.unwrap();
    assert_eq!(ours.status(), 200);
}

#[tokio::test]
async fn s02_limits_of_addresses_count_for_who_is_behind_a_trusted_proxy() {
    let attempt = async |server: &Server, said: Option<&str>| {
        let asked = Client::new()
            .get(server.at("/v1/limits"))
            .bearer_auth("guess");
        let asked = match said {
            Some(said) => asked.header("x-forwarded-for", said),
            None => asked,
        };
        asked.send().await.unwrap().status().as_u16()
    };
    let mut strict = config();
    strict.traffic.failures = Rate::per_minute(2);
    strict.traffic.connections_per_address = 1;
    let mut behind = strict.clone();
    behind.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let behind = known(behind, QueueLimits::default()).await.server;
    let guesser = Some("198.51.100.7, 192.0.2.1");
    // What stands before the proxy's own word is anybody's.
    for (said, expected) in [
        (guesser, 401),
        (Some("203.0.113.5, 192.0.2.1"), 401),
        (guesser, 429),
        (Some("192.0.2.2"), 401),
        (None, 401),
    ] {
        assert_eq!(attempt(&behind, said).await, expected, "{said:?}");
    }
    // A proxy has as many connections as it needs.
    let address = behind.url.trim_start_matches("http://");
    let mut sockets = Vec::new();
    for _ in 0..3 {
        sockets.push(TcpStream::connect(address).await.unwrap());
    }
    assert_eq!(attempt(&behind, Some("192.0.2.3")).await, 401);
    // Nobody else is believed.
    strict.traffic.connections_per_address = 256;
    let plain = known(strict, QueueLimits::default()).await.server;
    for (said, expected) in [("192.0.2.1", 401), ("192.0.2.2", 401), ("192.0.2.3", 429)] {
        assert_eq!(attempt(&plain, Some(said)).await, expected, "{said}");
    }
}

/// How long the slowest of a hundred took, but for one.
async fn slow_ones(known: &Known) -> Duration {
    let client = Client::new();
    let mut times = Vec::new();
    for n in 0..100 {
        let begun = Instant::now();
        let sent = client
            .post(known.server.at(EVENTS))
            .bearer_auth(known.rival.expose());
        let sent = sent
            .json(&json!({"type": "a", "data": n}))
            .send()
            .await
            .unwrap();
        assert_eq!(sent.status(), 201);
        let wait = format!("/v1/sessions/s/wait?match=a&after=latest&timeout=1ms");
        let wait = client
            .get(known.server.at(&wait))
            .bearer_auth(known.rival.expose());
        assert_eq!(wait.send().await.unwrap().status(), 204);
        times.push(begun.elapsed());
    }
    times.sort();
    times[98]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_one_tenant_runs_into_every_limit_another_notices_nothing() {
    let mut config = config();
    config.traffic.events = Rate::per_second(200, 400);
    config.traffic.bytes = Rate::per_second(100_000, 400_000);
    config.traffic.streams = Rate::per_second(5, 5);
    (config.streams.per_tenant, config.waits_per_tenant) = (5, 5);
    config.tickets_per_tenant = 5;
    config.signals.pending = 5;
    let mut limits = QueueLimits::default();
    (limits.sessions_per_tenant, limits.bytes_per_tenant) = (5, 1_000_000);
    let known = Arc::new(known(config, limits).await);
    let alone = slow_ones(&known).await;
    let attacks = (0..4).map(|n| {
        let known = Arc::clone(&known);
        tokio::spawn(async move {
            let mut refusals = 0_usize;
            let mut open = Vec::new();
            for round in 0.. {
                let session = format!("/v1/sessions/{n}-{round}/events");
                let large = json!({"type": "a", "data": "x".repeat(20_000)});
                let wait = "/v1/sessions/s/wait?match=never&timeout=50ms";
                let answers = [
                    known.send(&known.ours, EVENTS, &large).await,
                    known
                        .send(&known.ours, &session, &json!({"type": "a"}))
                        .await,
                    known
                        .send(&known.ours, "/v1/tickets", &json!({"session": "s"}))
                        .await,
                    known.send(&known.ours, "/v1/signals", &json!({})).await,
                    known.get(&known.ours, wait).send().await.unwrap(),
                ];
                refusals += answers.iter().filter(|a| a.status() == 429).count();
                let stream = known.stream(&known.ours, "/v1/events").await;
                match stream.status().as_u16() {
                    200 => open.push(stream),
                    _ => refusals += 1,
                }
                if refusals > 0 && Arc::strong_count(&known) <= 4 {
                    break;
                }
            }
            refusals
        })
    });
    let attacks: Vec<_> = attacks.collect();
    let beside = slow_ones(&known).await;
    let info = known
        .get(&known.rival, "/v1/sessions/s")
        .send()
        .await
        .unwrap();
    let info: Value = info.json().await.unwrap();
    assert_eq!(
        (&info["retained"], &info["dropped"]),
        (&json!(200), &json!(0))
    );
    drop(known);
    for attack in attacks {
        assert!(attack.await.unwrap() > 0);
    }
    // Both share the processors of this machine with what the attack costs its own client.
    let bound = alone.mul_f64(1.5) + Duration::from_millis(100);
    assert!(beside <= bound, "{beside:?} instead of {alone:?}");
}
