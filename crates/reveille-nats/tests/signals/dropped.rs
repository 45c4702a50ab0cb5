//! Each future of a node, dropped at each of its polls.

use std::time::Duration;

use reveille_core::{PoisonKind, SignalRequest};
use reveille_nats::SignalNode;
use reveille_testkit::dropped_at_each_poll;
use tokio::runtime::Handle;

use crate::common::server::Server;
use crate::nodes::{end, loose, node, node_with, options, soon, system, two, until};

/// Connections are tasks: if none is left, no connection is.
fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn join_that_is_dropped_leaves_nothing() {
    let server = Server::start();
    let url = server.url();
    let before = tasks();
    dropped_at_each_poll(
        async || (),
        async |()| SignalNode::join(&url, system::<()>(1), options()).await,
        async |(), _| (),
        async |(), made| {
            // Whoever comes next with the same id may have it, once the broker knows.
            if let Some(node) = made {
                drop(node.unwrap());
            }
            until(|| tasks() == before).await;
            soon(async {
                while SignalNode::join(&url, system::<()>(1), options())
                    .await
                    .is_err()
                {}
            })
            .await;
            until(|| tasks() == before).await;
            gone(&url).await;
        },
    )
    .await;
}

/// Until the broker knows that node 1 is gone.
async fn gone(url: &str) {
    let client = async_nats::connect(url).await.unwrap();
    let subject = "reveille.signals.v1.0000000000000001";
    soon(async {
        loop {
            let asked = client.request(subject, "".into()).await;
            let error = asked.unwrap_err();
            if error.kind() == async_nats::RequestErrorKind::NoResponders {
                return;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_that_is_dropped_is_asked_no_more() {
    let server = Server::start();
    let (owner, here) = two::<u32>(&server).await;
    let handle = loose(&owner);
    dropped_at_each_poll(
        async || (),
        async |()| here.status(handle).await.unwrap(),
        async |(), _| (),
        async |(), _| until(|| here.stats().requests == 0).await,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receipt_and_awaiter_that_are_dropped_leave_nothing() {
    let server = Server::start();
    let (owner, here) = two::<u32>(&server).await;
    dropped_at_each_poll(
        async || loose(&owner),
        async |&handle| here.system().awaiter(handle).unwrap().await,
        async |&handle, polls| {
            if polls == 1 {
                until(|| owner.stats().served == 1).await;
                owner.system().trigger(handle, 1).unwrap();
            }
        },
        async |_, _| until(|| owner.stats().served == 0 && here.stats().waits == 0).await,
    )
    .await;
    dropped_at_each_poll(
        async || {
            let handle = loose(&owner);
            let receipt = here.system().request(handle, SignalRequest::Trigger(1));
            (handle, std::cell::RefCell::new(Some(receipt)))
        },
        async |(_, receipt)| {
            let receipt = receipt.borrow_mut().take().unwrap();
            receipt.await
        },
        async |_, _| (),
        async |&(handle, _), answer| {
            // It is the call that asks, so dropping the receipt takes nothing back.
            assert!(answer.is_none_or(|answer| answer.is_ok()));
            assert_eq!(end(&owner, handle).await, Ok(1));
            until(|| here.stats().requests == 0).await;
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leave_that_is_dropped_is_a_node_that_is_dropped() {
    let server = Server::start();
    let mut short = options();
    short.lease = Duration::from_millis(300);
    let here = node_with::<()>(&server, 2, short).await;
    let before = tasks();
    let ids = std::cell::Cell::new(10);
    dropped_at_each_poll(
        async || {
            ids.set(ids.get() + 1);
            let owner = node::<()>(&server, ids.get()).await;
            let awaiter = here.system().awaiter(loose(&owner)).unwrap();
            until(|| owner.stats().served == 1).await;
            std::cell::RefCell::new((Some(owner), Some(awaiter)))
        },
        async |both| {
            let owner = both.borrow_mut().0.take().unwrap();
            owner.leave().await;
        },
        async |_, _| (),
        async |both, _| {
            drop(both.borrow_mut().0.take());
            let awaiter = both.borrow_mut().1.take().unwrap();
            let poison = soon(awaiter).await.unwrap_err();
            assert_eq!(poison.kind(), PoisonKind::OwnerLost);
            until(|| tasks() == before).await;
        },
    )
    .await;
}
