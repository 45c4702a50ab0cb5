//! The server over an archive: what it acknowledged outlives it, under the same ids.

use reveille_e2e::{Program, publish, reveille, soon};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

async fn serve(dir: &TempDir, level: &str) -> Program {
    let backend = format!("archive:{}", dir.path().display());
    let arguments = ["serve", "--listen", "127.0.0.1:0"];
    let kept = ["--backend", &backend, "--durability", level];
    Program::start(&[&arguments[..], &kept[..]].concat()).await
}

async fn page(url: &str, query: &str) -> Value {
    let answer = reqwest::Client::new()
        .get(format!("{url}/v1/sessions/s/events?{query}"))
        .header("accept", "application/json")
        .send();
    let answer = soon("a page", answer).await.expect("the server answers");
    assert_eq!(answer.status(), 200);
    answer.json().await.expect("the answer is JSON")
}

fn ids(page: &Value) -> Vec<&str> {
    let events = page["events"].as_array().expect("a page has events");
    events
        .iter()
        .filter_map(|event| event["id"].as_str())
        .collect()
}

#[tokio::test]
async fn acknowledged_events_outlive_a_killed_server() {
    for level in ["os", "fsync"] {
        let dir = TempDir::new().expect("a directory can be made");
        let first = serve(&dir, level).await;
        let one = json!({"type": "a", "id": "1"});
        let receipt = publish(&first.url, "s", &one).await;
        assert_eq!(receipt["durability"], level);
        let batch = json!([{"type": "a", "id": "2"}, {"type": "b", "id": "3"}]);
        publish(&first.url, "s", &batch).await;
        first.signal(Signal::KILL);
        first.ended().await;

        let second = serve(&dir, level).await;
        let listed = reqwest::get(format!("{}/v1/sessions", second.url)).await;
        let listed: Value = listed
            .expect("it answers")
            .json()
            .await
            .expect("it is JSON");
        assert_eq!(listed["sessions"][0]["session"], "s", "{listed}");
        // With the id that the killed server gave.
        let cursor = receipt["cursor"].as_str().expect("a receipt has a cursor");
        let rest = page(&second.url, &format!("after={cursor}")).await;
        assert_eq!(ids(&rest), ["2", "3"]);
        publish(&second.url, "s", &json!({"type": "a", "id": "4"})).await;
        let all = page(&second.url, "after=earliest").await;
        assert_eq!(ids(&all), ["1", "2", "3", "4"]);
    }
}

#[tokio::test]
async fn second_server_on_one_directory_is_told_whose_it_is() {
    let dir = TempDir::new().expect("a directory can be made");
    let first = serve(&dir, "fsync").await;
    let backend = format!("archive:{}", dir.path().display());
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--backend", &backend];
    let second = soon("the refusal", reveille(&arguments).output()).await;
    let second = second.expect("it runs");
    assert_eq!(second.status.code(), Some(1));
    let told = String::from_utf8_lossy(&second.stderr);
    let dir = dir.path().display().to_string();
    assert!(told.contains(&dir) && told.contains("in use"), "{told}");
    publish(&first.url, "s", &json!({"type": "a"})).await;
}

#[tokio::test]
async fn exported_events_are_imported_under_new_epochs() {
    let (from, to) = (TempDir::new(), TempDir::new());
    let (from, to) = (from.expect("a directory"), to.expect("a directory"));
    let server = serve(&from, "fsync").await;
    let events = json!([
        {"type": "a", "id": "1", "data": {"x": [1, "\u{e9}"]}, "subject": "s", "own": "kept"},
        {"type": "task.result", "id": "2"},
    ]);
    let receipt = publish(&server.url, "s", &events).await;
    let client = reqwest::Client::new();
    let url = format!("{}/v1/sessions/run%2Fb", server.url);
    let terms = json!({"max_events": 7, "ttl_ms": 3_600_000, "lifetime_ms": 7_200_000});
    let made = client.put(&url).json(&terms).send().await;
    assert_eq!(made.expect("an answer").status(), 201);
    publish(&server.url, "run%2Fb", &json!({"type": "c", "id": "3"})).await;
    let closed = client.post(format!("{url}/close"));
    let closed = closed.json(&json!({"reason": "moved"})).send().await;
    assert_eq!(closed.expect("an answer").status(), 200);
    server.signal(Signal::TERM);
    server.ended().await;

    let backend = |dir: &TempDir| format!("archive:{}", dir.path().display());
    let exported = reveille(&["export", "--backend", &backend(&from)]).output();
    let exported = soon("the export", exported).await.expect("it runs");
    assert!(exported.status.success());
    let lines = String::from_utf8(exported.stdout).expect("it is text");
    let events = |line: &&str| !line.starts_with("{\"reveille.");
    assert_eq!(lines.lines().filter(events).count(), 3);

    let import = async |expected: i32| {
        let backend = backend(&to);
        let mut import = reveille(&["import", "--backend", &backend]);
        import
            .stdin(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        let mut import = import.spawn().expect("it runs");
        let mut input = import.stdin.take().expect("it is piped");
        tokio::io::AsyncWriteExt::write_all(&mut input, lines.as_bytes())
            .await
            .expect("it reads");
        drop(input);
        let done = soon("the import", import.wait_with_output())
            .await
            .expect("it ends");
        assert_eq!(done.status.code(), Some(expected), "{done:?}");
        String::from_utf8_lossy(&done.stderr).into_owned()
    };
    assert!(import(0).await.contains("3 events in 2 sessions"));
    let again = import(1).await;
    assert!(again.contains("is there already"), "{again}");

    let server = serve(&to, "fsync").await;
    let events = page(&server.url, "after=earliest").await;
    assert_eq!(ids(&events), ["1", "2"]);
    assert_eq!(events["events"][0]["data"], json!({"x": [1, "\u{e9}"]}));
    assert_eq!(events["events"][0]["own"], "kept");
    assert_eq!(events["ended"], true);
    let epoch = |cursor: &Value| cursor.as_str().map(|text| text[..16].to_owned());
    assert_ne!(epoch(&events["cursor"]), epoch(&receipt["cursor"]));

    let url = format!("{}/v1/sessions/run%2Fb", server.url);
    let info = client.get(&url).send().await.expect("an answer");
    let info: Value = info.json().await.expect("it is JSON");
    assert_eq!(info["state"], "ended", "{info}");
    assert_eq!(info["reason"], "closed", "{info}");
    assert_eq!(info["message"], "moved", "{info}");
    assert_eq!(info["max_events"], 7, "{info}");
}
