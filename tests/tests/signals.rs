//! Signals over HTTP, against a real server.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::path::Path;

use reqwest::{Client, Response};
use reveille_e2e::{Program, Server, readme_script, reveille, soon};
use reveille_gateway::GatewayConfig;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::process::Command;

/// A signal's handle and secret.
struct Made {
    handle: String,
    secret: String,
}

async fn post(url: &str, path: &str, body: &Value) -> (u16, Value) {
    let request = Client::new().post(format!("{url}/v1/{path}")).json(body);
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap())
}

async fn create(url: &str, name: &str) -> Made {
    let (status, body) = post(url, "signals", &json!({"name": name})).await;
    assert_eq!(status, 201, "{body}");
    Made {
        handle: body["handle"].as_str().unwrap().to_owned(),
        secret: body["secret"].as_str().unwrap().to_owned(),
    }
}

async fn complete(url: &str, made: &Made, how: &str, mut body: Value) -> (u16, Value) {
    body["secret"] = json!(made.secret);
    post(url, &format!("signals/{}/{how}", made.handle), &body).await
}

async fn merge(url: &str, inputs: &[&str], mode: Value) -> (u16, Value) {
    let body = json!({"inputs": inputs, "mode": mode});
    post(url, "signals:merge", &body).await
}

async fn merged(url: &str, inputs: &[&str], mode: Value) -> String {
    let (status, body) = merge(url, inputs, mode).await;
    assert_eq!(status, 201, "{body}");
    assert_eq!(body.as_object().unwrap().len(), 1, "a merge has no secret");
    body["handle"].as_str().unwrap().to_owned()
}

async fn get(url: &str, handle: &str, query: &str) -> Response {
    let url = format!("{url}/v1/signals/{handle}{query}");
    reqwest::get(url).await.unwrap()
}

async fn look(url: &str, handle: &str) -> Value {
    let answer = get(url, handle, "").await;
    assert_eq!(answer.status(), 200);
    answer.json().await.unwrap()
}

/// Begins to wait for a signal, and returns once the server has the request.
async fn waiting(server: &Server, handle: &str) -> tokio::task::JoinHandle<Response> {
    let url = server.at(&format!("/v1/signals/{handle}?timeout=300s"));
    let waiting = tokio::spawn(async move { reqwest::get(url).await.unwrap() });
    server.signal_waiters(1).await;
    waiting
}

#[tokio::test]
async fn the_script_of_the_readme_coordinates_three_workers() {
    let program = Program::serve().await;
    let command = reveille(&[]);
    let binary = Path::new(command.as_std().get_program());
    let mut path = binary.parent().unwrap().as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap());
    let script = readme_script("signals");
    let run = Command::new("sh")
        .args(["-c", script])
        .env("PATH", path)
        .env("REVEILLE_URL", &program.url)
        .kill_on_drop(true)
        .output();
    let output = soon("the end of the script", run).await.unwrap();
    let (out, err) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert!(output.status.success(), "{err}");
    assert_eq!(err, "");

    // The workers' lines come in any order, the last of them perhaps after the wait's.
    let (told, said): (Vec<&str>, Vec<&str>) = out.lines().partition(|l| l.starts_with('{'));
    assert_eq!(said, ["all three are counted"]);
    let told: Vec<Value> = told
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(told.len(), 4, "{out}");
    for dir in ["/bin", "/etc", "/usr"] {
        let name = format!("count {dir}");
        let worker = told.iter().find(|signal| signal["name"] == *name).unwrap();
        assert_eq!(worker["status"], "triggered");
        let visible = |entry: &std::io::Result<std::fs::DirEntry>| {
            let name = entry.as_ref().unwrap().file_name();
            !name.to_string_lossy().starts_with('.')
        };
        let count = std::fs::read_dir(dir).unwrap().filter(visible).count();
        assert_eq!(worker["value"], count, "{dir}");
    }
    let all = told.iter().find(|signal| signal["name"].is_null()).unwrap();
    assert_eq!(all["status"], "triggered");
}

#[tokio::test]
async fn a_trigger_wakes_a_waiting_get_with_the_value() {
    let server = Server::start().await;
    let made = create(&server.url, "load").await;
    let waiting = waiting(&server, &made.handle).await;
    let pending = look(&server.url, &made.handle).await;
    assert_eq!(
        pending,
        json!({"handle": made.handle, "name": "load", "status": "pending"})
    );

    let value = json!({"rows": [1, 2.5], "ok": true});
    let (status, told) = complete(&server.url, &made, "trigger", json!({"value": value})).await;
    assert_eq!(status, 200);
    let answer = soon("the end of the wait", waiting).await.unwrap();
    assert_eq!(answer.status(), 200);
    let woken: Value = answer.json().await.unwrap();
    let expected = json!({
        "handle": made.handle, "name": "load", "status": "triggered", "value": value,
    });
    assert_eq!(woken, expected);
    assert_eq!(told, expected);
    assert_eq!(look(&server.url, &made.handle).await, expected);
}

#[tokio::test]
async fn a_value_keeps_its_digits_and_loses_white_space() {
    let server = Server::start().await;
    let made = create(&server.url, "v").await;
    let body = format!(
        r#"{{"secret": "{}", "value": {{ "n":
            12345678901234567890.10 }} }}"#,
        made.secret
    );
    let url = server.at(&format!("/v1/signals/{}/trigger", made.handle));
    let answer = Client::new().post(url).body(body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let text = answer.text().await.unwrap();
    assert!(
        text.contains(r#""value":{"n":12345678901234567890.10}"#),
        "{text}"
    );
}

#[tokio::test]
async fn a_wait_that_is_up_is_204_without_a_body() {
    let server = Server::start().await;
    let made = create(&server.url, "never").await;
    let answer = get(&server.url, &made.handle, "?timeout=10ms").await;
    assert_eq!(answer.status(), 204);
    assert_eq!(answer.bytes().await.unwrap().len(), 0);
    for (query, code) in [
        ("?timeout=soon", "invalid_parameter"),
        ("?tiemout=1s", "unknown_parameter"),
    ] {
        let answer = get(&server.url, &made.handle, query).await;
        assert_eq!(answer.status(), 400);
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["code"], code);
    }
}

#[tokio::test]
async fn poison_reaches_whoever_waits_for_a_merge_with_its_causes_in_order() {
    let server = Server::start().await;
    let url = &server.url;
    let (disk, net, cpu) = (
        create(url, "disk").await,
        create(url, "net").await,
        create(url, "cpu").await,
    );
    let inner = merged(url, &[&cpu.handle, &net.handle], json!("all_settled")).await;
    let all = merged(url, &[&disk.handle, &inner], json!("all_settled")).await;
    let waiting = waiting(&server, &all).await;

    let (status, body) = complete(url, &net, "poison", json!({"reason": "unplugged"})).await;
    assert_eq!((status, &body["status"]), (200, &json!("poisoned")));
    assert_eq!(complete(url, &cpu, "trigger", json!({})).await.0, 200);
    assert_eq!(look(url, &all).await["status"], "pending");
    assert_eq!(
        complete(url, &disk, "cancel", json!({"reason": "no need"}))
            .await
            .1["status"],
        "cancelled"
    );

    let answer = soon("the end of the wait", waiting).await.unwrap();
    assert_eq!(answer.status(), 200);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["status"], "poisoned");
    assert_eq!(body["value"], Value::Null);
    let poison = &body["poison"];
    assert_eq!(poison["kind"], "merged");
    assert_eq!(poison["more"], 0);
    let cause = |made: &Made, name: &str, kind: &str, reason: &str| json!({"handle": made.handle, "name": name, "kind": kind, "reason": reason});
    assert_eq!(
        poison["causes"],
        json!([
            cause(&disk, "disk", "cancelled", "no need"),
            cause(&net, "net", "explicit", "unplugged"),
        ])
    );
}

#[tokio::test]
async fn causes_beyond_sixteen_are_counted() {
    let server = Server::start().await;
    let mut handles = Vec::new();
    for n in 0..20 {
        let made = create(&server.url, &format!("s{n}")).await;
        let reason = json!({"reason": "broken"});
        assert_eq!(complete(&server.url, &made, "poison", reason).await.0, 200);
        handles.push(made.handle);
    }
    let inputs: Vec<&str> = handles.iter().map(String::as_str).collect();
    let all = merged(&server.url, &inputs, json!("all_settled")).await;
    let poison = look(&server.url, &all).await["poison"].clone();
    assert_eq!(poison["causes"].as_array().unwrap().len(), 16);
    assert_eq!(poison["more"], 4);
}

#[tokio::test]
async fn only_the_own_secret_completes_a_signal() {
    let server = Server::start().await;
    let url = &server.url;
    let (made, other) = (create(url, "mine").await, create(url, "other").await);
    let path = format!("signals/{}", made.handle);
    for how in ["trigger", "poison", "cancel"] {
        for secret in [
            json!({}),
            json!({"secret": ""}),
            json!({"secret": other.secret}),
            json!({"secret": made.secret.to_uppercase()}),
        ] {
            let mut body = secret;
            if how == "poison" {
                body["reason"] = json!("why");
            }
            let (status, problem) = post(url, &format!("{path}/{how}"), &body).await;
            assert_eq!(status, 403, "{how} {body}");
            assert_eq!(problem["code"], "not_permitted");
        }
    }
    assert_eq!(look(url, &made.handle).await["status"], "pending");
    // Who may not complete it is not told that it is complete either.
    complete(url, &made, "trigger", json!({})).await;
    let wrong = json!({"secret": other.secret});
    assert_eq!(post(url, &format!("{path}/trigger"), &wrong).await.0, 403);
}

#[tokio::test]
async fn a_signal_completes_once() {
    let server = Server::start().await;
    let url = &server.url;
    let why = |reason: &str| json!({"reason": reason});
    let table = [
        ("trigger", "trigger", 409, "already_triggered"),
        ("trigger", "poison", 409, "already_triggered"),
        ("trigger", "cancel", 409, "already_triggered"),
        ("poison", "trigger", 409, "already_poisoned"),
        ("poison", "poison", 200, "first"),
        ("poison", "cancel", 409, "already_poisoned"),
        ("cancel", "trigger", 409, "already_cancelled"),
        ("cancel", "poison", 409, "already_cancelled"),
        ("cancel", "cancel", 200, "first"),
    ];
    for (first, second, status, said) in table {
        let made = create(url, "once").await;
        let body = |how: &str, reason| match how {
            "trigger" => json!({}),
            _ => why(reason),
        };
        assert_eq!(
            complete(url, &made, first, body(first, "first")).await.0,
            200
        );
        let again = complete(url, &made, second, body(second, "second")).await;
        assert_eq!(again.0, status, "{first}, {second}: {}", again.1);
        let what = match status {
            200 => &again.1["poison"]["reason"],
            _ => &again.1["code"],
        };
        assert_eq!(what, said, "{first}, {second}");
    }
}

#[tokio::test]
async fn merges_complete_as_their_mode_says() {
    let server = Server::start().await;
    let url = &server.url;
    let (a, b, c) = (
        create(url, "a").await,
        create(url, "b").await,
        create(url, "c").await,
    );
    let inputs = [&*a.handle, &*b.handle, &*c.handle];
    let mut handles = Vec::new();
    for mode in [
        json!("all_settled"),
        json!("fail_fast"),
        json!("any"),
        json!(1),
        json!(2),
        json!(3),
    ] {
        handles.push(merged(url, &inputs, mode).await);
    }
    let stand = async || {
        let mut all = String::new();
        for handle in &handles {
            let status = look(url, handle).await["status"].clone();
            all.push(status.as_str().unwrap().chars().next().unwrap());
        }
        all
    };
    assert_eq!(stand().await, "pppppp");
    complete(url, &a, "trigger", json!({})).await;
    assert_eq!(stand().await, "ppttpp");
    let why = json!({"reason": "no"});
    complete(url, &b, "poison", why).await;
    // The second and the last are poisoned, the first and the fifth still pending.
    assert_eq!(look(url, &handles[1]).await["status"], "poisoned");
    assert_eq!(look(url, &handles[5]).await["status"], "poisoned");
    assert_eq!(look(url, &handles[0]).await["status"], "pending");
    assert_eq!(look(url, &handles[4]).await["status"], "pending");
    complete(url, &c, "trigger", json!({})).await;
    assert_eq!(look(url, &handles[0]).await["status"], "poisoned");
    assert_eq!(look(url, &handles[4]).await["status"], "triggered");

    // What is complete already counts, and a merge that says no mode waits for all.
    let (status, body) = post(
        url,
        "signals:merge",
        &json!({"inputs": [a.handle, c.handle]}),
    )
    .await;
    assert_eq!(status, 201);
    let handle = body["handle"].as_str().unwrap();
    assert_eq!(look(url, handle).await["status"], "triggered");
}

#[tokio::test]
async fn a_merge_that_cannot_be_is_refused() {
    let server = Server::start().await;
    let url = &server.url;
    let made = create(url, "a").await;
    let own = &*made.handle;
    let unknown = format!("{}ffffffff", &own[..24]);
    let foreign = format!("0000000000000001{}", &own[16..]);
    let table = [
        (vec![], json!("any"), 422, "empty_merge", "inputs"),
        (vec![own, own], json!(2), 422, "unreachable_merge", "mode"),
        (
            vec![own, "x"],
            json!("any"),
            422,
            "invalid_signal_handle",
            "inputs[1]",
        ),
        (vec![own, &unknown], json!("any"), 404, "unknown_signal", ""),
        (vec![own, &foreign], json!("any"), 404, "unknown_signal", ""),
        (vec![own], json!(0), 422, "invalid_json", ""),
        (vec![own], json!("most"), 422, "invalid_json", ""),
    ];
    for (inputs, mode, status, code, field) in table {
        let refused = merge(url, &inputs, mode.clone()).await;
        assert_eq!(refused.0, status, "{inputs:?} {mode}");
        assert_eq!(refused.1["code"], code, "{inputs:?} {mode}");
        let named = refused.1["field"].as_str().unwrap_or_default();
        assert_eq!(named, field, "{inputs:?} {mode}");
    }
}

#[tokio::test]
async fn a_merge_is_completed_by_its_inputs_only() {
    let server = Server::start().await;
    let url = &server.url;
    let made = create(url, "a").await;
    let handle = merged(url, &[&made.handle], json!("any")).await;
    let body = json!({"secret": made.secret});
    for how in ["trigger", "cancel"] {
        let (status, problem) = post(url, &format!("signals/{handle}/{how}"), &body).await;
        assert_eq!(status, 409);
        assert_eq!(problem["code"], "derived_signal");
    }
    let body = json!({"secret": made.secret, "reason": "why"});
    assert_eq!(
        post(url, &format!("signals/{handle}/poison"), &body)
            .await
            .0,
        409
    );
    assert_eq!(look(url, &handle).await["status"], "pending");
}

#[tokio::test]
async fn handles_that_were_never_given_out_are_unknown_everywhere() {
    let server = Server::start().await;
    let url = &server.url;
    let made = create(url, "a").await;
    let unissued = format!("{}00000002", &made.handle[..24]);
    let foreign = format!("0000000000000001{}", &made.handle[16..]);
    let body = json!({"secret": made.secret});
    let mut answers = Vec::new();
    for handle in [&unissued, &foreign] {
        for query in ["", "?timeout=1s"] {
            let answer = get(url, handle, query).await;
            let status = answer.status().as_u16();
            answers.push((status, answer.json::<Value>().await.unwrap()));
        }
        for how in ["trigger", "cancel"] {
            answers.push(post(url, &format!("signals/{handle}/{how}"), &body).await);
        }
    }
    for answer in &mut answers {
        assert_eq!(answer.0, 404);
        assert_eq!(answer.1["code"], "unknown_signal");
        // Each request has a trace of its own.
        answer.1["trace_id"].take();
    }
    for answer in &answers {
        assert_eq!(answer, &answers[0], "all are told the same");
    }
    for malformed in ["x", &made.handle.to_uppercase(), &made.handle[1..]] {
        if malformed == made.handle {
            continue;
        }
        let answer = get(url, malformed, "").await;
        assert_eq!(answer.status(), 400, "{malformed}");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["code"], "invalid_signal_handle");
    }
}

#[tokio::test]
async fn what_does_not_fit_is_refused() {
    let server = Server::start().await;
    let url = &server.url;
    for (body, status, code) in [
        (json!({"name": ""}), 422, "invalid_signal"),
        (json!({"name": "x".repeat(129)}), 422, "invalid_signal"),
        (json!({"nmae": "x"}), 422, "invalid_json"),
    ] {
        let (got, problem) = post(url, "signals", &body).await;
        assert_eq!((got, &problem["code"]), (status, &json!(code)), "{body}");
    }
    let made = create(url, &"x".repeat(128)).await;
    let large = json!({"value": "x".repeat(16 * 1024 - 1)});
    let (status, problem) = complete(url, &made, "trigger", large).await;
    assert_eq!(status, 413, "{problem}");
    assert_eq!(
        (&problem["field"], &problem["limit"]),
        (&json!("value"), &json!(16384))
    );
    let (status, problem) = complete(url, &made, "poison", json!({})).await;
    assert_eq!((status, &problem["field"]), (422, &json!("reason")));
    let fits = json!({"value": "x".repeat(16 * 1024 - 2)});
    assert_eq!(complete(url, &made, "trigger", fits).await.0, 200);
}

#[tokio::test]
async fn pending_signals_and_their_history_are_bounded() {
    let mut config = GatewayConfig::default();
    config.signals.pending = 2;
    config.signals.history = 1;
    let server = Server::with(config).await;
    let url = &server.url;
    let (first, second) = (create(url, "1").await, create(url, "2").await);
    let (status, problem) = post(url, "signals", &json!({})).await;
    assert_eq!((status, &problem["limit"]), (429, &json!(2)));
    assert_eq!(problem["code"], "exhausted");

    // What is complete makes room, and the oldest outcome is forgotten.
    for made in [&first, &second] {
        assert_eq!(complete(url, made, "trigger", json!({})).await.0, 200);
    }
    create(url, "3").await;
    assert_eq!(look(url, &second.handle).await["status"], "triggered");
    let answer = get(url, &first.handle, "").await;
    assert_eq!(answer.status(), 410);
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["code"], "outcome_forgotten");
}

#[tokio::test]
async fn the_inputs_of_merges_are_bounded() {
    let mut config = GatewayConfig::default();
    config.signals.merge_inputs = 3;
    config.signals.merge_inputs_pending = 4;
    let server = Server::with(config).await;
    let url = &server.url;
    let mut made = Vec::new();
    for n in 0..4 {
        made.push(create(url, &n.to_string()).await);
    }
    let all: Vec<&str> = made.iter().map(|m| &*m.handle).collect();
    let (status, problem) = merge(url, &all, json!("any")).await;
    assert_eq!((status, &problem["code"]), (413, &json!("merge_too_wide")));
    assert_eq!(
        (&problem["limit"], &problem["actual"]),
        (&json!(3), &json!(4))
    );

    let any = merged(url, &all[..3], json!("any")).await;
    let (status, problem) = merge(url, &all[..2], json!("any")).await;
    assert_eq!(status, 429);
    assert_eq!(problem["code"], "too_many_merge_inputs");
    // A refused merge takes no room, and a complete one gives it back.
    assert_eq!(merge(url, &[all[0], "x"], json!("any")).await.0, 422);
    complete(url, &made[0], "trigger", json!({})).await;
    assert_eq!(look(url, &any).await["status"], "triggered");
    merged(url, &all[1..], json!("any")).await;
    merged(url, &all[1..2], json!("any")).await;
    assert_eq!(merge(url, &all[1..2], json!("any")).await.0, 429);
}

#[tokio::test]
async fn requests_that_wait_are_bounded_and_leave_when_they_are_dropped() {
    let mut config = GatewayConfig::default();
    config.signals.waiters = 1;
    let server = Server::with(config).await;
    let url = &server.url;
    let (made, done) = (create(url, "a").await, create(url, "b").await);
    complete(url, &done, "trigger", json!({})).await;
    let waiting = waiting(&server, &made.handle).await;
    let refused = get(url, &made.handle, "?timeout=1s").await;
    assert_eq!(refused.status(), 429);
    let problem: Value = refused.json().await.unwrap();
    assert_eq!(problem["code"], "too_many_waiters");
    // What need not wait is not refused.
    assert_eq!(get(url, &done.handle, "?timeout=1s").await.status(), 200);
    assert_eq!(get(url, &made.handle, "").await.status(), 200);
    waiting.abort();
    server.signal_waiters(0).await;
}

#[tokio::test]
async fn a_server_that_stops_answers_waits_with_503() {
    let server = Server::start().await;
    let made = create(&server.url, "a").await;
    let waiting = waiting(&server, &made.handle).await;
    server.stop().await;
    let answer = soon("the end of the wait", waiting).await.unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["code"], "draining");
}

#[tokio::test]
async fn a_process_with_pending_signals_ends_when_it_is_told_to() {
    let program = Program::serve().await;
    let made = create(&program.url, "a").await;
    merged(&program.url, &[&made.handle], json!("any")).await;
    program.signal(Signal::INT);
    assert_eq!(program.ended().await.status.code(), Some(0));
}
