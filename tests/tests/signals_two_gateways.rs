//! Signals of two gateways on one NATS are those of one.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::time::{Duration, Instant};

use futures_util::{FutureExt, StreamExt};
use reqwest::{Client, Response};
use reveille_e2e::{Broker, Program, reveille, soon};
use rustix::process::Signal;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The lease of an owner, as the gateway has it.
const LEASE: Duration = Duration::from_secs(2);

/// Two gateways, and the server that they share.
struct Cluster {
    a: Program,
    b: Program,
    broker: Broker,
}

/// A signal's handle and secret.
#[derive(Clone)]
struct Made {
    handle: String,
    secret: String,
}

impl Cluster {
    async fn start() -> Self {
        Self::with(&[]).await
    }

    async fn with(more: &[&str]) -> Self {
        let broker = Broker::nats().await;
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--backend", &broker.url];
        let arguments = [&arguments[..], more].concat();
        Self {
            a: Program::start(&arguments).await,
            b: Program::start(&arguments).await,
            broker,
        }
    }
}

/// Somebody who speaks to a gateway.
#[derive(Clone)]
struct Caller {
    url: String,
    key: Option<String>,
}

impl Caller {
    fn of(gateway: &Program) -> Self {
        Self {
            url: gateway.url.clone(),
            key: None,
        }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> (u16, Value) {
        let request = match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        };
        let answer: Response = soon("an answer", request.send()).await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.bytes().await.unwrap();
        let body = match &body[..] {
            [] => Value::Null,
            body => serde_json::from_slice(body).unwrap(),
        };
        (status, body)
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let url = format!("{}/v1/{path}", self.url);
        self.send(Client::new().post(url).json(body)).await
    }

    async fn create(&self, body: Value) -> Made {
        let (status, body) = self.post("signals", &body).await;
        assert_eq!(status, 201, "{body}");
        Made {
            handle: body["handle"].as_str().unwrap().to_owned(),
            secret: body["secret"].as_str().unwrap().to_owned(),
        }
    }

    async fn named(&self, name: &str) -> Made {
        self.create(json!({"name": name})).await
    }

    /// Has a signal completed, or renewed, with its secret.
    async fn act(&self, made: &Made, how: &str, mut body: Value) -> (u16, Value) {
        body["secret"] = json!(made.secret);
        let path = format!("signals/{}/{how}", made.handle);
        self.post(&path, &body).await
    }

    async fn merge(&self, inputs: &[&Made], mode: Value) -> String {
        let handles: Vec<_> = inputs.iter().map(|made| &made.handle).collect();
        let merge = json!({"inputs": handles, "mode": mode});
        let (status, body) = self.post("signals:merge", &merge).await;
        assert_eq!(status, 201, "{body}");
        body["handle"].as_str().unwrap().to_owned()
    }

    /// Looks at a signal; a query makes it wait.
    async fn get(&self, handle: &str, query: &str) -> (u16, Value) {
        let url = format!("{}/v1/signals/{handle}{query}", self.url);
        self.send(Client::new().get(url)).await
    }

    async fn why(&self, handle: &str) -> Value {
        let (status, why) = self.get(handle, "/why").await;
        assert_eq!(status, 200, "{why}");
        why
    }

    /// Begins to wait for a signal, and returns once the gateway waits.
    async fn waiting(&self, handle: &str) -> tokio::task::JoinHandle<(u16, Value)> {
        let (caller, waited) = (self.clone(), handle.to_owned());
        let waiting = tokio::spawn(async move { caller.get(&waited, "?timeout=300s").await });
        // Another wait here is answered in order, so by then the first one is known to the owner.
        assert_eq!(self.get(handle, "?timeout=300ms").await.0, 204);
        waiting
    }
}

#[tokio::test]
async fn a_signal_is_looked_at_and_awaited_at_the_other_gateway() {
    let cluster = Cluster::start().await;
    let (a, b) = (Caller::of(&cluster.a), Caller::of(&cluster.b));
    let made = a.named("index").await;
    let pending = json!({"handle": made.handle, "name": "index", "status": "pending"});
    assert_eq!(b.get(&made.handle, "").await, (200, pending));
    assert_eq!(b.get(&made.handle, "?timeout=0ms").await.0, 204);

    let waiting = b.waiting(&made.handle).await;
    let value = json!({"value": {"big": 12_345_678_901_234_567_890_u64}});
    let (status, here) = a.act(&made, "trigger", value).await;
    assert_eq!(status, 200, "{here}");
    assert_eq!(
        soon("the wait ends", waiting).await.unwrap(),
        (200, here.clone())
    );
    assert_eq!(here["value"]["big"], 12_345_678_901_234_567_890_u64);
    for query in ["", "?timeout=0ms"] {
        assert_eq!(b.get(&made.handle, query).await, (200, here.clone()));
    }
}

#[tokio::test]
async fn a_signal_is_completed_at_the_other_gateway() {
    let cluster = Cluster::start().await;
    let (a, b) = (Caller::of(&cluster.a), Caller::of(&cluster.b));
    for (how, body, status, code) in [
        (
            "trigger",
            json!({"value": [1.5]}),
            "triggered",
            "already_triggered",
        ),
        (
            "poison",
            json!({"reason": "disk full"}),
            "poisoned",
            "already_poisoned",
        ),
        (
            "cancel",
            json!({"reason": "enough"}),
            "cancelled",
            "already_cancelled",
        ),
    ] {
        let made = a.named(how).await;
        let waiting = a.waiting(&made.handle).await;
        let (code_there, there) = b.act(&made, how, body).await;
        assert_eq!(
            (code_there, &there["status"]),
            (200, &json!(status)),
            "{there}"
        );
        assert_eq!(there["name"], how);
        assert_eq!(
            soon("the wait ends", waiting).await.unwrap(),
            (200, there.clone())
        );
        assert_eq!(a.get(&made.handle, "").await, (200, there));
        // The second one is told what it would be told by the owner.
        let again = match how {
            "poison" => "cancel",
            _ => "poison",
        };
        let again = json!({"reason": "late", "how": again});
        let how = again["how"].as_str().unwrap();
        let (refused, problem) = b.act(&made, how, json!({"reason": "late"})).await;
        assert_eq!(
            (refused, &problem["code"]),
            (409, &json!(code)),
            "{problem}"
        );
    }
}

#[tokio::test]
async fn a_wrong_secret_is_refused_and_no_secret_leaves_the_gateway_that_is_asked() {
    let cluster = Cluster::start().await;
    let (a, b) = (Caller::of(&cluster.a), Caller::of(&cluster.b));
    let ear = async_nats::connect(&cluster.broker.url).await.unwrap();
    let mut overheard = ear.subscribe("reveille.signals.>").await.unwrap();
    ear.flush().await.unwrap();
    let made = a.named("index").await;
    let wrong = Made {
        secret: "0".repeat(40),
        ..made.clone()
    };
    for how in ["trigger", "poison", "cancel", "renew"] {
        let body = match how {
            "poison" | "cancel" => json!({"reason": "no"}),
            _ => json!({}),
        };
        let (status, problem) = b.act(&wrong, how, body).await;
        let told = (&problem["code"], &problem["field"]);
        assert_eq!(status, 403, "{how}: {problem}");
        assert_eq!(told, (&json!("not_permitted"), &json!("secret")));
    }
    assert_eq!(a.get(&made.handle, "").await.1["status"], "pending");
    assert_eq!(b.act(&made, "trigger", json!({})).await.0, 200);
    let digest = data_encoding::HEXLOWER.encode(&Sha256::digest(&made.secret));
    ear.flush().await.unwrap();
    let mut heard = 0;
    while let Some(Some(message)) = overheard.next().now_or_never() {
        let text = String::from_utf8(message.payload.to_vec()).unwrap();
        heard += usize::from(text.contains("proof"));
        assert!(
            !text.contains(&made.secret) && !text.contains(&digest),
            "{text}"
        );
    }
    assert!(heard >= 5, "{heard} orders went over the broker");
}

#[tokio::test]
async fn who_speaks_to_the_broker_completes_nothing_without_the_secret() {
    let cluster = Cluster::start().await;
    let (a, b) = (Caller::of(&cluster.a), Caller::of(&cluster.b));
    let made = a.named("index").await;
    // The owner has joined when the other one has been told.
    assert_eq!(b.get(&made.handle, "").await.0, 200);
    let liar = async_nats::connect(&cluster.broker.url).await.unwrap();
    let scope = data_encoding::BASE32HEX_NOPAD
        .encode(b"default")
        .to_ascii_lowercase();
    let subjects = format!("reveille.signals.v1.s_{scope}");
    let me = "00000000000000ff";
    let mut inbox = liar.subscribe(format!("{subjects}.{me}")).await.unwrap();
    let order = json!({"handle": made.handle, "how": {"trigger": {"value": null}}});
    for (id, ask) in [
        json!({"trigger": {"value": null}}),
        json!({"poison": {"reason": "no"}}),
        json!({"cancel": {"reason": "no"}}),
        json!({"act": {"question": {"order": order, "proof": ""}}}),
        json!({"act": {"question": {"order": order, "proof": "00".repeat(32)}}}),
    ]
    .into_iter()
    .enumerate()
    {
        let request = json!({"id": id, "handle": made.handle, "by": 60_000, "ask": ask});
        let message = json!({
            "v": 1, "from": me, "run": "0000000000000001", "clock": 0, "body": {"request": request},
        });
        let owner = format!("{subjects}.{}", &made.handle[..16]);
        liar.publish(owner, message.to_string().into())
            .await
            .unwrap();
        let answer = soon("an answer", inbox.next()).await.unwrap();
        let answer = String::from_utf8(answer.payload.to_vec()).unwrap();
        assert!(answer.contains("not_permitted"), "{ask}: {answer}");
    }
    assert_eq!(b.get(&made.handle, "").await.1["status"], "pending");
}

#[tokio::test]
async fn a_lease_is_renewed_at_the_other_gateway() {
    let cluster = Cluster::start().await;
    let (a, b) = (Caller::of(&cluster.a), Caller::of(&cluster.b));
    let made = a.create(json!({"lease_ms": 86_000_000})).await;
    let longer = b.act(&made, "renew", json!({"lease_ms": 500})).await;
    assert_eq!(longer, (200, json!({"lease_ms": 500})));
    let plain = a.named("plain").await;
    let (status, problem) = b.act(&plain, "renew", json!({})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("no_lease")));
}

#[tokio::test]
async fn a_merge_has_inputs_of_both_gateways() {
    let cluster = Cluster::start().await;
    let (a, b) = (Caller::of(&cluster.a), Caller::of(&cluster.b));
    let (here, there) = (b.named("here").await, a.named("there").await);
    let all = b.merge(&[&there, &here], json!("all_settled")).await;
    let any = b.merge(&[&there, &here], json!("any")).await;
    // A merge is an input like others, wherever it is.
    let inner = a.merge(&[&there], json!("all_settled")).await;
    let inner = Made {
        handle: inner,
        secret: String::new(),
    };
    let outer = b.merge(&[&inner, &here], json!("all_settled")).await;
    assert_eq!(a.act(&there, "trigger", json!({"value": 1})).await.0, 200);
    let (_, told) = b.get(&any, "?timeout=60s").await;
    assert_eq!(told["status"], "triggered");
    assert_eq!(a.get(&all, "").await.1["status"], "pending");
    // To complete a merge, or to merge what is not there, is refused as at one gateway.
    let (status, problem) = a
        .act(
            &Made {
                handle: all.clone(),
                secret: String::new(),
            },
            "trigger",
            json!({}),
        )
        .await;
    assert_eq!((status, &problem["code"]), (409, &json!("derived_signal")));
    let gone = format!("{}00000077", &there.handle[..24]);
    let merge = json!({"inputs": [here.handle, gone]});
    let (status, problem) = b.post("signals:merge", &merge).await;
    assert_eq!((status, &problem["code"]), (404, &json!("unknown_signal")));
    assert_eq!(a.act(&here, "trigger", json!({})).await.0, 200);
    for (caller, handle) in [
        (&a, &all),
        (&b, &all),
        (&a, &outer),
        (&b, &outer),
        (&a, &inner.handle),
    ] {
        let (status, told) = caller.get(handle, "?timeout=60s").await;
        assert_eq!(
            (status, &told["status"]),
            (200, &json!("triggered")),
            "{told}"
        );
    }
}

#[tokio::test]
async fn the_true_causes_are_told_by_both_with_their_names() {
    let cluster = Cluster::start().await;
    let (a, b) = (Caller::of(&cluster.a), Caller::of(&cluster.b));
    let (disk, net) = (a.named("disk").await, b.named("net").await);
    let both = b.merge(&[&disk, &net], json!("all_settled")).await;
    let both = Made {
        handle: both,
        secret: String::new(),
    };
    let again = a.merge(&[&both], json!("all_settled")).await;
    let waiting = a.waiting(&again).await;
    assert_eq!(
        b.act(&disk, "poison", json!({"reason": "disk full"}))
            .await
            .0,
        200
    );
    assert_eq!(
        a.act(&net, "cancel", json!({"reason": "no cable"})).await.0,
        200
    );
    let (status, told) = soon("the wait ends", waiting).await.unwrap();
    assert_eq!((status, &told["status"]), (200, &json!("poisoned")));
    let causes = json!([
        {"handle": disk.handle, "name": "disk", "kind": "explicit", "reason": "disk full"},
        {"handle": net.handle, "name": "net", "kind": "cancelled", "reason": "no cable"},
    ]);
    assert_eq!(told["poison"]["causes"], causes);
    for (caller, handle) in [
        (&a, &again),
        (&b, &again),
        (&a, &both.handle),
        (&b, &both.handle),
    ] {
        let (_, told) = caller.get(handle, "").await;
        assert_eq!(told["poison"]["causes"], causes);
    }
}

#[tokio::test]
async fn what_blocks_a_merge_is_told_across_gateways() {
    let cluster = Cluster::start().await;
    let (a, b) = (Caller::of(&cluster.a), Caller::of(&cluster.b));
    let (disk, net, done) = (
        a.named("disk").await,
        b.named("net").await,
        a.named("done").await,
    );
    let inner = Made {
        handle: a.merge(&[&disk, &done], json!("all_settled")).await,
        secret: String::new(),
    };
    let outer = b.merge(&[&inner, &net], json!("fail_fast")).await;
    assert_eq!(b.act(&done, "trigger", json!({})).await.0, 200);
    for caller in [&a, &b] {
        let why = caller.why(&outer).await;
        assert_eq!(why["truncated"], false);
        let pending = why["pending"].as_array().unwrap();
        let named: Vec<_> = pending
            .iter()
            .map(|it| it["handle"].as_str().unwrap())
            .collect();
        assert_eq!(named, [&outer, &inner.handle, &net.handle, &disk.handle]);
        assert_eq!(pending[0]["waits_for"], json!([inner.handle, net.handle]));
        assert_eq!(pending[0]["mode"], "fail_fast");
        assert_eq!(pending[1]["waits_for"], json!([disk.handle]));
        assert_eq!(pending[2]["name"], "net");
        assert_eq!(pending[3]["name"], "disk");
        assert!(pending[2]["since"].is_string() && pending[3]["since"].is_string());
        assert_eq!(caller.why(&done.handle).await["pending"], json!([]));
    }
}

#[tokio::test]
async fn waits_end_when_the_owner_is_killed_and_its_signals_are_unknown_then() {
    let cluster = Cluster::start().await;
    let (a, b) = (Caller::of(&cluster.a), Caller::of(&cluster.b));
    let (lost, seen) = (a.named("lost").await, a.named("seen").await);
    let own = b.named("own").await;
    let merged = b.merge(&[&lost, &own], json!("fail_fast")).await;
    assert_eq!(a.act(&seen, "trigger", json!({"value": 7})).await.0, 200);
    let (_, told) = b.get(&seen.handle, "?timeout=60s").await;
    let waiting = b.waiting(&lost.handle).await;
    cluster.a.signal(Signal::KILL);
    let killed = Instant::now();
    let (status, lost_there) = soon("the wait ends", waiting).await.unwrap();
    assert!(killed.elapsed() < 2 * LEASE, "after {:?}", killed.elapsed());
    assert_eq!(status, 200);
    assert_eq!(lost_there["status"], "poisoned");
    assert_eq!(lost_there["poison"]["kind"], "owner_lost");
    assert_eq!(lost_there["name"], "lost");
    let (_, merged_there) = b.get(&merged, "?timeout=60s").await;
    assert_eq!(merged_there["poison"]["causes"][0]["kind"], "owner_lost");
    assert_eq!(merged_there["poison"]["causes"][0]["handle"], lost.handle);
    // Nobody has that system any more.
    for query in ["", "?timeout=60s", "/why"] {
        let (status, problem) = b.get(&lost.handle, query).await;
        assert_eq!(
            (status, &problem["code"]),
            (404, &json!("unknown_signal")),
            "{query}"
        );
    }
    let (status, problem) = b.act(&lost, "trigger", json!({})).await;
    assert_eq!((status, &problem["code"]), (404, &json!("unknown_signal")));
    // What it has told before is still known.
    let (status, remembered) = b.get(&seen.handle, "").await;
    assert_eq!((status, &remembered["value"]), (200, &told["value"]));
}

#[tokio::test]
async fn a_gateway_that_is_stopped_says_so_to_those_who_wait_elsewhere() {
    let cluster = Cluster::start().await;
    let (a, b) = (Caller::of(&cluster.a), Caller::of(&cluster.b));
    let made = a.named("made").await;
    let waiting = b.waiting(&made.handle).await;
    cluster.a.signal(Signal::INT);
    let (status, told) = soon("the wait ends", waiting).await.unwrap();
    assert_eq!(
        (status, &told["poison"]["kind"]),
        (200, &json!("owner_lost"))
    );
    let reason = told["poison"]["reason"].as_str().unwrap();
    assert!(reason.contains("it has left"), "{reason}");
}

#[tokio::test]
async fn a_handle_of_nobody_is_unknown() {
    let cluster = Cluster::start().await;
    let b = Caller::of(&cluster.b);
    let made = Made {
        handle: "00000000000000770000000000000001".into(),
        secret: "x".into(),
    };
    for query in ["", "?timeout=60s", "/why"] {
        let (status, problem) = b.get(&made.handle, query).await;
        assert_eq!(
            (status, &problem["code"]),
            (404, &json!("unknown_signal")),
            "{query}"
        );
    }
    assert_eq!(b.act(&made, "trigger", json!({})).await.0, 404);
    assert_eq!(b.act(&made, "renew", json!({})).await.0, 404);
    let (status, _) = b
        .post("signals:merge", &json!({"inputs": [made.handle]}))
        .await;
    assert_eq!(status, 404);
}

/// A key of a tenant, and what is to be put into the file.
async fn key(tenant: &str) -> (String, String) {
    let actions = "wait,trigger,cancel";
    let made = reveille(&["key", tenant, "--tenant", tenant, "--actions", actions])
        .output()
        .await;
    let made = made.unwrap();
    assert!(made.status.success());
    let key = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    let said = String::from_utf8(made.stderr).unwrap();
    let entry = said.split_once("[[auth.keys]]").unwrap().1;
    (key, format!("[[auth.keys]]{entry}\n"))
}

#[tokio::test]
async fn another_tenant_reaches_no_signal_through_either_gateway() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let mut keys = Vec::new();
    for tenant in ["acme", "other"] {
        let (key, entry) = key(tenant).await;
        std::io::Write::write_all(&mut file, entry.as_bytes()).unwrap();
        keys.push(key);
    }
    let path = file.path().to_str().unwrap();
    let cluster = Cluster::with(&["--config", path]).await;
    let caller = |gateway: &Program, key: &String| Caller {
        url: gateway.url.clone(),
        key: Some(key.clone()),
    };
    let (a, b) = (caller(&cluster.a, &keys[0]), caller(&cluster.b, &keys[0]));
    let strangers = [&cluster.a, &cluster.b].map(|gateway| caller(gateway, &keys[1]));
    let made = a.named("ours").await;
    assert_eq!(b.get(&made.handle, "").await.0, 200);
    let nobodys = "00000000000000770000000000000001".to_owned();
    for stranger in &strangers {
        // Their own are reached.
        assert_eq!(
            stranger
                .get(&stranger.named("theirs").await.handle, "")
                .await
                .0,
            200
        );
        for query in ["", "?timeout=60s", "/why"] {
            let (mut ours, mut nobody) = (
                stranger.get(&made.handle, query).await,
                stranger.get(&nobodys, query).await,
            );
            assert_eq!(ours.0, 404, "{query}");
            for answer in [&mut ours, &mut nobody] {
                answer.1["trace_id"].take();
            }
            assert_eq!(ours, nobody, "one answer for both");
        }
        assert_eq!(stranger.act(&made, "trigger", json!({})).await.0, 404);
        let merge = json!({"inputs": [made.handle]});
        assert_eq!(stranger.post("signals:merge", &merge).await.0, 404);
    }
    assert_eq!(b.get(&made.handle, "").await.1["status"], "pending");
}

#[tokio::test]
async fn the_command_line_speaks_to_either_gateway() {
    let cluster = Cluster::start().await;
    let run = async |gateway: &Program, arguments: &[&str]| {
        let command = reveille(&[&["signal"], arguments].concat())
            .env("REVEILLE_URL", &gateway.url)
            .output();
        let output = soon("the command ends", command).await.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        (output.status.code().unwrap(), text.trim().to_owned())
    };
    let (_, made) = run(&cluster.a, &["create", "--name", "index"]).await;
    let made: Value = serde_json::from_str(&made).unwrap();
    let (handle, secret) = (
        made["handle"].as_str().unwrap(),
        made["secret"].as_str().unwrap(),
    );
    let (_, own) = run(&cluster.b, &["create"]).await;
    let own: Value = serde_json::from_str(&own).unwrap();
    let own_handle = own["handle"].as_str().unwrap();
    let (code, merged) = run(
        &cluster.b,
        &["merge", handle, own_handle, "--any", "--plain"],
    )
    .await;
    assert_eq!(code, 0);
    assert_eq!(
        run(&cluster.b, &["wait", handle, "--timeout", "10ms"])
            .await
            .0,
        124
    );
    let wrong = run(&cluster.b, &["trigger", handle, "--secret", "x"]).await;
    assert_eq!(wrong.0, 1);
    let trigger = ["trigger", handle, "--secret", secret, "--value", "[1.10]"];
    assert_eq!(run(&cluster.b, &trigger).await.0, 0);
    let (code, told) = run(&cluster.a, &["wait", &merged]).await;
    assert_eq!(code, 0, "{told}");
    let (code, told) = run(&cluster.b, &["wait", handle]).await;
    assert_eq!(code, 0);
    assert!(told.contains("\"value\":[1.10]"), "{told}");
}
