//! A NATS cluster of three that dies as a whole, or has no majority.

use std::time::{Duration, Instant};

use reqwest::{Client, StatusCode};
use reveille_e2e::{Broker, NatsCluster, Program, Relay, soon};
use serde_json::json;

use crate::producers::{events, survives};

/// How often the stream is asked, at most, while nobody leads it.
const ASKED_PER_SECOND: usize = 20;

async fn gateway(urls: &str) -> Program {
    let backend = format!("{urls}?replicas=3");
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--backend", &backend];
    Program::start(&arguments).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_servers_that_are_killed_at_once_lose_nothing_that_was_acknowledged() {
    let mut cluster = NatsCluster::start().await;
    let gateway = gateway(&cluster.url()).await;
    let stored = survives(&gateway, 2, async || {
        cluster.servers.iter_mut().for_each(Broker::kill);
        cluster.servers.iter_mut().for_each(Broker::start_again);
        cluster.answering().await;
    });
    eprintln!("{} events", stored.await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_publishers_wait_and_ask_seldom() {
    let mut cluster = NatsCluster::start().await;
    let relay = Relay::counting(&cluster.servers[0].url, "PUB ").await;
    let gateway = gateway(&relay.url).await;
    let client = Client::new();
    let publish = async |n: u64| {
        let event = json!([{"type": "step", "source": "/p", "id": n.to_string(), "data": n}]);
        let sent = client.post(events(&gateway)).json(&event).send().await;
        sent.unwrap().status()
    };
    assert_eq!(publish(0).await, StatusCode::CREATED);
    for server in &mut cluster.servers[1..] {
        server.kill();
    }
    let (begin, before) = (Instant::now(), relay.counted());
    let publishing = tokio::spawn({
        let sent = client
            .post(events(&gateway))
            .json(&json!([{"type": "step", "source": "/p", "id": "1", "data": 1}]));
        async move { sent.send().await.unwrap().status() }
    });
    // Longer than it takes a leader to learn that it has lost its majority.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let (asked, took) = (relay.counted() - before, begin.elapsed());
    eprintln!("{asked} messages in {took:?} without a majority");
    assert!(asked > 0);
    assert!(
        asked as u64 <= ASKED_PER_SECOND as u64 * took.as_secs(),
        "{asked} in {took:?}"
    );
    for server in &mut cluster.servers[1..] {
        server.start_again();
    }
    // What was not stored in time is recognised when it is published again.
    let first = soon("an answer", publishing).await.unwrap();
    assert!(
        [StatusCode::CREATED, StatusCode::SERVICE_UNAVAILABLE].contains(&first),
        "{first}"
    );
    soon("a publish", async {
        while publish(1).await != StatusCode::CREATED {}
    })
    .await;
    let page = format!("{}?after=earliest", events(&gateway));
    let page = client.get(page).header("accept", "application/json");
    let page = soon("a page", page.send()).await.unwrap();
    let page: serde_json::Value = page.json().await.unwrap();
    let steps = page["events"].as_array().unwrap().iter();
    let steps: Vec<_> = steps.map(|event| event["data"].clone()).collect();
    assert_eq!(steps, [json!(0), json!(1)]);
}
