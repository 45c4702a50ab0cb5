//! The server as a process: where it listens, what it refuses, how it ends.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::process::Stdio;

use reveille_e2e::{Broker, PATIENCE, Program, SseReader, publish, reveille, soon};
use rustix::process::Signal;
use serde_json::json;

#[tokio::test]
async fn the_first_line_says_where_and_the_next_what_to_try() {
    let mut program = Program::serve().await;
    assert!(program.url.starts_with("http://127.0.0.1:"));
    let mut notes = String::new();
    while !notes.contains("reveille publish") {
        notes.push_str(&program.note().await);
    }
    assert!(notes.contains("curl -N"), "{notes}");
}

#[tokio::test]
async fn a_taken_port_is_a_clear_error() {
    let program = Program::serve().await;
    let taken = program.url.strip_prefix("http://").unwrap();
    let output = reveille(&["serve", "--listen", taken])
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains(taken), "{stderr}");
    assert!(stderr.contains("in use"), "{stderr}");
}

#[tokio::test]
async fn other_addresses_than_loopback_are_refused() {
    let output = reveille(&["serve", "--listen", "0.0.0.0:0"])
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("without authentication"), "{stderr}");
}

/// What the server says as it ends, because the backend promises less than this.
async fn refused_backend(backend: &str, level: &str) -> String {
    let asked = ["serve", "--listen", "127.0.0.1:0", "--backend", backend];
    let output = reveille(&asked).args(["--durability", level]).output();
    let output = soon("the refusal", output).await.unwrap();
    assert_eq!(output.status.code(), Some(2), "{backend} {level}");
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test]
async fn a_backend_that_promises_less_than_is_asked_for_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let archive = format!("archive:{}", dir.path().join("a").display());
    let (redis, nats) = (Broker::redis().await, Broker::nats().await);
    for (backend, asked, promised) in [
        ("memory", "os", "volatile"),
        (&archive, "replicated", "fsync"),
        (&redis.url, "fsync", "os"),
        (&nats.url, "replicated", "os"),
    ] {
        let said = refused_backend(backend, asked).await;
        let expected = format!("{promised}, and {asked} is asked for");
        assert!(said.contains(&expected), "{said}");
    }
    for (backend, level) in [(&*redis.url, "os"), (&nats.url, "volatile")] {
        let serve = ["serve", "--listen", "127.0.0.1:0"];
        let asked = [&serve[..], &["--backend", backend, "--durability", level]].concat();
        let program = Program::start(&asked).await;
        let receipt = publish(&program.url, "s", &json!({"type": "a"})).await;
        assert_eq!(receipt["durability"], "os");
    }
}

async fn ends_open_streams(signal: Signal) {
    let program = Program::serve().await;
    publish(&program.url, "s", &json!({"type": "a"})).await;
    let url = format!("{}/v1/sessions/s/events?after=earliest", program.url);
    let mut stream = SseReader::open(&url, None).await;
    while !stream.next().await.unwrap().is("reveille.caught_up") {}
    let waiting = format!(
        "{}/v1/sessions/s/wait?match=never&timeout=300s",
        program.url
    );
    let waiting = tokio::spawn(reqwest::get(waiting));
    wait_for_waiters(&program.url, 2).await;

    let stopped = std::time::Instant::now();
    program.signal(signal);
    let blocks = stream.rest().await;
    assert_eq!(blocks.len(), 1, "{blocks:?}");
    assert!(blocks[0].is("reveille.reconnect"));
    assert_eq!(blocks[0].id, None);
    assert_eq!(blocks[0].json()["reason"], "drain");

    let answer = waiting.await.unwrap().unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    let output = program.ended().await;
    assert_eq!(output.status.code(), Some(0));
    assert!(stopped.elapsed().as_secs() < 5);
}

/// Waits until so many are waiting in session `s`.
async fn wait_for_waiters(url: &str, count: u64) {
    soon("waiters", async {
        loop {
            let info = reqwest::get(format!("{url}/v1/sessions/s")).await.unwrap();
            let info: serde_json::Value = info.json().await.unwrap();
            if info["waiters"] == count {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn ctrl_c_ends_open_streams_and_waits_and_exits_with_0() {
    ends_open_streams(Signal::INT).await;
}

#[tokio::test]
async fn a_termination_request_ends_open_streams_and_waits_and_exits_with_0() {
    ends_open_streams(Signal::TERM).await;
}

#[tokio::test]
async fn no_command_means_serve() {
    // The default port may be taken on this machine: either way the program says so at once.
    let mut child = reveille(&[]).stderr(Stdio::piped()).spawn().unwrap();
    let stderr = child.stderr.take().unwrap();
    let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(stderr));
    let first = tokio::time::timeout(PATIENCE, lines.next_line()).await;
    let first = first.unwrap().unwrap().unwrap();
    assert!(first.contains("127.0.0.1:7600"), "{first}");
    child.kill().await.unwrap();
}
