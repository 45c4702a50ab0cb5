//! The bounds of addresses and of the whole server, and what another tenant notices.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::Client;
use reveille_e2e::{Server, soon};
use reveille_gateway::{GatewayConfig, Rate};
use reveille_queue::QueueLimits;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::known::{EVENTS, Known, config, known, refused};

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

/// How long it takes, as a median of a hundred: the machine has other work, too.
async fn usual_time(known: &Known) -> Duration {
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
        let wait = "/v1/sessions/s/wait?match=a&after=latest&timeout=1ms";
        let wait = client
            .get(known.server.at(wait))
            .bearer_auth(known.rival.expose());
        assert_eq!(wait.send().await.unwrap().status(), 204);
        times.push(begun.elapsed());
    }
    times.sort();
    times[50]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_one_tenant_runs_into_every_limit_another_notices_nothing() {
    let mut config = config();
    config.traffic.events = Rate::per_second(200, 400);
    config.traffic.bytes = Rate::per_second(100_000, 400_000);
    config.traffic.streams = Rate::per_second(5, 5);
    (config.streams.per_tenant, config.waits_per_tenant) = (5, 2);
    config.tickets_per_tenant = 5;
    config.signals.pending = 5;
    let mut limits = QueueLimits::default();
    (limits.sessions_per_tenant, limits.bytes_per_tenant) = (5, 1_000_000);
    let known = Arc::new(known(config, limits).await);
    let alone = usual_time(&known).await;
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
                // What the attack costs its own client is not what is measured.
                tokio::time::sleep(Duration::from_millis(20)).await;
                if refusals > 0 && Arc::strong_count(&known) <= 4 {
                    break;
                }
            }
            refusals
        })
    });
    let attacks: Vec<_> = attacks.collect();
    let beside = usual_time(&known).await;
    let info = known.info(&known.rival, "s").await;
    assert_eq!(
        (&info["retained"], &info["dropped"]),
        (&json!(200), &json!(0))
    );
    drop(known);
    for attack in attacks {
        assert!(attack.await.unwrap() > 0);
    }
    let bound = alone.mul_f64(1.5) + Duration::from_millis(50);
    assert!(beside <= bound, "{beside:?} instead of {alone:?}");
}
