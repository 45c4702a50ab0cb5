//! What becomes of waits and requests when the broker goes and comes.

use std::time::Duration;

use reveille_core::{PoisonKind, SignalRequest};
use reveille_nats::SignalNode;
use rustix::process::Signal;

use crate::common::server::Server;
use crate::nodes::{LEASE, end, loose, node_with, options, soon, system, two, until};

/// A wait outlives the broker, and what ended while it was away is asked for again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broker_that_is_killed_and_comes_back_costs_time_alone() {
    let mut server = Server::start();
    let (owner, here) = two::<u32>(&server).await;
    let [before, during, after] = [(); 3].map(|()| loose(&owner));
    let wait = |handle| here.system().awaiter(handle).unwrap();
    let (of_before, of_during, of_after) = (wait(before), wait(during), wait(after));
    until(|| owner.stats().served == 3).await;

    server.kill();
    until(|| !here.stats().is_connected && !owner.stats().is_connected).await;
    owner.system().trigger(during, 2).unwrap();
    let asked = loose(&owner);
    let receipt = here.system().request(asked, SignalRequest::Trigger(4));
    let begun = loose(&owner);
    let of_begun = wait(begun);
    server.start_again();

    assert_eq!(soon(of_during).await, Ok(2));
    assert_eq!(soon(receipt).await, Ok(()));
    owner.system().trigger(after, 3).unwrap();
    owner.system().trigger(before, 1).unwrap();
    owner.system().trigger(begun, 5).unwrap();
    assert_eq!(soon(of_after).await, Ok(3));
    assert_eq!(soon(of_before).await, Ok(1));
    assert_eq!(soon(of_begun).await, Ok(5));
    assert_eq!(end(&here, asked).await, Ok(4));
    assert!(here.stats().reconnects >= 1 && owner.stats().reconnects >= 1);
    assert_eq!(here.stats().owners_lost, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broker_that_does_not_come_back_ends_waits_and_requests() {
    let mut server = Server::start();
    let mut impatient = options();
    impatient.broker_patience = LEASE / 2;
    impatient.request_deadline = LEASE / 2;
    let (owner, here) = (
        node_with::<u32>(&server, 1, impatient.clone()).await,
        node_with::<u32>(&server, 2, impatient).await,
    );
    let handle = loose(&owner);
    let awaiter = here.system().awaiter(handle).unwrap();
    until(|| owner.stats().served == 1).await;
    server.kill();
    let poison = soon(awaiter).await.unwrap_err();
    assert_eq!(poison.kind(), PoisonKind::OwnerLost);
    assert!(poison.reason().contains("broker"), "{poison}");
    let receipt = here.system().request(handle, SignalRequest::Trigger(1));
    assert_eq!(soon(receipt).await.unwrap_err().code(), "owner_lost");
    let poison = end(&here, handle).await.unwrap_err();
    assert_eq!(poison.kind(), PoisonKind::OwnerLost);

    // It was not the signal that ended.
    server.start_again();
    until(|| here.stats().is_connected && owner.stats().is_connected).await;
    let receipt = here.system().request(handle, SignalRequest::Trigger(2));
    assert_eq!(soon(receipt).await, Ok(()));
    assert_eq!(end(&here, handle).await, Ok(2));
}

/// The broker still has a request when its sender has given it up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_that_a_stopped_broker_delivers_late_has_no_effect() {
    let server = Server::start();
    let mut impatient = options();
    impatient.request_deadline = Duration::from_millis(300);
    let (owner, here) = (
        node_with::<u32>(&server, 1, impatient.clone()).await,
        node_with::<u32>(&server, 2, impatient).await,
    );
    // So that the owner is known, and asked without a greeting.
    let known = loose(&owner);
    let awaiter = here.system().awaiter(known).unwrap();
    until(|| owner.stats().served == 1).await;
    assert!(here.status(known).await.is_ok());

    let handle = loose(&owner);
    server.signal(Signal::STOP);
    let receipt = here.system().request(handle, SignalRequest::Trigger(1));
    let answer = soon(receipt).await;
    server.signal(Signal::CONT);
    assert_eq!(answer.unwrap_err().code(), "owner_lost");
    until(|| owner.stats().late > 0).await;
    assert_eq!(
        owner.system().poll(handle),
        Ok(reveille_core::SignalStatus::Pending)
    );
    owner.system().trigger(known, 1).unwrap();
    assert_eq!(soon(awaiter).await.ok(), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_that_take_not_everybody_are_joined_with_what_stands_in_the_address() {
    for (takes, gives) in [
        ("user: u, password: \"p@ss\"", "u:p%40ss@"),
        ("token: \"t/k\"", "t%2Fk@"),
    ] {
        let server = Server::with_authorization(takes);
        let url = server.url();
        let refused = SignalNode::join(&url, system::<()>(1), options()).await;
        assert_eq!(refused.unwrap_err().code(), "nats_unavailable");
        let url = url.replacen("nats://", &format!("nats://{gives}"), 1);
        let node = SignalNode::join(&url, system::<()>(1), options()).await;
        soon(node.unwrap().leave()).await;
    }
    let nonsense = SignalNode::join("nats://a b", system::<()>(1), options()).await;
    assert_eq!(nonsense.unwrap_err().code(), "nats_unavailable");
}
