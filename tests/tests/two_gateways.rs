//! Two gateways on one store act as one.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::BTreeSet;

use reveille_e2e::{Block, Broker, Program, SseReader, publish, soon};
use serde_json::{Value, json};

/// Two gateways, and the server that they share.
struct Cluster {
    a: Program,
    b: Program,
    broker: Broker,
}

impl Cluster {
    async fn on(broker: Broker) -> Self {
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--backend", &broker.url];
        let arguments = [&arguments[..], &["--store-sweep", "100ms"]].concat();
        Self {
            a: Program::start(&arguments).await,
            b: Program::start(&arguments).await,
            broker,
        }
    }
}

async fn post(gateway: &Program, path: &str, body: Value) -> Value {
    let client = reqwest::Client::new();
    let request = client.post(format!("{}/v1/sessions/{path}", gateway.url));
    let answer = request.json(&body).send().await.unwrap();
    let status = answer.status();
    let body: Value = answer.json().await.unwrap();
    assert!(status.is_success(), "{path}: {status} {body}");
    body
}

async fn get(gateway: &Program, path: &str) -> Value {
    let answer = reqwest::get(format!("{}/v1/{path}", gateway.url)).await;
    answer.unwrap().json().await.unwrap()
}

async fn get_page(gateway: &Program, path: &str) -> Value {
    let request = reqwest::Client::new().get(format!("{}/v1/{path}", gateway.url));
    let answer = request.header("accept", "application/json").send().await;
    answer.unwrap().json().await.unwrap()
}

fn step(n: u64) -> Value {
    json!([{"type": "step", "data": {"n": n}}])
}

fn events_of(gateway: &Program, session: &str) -> String {
    format!(
        "{}/v1/sessions/{session}/events?after=earliest",
        gateway.url
    )
}

async fn a_stream_goes_on_at_the_other_gateway(cluster: Cluster) {
    let Cluster { a, b, .. } = &cluster;
    publish(&a.url, "build", &step(0)).await;
    let mut at_b = SseReader::open(&events_of(b, "build"), None).await;
    let first = at_b.event().await;
    assert_eq!(first.json()["data"]["n"], 0);
    publish(&a.url, "build", &step(1)).await;
    let second = at_b.event().await;
    assert_eq!(second.json()["data"]["n"], 1);
    publish(&b.url, "build", &step(2)).await;
    let mut at_a = SseReader::open(&events_of(a, "build"), second.id.as_deref()).await;
    let third = at_a.event().await;
    assert_eq!(third.json()["data"]["n"], 2);
    assert_eq!(at_b.event().await.id, third.id, "one cursor for both");
    post(a, "build/close", json!({})).await;
    for mut stream in [at_a, at_b] {
        let rest = stream.rest().await;
        assert!(rest.last().unwrap().is("reveille.end"));
    }
}

async fn a_wait_here_ends_with_an_event_there(cluster: Cluster) {
    let Cluster { a, b, .. } = &cluster;
    publish(&a.url, "build", &step(0)).await;
    let wait = tokio::spawn({
        let url = format!("{}/v1/sessions/build/wait?match=done&timeout=30s", b.url);
        async move {
            reqwest::get(url)
                .await
                .unwrap()
                .json::<Value>()
                .await
                .unwrap()
        }
    });
    soon("it waits", async {
        while get(b, "sessions/build").await["waiters"] != 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    publish(&a.url, "build", &json!([{"type": "done"}])).await;
    let outcome = soon("the wait ends", wait).await.unwrap();
    assert_eq!(outcome["outcome"], "matched");
}

async fn each_event_is_taken_once_and_settled_anywhere(cluster: Cluster) {
    const EVENTS: u64 = 20;
    let Cluster { a, b, .. } = &cluster;
    for n in 0..EVENTS {
        publish(&[a, b][usize::from(n % 2 == 0)].url, "work", &step(n)).await;
    }
    let mut taken = BTreeSet::new();
    for n in 0..EVENTS / 2 {
        // Both ask at the same time, and each lets the other settle.
        let ask = json!({"timeout_ms": 20_000, "lease_ms": 60_000});
        let (at_a, at_b) =
            tokio::join!(post(a, "work/take", ask.clone()), post(b, "work/take", ask));
        for (answer, other) in [(at_a, b), (at_b, a)] {
            assert_eq!(answer["outcome"], "matched", "round {n}: {answer}");
            let at = answer["events"][0]["data"]["n"].as_u64().unwrap();
            assert!(taken.insert(at), "{at} was taken twice");
            let settle = json!({"leases": [answer["leases"][0]["lease"]]});
            post(other, "work/ack", settle).await;
        }
    }
    assert_eq!(taken.len() as u64, EVENTS);
    for gateway in [a, b] {
        let group = get(gateway, "sessions/work/groups/default").await;
        assert_eq!(
            (&group["pending"], &group["leased"]),
            (&json!(0), &json!(0))
        );
    }
}

async fn a_lease_of_a_gateway_that_was_killed_comes_back(cluster: Cluster) {
    let Cluster { a, b, .. } = &cluster;
    publish(&a.url, "work", &step(0)).await;
    let ask = json!({"timeout_ms": 20_000, "lease_ms": 1_500});
    let first = post(a, "work/take", ask.clone()).await;
    a.signal(rustix::process::Signal::KILL);
    let again = soon("the lease is over", post(b, "work/take", ask)).await;
    assert_eq!(again["events"][0]["id"], first["events"][0]["id"]);
    assert_eq!(again["leases"][0]["delivery"], 2);
}

async fn a_cancel_here_is_told_there(cluster: Cluster) {
    let Cluster { a, b, .. } = &cluster;
    publish(&a.url, "build", &step(0)).await;
    let mut at_b = SseReader::open(&events_of(b, "build"), None).await;
    at_b.event().await;
    post(a, "build/cancel", json!({"reason": "enough"})).await;
    assert_eq!(
        at_b.event().await.json()["type"],
        "task.status.cancel_requested"
    );
    assert_eq!(get(b, "sessions/build").await["cancel"]["reason"], "enough");
    let second = post(b, "build/cancel", json!({"reason": "again"})).await;
    assert_eq!(second["already_cancelled"], true);
}

async fn both_list_the_same_sessions(cluster: Cluster) {
    let Cluster { a, b, .. } = &cluster;
    for session in ["one", "two", "three"] {
        publish(&a.url, session, &step(0)).await;
    }
    publish(&b.url, "four", &step(0)).await;
    let mut lists = Vec::new();
    for gateway in [a, b] {
        let list = get(gateway, "sessions").await;
        let names = list["sessions"].as_array().unwrap().iter();
        let names: BTreeSet<_> = names
            .map(|s| s["session"].as_str().unwrap().to_owned())
            .collect();
        lists.push(names);
    }
    assert_eq!(lists[0].len(), 4);
    assert_eq!(lists[0], lists[1]);
}

/// The next event, before which none is missing.
async fn next(stream: &mut SseReader) -> Block {
    loop {
        let block = stream.next().await.unwrap();
        assert!(!block.is("reveille.gap"), "{block:?}");
        if block.is_event() {
            return block;
        }
    }
}

async fn events_of_all_sessions_are_shown_by_both(cluster: Cluster) {
    const ROUNDS: u64 = 20;
    let Cluster { a, b, .. } = &cluster;
    let all = |gateway: &Program| format!("{}/v1/events", gateway.url);
    let mut at_a = SseReader::open(&all(a), None).await;
    let mut at_b = SseReader::open(&all(b), None).await;
    // Each gateway has sessions that the other one never opens.
    publish(&a.url, "of-a", &step(0)).await;
    assert_eq!(next(&mut at_b).await.json()["data"]["n"], 0);
    let begin = next(&mut at_a).await.id;
    let publishing =
        [(a, "of-a"), (b, "of-b"), (a, "other"), (b, "more")].map(async |(gateway, session)| {
            for n in 1..=ROUNDS {
                publish(&gateway.url, session, &step(n)).await;
            }
        });
    futures_util::future::join_all(publishing).await;
    let mut shown = Vec::new();
    for stream in [&mut at_a, &mut at_b] {
        let mut events = Vec::new();
        for _ in 0..4 * ROUNDS {
            let frame = next(stream).await;
            let event = frame.json();
            let data = (event["source"].clone(), event["data"]["n"].clone());
            events.push((frame.id, data));
        }
        shown.push(events);
    }
    assert_eq!(shown[0], shown[1], "two orders");
    // A cursor of one gateway is one of the other, also of what the latter did not show yet.
    let (half, rest) = shown[1].split_at(shown[1].len() / 2);
    let last = half.last().unwrap().0.as_deref();
    for (gateway, from, expected) in [
        (a, last, rest),
        (b, last, rest),
        (a, begin.as_deref(), &shown[0]),
    ] {
        let mut resumed = SseReader::open(&all(gateway), from).await;
        for (id, _) in expected {
            assert_eq!(&next(&mut resumed).await.id, id);
        }
    }
    publish(&b.url, "last", &step(0)).await;
    let last = next(&mut at_b).await.id;
    let mut resumed = SseReader::open(&all(a), last.as_deref()).await;
    publish(&b.url, "last", &step(1)).await;
    assert_eq!(next(&mut resumed).await.json()["data"]["n"], 1);
}

async fn a_cursor_of_all_sessions_outlives_its_gateway(cluster: Cluster) {
    /// More than are read at once.
    const EVENTS: u64 = 300;
    let Cluster { a, b, broker } = &cluster;
    let all = |gateway: &Program| format!("{}/v1/events", gateway.url);
    let mut at_a = SseReader::open(&all(a), None).await;
    publish(&a.url, "first", &step(0)).await;
    let seen = next(&mut at_a).await.id;
    a.signal(rustix::process::Signal::KILL);
    let steps: Vec<Value> = (1..=EVENTS).map(|n| step(n)[0].clone()).collect();
    for batch in steps.chunks(50) {
        publish(&b.url, "second", &json!(batch)).await;
    }
    // It has shown none of these.
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--backend", &broker.url];
    let c = Program::start(&arguments).await;
    let mut cursor = seen.clone().unwrap();
    let mut paged = Vec::new();
    loop {
        let page = get_page(&c, &format!("events?limit=70&wait=20s&after={cursor}")).await;
        assert_eq!(page.get("gap"), None);
        let events = page["events"].as_array().unwrap().iter();
        paged.extend(events.map(|event| event["data"]["n"].as_u64().unwrap()));
        if page["caught_up"] == true {
            break;
        }
        cursor = page["cursor"].as_str().unwrap().into();
    }
    assert_eq!(paged, (1..=EVENTS).collect::<Vec<u64>>());
    let mut resumed = SseReader::open(&all(&c), seen.as_deref()).await;
    for n in 1..=EVENTS {
        let event = next(&mut resumed).await;
        assert_eq!(event.json()["data"]["n"], n);
    }
    publish(&b.url, "third", &step(0)).await;
    let next = next(&mut resumed).await;
    assert_eq!(next.json()["data"]["n"], 0);
}

async fn what_is_removed_here_is_shown_there_no_longer(cluster: Cluster) {
    let Cluster { a, b, .. } = &cluster;
    let mut at_b = SseReader::open(&format!("{}/v1/events", b.url), None).await;
    for session in ["removed", "stays"] {
        publish(&a.url, session, &step(0)).await;
        next(&mut at_b).await;
    }
    let shown = async || {
        let page = get_page(b, "events?after=earliest").await;
        let events = page["events"].as_array().unwrap().iter();
        let shown = events.map(|event| event["reveillesession"].as_str().unwrap().to_owned());
        shown.collect::<Vec<_>>()
    };
    assert_eq!(shown().await, ["removed", "stays"]);
    let url = format!("{}/v1/sessions/removed", a.url);
    let removed = reqwest::Client::new().delete(url).send().await.unwrap();
    assert!(removed.status().is_success());
    soon("it is gone there as well", async {
        while shown().await != ["stays"] {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

macro_rules! on_store {
    ($store:ident $broker:ident $($name:ident)+) => {
        mod $store {
            $(
                #[tokio::test]
                async fn $name() {
                    let broker = super::Broker::$broker().await;
                    super::$name(super::Cluster::on(broker).await).await;
                }
            )+
        }
    };
}

macro_rules! on_each_store {
    ($($name:ident)+) => {
        on_store! { on_redis redis $($name)+ }
        on_store! { on_a_redis_cluster redis_cluster $($name)+ }
        on_store! { on_nats nats $($name)+ }
    };
}

on_each_store! {
    a_stream_goes_on_at_the_other_gateway
    a_wait_here_ends_with_an_event_there
    each_event_is_taken_once_and_settled_anywhere
    a_lease_of_a_gateway_that_was_killed_comes_back
    a_cancel_here_is_told_there
    both_list_the_same_sessions
    events_of_all_sessions_are_shown_by_both
    a_cursor_of_all_sessions_outlives_its_gateway
    what_is_removed_here_is_shown_there_no_longer
}
