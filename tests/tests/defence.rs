//! What the gateway does not put up with: strange hosts and pages, slow and many clients.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::time::{Duration, Instant};

use reqwest::{Client, Method};
use reveille_e2e::{Server, SseReader, publish, soon, with_key};
use reveille_gateway::{Action, GatewayConfig, Grant, Rate};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn without_authentication_only_pages_and_names_of_this_machine_get_in() {
    let server = Server::start().await;
    let with = async |name: &str, value: &str| {
        let asked = Client::new()
            .get(server.at("/v1/sessions"))
            .header(name, value);
        asked.send().await.unwrap().status()
    };
    assert_eq!(with("host", "localhost:1").await, 200);
    assert_eq!(with("host", "rebound.example").await, 421);
    assert_eq!(with("host", "127.0.0.1.example").await, 421);
    assert_eq!(with("origin", "http://localhost:3000").await, 200);
    assert_eq!(with("origin", "https://evil.example").await, 403);
    assert_eq!(with("origin", "null").await, 403);
    // What a page can send without asking first must not change anything.
    let simple = Client::new()
        .post(server.at("/v1/sessions/s/cancel"))
        .header("origin", "http://localhost:3000");
    assert_eq!(simple.send().await.unwrap().status(), 415);
    assert!(server.sessions.is_empty());
}

#[tokio::test]
async fn every_answer_says_that_it_is_not_to_be_kept_or_guessed_at() {
    let server = Server::start().await;
    publish(&server.url, "s", &json!({"type": "a"})).await;
    for path in [
        "/healthz",
        "/v1/sessions/s",
        "/v1/sessions/unknown",
        "/nowhere",
        "/v1/sessions/s/events",
        "/v1/sessions/s/wait?timeout=1ms&match=never",
    ] {
        let answer = reqwest::get(server.at(path)).await.unwrap();
        let headers = answer.headers();
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["referrer-policy"], "no-referrer", "{path}");
        let cached = headers["cache-control"].to_str().unwrap();
        assert!(cached.starts_with("no-store"), "{path}");
    }
}

async fn for_pages() -> (Server, String) {
    let mut config = GatewayConfig::default();
    config.auto_create = Some(true);
    config.origins = vec!["https://page.example".into()];
    config.webhook_origins = vec!["hooks.example".into()];
    config.streams.per_token = 2;
    config.traffic.events = Rate::per_second(1, 5);
    config.traffic.failures = Rate::per_minute(3);
    let (server, key) = with_key(config, "acme", vec![Grant::everything(Action::ALL)]).await;
    (server, key.expose().to_owned())
}

#[tokio::test]
async fn pages_of_listed_origins_read_answers_and_no_others_do() {
    let (server, key) = for_pages().await;
    let url = server.at("/v1/sessions/s/events");
    let preflight = async |origin: &str| {
        let asked = Client::new()
            .request(Method::OPTIONS, &url)
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header(
                "access-control-request-headers",
                "authorization, idempotency-key",
            );
        asked.send().await.unwrap().headers().clone()
    };
    let told = preflight("https://page.example").await;
    assert_eq!(told["access-control-allow-origin"], "https://page.example");
    assert_eq!(told["access-control-allow-credentials"], "true");
    assert_eq!(told["access-control-max-age"], "600");
    let allowed = told["access-control-allow-headers"].to_str().unwrap();
    assert!(allowed.contains("last-event-id") && allowed.contains("idempotency-key"));
    for other in [
        "https://page.example.evil.example",
        "http://page.example",
        "null",
    ] {
        let told = preflight(other).await;
        assert!(!told.contains_key("access-control-allow-origin"), "{other}");
    }
    let stream = Client::new()
        .get(&url)
        .header("origin", "https://page.example");
    let stream = stream.bearer_auth(&key).send().await.unwrap();
    assert_eq!(
        stream.headers()["access-control-allow-origin"],
        "https://page.example"
    );
    let exposed = stream.headers()["access-control-expose-headers"]
        .to_str()
        .unwrap();
    assert!(exposed.contains("reveille-cursor"));
    assert!(
        stream.headers()["vary"]
            .to_str()
            .unwrap()
            .to_lowercase()
            .contains("origin")
    );
    // The handshake of web hooks is no preflight.
    let hook = Client::new()
        .request(Method::OPTIONS, &url)
        .header("webhook-request-origin", "hooks.example");
    let hook = hook.send().await.unwrap();
    assert_eq!(hook.headers()["webhook-allowed-origin"], "hooks.example");
}

#[tokio::test]
async fn a_stream_too_many_is_told_so_and_a_place_that_is_left_is_free() {
    let (server, key) = for_pages().await;
    let open = async |query: &str| {
        let url = server.at(&format!("/v1/sessions/s/events?after=latest{query}"));
        let asked = Client::new().get(url).header("accept", "text/event-stream");
        asked.bearer_auth(&key).send().await.unwrap()
    };
    let first = open("").await;
    let second = open("").await;
    assert_eq!(first.status(), 200);
    assert_eq!(second.status(), 200);
    let third = open("").await;
    assert_eq!(third.status(), 429);
    assert!(third.headers().contains_key("retry-after"));
    let problem: Value = third.json().await.unwrap();
    assert_eq!(problem["code"], "too_many_streams_of_token");
    assert_eq!(problem["limit"], 2);
    assert!(problem["trace_id"].is_string());
    // An EventSource would never come back from a 429.
    let soft = open("&errors=stream").await;
    assert_eq!(soft.status(), 200);
    let frames = SseReader::of(soft).rest().await;
    assert_eq!(frames.len(), 1);
    assert!(frames[0].is("reveille.reconnect") && frames[0].retry.is_some());
    assert_eq!(
        frames[0].json()["problem"]["code"],
        "too_many_streams_of_token"
    );
    drop(first);
    soon("a free place", async {
        while open("").await.status() != 200 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn soft_errors_are_for_well_formed_requests_for_a_stream_only() {
    let (server, key) = for_pages().await;
    let ask = async |path: &str, accept: &str, key: &str| {
        let asked = Client::new().get(server.at(path)).header("accept", accept);
        asked.bearer_auth(key).send().await.unwrap()
    };
    let path = "/v1/sessions/s/events?errors=stream";
    let mut refused = SseReader::of(ask(path, "text/event-stream", "wrong").await);
    let frames = refused.rest().await;
    assert!(frames[0].is("reveille.end"), "{frames:?}");
    assert_eq!(frames[0].json()["problem"]["code"], "invalid_token");
    assert_eq!(ask(path, "application/json", "wrong").await.status(), 401);
    let malformed = "/v1/sessions/s/events?errors=stream&macth=a";
    assert_eq!(
        ask(malformed, "text/event-stream", &key).await.status(),
        400
    );
    let other = "/v1/sessions/s/events?errors=loud";
    assert_eq!(ask(other, "text/event-stream", &key).await.status(), 400);
}

#[tokio::test]
async fn a_publisher_over_its_rate_is_told_when_to_come_back() {
    let (server, key) = for_pages().await;
    let url = server.at("/v1/sessions/s/events");
    let send = || {
        Client::new()
            .post(&url)
            .bearer_auth(&key)
            .json(&json!({"type": "a"}))
            .send()
    };
    for _ in 0..5 {
        assert_eq!(send().await.unwrap().status(), 201);
    }
    let refused = send().await.unwrap();
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(
        refused.json::<Value>().await.unwrap()["code"],
        "too_many_events"
    );
}

#[tokio::test]
async fn an_address_that_guesses_is_told_to_wait_and_who_is_known_there_is_not() {
    let (server, key) = for_pages().await;
    let ask = async |key: &str| {
        let asked = Client::new().get(server.at("/v1/limits")).bearer_auth(key);
        asked.send().await.unwrap().status()
    };
    for _ in 0..3 {
        assert_eq!(ask("guess").await, 401);
    }
    assert_eq!(ask("guess").await, 429);
    assert_eq!(ask(&key).await, 200);
}

/// How long the server lets a connection be that sends this and then one byte now and then.
async fn patience(server: &Server, head: &'static str, drip: bool) -> (Duration, String) {
    let address = server.url.trim_start_matches("http://").to_owned();
    let begun = Instant::now();
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(head.as_bytes()).await.unwrap();
    let (mut read, mut write) = socket.into_split();
    let dripping = tokio::spawn(async move {
        let mut every = tokio::time::interval(Duration::from_millis(200));
        while drip && write.write_all(b"x").await.is_ok() {
            every.tick().await;
        }
        write
    });
    let mut answer = Vec::new();
    let _ = read.read_to_end(&mut answer).await;
    dripping.abort();
    (
        begun.elapsed(),
        String::from_utf8_lossy(&answer).into_owned(),
    )
}

///
#[tokio::test]
async fn connections_that_take_their_time_are_closed() {
    const BODY: &str = "POST /v1/sessions/s/events HTTP/1.1\r\nhost: localhost\r\n\
        content-type: application/json\r\ncontent-length: 100000\r\nconnection: close\r\n\r\n";
    const IDLE: &str = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let server = Server::start().await;
    let (silent, line, header, body, stopped, idle, preface) = tokio::join!(
        patience(&server, "", false),
        patience(&server, "GET /hea", false),
        patience(&server, "GET /healthz HTTP/1.1\r\nhost: loc", true),
        patience(&server, BODY, true),
        patience(&server, BODY, false),
        patience(&server, IDLE, false),
        patience(&server, "PRI * HTT", false),
    );
    for (what, (took, _), least, most) in [
        ("silence", &silent, 4, 6),
        ("half a request line", &line, 9, 11),
        ("dripped headers", &header, 9, 11),
        ("a dripped body", &body, 9, 11),
        ("a body that stops", &stopped, 9, 11),
        ("an idle connection", &idle, 9, 11),
        ("half a preface", &preface, 4, 6),
    ] {
        let range = Duration::from_secs(least)..Duration::from_secs(most);
        assert!(range.contains(took), "{what}: {took:?}");
    }
    for (_, answer) in [body, stopped] {
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
    assert!(server.sessions.is_empty());
}

#[tokio::test]
async fn too_much_is_refused_by_its_name() {
    let server = Server::start().await;
    let mut config = GatewayConfig::default();
    config.body_bytes = 1_000;
    let small = Server::with(config).await;
    let text = "x".repeat(1_001);
    let sent = Client::new()
        .post(small.at("/v1/sessions/s/events"))
        .json(&json!({"type": "a", "data": text}));
    assert_eq!(sent.send().await.unwrap().status(), 413);
    let long = "x".repeat(100_000);
    let headers = Client::new()
        .get(server.at("/healthz"))
        .header("x-long", long);
    let answer = headers.send().await;
    assert!(answer.is_err() || answer.unwrap().status() == 431);
}

#[tokio::test]
async fn http_2_is_spoken_with_prior_knowledge() {
    let server = Server::start().await;
    publish(&server.url, "s", &json!({"type": "a"})).await;
    let client = Client::builder().http2_prior_knowledge().build().unwrap();
    let url = server.at("/v1/sessions/s/events?after=earliest");
    let asked = client.get(url).header("accept", "text/event-stream");
    let answer = asked.send().await.unwrap();
    assert_eq!(answer.version(), reqwest::Version::HTTP_2);
    assert!(!answer.headers().contains_key("connection"));
    let mut stream = SseReader::of(answer);
    while !stream.next().await.unwrap().is_event() {}
    drop(stream);
    server.stop().await;
}
