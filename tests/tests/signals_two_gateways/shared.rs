//! What is done with a signal at the other gateway.

use reveille_e2e::{Program, reveille, soon};
use serde_json::{Value, json};

use crate::callers::{Caller, Cluster, Made};

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
