//! `reveille signal`, against a real server: outputs, exit codes, and a restart of the server.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::process::{Output, Stdio};

use reveille_e2e::{Program, Server, reveille, soon};
use reveille_gateway::GatewayConfig;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

async fn run(url: &str, arguments: &[&str]) -> Output {
    let mut command = reveille(&["signal"]);
    command.args(arguments).env("REVEILLE_URL", url);
    command.env_remove("REVEILLE_SIGNAL_SECRET");
    soon("the end of the command", command.output())
        .await
        .unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn out(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn err(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// The one line of standard output, which must be JSON.
fn line(output: &Output) -> Value {
    assert_eq!(out(output).lines().count(), 1, "{output:?}");
    serde_json::from_str(out(output)).unwrap()
}

/// Makes a signal and gives its handle and secret.
async fn create(url: &str, name: &str) -> (String, String) {
    let made = run(url, &["create", "--name", name, "--plain"]).await;
    assert_eq!(code(&made), 0, "{}", err(&made));
    let (handle, secret) = out(&made).trim_end().split_once(' ').unwrap();
    (handle.to_owned(), secret.to_owned())
}

#[tokio::test]
async fn a_triggered_signal_is_printed_with_its_value_and_exits_with_0() {
    let program = Program::serve().await;
    let made = line(&run(&program.url, &["create"]).await);
    let (handle, secret) = (
        made["handle"].as_str().unwrap(),
        made["secret"].as_str().unwrap(),
    );
    let timed_out = run(&program.url, &["wait", handle, "--timeout", "10ms"]).await;
    assert_eq!((code(&timed_out), out(&timed_out)), (124, ""));

    let trigger = ["trigger", handle, "--secret", secret, "--value", " [1.10] "];
    let triggered = run(&program.url, &trigger).await;
    assert_eq!(code(&triggered), 0, "{}", err(&triggered));
    let waited = run(&program.url, &["wait", handle, "--timeout", "25s"]).await;
    assert_eq!(code(&waited), 0);
    let expected = format!(r#"{{"handle":"{handle}","status":"triggered","value":[1.10]}}"#);
    assert_eq!(out(&waited).trim_end(), expected);
    assert_eq!(out(&triggered), out(&waited));

    let again = run(&program.url, &trigger).await;
    assert_eq!(code(&again), 1);
    assert!(err(&again).contains("already_triggered"), "{}", err(&again));
}

#[tokio::test]
async fn a_poisoned_merge_exits_with_1_and_names_the_causes() {
    let program = Program::serve().await;
    let url = &program.url;
    let (disk, disk_secret) = create(url, "disk").await;
    let (net, net_secret) = create(url, "net\nwork").await;
    let all = run(url, &["merge", &disk, &net, "--plain"]).await;
    let all = out(&all).trim_end().to_owned();
    assert_eq!(all.len(), 32);

    // The secret may come from the environment, where `ps` does not show it.
    let reason = "not\u{1b}[2J here";
    let poison = reveille(&["signal", "poison", &disk, "--reason", reason])
        .env("REVEILLE_URL", url)
        .env("REVEILLE_SIGNAL_SECRET", &disk_secret)
        .output();
    assert_eq!(code(&soon("the poison", poison).await.unwrap()), 0);
    let cancel = ["cancel", &net, "--secret", &net_secret];
    assert_eq!(code(&run(url, &cancel).await), 0);

    let waited = run(url, &["wait", &all]).await;
    assert_eq!(code(&waited), 1);
    assert_eq!(line(&waited)["status"], "poisoned");
    let causes: Vec<&str> = err(&waited).lines().collect();
    let expected = [
        "poisoned:".to_owned(),
        format!(r#"  "disk" ({disk}) explicit: "not\u{{1b}}[2J here""#),
        format!(r#"  "net\nwork" ({net}) cancelled: "cancelled""#),
    ];
    assert_eq!(causes, expected);
}

#[tokio::test]
async fn the_modes_of_merge_are_options_that_exclude_each_other() {
    let program = Program::serve().await;
    let url = &program.url;
    let (a, a_secret) = create(url, "a").await;
    let (b, b_secret) = create(url, "b").await;
    let merge = async |mode: &[&str]| {
        let merged = run(url, &[&["merge", &a, &b], mode].concat()).await;
        assert_eq!(code(&merged), 0, "{}", err(&merged));
        line(&merged)["handle"].as_str().unwrap().to_owned()
    };
    let any = merge(&["--any"]).await;
    let one = merge(&["--n", "1"]).await;
    let two = merge(&["--n", "2"]).await;
    let all = merge(&[]).await;
    let fast = merge(&["--fail-fast"]).await;
    let poison = ["poison", &a, "--secret", &a_secret, "--reason", "no"];
    assert_eq!(code(&run(url, &poison).await), 0);
    let wait = async |handle: &str| code(&run(url, &["wait", handle, "--timeout", "0ms"]).await);
    for (handle, expected) in [(&any, 124), (&one, 124), (&two, 1), (&all, 124), (&fast, 1)] {
        assert_eq!(wait(handle).await, expected);
    }
    let trigger = ["trigger", &b, "--secret", &b_secret];
    assert_eq!(code(&run(url, &trigger).await), 0);
    for (handle, expected) in [(&any, 0), (&one, 0), (&all, 1)] {
        assert_eq!(wait(handle).await, expected);
    }
    for wrong in [&["--any", "--fail-fast"][..], &["--n", "0"]] {
        assert_eq!(code(&run(url, &[&["merge", &a], wrong].concat()).await), 2);
    }
    assert_eq!(code(&run(url, &["merge"]).await), 2);
}

#[tokio::test]
async fn a_wrong_secret_or_value_is_an_error_that_says_so() {
    let program = Program::serve().await;
    let url = &program.url;
    let (handle, secret) = create(url, "a").await;
    let wrong = run(url, &["trigger", &handle, "--secret", "x"]).await;
    assert_eq!(code(&wrong), 1);
    assert!(err(&wrong).contains("not_permitted"), "{}", err(&wrong));
    assert_eq!(code(&run(url, &["trigger", &handle]).await), 2);
    let value = ["trigger", &handle, "--secret", &secret, "--value", "{"];
    let wrong = run(url, &value).await;
    assert_eq!(code(&wrong), 2);
    assert!(err(&wrong).contains("--value"), "{}", err(&wrong));
    let malformed = run(url, &["wait", "../sessions"]).await;
    assert_eq!(code(&malformed), 1);
    assert!(err(&malformed).contains("invalid_signal_handle"));
}

#[tokio::test]
async fn a_wait_rides_out_time_outs_of_the_server() {
    let mut config = GatewayConfig::default();
    // Each answer comes at once, so that there are many of them.
    config.wait_max = std::time::Duration::from_millis(1);
    let server = Server::with(config).await;
    let (handle, secret) = create(&server.url, "a").await;
    let mut waiting = reveille(&["signal", "wait", &handle, "--timeout", "50s"])
        .env("REVEILLE_URL", &server.url)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(waiting.stdout.take().unwrap()).lines();
    let trigger = ["trigger", &handle, "--secret", &secret];
    assert_eq!(code(&run(&server.url, &trigger).await), 0);
    let line = soon("the status", lines.next_line()).await.unwrap();
    let status: Value = serde_json::from_str(&line.unwrap()).unwrap();
    assert_eq!(
        status,
        json!({"handle": handle, "name": "a", "status": "triggered"})
    );
    let ended = soon("the end of the wait", waiting.wait()).await.unwrap();
    assert_eq!(ended.code(), Some(0));
}

#[tokio::test]
async fn a_wait_across_a_restart_ends_with_an_error_that_says_why() {
    let server = Server::start().await;
    let (handle, _) = create(&server.url, "a").await;
    let waiting = reveille(&["signal", "wait", &handle])
        .env("REVEILLE_URL", &server.url)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    server.signal_waiters(1).await;
    let _server = server.restart().await;
    let waited = soon("the end of the wait", waiting.wait_with_output());
    let waited = waited.await.unwrap();
    assert_eq!(code(&waited), 1);
    let said = err(&waited);
    assert!(said.contains("draining"), "{said}");
    let last = said.lines().last().unwrap();
    assert!(last.contains("unknown_signal"), "{said}");
    assert!(
        last.contains("signals end with the server process"),
        "{said}"
    );
}
