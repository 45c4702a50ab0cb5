//! Two processes with the same system id: one of them is believed.

use reveille_core::{PoisonKind, SignalHandle, SignalRequest, SignalStatus};
use serde_json::json;

use crate::common::server::Server;
use crate::nodes::{end, loose, node, soon, two, until};
use crate::raw::Peer;

/// What was waited for at the process before is lost, and what that says afterwards is not believed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owner_that_was_replaced_is_lost_and_not_believed_any_more() {
    let server = Server::start();
    let mut owner = Peer::join(&server, 9, 100).await;
    let here = node::<u32>(&server, 2).await;
    let handle = SignalHandle::from_raw((9 << 64) | 1);
    let awaiter = here.system().awaiter(handle).unwrap();
    owner.hear("watch").await;
    owner.say(2, json!({"report": {"ends": []}})).await;
    owner.say_as(200, 2, json!({"here": {}})).await;
    let poison = soon(awaiter).await.unwrap_err();
    assert_eq!(poison.kind(), PoisonKind::OwnerLost);
    assert!(poison.reason().contains("taken its place"), "{poison}");

    // Asked again, it is the later one that answers, whatever the former says.
    let awaiter = here.system().awaiter(handle).unwrap();
    let end_of = |value: u32| {
        let ended = json!({"handle": handle, "end": {"triggered": {"value": value}}});
        json!({"report": {"ends": [ended]}})
    };
    let before = here.stats().stale;
    owner.say_as(100, 2, end_of(1)).await;
    until(|| here.stats().stale > before).await;
    assert_eq!(here.system().poll(handle), Ok(SignalStatus::Pending));
    owner.say_as(200, 2, end_of(2)).await;
    assert_eq!(soon(awaiter).await, Ok(2));
}

/// A process that was cut off, and whose id another one has taken, is silent once it learns of that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn process_that_was_replaced_falls_silent() {
    let server = Server::start();
    let (owner, here) = two::<u32>(&server).await;
    let handle = loose(&owner);
    let served = here.system().awaiter(handle).unwrap();
    until(|| owner.stats().served == 1).await;
    let other = loose(&here);
    let waits = owner.system().awaiter(other).unwrap();

    // One of an earlier life is told of this one, and changes nothing.
    let mut earlier = Peer::join(&server, 1, 1).await;
    earlier.say(1, json!({"hello": {}})).await;
    let own = json!(crate::raw::id(1));
    while earlier.hear_all().await["run"] == own {}
    assert!(!owner.stats().is_fenced);

    let later = Peer::join(&server, 1, u64::MAX).await;
    later.say(1, json!({"hello": {}})).await;
    until(|| owner.stats().is_fenced).await;
    assert_eq!(soon(waits).await.unwrap_err().kind(), PoisonKind::OwnerLost);
    let poison = end(&owner, other).await.unwrap_err();
    assert_eq!(poison.kind(), PoisonKind::OwnerLost);
    let receipt = owner.system().request(other, SignalRequest::Trigger(1));
    assert_eq!(soon(receipt).await.unwrap_err().code(), "owner_lost");
    assert_eq!(
        soon(served).await.unwrap_err().kind(),
        PoisonKind::OwnerLost
    );
    assert_eq!(
        owner.system().trigger(handle, 1),
        Ok(()),
        "here it is as it was"
    );
}
