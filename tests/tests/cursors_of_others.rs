//! Cursors that another gateway on the same store has given out, before this one has heard of their events.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use reveille_e2e::{Server, SseReader};
use reveille_gateway::GatewayConfig;
use reveille_queue::{AppendOptions, SessionLog, SessionOptions, Sessions};
use reveille_testkit::{Fault, Faulty, Gate, MemoryStore, Operation};
use reveille_types::{Cursor, EventDraft, SessionKey, Start, Tenant};
use serde_json::Value;

/// The session of a workflow, and a gateway elsewhere that has it open and hears nothing more of it.
async fn deaf() -> (SessionLog, Server) {
    let store = MemoryStore::new();
    let key = SessionKey::in_tenant(Tenant::default_tenant(), "workflow/s").unwrap();
    let here = Sessions::builder(store.clone()).build();
    let log = here.create(key, SessionOptions::default()).await.unwrap();
    let elsewhere = Faulty::new(store);
    let gate = Gate::new();
    let watch = Fault::Delay(gate.clone());
    elsewhere.faults().plan(Operation::Watch, watch);
    let sessions = Sessions::builder(elsewhere).build();
    let server = Server::over(sessions, GatewayConfig::default(), None).await;
    let session = reqwest::get(format!("{}/v1/sessions/workflow%2Fs", server.url)).await;
    assert!(session.unwrap().status().is_success());
    gate.reached().await;
    (log, server)
}

/// Appends an event and gives the place behind it.
async fn append(log: &SessionLog) -> Cursor {
    let draft = EventDraft::parse("a").unwrap();
    log.append([draft], AppendOptions::default()).await.unwrap();
    log.latest()
}

async fn get(url: String) -> (u16, Value) {
    let request = reqwest::Client::new().get(url);
    let answer = request.header("accept", "application/json").send().await;
    let answer = answer.unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap_or_default())
}

#[tokio::test]
async fn a_page_goes_on_from_there() {
    let (log, server) = deaf().await;
    let cursor = append(&log).await;
    let url = format!(
        "{}/v1/sessions/workflow%2Fs/events?after={cursor}",
        server.url
    );
    let (status, page) = get(url.clone()).await;
    assert_eq!(
        (status, page["cursor"].as_str()),
        (200, Some(&*cursor.to_string()))
    );
    let again = append(&log).await;
    let (status, _) = get(url.replace(&cursor.to_string(), &again.to_string()) + "&wait=0s").await;
    assert_eq!(status, 204);
}

#[tokio::test]
async fn a_stream_goes_on_from_there_and_tells_no_gap() {
    let (log, server) = deaf().await;
    for path in ["v1/sessions/workflow%2Fs/events", "events/workflows/s"] {
        let cursor = append(&log).await;
        let url = format!("{}/{path}", server.url);
        let mut stream = SseReader::open(&url, Some(&cursor.to_string())).await;
        let here = server.sessions.find(log.key()).await.unwrap();
        assert_eq!(here.latest(), cursor);
        let next = append(&log).await;
        here.load_to(Start::After(next)).await.unwrap();
        // A stream of tasks begins with a frame of its own at the place where it goes on.
        let known = [cursor, next].map(|cursor| Some(cursor.to_string()));
        loop {
            let block = stream.next().await.unwrap();
            assert!(!block.is("reveille.gap"), "{path}: {block:?}");
            if block.id == known[1] {
                break;
            }
            assert!(block.id.is_none() || block.id == known[0], "{block:?}");
        }
    }
}

#[tokio::test]
async fn an_offset_is_not_beyond_the_end() {
    let (log, server) = deaf().await;
    append(&log).await;
    append(&log).await;
    let url = format!("{}/events/workflows/s?from_offset=1", server.url);
    let mut stream = SseReader::open(&url, None).await;
    assert!(stream.event().await.id.is_some());
    let beyond = reqwest::get(url.replace("=1", "=9")).await.unwrap();
    assert_eq!(beyond.status().as_u16(), 416);
}

#[tokio::test]
async fn a_wait_looks_from_there() {
    let (log, server) = deaf().await;
    append(&log).await;
    let cursor = append(&log).await;
    let url = format!(
        "{}/v1/sessions/workflow%2Fs/wait?after={cursor}&timeout=0s",
        server.url
    );
    assert_eq!(get(url).await.0, 204);
}
