//! Many publishers, one session, live readers, and one that keeps losing its connection.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use futures_util::future::join_all;
use reveille_e2e::{Server, SseReader};
use serde_json::{Value, json};

const PUBLISHERS: u64 = 8;
/// Events of each publisher: all of them in the full run, a tenth otherwise.
const EVENTS: u64 = 10_000;
const BATCH: u64 = 50;

fn events_each() -> u64 {
    match std::env::var_os("REVEILLE_FULL") {
        Some(_) => EVENTS,
        None => EVENTS / 10,
    }
}

async fn publish_all(url: String, publisher: u64, count: u64) {
    let client = reqwest::Client::new();
    for first in (0..count).step_by(BATCH as usize) {
        let batch: Value = (first..(first + BATCH).min(count))
            .map(|n| json!({"type": "step", "data": {"publisher": publisher, "n": n}}))
            .collect();
        let answer = client.post(&url).json(&batch).send().await.unwrap();
        assert_eq!(answer.status(), 201);
    }
}

/// What a reader saw: position, publisher, number.
type Seen = Vec<(u64, u64, u64)>;

fn seen(event: &Value) -> (u64, u64, u64) {
    let position = event["reveilleposition"].as_str().unwrap().parse().unwrap();
    let data = &event["data"];
    (
        position,
        data["publisher"].as_u64().unwrap(),
        data["n"].as_u64().unwrap(),
    )
}

async fn read_live(url: String, total: usize) -> Seen {
    let mut stream = SseReader::open(&url, None).await;
    let mut all = Seen::new();
    while all.len() < total {
        let block = stream.next().await.unwrap();
        assert!(!block.is("reveille.gap"), "{block:?}");
        if block.is_event() {
            all.push(seen(&block.json()));
        }
    }
    all
}

/// Reads a few events, drops the connection at a random point, and goes on with its last id.
async fn read_reconnecting(url: String, total: usize, mut seed: u64) -> Seen {
    let mut all = Seen::new();
    let mut last_id: Option<String> = None;
    while all.len() < total {
        let mut stream = SseReader::open(&url, last_id.as_deref()).await;
        // Marsaglia's xorshift: any sequence that repeats with its seed will do.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        for _ in 0..=(seed % 700) {
            if all.len() == total {
                break;
            }
            let block = stream.next().await.unwrap();
            assert!(!block.is("reveille.gap"), "{block:?}");
            if let Some(id) = &block.id {
                last_id = Some(id.clone());
            }
            if block.is_event() {
                all.push(seen(&block.json()));
            }
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_reader_sees_all_events_once_in_one_order() {
    let each = events_each();
    let total = usize::try_from(PUBLISHERS * each).unwrap();
    let server = Server::start().await;
    let create = reqwest::Client::new()
        .put(server.at("/v1/sessions/big"))
        .json(&json!({"max_events": 100_000, "max_bytes": 1_u64 << 30}));
    assert_eq!(create.send().await.unwrap().status(), 201);
    let url = server.at("/v1/sessions/big/events");
    let from_start = format!("{url}?after=earliest");

    let seed = 0x9E37_79B9_7F4A_7C15;
    let readers = [
        tokio::spawn(read_live(from_start.clone(), total)),
        tokio::spawn(read_live(from_start.clone(), total)),
        tokio::spawn(read_reconnecting(from_start, total, seed)),
    ];
    let publishing = (0..PUBLISHERS).map(|p| tokio::spawn(publish_all(url.clone(), p, each)));
    for published in join_all(publishing).await {
        published.unwrap();
    }
    for reader in readers {
        let all = reader.await.unwrap();
        assert_eq!(all.len(), total);
        let mut next = vec![0; usize::try_from(PUBLISHERS).unwrap()];
        for (place, (position, publisher, n)) in all.into_iter().enumerate() {
            assert_eq!(position, place as u64, "positions are dense and in order");
            let next = &mut next[usize::try_from(publisher).unwrap()];
            assert_eq!(n, *next, "each publisher's own order is kept");
            *next += 1;
        }
        assert!(next.iter().all(|n| *n == each));
    }
}
