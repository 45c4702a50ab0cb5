//! The command line, against a real server: outputs, exit codes, and restarts of the server.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::process::{Output, Stdio};
use std::time::Duration;

use reveille_e2e::{Program, Server, publish, reveille, soon};
use reveille_gateway::GatewayConfig;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout};

async fn run(program: &Program, arguments: &[&str]) -> Output {
    let mut command = reveille(arguments);
    command.env("REVEILLE_URL", &program.url);
    soon("the end of the command", command.output())
        .await
        .unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// The lines of standard output, each of which must be JSON.
fn lines(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A command that runs on, with its outputs line by line.
struct Running {
    child: Child,
    out: Lines<BufReader<ChildStdout>>,
    err: Lines<BufReader<ChildStderr>>,
}

fn start(url: &str, arguments: &[&str]) -> Running {
    let mut child = reveille(arguments)
        .env("REVEILLE_URL", url)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    Running {
        out: BufReader::new(child.stdout.take().unwrap()).lines(),
        err: BufReader::new(child.stderr.take().unwrap()).lines(),
        child,
    }
}

impl Running {
    async fn event(&mut self) -> Value {
        let line = soon("an event", self.out.next_line())
            .await
            .unwrap()
            .unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// Reads standard error up to a line that holds `text`.
    async fn note(&mut self, text: &str) -> String {
        loop {
            let line = soon("a note", self.err.next_line()).await.unwrap().unwrap();
            if line.contains(text) {
                return line;
            }
        }
    }

    async fn code(&mut self) -> i32 {
        let status = soon("the end of the command", self.child.wait()).await;
        status.unwrap().code().unwrap()
    }
}

async fn waiters(program: &Program, session: &str, count: u64) {
    let url = format!("{}/v1/sessions/{session}", program.url);
    soon("waiters", async {
        loop {
            let info: Value = reqwest::get(&url).await.unwrap().json().await.unwrap();
            if info["waiters"] == count {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
}

const DONE: [&str; 6] = [
    "publish",
    "build",
    "--type",
    "task.completed",
    "--data",
    r#"{"ok":true}"#,
];
const WAIT: [&str; 6] = [
    "wait",
    "build",
    "--type",
    "task.completed",
    "--timeout",
    "20s",
];

#[tokio::test]
async fn wait_then_publish_prints_the_event() {
    let program = Program::serve().await;
    let mut waiting = start(&program.url, &WAIT);
    soon("the session", async {
        let url = format!("{}/v1/sessions/build", program.url);
        while reqwest::get(&url).await.unwrap().status() != 200 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    waiters(&program, "build", 1).await;
    let published = run(&program, &DONE).await;
    assert_eq!(code(&published), 0);
    let event = waiting.event().await;
    assert_eq!(event["type"], "task.completed");
    assert_eq!(event["data"], json!({"ok": true}));
    assert_eq!(event["id"], lines(&published)[0]["results"][0]["id"]);
    assert_eq!(waiting.code().await, 0);
}

#[tokio::test]
async fn publish_then_wait_prints_the_event() {
    let program = Program::serve().await;
    assert_eq!(code(&run(&program, &DONE).await), 0);
    let waited = run(&program, &WAIT).await;
    assert_eq!(code(&waited), 0);
    assert_eq!(lines(&waited)[0]["data"], json!({"ok": true}));
}

#[tokio::test]
async fn nothing_published_is_124_and_an_ended_session_3() {
    let program = Program::serve().await;
    let waited = run(
        &program,
        &["wait", "s", "--type", "a", "--timeout", "100ms"],
    )
    .await;
    assert_eq!((code(&waited), waited.stdout.len()), (124, 0));
    assert_eq!(code(&run(&program, &["close", "s"]).await), 0);
    let waited = run(&program, &["wait", "s", "--type", "a"]).await;
    assert_eq!((code(&waited), waited.stdout.len()), (3, 0));
    let tailed = run(&program, &["tail", "s"]).await;
    assert_eq!(code(&tailed), 0);
    let refused = run(&program, &["publish", "s", "--type", "a"]).await;
    assert_eq!(code(&refused), 1);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("session_ended"));
}

#[tokio::test]
async fn wrong_usage_is_2() {
    let program = Program::serve().await;
    for arguments in [
        &["publish", "s"][..],
        &["wait"],
        &["wait", "s", "--timeout", "5"],
        &["publish", "s", "--type", "a", "--data", "{"],
        &["tail", "s", "--url", "ftp://x"],
        &["nonsense"],
    ] {
        assert_eq!(code(&run(&program, arguments).await), 2, "{arguments:?}");
    }
}

#[tokio::test]
async fn wait_all_prints_an_event_for_each_pattern() {
    let program = Program::serve().await;
    publish(
        &program.url,
        "s",
        &json!([{"type": "b.x"}, {"type": "c"}, {"type": "a"}]),
    )
    .await;
    let waited = run(
        &program,
        &["wait", "s", "--all", "--type", "a", "--type", "b.*"],
    )
    .await;
    let kinds: Vec<Value> = lines(&waited).iter().map(|e| e["type"].clone()).collect();
    assert_eq!(kinds, ["b.x", "a"]);
}

#[tokio::test]
async fn take_gives_each_event_to_one_taker_and_acknowledges_it() {
    let program = Program::serve().await;
    publish(&program.url, "s", &json!([{"type": "a"}, {"type": "b"}])).await;
    let first = run(&program, &["take", "s"]).await;
    let second = run(&program, &["take", "s"]).await;
    assert_eq!(lines(&first)[0]["type"], "a");
    assert_eq!(lines(&second)[0]["type"], "b");
    assert_eq!(
        code(&run(&program, &["take", "s", "--timeout", "50ms"]).await),
        124
    );
    let other = run(&program, &["take", "s", "--group", "other", "--max", "9"]).await;
    assert_eq!(lines(&other).len(), 2);
}

#[tokio::test]
async fn a_batch_from_a_file_is_published_as_one() {
    let program = Program::serve().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(
        file.path(),
        "{\"type\":\"a\"}\n\n{\"type\":\"b\",\"data\":1.50}\n",
    )
    .unwrap();
    let path = file.path().to_str().unwrap();
    let published = run(&program, &["publish", "s", "--events", path]).await;
    assert_eq!(lines(&published)[0]["results"].as_array().unwrap().len(), 2);
    std::fs::write(file.path(), "{\"type\":\"c\"}\n{\"type\":\"reveille.x\"}\n").unwrap();
    assert_eq!(
        code(&run(&program, &["publish", "s", "--events", path]).await),
        1
    );
    run(&program, &["close", "s"]).await;
    let tailed = run(&program, &["tail", "s"]).await;
    let text = String::from_utf8(tailed.stdout).unwrap();
    assert_eq!(text.lines().count(), 2, "all or nothing");
    assert!(text.contains(r#""data":1.50"#), "numbers keep their digits");
}

#[tokio::test]
async fn cancel_and_sessions_answer_in_json() {
    let program = Program::serve().await;
    for session in ["one", "two", "workflow/w"] {
        run(&program, &["publish", session, "--type", "a"]).await;
    }
    let cancelled = run(&program, &["cancel", "workflow/w", "--reason", "enough"]).await;
    assert_eq!(lines(&cancelled)[0]["cancel"]["reason"], "enough");
    let again = run(&program, &["cancel", "workflow/w", "--reason", "again"]).await;
    assert_eq!(lines(&again)[0]["already_cancelled"], true);
    assert_eq!(lines(&again)[0]["cancel"]["reason"], "enough");
    let all = run(&program, &["sessions"]).await;
    let names: Vec<Value> = lines(&all).iter().map(|s| s["session"].clone()).collect();
    assert_eq!(names, ["one", "two", "workflow/w"]);
    let limited = run(&program, &["sessions", "--limit", "1"]).await;
    assert_eq!(lines(&limited).len(), 1);
}

/// Ends the server without a word, and starts another one at the same address.
async fn restart(program: Program) -> Program {
    let listen = program.url.strip_prefix("http://").unwrap().to_owned();
    program.signal(Signal::KILL);
    program.ended().await;
    Program::start(&["serve", "--listen", &listen]).await
}

#[tokio::test]
async fn tail_rides_out_a_restart_and_tells_what_is_lost() {
    let program = Program::serve().await;
    publish(
        &program.url,
        "s",
        &json!([{"type": "a.1"}, {"type": "a.2"}]),
    )
    .await;
    let mut tail = start(&program.url, &["tail", "s"]);
    assert_eq!(tail.event().await["type"], "a.1");
    assert_eq!(tail.event().await["type"], "a.2");

    let program = restart(program).await;
    publish(
        &program.url,
        "s",
        &json!([{"type": "b.1"}, {"type": "b.2"}]),
    )
    .await;
    tail.note("gap: ").await;
    assert_eq!(tail.event().await["type"], "b.1");
    assert_eq!(tail.event().await["type"], "b.2");
    publish(&program.url, "s", &json!({"type": "task.result"})).await;
    assert_eq!(tail.event().await["type"], "task.result");
    assert_eq!(tail.code().await, 0);
}

/// A server that asks its readers to come back soon.
async fn hasty_server() -> Server {
    let mut config = GatewayConfig::default();
    config.retry = Duration::from_millis(20);
    Server::with(config).await
}

/// One filtered stream through several servers over the same log.
#[tokio::test]
async fn tail_loses_nothing_when_the_server_ends_its_streams() {
    let mut server = hasty_server().await;
    let mut tail = start(&server.url, &["tail", "s", "--match", "step.*"]);
    for n in 0..3 {
        let batch = json!([{"type": "other"}, {"type": format!("step.{n}a")}]);
        publish(&server.url, "s", &batch).await;
        assert_eq!(tail.event().await["type"], format!("step.{n}a"));
        server = server.restart().await;
        // What is published while nobody reads is read afterwards, and nothing twice.
        publish(&server.url, "s", &json!({"type": format!("step.{n}b")})).await;
        tail.note("disconnected").await;
        assert_eq!(tail.event().await["type"], format!("step.{n}b"));
    }
    publish(&server.url, "s", &json!({"type": "task.result"})).await;
    let mut notes = Vec::new();
    while let Some(line) = soon("the rest", tail.err.next_line()).await.unwrap() {
        notes.push(line);
    }
    assert_eq!(notes, ["the session is over: completed"], "no gap was told");
    assert_eq!(tail.code().await, 0);
}

/// All sessions in one order, through several servers over the same logs.
#[tokio::test]
async fn tail_follows_all_sessions_and_loses_nothing() {
    let mut server = hasty_server().await;
    let mut tail = start(&server.url, &["tail", "--match", "task.*"]);
    for n in 0..3 {
        let batch = json!([{"type": "other"}, {"type": "task.started", "data": n}]);
        publish(&server.url, &format!("s{n}"), &batch).await;
        let event = tail.event().await;
        assert_eq!(
            (&event["type"], &event["data"]),
            (&json!("task.started"), &json!(n))
        );
        assert_eq!(event["reveillesession"], format!("s{n}"));
        server = server.restart().await;
        tail.note("disconnected").await;
    }
    server.stop().await;
}

#[tokio::test]
async fn wait_rides_out_a_restart_and_tells_what_is_lost() {
    let program = Program::serve().await;
    let receipt = publish(&program.url, "s", &json!({"type": "other"})).await;
    let after = receipt["cursor"].as_str().unwrap();
    let arguments = [
        "wait",
        "s",
        "--type",
        "done",
        "--after",
        after,
        "--timeout",
        "60s",
    ];
    let mut waiting = start(&program.url, &arguments);
    waiters(&program, "s", 1).await;
    let program = restart(program).await;
    waiting.note("cannot be reached").await;
    waiting.note("gap: ").await;
    publish(&program.url, "s", &json!({"type": "done"})).await;
    assert_eq!(waiting.event().await["type"], "done");
    assert_eq!(waiting.code().await, 0);
}

#[tokio::test]
async fn wait_waits_for_a_server_that_is_not_there_yet() {
    let program = Program::serve().await;
    let listen = program.url.strip_prefix("http://").unwrap().to_owned();
    let url = program.url.clone();
    program.signal(Signal::TERM);
    program.ended().await;
    let mut waiting = start(&url, &["wait", "s", "--type", "done", "--timeout", "60s"]);
    waiting.note("cannot be reached").await;
    let program = Program::start(&["serve", "--listen", &listen]).await;
    publish(&program.url, "s", &json!({"type": "done"})).await;
    assert_eq!(waiting.event().await["type"], "done");
    assert_eq!(waiting.code().await, 0);

    let mut late = start("http://127.0.0.1:1", &["wait", "s", "--timeout", "300ms"]);
    assert_eq!(late.code().await, 124);
}
