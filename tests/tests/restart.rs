//! a server that is killed and started again, and many clients that come back by themselves.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]
#![expect(clippy::print_stdout, reason = "figures are for people")]

use std::time::{Duration, Instant};

use reveille_client::{After, Client, FollowOptions, Followed, PublishOptions};
use reveille_e2e::{Program, soon};
use reveille_load::raise_file_limit;
use reveille_types::GapReason;
use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Events before the server is killed, and in all.
const BEFORE: u64 = 200;
const IN_ALL: u64 = 400;
/// How long clients wait at most before they try again.
const JITTER: Duration = Duration::from_secs(5);

/// How long all clients may take to come in. Thousands of them in one process take longer than the server.
fn coming_in() -> Duration {
    Duration::from_secs(if clients() > 1_000 { 15 } else { 5 })
}

fn clients() -> usize {
    match std::env::var_os("REVEILLE_FULL") {
        Some(_) => 5_000,
        None => 200,
    }
}

/// What one client saw.
#[derive(Debug, Default, Clone)]
struct Seen {
    /// The positions of events, and how many of them came before the first gap.
    positions: Vec<u64>,
    before_gap: Option<usize>,
    gaps: Vec<GapReason>,
    connections: usize,
}

/// Follows until the last event; tells how many events it has seen.
async fn follows(client: Client, seen_so_far: watch::Sender<u64>) -> Seen {
    let mut options = FollowOptions::default();
    options.after = After::Earliest;
    let mut events = client.session("s").follow(options);
    let mut seen = Seen::default();
    loop {
        match events.next().await.unwrap().unwrap() {
            Followed::Open(_) => seen.connections += 1,
            Followed::Gap(gap) => {
                seen.gaps.push(gap.reason);
                seen.before_gap.get_or_insert(seen.positions.len());
            }
            Followed::Event(event) => {
                // The cursor of an event is the place after it.
                seen.positions.push(event.cursor.place() - 1);
                seen_so_far.send_modify(|count| *count += 1);
                if event.kind == "last" {
                    return seen;
                }
            }
            _ => {}
        }
    }
}

async fn publish(url: &str, positions: std::ops::Range<u64>, last: bool) {
    let session = Client::new(url).unwrap().session("s");
    let mut events: Vec<_> = positions
        .map(|n| json!({"type": "step", "data": n}))
        .collect();
    if last {
        events.push(json!({"type": "last"}));
    }
    for batch in events.chunks(10) {
        let options = PublishOptions::default();
        session.publish(batch, &options).await.unwrap();
    }
}

/// Kills a server with many clients in the middle of things, and starts another one at its place.
async fn storm(arguments: &[&str]) -> Vec<Seen> {
    raise_file_limit().unwrap();
    let first = Program::start(&[&["serve", "--listen", "127.0.0.1:0"], arguments].concat()).await;
    let url = first.url.clone();
    let address = url.trim_start_matches("http://").to_owned();
    // One for all, because to make one takes its time; each stream has its own connection.
    let client = Client::new(&url).unwrap();
    let mut following = JoinSet::new();
    let mut so_far = Vec::new();
    for _ in 0..clients() {
        let (sender, count) = watch::channel(0);
        so_far.push(count);
        following.spawn(follows(client.clone(), sender));
    }
    publish(&url, 0..BEFORE, false).await;
    // Each is in the middle of the stream: some are behind.
    for count in &mut so_far {
        soon("some events", count.wait_for(|count| *count > BEFORE / 2))
            .await
            .unwrap();
    }
    first.signal(Signal::KILL);
    first.ended().await;
    let begun = Instant::now();
    let second = Program::start(&[&["serve", "--listen", &address], arguments].concat()).await;
    let clock = second.cpu_seconds();
    publish(&url, BEFORE..IN_ALL, true).await;
    let seen = soon("all clients", following.join_all()).await;
    let took = begun.elapsed();
    let busy = second.cpu_seconds() - clock;
    println!(
        "R-54: {} clients were back and done in {took:?}, {busy:.1} s of CPU",
        seen.len()
    );
    assert!(took <= JITTER + coming_in(), "{took:?}");
    assert!(busy <= 5.0, "{busy} s");
    assert!(seen.iter().all(|seen| seen.connections == 2));
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_an_archive_nobody_misses_anything() {
    let dir = TempDir::new().unwrap();
    let backend = format!("archive:{}", dir.path().display());
    for seen in storm(&["--backend", &backend]).await {
        assert_eq!(seen.gaps, []);
        assert_eq!(seen.positions, Vec::from_iter(0..=IN_ALL));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_memory_all_are_told_that_the_log_is_another_one() {
    for seen in storm(&[]).await {
        assert_eq!(seen.gaps, [GapReason::UnknownCursor]);
        let (old, new) = seen.positions.split_at(seen.before_gap.unwrap());
        assert_eq!(old, Vec::from_iter(0..old.len() as u64));
        assert!(old.len() as u64 > BEFORE / 2);
        // The new log from its beginning, the first event included.
        assert_eq!(new, Vec::from_iter(0..=IN_ALL - BEFORE));
    }
}
