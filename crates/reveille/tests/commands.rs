//! The commands as scripts use them: what becomes of events that cannot be printed or are published
//! twice, and exit codes.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use serde_json::Value;

/// A server of the test's own.
struct Server {
    child: Child,
    /// Kept, because a server whose standard error is closed has lost its voice.
    _notes: BufReader<ChildStderr>,
    url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn reveille(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reveille"));
    command.args(arguments).stdin(Stdio::null());
    command
}

impl Server {
    fn start() -> Self {
        let mut child = reveille(&["serve", "--listen", "127.0.0.1:0"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut notes = BufReader::new(child.stderr.take().unwrap());
        let mut first = String::new();
        notes.read_line(&mut first).unwrap();
        let url = first.trim().strip_prefix("reveille listening on ").unwrap();
        Self {
            url: url.to_owned(),
            child,
            _notes: notes,
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = reveille(arguments);
        command.env("REVEILLE_URL", &self.url);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// The kinds of the events that a command prints.
    fn kinds(&self, arguments: &[&str]) -> Vec<String> {
        let output = self.run(arguments);
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["type"].to_string())
            .collect()
    }
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A standard output that nobody reads any more.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

#[test]
fn an_event_that_two_processes_publish_is_stored_once() {
    let server = Server::start();
    let publish = [
        "publish", "s", "--type", "a", "--source", "urn:x", "--id", "1",
    ];
    for (nth, expected) in [false, true].into_iter().enumerate() {
        let output = server.run(&publish);
        let receipt: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            receipt["results"][0]["deduplicated"], expected,
            "publish {nth}"
        );
    }
}

#[test]
fn a_reader_that_has_gone_is_no_error_and_a_full_disk_is_one() {
    let server = Server::start();
    server.run(&["publish", "s", "--type", "a"]);
    let gone = server
        .command(&["wait", "s", "--type", "a"])
        .stdout(closed())
        .output()
        .unwrap();
    assert_eq!((code(&gone), text(&gone.stderr).as_str()), (0, ""));

    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let full = server
        .command(&["wait", "s", "--type", "a"])
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(code(&full), 1);
    assert!(text(&full.stderr).contains("standard output"), "{full:?}");
}

#[test]
fn what_a_take_cannot_print_is_offered_again_at_once() {
    let server = Server::start();
    server.run(&["publish", "s", "--type", "a"]);
    server.run(&["publish", "s", "--type", "b"]);
    let take = ["take", "s", "--max", "2", "--timeout", "20s"];
    let gone = server.command(&take).stdout(closed()).output().unwrap();
    assert_eq!((code(&gone), text(&gone.stderr).as_str()), (0, ""));
    assert_eq!(server.kinds(&take), ["\"a\"", "\"b\""]);
    let again = server.run(&["take", "s", "--timeout", "50ms", "--quiet"]);
    assert_eq!((code(&again), text(&again.stderr).as_str()), (124, ""));
}

#[test]
fn a_take_that_keeps_prints_the_leases_and_does_not_acknowledge() {
    let server = Server::start();
    server.run(&["publish", "s", "--type", "a"]);
    let keep = ["take", "s", "--keep", "--lease", "50ms"];
    let kept = server.run(&keep);
    assert_eq!(code(&kept), 0);
    assert!(text(&kept.stderr).trim().ends_with(".1"), "{kept:?}");
    assert_eq!(server.kinds(&["take", "s", "--timeout", "20s"]), ["\"a\""]);
}

#[test]
fn a_place_that_cannot_be_one_is_wrong_usage() {
    for command in ["tail", "wait"] {
        let output = reveille(&[command, "s", "--after", "yesterday"])
            .output()
            .unwrap();
        assert_eq!(code(&output), 2, "{command}");
        assert!(text(&output.stderr).contains("--after"), "{output:?}");
    }
}

#[test]
fn a_key_that_no_header_can_carry_fails_without_a_server() {
    let output = reveille(&["publish", "s", "--type", "a", "--idempotency-key", "a\nb"])
        .env("REVEILLE_URL", "http://127.0.0.1:1")
        .output()
        .unwrap();
    assert_eq!(code(&output), 1);
    assert!(
        text(&output.stderr).contains("the request cannot be made"),
        "{output:?}"
    );
}

#[test]
fn a_wait_that_is_longer_than_any_clock_waits() {
    let server = Server::start();
    server.run(&["publish", "s", "--type", "a"]);
    let output = server.run(&[
        "wait",
        "s",
        "--type",
        "a",
        "--timeout",
        "18446744073709551615h",
    ]);
    assert_eq!(code(&output), 0);
}
