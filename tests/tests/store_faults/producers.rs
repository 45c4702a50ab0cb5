//! Producers that publish through a gateway while something breaks, a reader, and what must hold then.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::{Client, StatusCode};
use reveille_e2e::{Program, SseReader, soon};
use serde_json::json;
use tokio::task::JoinSet;

const PRODUCERS: usize = 4;

/// How often as often as otherwise something breaks.
fn rounds() -> usize {
    std::env::var("REVEILLE_ROUNDS").map_or(1, |rounds| rounds.parse().unwrap())
}

/// Where events are published.
pub(crate) fn events(gateway: &Program) -> String {
    format!("{}/v1/sessions/s/events", gateway.url)
}

/// Publishes one event after the other until it is told to stop; each until it is acknowledged. Gives at
/// which position each is.
async fn produce(client: Client, url: String, name: usize, stop: Arc<AtomicBool>) -> Vec<String> {
    let mut positions = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let id = format!("{name}-{}", positions.len());
        let event = json!({
            "specversion": "1.0", "type": "step", "source": "/p", "id": id, "data": null,
        });
        loop {
            let sent = client
                .post(&url)
                .json(&json!([event]))
                .send()
                .await
                .unwrap();
            let status = sent.status();
            let body: serde_json::Value = sent.json().await.unwrap();
            match status {
                StatusCode::CREATED => {
                    let position = &body["results"][0]["position"];
                    positions.push(position.as_str().unwrap().to_owned());
                    break;
                }
                // Refused, or not known: the same event is recognised.
                StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {}
                _ => panic!("{status} {body}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    positions
}

/// All events that the stream shows, up to the end of the session.
async fn shown(stream: &mut SseReader) -> Vec<(String, String)> {
    let mut events = Vec::new();
    loop {
        let block = stream.next().await.expect("the stream goes on");
        assert!(!block.is("reveille.gap"), "{block:?}");
        assert!(!block.is("reveille.reconnect"), "{block:?}");
        if block.is("reveille.end") {
            return events;
        }
        if block.is_event() {
            let event = block.json();
            if event["type"] == "step" {
                let id = event["id"].as_str().unwrap().to_owned();
                let position = event["reveilleposition"].as_str().unwrap().to_owned();
                events.push((id, position));
            }
        }
    }
}

/// Breaks something, as often as it says and times `REVEILLE_ROUNDS`, while four producers publish to a
/// gateway and a reader follows. Gives how many events there are.
pub(crate) async fn survives(
    gateway: &Program,
    faults: usize,
    mut fault: impl AsyncFnMut(),
) -> usize {
    let (client, url) = (Client::new(), events(gateway));
    let options = json!({"max_events": 1_000_000});
    let session = format!("{}/v1/sessions/s", gateway.url);
    let made = client.put(session).json(&options).send().await;
    assert_eq!(made.unwrap().status(), StatusCode::CREATED);
    let mut live = SseReader::open(&format!("{url}?after=earliest"), None).await;
    let live = tokio::spawn(async move { shown(&mut live).await });
    let stop = Arc::new(AtomicBool::new(false));
    let mut producers = JoinSet::new();
    for name in 0..PRODUCERS {
        let produce = produce(client.clone(), url.clone(), name, Arc::clone(&stop));
        producers.spawn(async move { (name, produce.await) });
    }
    for _ in 0..faults * rounds() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        fault().await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    stop.store(true, Ordering::SeqCst);
    let mut acknowledged = HashMap::new();
    for (name, positions) in soon("the producers end", producers.join_all()).await {
        assert!(!positions.is_empty(), "{name} has published nothing");
        let numbered = positions.into_iter().enumerate();
        acknowledged.extend(numbered.map(|(n, position)| (format!("{name}-{n}"), position)));
    }
    let close = format!("{}/v1/sessions/s/close", gateway.url);
    let closed = client.post(close).json(&json!({})).send().await.unwrap();
    assert!(closed.status().is_success());

    let mut again = SseReader::open(&format!("{url}?after=earliest"), None).await;
    let stored = soon("the stream ends", shown(&mut again)).await;
    let live = soon("the live stream ends", live).await.unwrap();
    assert_eq!(live, stored, "the reader saw what is stored");
    let mut next = [0; PRODUCERS];
    for (n, (id, position)) in stored.iter().enumerate() {
        assert_eq!(position.parse(), Ok(n), "positions are dense");
        let (name, of_producer) = id.split_once('-').unwrap();
        let name: usize = name.parse().unwrap();
        assert_eq!(
            of_producer.parse(),
            Ok(next[name]),
            "{id} is twice or in no order"
        );
        next[name] += 1;
        assert_eq!(acknowledged.remove(id).as_ref(), Some(position), "{id}");
    }
    assert!(acknowledged.is_empty(), "lost: {acknowledged:?}");
    stored.len()
}
