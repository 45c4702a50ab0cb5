//! Two gateways on one store take the events of one session, and one of them is killed: each event is
//! settled once, and only what the dead one held is delivered again.
//!
//! `REVEILLE_FULL=1` takes a hundred thousand, `REVEILLE_ROUNDS` so many times as many as otherwise.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]
#![expect(
    clippy::print_stderr,
    reason = "figures, for whoever runs it at length"
)]

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::{Client, StatusCode};
use reveille_e2e::{Broker, Program};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// Takers at each gateway.
const TAKERS: usize = 4;
/// How many events one taker holds.
const TAKEN_MAX: usize = 20;
const BATCH: usize = 100;
/// Long enough that a busy machine does not outlast it.
const LEASE: Duration = Duration::from_secs(15);

fn events() -> usize {
    if std::env::var_os("REVEILLE_FULL").is_some() {
        return 100_000;
    }
    let rounds = std::env::var("REVEILLE_ROUNDS");
    2_000 * rounds.map_or(1, |rounds| rounds.parse::<usize>().unwrap())
}

/// What has become of the events, by their numbers.
#[derive(Debug, Default)]
struct Book {
    settled: HashSet<u64>,
    /// Whether they are settled was not told: the gateway was killed meanwhile.
    unknown: HashSet<u64>,
    is_done: bool,
    /// Delivered and not known to be settled, and how often.
    delivered: HashMap<u64, u64>,
    again: usize,
}

impl Book {
    fn deliver(&mut self, n: u64, delivery: u64) {
        assert!(
            !self.settled.contains(&n),
            "{n} was settled and is delivered again"
        );
        self.unknown.remove(&n);
        let times = self.delivered.entry(n).or_default();
        *times += 1;
        self.again += usize::from(*times > 1);
        assert!(
            *times <= delivery,
            "{n} is delivered for the {times}. time as {delivery}"
        );
    }

    /// Whether all is done: nothing is left, and all that is not known is what was lost with the gateway.
    fn end(&mut self, all: usize, is_idle: bool) -> bool {
        self.is_done = is_idle && self.settled.len() + self.unknown.len() == all;
        self.is_done
    }

    fn settle(&mut self, n: u64) {
        self.delivered.remove(&n);
        assert!(self.settled.insert(n), "{n} is settled twice");
    }
}

/// Takes and settles until the gateway is gone or all is done.
async fn take(client: Client, url: String, book: Arc<Mutex<Book>>) {
    let lease = u64::try_from(LEASE.as_millis()).unwrap();
    let ask = json!({"max": TAKEN_MAX, "timeout_ms": 1_000, "lease_ms": lease});
    while !book.lock().unwrap().is_done {
        let sent = client.post(format!("{url}/take")).json(&ask).send().await;
        let Ok(answer) = sent else { return };
        if answer.status() == StatusCode::NO_CONTENT {
            continue;
        }
        assert_eq!(answer.status(), StatusCode::OK);
        let Ok(taken) = answer.json::<Value>().await else {
            return;
        };
        let numbers: Vec<u64> = taken["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["data"]["n"].as_u64().unwrap())
            .collect();
        let leases = taken["leases"].as_array().unwrap();
        for (n, lease) in numbers.iter().zip(leases) {
            book.lock()
                .unwrap()
                .deliver(*n, lease["delivery"].as_u64().unwrap());
        }
        let leases: Vec<&Value> = leases.iter().map(|lease| &lease["lease"]).collect();
        let sent = client
            .post(format!("{url}/ack"))
            .json(&json!({"leases": leases}))
            .send()
            .await;
        let Ok(answer) = sent else {
            book.lock().unwrap().unknown.extend(numbers);
            return;
        };
        if answer.status() == StatusCode::OK {
            for n in numbers {
                book.lock().unwrap().settle(n);
            }
        } else {
            assert_eq!(
                answer.status(),
                StatusCode::CONFLICT,
                "{}",
                answer.text().await.unwrap()
            );
        }
    }
}

/// Publishes them all, never far ahead of those who take them.
async fn publish(client: Client, url: String, book: Arc<Mutex<Book>>, all: usize) {
    for first in (0..all).step_by(BATCH) {
        let batch: Vec<Value> = (first..all.min(first + BATCH))
            .map(|n| json!({"type": "work", "data": {"n": n}}))
            .collect();
        let sent = client
            .post(format!("{url}/events"))
            .json(&batch)
            .send()
            .await;
        assert_eq!(sent.unwrap().status(), StatusCode::CREATED);
        while book.lock().unwrap().settled.len() + 2_000 < first {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn each_event_is_settled_once(broker: Broker) {
    let all = events();
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--backend", &broker.url];
    let [killed, left] = [
        Program::start(&arguments).await,
        Program::start(&arguments).await,
    ];
    let client = Client::new();
    let url = |gateway: &Program| format!("{}/v1/sessions/work", gateway.url);
    let made = client
        .put(url(&left))
        .json(&json!({"max_events": 10_000}))
        .send()
        .await;
    assert!(made.unwrap().status().is_success());
    let book = Arc::new(Mutex::new(Book::default()));
    let begin = Instant::now();
    let mut work = JoinSet::new();
    work.spawn(publish(client.clone(), url(&left), Arc::clone(&book), all));
    for gateway in [&killed, &left] {
        for _ in 0..TAKERS {
            work.spawn(take(client.clone(), url(gateway), Arc::clone(&book)));
        }
    }
    while book.lock().unwrap().settled.len() < all / 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    killed.signal(Signal::KILL);
    let (watched, group) = (Arc::clone(&book), format!("{}/groups/default", url(&left)));
    let watching = client.clone();
    work.spawn(async move {
        loop {
            let group = watching.get(&group).send().await.unwrap();
            let group: Value = group.json().await.unwrap();
            let is_idle = group["pending"] == 0 && group["leased"] == 0;
            if watched.lock().unwrap().end(all, is_idle) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let patience = Duration::from_secs(60) + Duration::from_millis(10 * all as u64);
    let worked = tokio::time::timeout(patience, work.join_all()).await;
    let book = Arc::into_inner(book).map(|book| book.into_inner().unwrap());
    worked.expect("all is settled in time");
    let book = book.unwrap();
    assert_eq!(book.settled.len() + book.unknown.len(), all);
    assert!(book.unknown.len() <= TAKERS * TAKEN_MAX);
    assert!(
        book.again <= TAKERS * TAKEN_MAX,
        "{} were delivered again",
        book.again
    );
    let group = client
        .get(format!("{}/groups/default", url(&left)))
        .send()
        .await
        .unwrap();
    let group: Value = group.json().await.unwrap();
    for none in ["pending", "leased", "dead", "lost"] {
        assert_eq!(group[none], 0, "{group}");
    }
    eprintln!(
        "{all} settled, {} delivered again, {:?}",
        book.again,
        begin.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_is_settled_once_on_redis() {
    each_event_is_settled_once(Broker::redis().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_is_settled_once_on_nats() {
    each_event_is_settled_once(Broker::nats().await).await;
}
