//! The gateway that made a signal ends.

use std::time::{Duration, Instant};

use reveille_e2e::soon;
use rustix::process::Signal;
use serde_json::json;

use crate::callers::{Caller, Cluster};

/// The lease of an owner, as the gateway has it.
const LEASE: Duration = Duration::from_secs(2);

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
