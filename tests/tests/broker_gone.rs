//! The store's server is gone for long: publishers are told so in time, memory does not grow, and all
//! goes on when it comes back. Streams stay as long as they are to, then end with a word of it.
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
    let mut arguments = vec!["serve", "--listen", "127.0.0.1:0"];
    arguments.extend(["--backend", &broker.url, "--backend-lost-after", "5m"]);
    let gateway = Program::start(&arguments).await;
    let url = format!("{}/v1/sessions/s/events", gateway.url);
    // Given up sooner than the server does, so that no request meets the end of its connection.
    let client = Client::builder().pool_idle_timeout(Duration::from_secs(2));
    let client = client.build().unwrap();
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

/// How long streams stay without the server in the tests of their end.
const STAYING: Duration = Duration::from_secs(5);

/// Reads until the stream ends: one frame says why, and nothing else comes.
async fn lost(stream: &mut SseReader) {
    let mut reasons = Vec::new();
    soon("the end of a stream", async {
        while let Some(block) = stream.next().await {
            if block.comment.is_none() {
                assert!(block.is("reveille.reconnect"), "{block:?}");
                let retry = block.json()["retry_ms"].as_u64().unwrap();
                assert!((100..=200).contains(&retry), "{retry}");
                reasons.push(block.json()["reason"].clone());
            }
        }
    })
    .await;
    assert_eq!(reasons, ["backend_lost"]);
}

async fn streams_end_when_the_server_is_lost_and_resume_when_it_is_back(mut broker: Broker) {
    let mut arguments = vec!["serve", "--listen", "127.0.0.1:0", "--retry", "100ms"];
    arguments.extend(["--backend", &broker.url, "--backend-lost-after", "5s"]);
    let gateway = Program::start(&arguments).await;
    let client = Client::new();
    let of_one = format!("{}/v1/sessions/s/events", gateway.url);
    let of_all = format!("{}/v1/events", gateway.url);
    let step = async |n: u64| {
        let event = json!([{"type": "step", "data": n}]);
        let request = client
            .post(&of_one)
            .header("Idempotency-Key", n.to_string());
        soon("a publish", async {
            loop {
                let request = request.try_clone().unwrap().json(&event);
                if request.send().await.unwrap().status() == StatusCode::CREATED {
                    return;
                }
            }
        })
        .await;
    };
    let mut streams = [
        SseReader::open(&of_one, None).await,
        SseReader::open(&of_all, None).await,
    ];
    step(1).await;

    broker.kill();
    tokio::time::sleep(STAYING / 4).await;
    broker.start_again();
    step(2).await;
    let mut places = Vec::new();
    for stream in &mut streams {
        assert_eq!(next(stream, "step").await["data"], 1);
        let second = next(stream, "step").await;
        assert_eq!(second["data"], 2);
        places.push(second["reveillecursor"].as_str().unwrap().to_owned());
    }

    // It is back for long enough to be seen: this is another silence.
    tokio::time::sleep(STAYING / 2).await;
    let gone = Instant::now();
    broker.kill();
    for stream in &mut streams {
        lost(stream).await;
        assert!(gone.elapsed() >= STAYING, "after {:?}", gone.elapsed());
    }
    for url in [&of_one, &of_all] {
        let refused = client.get(url).header("Accept", "text/event-stream");
        let refused = refused.send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(refused.headers().contains_key(header::RETRY_AFTER));
        let problem: Value = refused.json().await.unwrap();
        assert_eq!(problem["code"], "backend_unavailable");
        let mut soft = SseReader::open(&format!("{url}?errors=stream"), None).await;
        let only = soft.next().await.unwrap();
        assert!(only.is("reveille.reconnect"), "{only:?}");
        assert_eq!(only.json()["reason"], "backend_lost");
        assert_eq!(soft.next().await, None);
    }
    let metrics = client.get(format!("{}/metrics", gateway.url)).send().await;
    let metrics = metrics.unwrap().text().await.unwrap();
    let ended = "reveille_streams_closed_total{reason=\"backend_lost\"} 2";
    assert!(metrics.contains(ended), "{metrics}");

    broker.start_again();
    step(3).await;
    let mut resumed = Vec::new();
    for (url, place) in [&of_one, &of_all].into_iter().zip(&places) {
        let resume = client.get(url).header("Last-Event-ID", place);
        let stream = soon("a stream", async {
            loop {
                let answer = resume.try_clone().unwrap().send().await.unwrap();
                if answer.status() == StatusCode::OK {
                    break SseReader::of(answer);
                }
            }
        });
        resumed.push(stream.await);
    }
    step(4).await;
    for stream in &mut resumed {
        assert_eq!(next(stream, "step").await["data"], 3);
        assert_eq!(next(stream, "step").await["data"], 4);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_end_when_redis_is_lost_and_resume_when_it_is_back() {
    streams_end_when_the_server_is_lost_and_resume_when_it_is_back(Broker::redis().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_end_when_nats_is_lost_and_resume_when_it_is_back() {
    streams_end_when_the_server_is_lost_and_resume_when_it_is_back(Broker::nats().await).await;
}
