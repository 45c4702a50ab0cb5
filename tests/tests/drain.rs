//! a server that is told to stop ends everything in an orderly way, and soon.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]
#![expect(clippy::print_stdout, reason = "figures are for people")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use reqwest::Client;
use reveille_e2e::{Program, SseReader, soon};
use reveille_load::raise_file_limit;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const STREAMS: usize = 1_000;
const WAITS: usize = 100;
const PUBLISHERS: usize = 16;
/// Between the events of one publisher, each of which has its session.
const PACE: Duration = Duration::from_millis(100);
/// How many events each publisher has published before the server is told to stop.
const EVENTS: u64 = 10;
const DRAIN: Duration = Duration::from_secs(5);

fn is_full() -> bool {
    std::env::var_os("REVEILLE_FULL").is_some()
}

async fn serve(dir: &TempDir) -> Program {
    let backend = format!("archive:{}", dir.path().display());
    let drain = format!("{}s", DRAIN.as_secs());
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--backend", &backend];
    Program::start(&[&arguments[..], &["--drain", &drain]].concat()).await
}

/// What a publisher was told: the ids that were acknowledged, and how long each answer took, before and
/// after the server was told to stop.
#[derive(Default)]
struct Published {
    acknowledged: Vec<String>,
    before: Vec<Duration>,
    after: Vec<Duration>,
}

/// Publishes until the server takes no more.
async fn publishes(url: String, name: usize, stopping: Arc<AtomicBool>) -> Published {
    let client = Client::new();
    let mut done = Published::default();
    for n in 0.. {
        let id = format!("{name}-{n}");
        let begun = Instant::now();
        let sent = client
            .post(format!("{url}/v1/sessions/s{name}/events"))
            .json(&json!({"type": "step", "id": id}));
        match sent.send().await {
            Ok(answer) if answer.status() == 201 => done.acknowledged.push(id),
            Ok(answer) => {
                assert_eq!(answer.status(), 503);
                break;
            }
            Err(_) => break,
        }
        match stopping.load(Ordering::SeqCst) {
            true => done.after.push(begun.elapsed()),
            false => done.before.push(begun.elapsed()),
        }
        // As people publish, and not as benchmarks do.
        tokio::time::sleep(PACE).await;
    }
    done
}

fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times
        .get(times.len() * 99 / 100)
        .copied()
        .unwrap_or_default()
}

/// The ids that a stream was given, up to its last frame, which tells that it ends and why.
async fn streamed(mut stream: SseReader) -> BTreeSet<String> {
    let mut last = None;
    let mut ids = BTreeSet::new();
    while let Some(block) = stream.try_next().await.expect("no stream is cut") {
        if block.is_event() {
            assert!(ids.insert(block.json()["id"].as_str().unwrap().to_owned()));
        }
        last = Some(block);
    }
    let last = last.unwrap();
    assert!(last.is("reveille.reconnect"), "{last:?}");
    assert_eq!(last.json()["reason"], "drain");
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_termination_request_under_load_cuts_nothing_and_loses_nothing() {
    raise_file_limit().unwrap();
    let dir = TempDir::new().unwrap();
    let program = serve(&dir).await;
    let url = program.url.clone();
    let mut streams = JoinSet::new();
    let mut waits = JoinSet::new();
    let mut publishers = JoinSet::new();
    let stopping = Arc::new(AtomicBool::new(false));
    let client = Client::new();
    for n in 0..STREAMS {
        let session = n % PUBLISHERS;
        let stream = client
            .get(format!(
                "{url}/v1/sessions/s{session}/events?after=earliest"
            ))
            .header("accept", "text/event-stream");
        streams.spawn(streamed(SseReader::of(stream.send().await.unwrap())));
    }
    for _ in 0..WAITS {
        let wait = client.get(format!(
            "{url}/v1/sessions/s0/wait?match=never&timeout=300s"
        ));
        waits.spawn(async move { wait.send().await.unwrap() });
    }
    for name in 0..PUBLISHERS {
        publishers.spawn(publishes(url.clone(), name, Arc::clone(&stopping)));
    }
    soon("everybody", async {
        let all = async || {
            for session in 0..PUBLISHERS {
                let info = client.get(format!("{url}/v1/sessions/s{session}")).send();
                let info: Value = info.await.unwrap().json().await.unwrap();
                let waiting = if session == 0 { WAITS as u64 } else { 0 };
                if info["retained"].as_u64() < Some(EVENTS)
                    || info["waiters"].as_u64() < Some(waiting)
                {
                    return false;
                }
            }
            true
        };
        while !all().await {
            tokio::time::sleep(PACE).await;
        }
    })
    .await;

    stopping.store(true, Ordering::SeqCst);
    let begun = Instant::now();
    program.signal(Signal::TERM);
    let output = program.ended().await;
    let took = begun.elapsed();
    assert_eq!(output.status.code(), Some(0));
    assert!(took <= DRAIN + Duration::from_secs(1), "{took:?}");

    for answer in soon("the waits", waits.join_all()).await {
        assert_eq!(answer.status(), 503);
        assert!(answer.headers().contains_key("retry-after"));
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], "draining");
    }
    let published = soon("the publishers", publishers.join_all()).await;
    let seen = soon("the streams", streams.join_all()).await;
    let of = |part: fn(&Published) -> &Vec<Duration>| {
        let times = published.iter().flat_map(|p| part(p).iter().copied());
        p99(times.collect())
    };
    let (before, after) = (of(|p| &p.before), of(|p| &p.after));
    let acknowledged: BTreeSet<String> = published
        .into_iter()
        .flat_map(|published| published.acknowledged)
        .collect();
    println!(
        "R-53: {} acknowledged, ended in {took:?}; p99 of publish {before:?}, in the drain {after:?}",
        acknowledged.len()
    );
    if is_full() {
        assert!(after <= 5 * before, "{after:?} after {before:?}");
    }
    // Whoever resumes gets the rest, and nothing that a stream showed is gone.
    let again = serve(&dir).await;
    let mut stored = BTreeSet::new();
    for session in 0..PUBLISHERS {
        let page = format!("{}/v1/sessions/s{session}/events?limit=1000", again.url);
        let page = client.get(page).header("accept", "application/json");
        let page: Value = page.send().await.unwrap().json().await.unwrap();
        assert_eq!(page["caught_up"], true);
        let events = page["events"].as_array().unwrap();
        stored.extend(events.iter().map(|e| e["id"].as_str().unwrap().to_owned()));
    }
    assert_eq!(acknowledged.difference(&stored).count(), 0);
    for seen in seen {
        assert!(seen.len() as u64 >= EVENTS);
        assert_eq!(seen.difference(&stored).count(), 0);
    }
}

#[tokio::test]
async fn a_second_termination_request_ends_the_process_at_once() {
    let program = Program::start(&["serve", "--listen", "127.0.0.1:0", "--drain", "60s"]).await;
    // A request that keeps the server from being done: its body does not come.
    let address = program.url.trim_start_matches("http://").to_owned();
    let mut slow = TcpStream::connect(address).await.unwrap();
    let head = "POST /v1/sessions/s/events HTTP/1.1\r\nhost: localhost\r\n\
        content-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    slow.write_all(head.as_bytes()).await.unwrap();
    let events = format!("{}/v1/sessions/s/events", program.url);
    let mut stream = SseReader::open(&events, None).await;
    program.signal(Signal::TERM);
    // It has heard of it.
    assert!(stream.rest().await.last().unwrap().is("reveille.reconnect"));
    let begun = Instant::now();
    program.signal(Signal::TERM);
    let output = program.ended().await;
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!(output.status.code(), Some(130));
}
