//! The store's server is gone for long: publishers are told so in time, streams stay, memory does not
//! grow, and all goes on when it comes back.
//!
//! `REVEILLE_FULL=1` keeps it away for a minute.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]
#![expect(
    clippy::print_stderr,
    reason = "figures, for whoever runs it at length"
)]

use std::time::{Duration, Instant};

use reqwest::{Client, StatusCode, header};
use reveille_e2e::{Broker, Program, SseReader, soon};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// How long a publish may wait for the server, and some time to spare.
const PATIENCE: Duration = Duration::from_secs(15 + 3);
/// How many publish at the same time, and how much each.
const PUBLISHERS: usize = 64;
const BYTES: usize = 50_000;
/// By how much a gateway may grow meanwhile.
const GROWTH_KIB: u64 = 32 * 1024;

/// How long the server is away: longer than a publish waits.
fn away() -> Duration {
    Duration::from_secs(match std::env::var_os("REVEILLE_FULL") {
        Some(_) => 60,
        None => 18,
    })
}

/// Publishes until the time is over; each publish is told in time that it is refused or not known.
async fn publish(client: Client, url: String, until: Instant) -> usize {
    let event = json!([{"type": "load", "data": "x".repeat(BYTES)}]);
    let mut told = 0;
    while Instant::now() < until {
        let begin = Instant::now();
        let answer = client.post(&url).json(&event).send().await.unwrap();
        let status = answer.status();
        let again = answer.headers().contains_key(header::RETRY_AFTER);
        let problem: Value = answer.json().await.unwrap();
        // At the end the server is back.
        if status != StatusCode::CREATED {
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{problem}");
            assert!(again, "{problem}");
            assert!(begin.elapsed() <= PATIENCE, "after {:?}", begin.elapsed());
            told += 1;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    told
}

/// The next event of this kind; no end and no gap comes before.
async fn next(stream: &mut SseReader, kind: &str) -> Value {
    loop {
        let block = soon("an event", stream.next())
            .await
            .expect("the stream stays");
        for other in ["reveille.end", "reveille.gap", "reveille.reconnect"] {
            assert!(!block.is(other), "{block:?}");
        }
        if block.is_event() && block.json()["type"] == kind {
            return block.json();
        }
    }
}

async fn publishers_are_told_and_streams_stay(mut broker: Broker) {
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--backend", &broker.url];
    let gateway = Program::start(&arguments).await;
    let (client, url) = (
        Client::new(),
        format!("{}/v1/sessions/s/events", gateway.url),
    );
    let step = async |n: u64| {
        let event = json!([{"type": "step", "data": n}]);
        client
            .post(&url)
            .json(&event)
            .send()
            .await
            .unwrap()
            .status()
    };
    // The load is not for them: nobody reads here while the server is away.
    let one = format!("{url}?after=earliest&match=step");
    let mut stream = SseReader::open(&one, None).await;
    let all = format!("{}/v1/events?match=step", gateway.url);
    let mut of_all = SseReader::open(&all, None).await;
    assert_eq!(step(1).await, StatusCode::CREATED);
    assert_eq!(next(&mut stream, "step").await["data"], 1);
    assert_eq!(next(&mut of_all, "step").await["data"], 1);
    // What a load like that leaves in memory anyhow.
    let mut warm = JoinSet::new();
    for _ in 0..PUBLISHERS {
        let until = Instant::now() + Duration::from_millis(1);
        warm.spawn(publish(client.clone(), url.clone(), until));
    }
    warm.join_all().await;
    let before = gateway.memory_kib();

    broker.kill();
    let (gone, until) = (Instant::now(), Instant::now() + away());
    let mut load = JoinSet::new();
    for _ in 0..PUBLISHERS {
        load.spawn(publish(client.clone(), url.clone(), until));
    }
    let mut most = 0;
    while Instant::now() < until {
        most = most.max(gateway.memory_kib());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    broker.start_again();
    let told: usize = load.join_all().await.into_iter().sum();
    assert!(told >= PUBLISHERS, "{told} were told");
    let growth = most.saturating_sub(before);
    eprintln!(
        "{told} refused or not known, {growth} KiB more, away for {:?}",
        gone.elapsed()
    );
    assert!(growth <= GROWTH_KIB, "{growth} KiB more");

    soon("a publish", async {
        while step(2).await != StatusCode::CREATED {}
    })
    .await;
    assert_eq!(next(&mut stream, "step").await["data"], 2);
    assert_eq!(next(&mut of_all, "step").await["data"], 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishers_are_told_and_streams_stay_without_redis() {
    publishers_are_told_and_streams_stay(Broker::redis().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishers_are_told_and_streams_stay_without_nats() {
    publishers_are_told_and_streams_stay(Broker::nats().await).await;
}
