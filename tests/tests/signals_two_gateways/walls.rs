//! Who has no right to a signal has none at the other gateway either.

use futures_util::{FutureExt, StreamExt};
use reveille_e2e::{Program, reveille, soon};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::callers::{Caller, Cluster, Made};

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
