//! Many streams at once: what `reveille bench` tells, what idle streams cost, and what readers that do
//! not read can do to others.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::process::Output;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reveille_e2e::{Program, SseReader, reveille, soon};
use reveille_load::{Load, Pace, Plan, Target, raise_file_limit};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;

fn is_full() -> bool {
    std::env::var_os("REVEILLE_FULL").is_some()
}

async fn bench(url: &str, arguments: &[&str]) -> Output {
    let mut command = reveille(&[&["bench", "--url", url], arguments].concat());
    soon("the end of the load", command.output()).await.unwrap()
}

#[tokio::test]
async fn bench_tells_that_everything_came_through_once() {
    let program = Program::serve().await;
    let paces: [&[&str]; 3] = [
        &["--rate", "400"],
        &["--window", "16"],
        &["--window", "40", "--batch", "10"],
    ];
    for pace in paces {
        let load = [
            "-c",
            "20",
            "--sessions",
            "4",
            "--duration",
            "400ms",
            "--json",
        ];
        let output = bench(&program.url, &[&load, pace].concat()).await;
        assert!(output.status.success(), "{pace:?}: {output:?}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let number = |name: &str| report[name].as_u64().unwrap();
        assert!(number("published") > 0, "{report}");
        // Five readers of each session.
        assert_eq!(number("deliveries"), 5 * number("published"), "{report}");
        for none in ["missing", "duplicates", "gaps", "lost_streams", "refused"] {
            assert_eq!(number(none), 0, "{none}: {report}");
        }
        let latency = |name: &str| report["latency"][name].as_f64().unwrap();
        assert!(0.0 < latency("p50_us") && latency("p50_us") <= latency("p99_us"));
        assert!(latency("p99_us") <= latency("max_us"));
    }
    // Its sessions are gone.
    let sessions = format!("{}/v1/sessions", program.url);
    let listed: Value = reqwest::get(sessions).await.unwrap().json().await.unwrap();
    assert_eq!(listed["sessions"], json!([]), "{listed}");
}

#[tokio::test]
async fn bench_fails_where_there_is_no_server_and_speaks_plain_http_only() {
    // A port that nobody listens on: it was free a moment ago.
    let free = TcpSocket::new_v4().unwrap();
    free.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let url = format!("http://{}", free.local_addr().unwrap());
    assert_eq!(bench(&url, &[]).await.status.code(), Some(1));
    assert_eq!(
        bench("https://localhost:1", &[]).await.status.code(),
        Some(2)
    );
}

///
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_streams_cost_little_and_an_event_reaches_all_of_them() {
    let readers = if is_full() { 10_000 } else { 1_000 };
    raise_file_limit().unwrap();
    let program = Program::serve().await;
    let address = program.url.trim_start_matches("http://").parse().unwrap();
    let mut plan = Plan::new(Target::gateway(address, "localhost", None), "idle-");
    plan.readers = readers;
    let before = program.memory_kib();
    let load = tokio::task::spawn_blocking(move || Load::connect(plan));
    let mut load = load.await.unwrap().unwrap();
    let each = (program.memory_kib() - before) as f64 / readers as f64;
    assert!(each <= 16.0, "{each} KiB for each stream");
    let run = move || load.run(Pace::Rate(1_000.0), Duration::from_millis(1));
    let report = tokio::task::spawn_blocking(run).await.unwrap().unwrap();
    assert!(report.is_clean() && report.published > 0, "{report}");
    assert_eq!(report.deliveries, report.published * readers as u64);
    if is_full() {
        assert!(report.latency.max_us <= 500_000.0, "{report}");
    }
}

/// A reader that asks for a stream and never reads.
async fn stalled(url: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 * 1024).unwrap();
    let address = url.trim_start_matches("http://").parse().unwrap();
    let mut socket = socket.connect(address).await.unwrap();
    let request = "GET /v1/sessions/big/events HTTP/1.1\r\nhost: localhost\r\n\r\n";
    socket.write_all(request.as_bytes()).await.unwrap();
    socket
}

async fn open_streams(url: &str) -> u64 {
    let text = reqwest::get(format!("{url}/metrics")).await.unwrap();
    let text = text.text().await.unwrap();
    let value = text
        .lines()
        .find_map(|l| l.strip_prefix("reveille_streams "));
    value.unwrap().parse().unwrap()
}

///
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_do_not_read_are_ended_and_others_miss_nothing() {
    const BYTES: usize = 64 * 1024;
    // The session retains a thousand such events; a publisher further ahead would make a gap.
    const AHEAD: usize = 500;
    let (readers, events) = if is_full() { (5_000, 2_000) } else { (50, 200) };
    raise_file_limit().unwrap();
    let program = Program::serve().await;
    let url = program.url.clone();
    let events_url = format!("{url}/v1/sessions/big/events");
    let mut good = SseReader::open(&events_url, None).await;
    let mut idle = Vec::new();
    for _ in 0..readers {
        idle.push(stalled(&url).await);
    }
    soon("all streams", async {
        while open_streams(&url).await != readers + 1 {}
    })
    .await;
    let before = program.memory_kib();
    let begun = Instant::now();
    let ahead = Arc::new(Semaphore::new(AHEAD));
    let room = Arc::clone(&ahead);
    let publishing = tokio::spawn(async move {
        let client = reqwest::Client::new();
        let event = json!({"type": "big", "data": "x".repeat(BYTES)});
        for _ in 0..events {
            room.acquire().await.unwrap().forget();
            let sent = client.post(&events_url).json(&event).send().await.unwrap();
            assert_eq!(sent.status(), 201);
        }
    });
    for position in 0..events {
        let event = good.event().await.json();
        assert_eq!(event["reveilleposition"], format!("{position:020}"));
        ahead.add_permits(1);
    }
    publishing.await.unwrap();
    // What the session retains, and for each reader about one write and one event.
    let grown = program.memory_kib().saturating_sub(before);
    let bound = 64 * 1024 + readers * 256 + 32 * 1024;
    assert!(grown <= bound, "{grown} KiB are more than {bound}");
    soon("the end of those who do not read", async {
        while open_streams(&url).await != 1 {}
    })
    .await;
    assert!(begun.elapsed() <= Duration::from_secs(if is_full() { 60 } else { 25 }));
    drop(idle);
}
