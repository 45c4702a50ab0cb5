//! The demo: real work on real files, and what it tells must be what other tools say.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use reveille_e2e::{Block, Program, SseReader, reveille, soon};
use serde_json::Value;
use tempfile::TempDir;

/// A tree with texts, binaries, odd names, empty files, and a link that leads nowhere.
fn fixture() -> TempDir {
    let dir = TempDir::new().unwrap();
    let root = dir.path();
    fs::create_dir_all(root.join("deep/er/still")).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    fs::write(root.join("a.txt"), "one two\nthree\n").unwrap();
    fs::write(root.join("no end.txt"), "four five six").unwrap();
    fs::write(root.join("deep/grüße.txt"), "grüße aus → Köln\n\tzwei\n").unwrap();
    fs::write(root.join("deep/er/zero"), "").unwrap();
    fs::write(root.join("deep/er/.hidden"), "  spaced   out  \n\n\n").unwrap();
    fs::write(root.join("deep/er/still/bin"), [0, 159, 146, 150, 10, 10]).unwrap();
    fs::write(root.join("deep/latin1"), b"caf\xe9 au lait\n").unwrap();
    fs::write(root.join("large.txt"), "word and word\n".repeat(50_000)).unwrap();
    std::os::unix::fs::symlink("a.txt", root.join("link")).unwrap();
    std::os::unix::fs::symlink("nowhere", root.join("dangling")).unwrap();
    dir
}

fn output(program: &str, arguments: &[&str], dir: &Path) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(dir)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap();
    assert!(output.status.success(), "{program} {arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn the_totals_are_those_of_find_sha256sum_and_wc() {
    let dir = fixture();
    let root = dir.path().to_str().unwrap();
    let mut program =
        Program::start(&["demo", root, "--listen", "127.0.0.1:0", "--id", "job"]).await;
    let watch = program.note().await;
    assert!(watch.contains("/events/ingestion/job"), "{watch}");
    let url = format!(
        "{}/v1/sessions/ingestion%2Fjob/events?after=earliest",
        program.url
    );
    let blocks = SseReader::open(&url, None).await.rest().await;
    assert!(blocks.last().unwrap().is("reveille.end"));
    let events: Vec<Value> = blocks
        .iter()
        .filter(|b| b.is_event())
        .map(Block::json)
        .collect();

    let of_type = |kind: &str| -> Vec<Value> {
        let matching = events.iter().filter(|e| e["type"] == *kind);
        matching.map(|e| e["data"].clone()).collect()
    };
    let artifacts: BTreeMap<String, Value> = of_type("task.artifact")
        .into_iter()
        .map(|a| {
            (
                a["data"]["path"].as_str().unwrap().to_owned(),
                a["data"].clone(),
            )
        })
        .collect();

    let found = output(
        "find",
        &[".", "-type", "f", "-printf", "%P\\t%s\\n"],
        dir.path(),
    );
    let mut bytes = 0;
    for line in found.lines() {
        let (path, size) = line.split_once('\t').unwrap();
        let size: u64 = size.parse().unwrap();
        bytes += size;
        assert_eq!(artifacts[path]["size"], size, "{path}");
        let sum = output("sha256sum", &["--", path], dir.path());
        // A leading backslash marks an escaped name.
        let sum = sum
            .trim_start_matches('\\')
            .split(' ')
            .next()
            .unwrap()
            .to_owned();
        assert_eq!(artifacts[path]["sha256"], sum, "{path}");
    }
    assert_eq!(artifacts.len(), found.lines().count());

    let (mut texts, mut lines, mut words) = (0, 0, 0);
    for (path, artifact) in &artifacts {
        if artifact["lines"].is_null() {
            continue;
        }
        texts += 1;
        let counts = output("wc", &["-l", "-w", "--", path], dir.path());
        let mut counts = counts.split_whitespace().map(str::parse::<u64>);
        let counted = (
            counts.next().unwrap().unwrap(),
            counts.next().unwrap().unwrap(),
        );
        assert_eq!(artifact["lines"], counted.0, "{path}");
        assert_eq!(artifact["words"], counted.1, "{path}");
        lines += counted.0;
        words += counted.1;
    }
    let binaries: Vec<&String> = artifacts
        .iter()
        .filter(|(_, a)| a["lines"].is_null())
        .map(|(path, _)| path)
        .collect();
    assert_eq!(binaries, ["deep/er/still/bin", "deep/latin1"]);

    let last = events.last().unwrap();
    assert_eq!(last["type"], "task.result");
    assert_eq!(last["reveillefinal"], "session");
    let totals = &last["data"]["result"];
    assert_eq!(totals["files"], artifacts.len());
    assert_eq!(totals["bytes"], bytes);
    assert_eq!(totals["text_files"], texts);
    assert_eq!(totals["lines"], lines);
    assert_eq!(totals["words"], words);
    assert_eq!(totals["errors"], 1);
    let errors = of_type("task.error");
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0]["context"]["path"], "dangling");
    assert_eq!(errors[0]["recoverable"], true);

    let phases: Vec<Value> = of_type("task.status.working");
    let directories = output("find", &[".", "-type", "f", "-printf", "%h\\n"], dir.path());
    let directories: BTreeSet<&str> = directories.lines().collect();
    assert_eq!(phases.last().unwrap()["phase"], "directories_done");
    assert_eq!(phases.last().unwrap()["directories"], directories.len());
    let position = |kind: &str| events.iter().rposition(|e| e["type"] == *kind);
    assert!(position("task.artifact") < position("task.status.working"));
    assert!(position("task.status.working") < position("task.result"));

    let progress: Vec<u64> = of_type("task.progress")
        .iter()
        .map(|p| p["current"].as_u64().unwrap())
        .collect();
    let counting: Vec<u64> = (1..=artifacts.len() as u64).collect();
    assert_eq!(progress, counting);
}

#[tokio::test]
async fn the_task_path_runs_from_connected_to_the_final_event_and_ends() {
    let dir = fixture();
    let root = dir.path().to_str().unwrap();
    let program = Program::start(&["demo", root, "--listen", "127.0.0.1:0", "--id", "job"]).await;
    // A stock client: it stops by itself when the server closes.
    let url = format!("{}/events/ingestion/job", program.url);
    let curl = tokio::process::Command::new("curl")
        .args(["--silent", "--no-buffer", &url])
        .output();
    let curl = soon("the end of curl", curl).await.unwrap();
    assert!(curl.status.success());
    let text = String::from_utf8(curl.stdout).unwrap();
    let first = text.lines().find_map(|l| l.strip_prefix("data: ")).unwrap();
    let first: Value = serde_json::from_str(first).unwrap();
    assert_eq!(first["type"], "connected");
    let types: Vec<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str::<Value>(data).unwrap())
        .filter_map(|event| Some(event["event_type"].as_str()?.to_owned()))
        .collect();
    assert_eq!(types.first().unwrap(), "status");
    assert_eq!(types.last().unwrap(), "complete");
}

#[tokio::test]
async fn a_cancel_stops_between_files_with_a_cancelled_status() {
    let dir = TempDir::new().unwrap();
    let files = 300;
    let content = "some words in a line\n".repeat(20_000);
    for n in 0..files {
        fs::write(dir.path().join(format!("{n:03}.txt")), &content).unwrap();
    }
    let root = dir.path().to_str().unwrap();
    let arguments = [
        "demo",
        root,
        "--listen",
        "127.0.0.1:0",
        "--id",
        "job",
        "--jobs",
        "1",
    ];
    let program = Program::start(&arguments).await;
    let url = format!(
        "{}/v1/sessions/ingestion%2Fjob/events?after=earliest",
        program.url
    );
    let mut stream = SseReader::open(&url, None).await;
    while stream.event().await.json()["type"] != "task.artifact" {}
    let cancel = format!("{}/events/ingestion/job/cancel", program.url);
    let answer = reqwest::Client::new()
        .post(cancel)
        .json(&serde_json::json!({"reason": "enough"}))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);

    let blocks = stream.rest().await;
    let end = blocks.last().unwrap();
    assert!(end.is("reveille.end"));
    assert_eq!(end.json()["reason"], "cancelled");
    let events: Vec<Value> = blocks
        .iter()
        .filter(|b| b.is_event())
        .map(Block::json)
        .collect();
    assert!(
        events
            .iter()
            .any(|e| e["type"] == "task.status.cancel_requested")
    );
    assert!(
        events
            .iter()
            .all(|e| e["data"]["phase"] != "directories_done")
    );
    let last = events.last().unwrap();
    assert_eq!(last["type"], "task.status.cancelled");
    assert_eq!(last["data"]["reason"], "enough");
    let read = last["data"]["totals"]["files"].as_u64().unwrap();
    assert!(
        read < files,
        "it stopped midway, after {read} of {files} files"
    );
    // No file was torn: all bytes of every file that was read are counted.
    let bytes = last["data"]["totals"]["bytes"].as_u64().unwrap();
    assert_eq!(bytes, read * content.len() as u64);
}

#[tokio::test]
async fn exit_ends_with_the_work_and_prints_the_final_event() {
    let dir = fixture();
    let root = dir.path().to_str().unwrap();
    let output = reveille(&["demo", root, "--listen", "127.0.0.1:0", "--exit"]).output();
    let output = soon("the end of the demo", output).await.unwrap();
    assert_eq!(output.status.code(), Some(0));
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed["type"], "task.result");
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_a_clear_error() {
    let output = reveille(&["demo", "/nowhere/at/all", "--exit"]).output();
    let output = output.await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("/nowhere/at/all"), "{stderr}");
}
