//! Nodes for tests, and what they wait for.

use std::future::Future;
use std::num::NonZeroU64;
use std::time::Duration;

use reveille_core::{Poison, SignalHandle, SignalStatus, SignalSystem, SignalSystemBuilder};
use reveille_nats::{SignalNode, SignalNodeOptions};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::common::server::Server;

/// Long enough that a busy machine does not lose an owner that is there.
pub(crate) const LEASE: Duration = Duration::from_millis(1500);

/// What nothing in a test takes, unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) trait Value:
    Clone + Serialize + DeserializeOwned + Send + Sync + 'static
{
}
impl<T: Clone + Serialize + DeserializeOwned + Send + Sync + 'static> Value for T {}

pub(crate) fn options() -> SignalNodeOptions {
    let mut options = SignalNodeOptions::default();
    options.lease = LEASE;
    options
}

pub(crate) fn system<T: Value>(id: u64) -> SignalSystemBuilder<T> {
    SignalSystem::builder().system_id(NonZeroU64::new(id).unwrap())
}

pub(crate) async fn node_with<T: Value>(
    server: &Server,
    id: u64,
    options: SignalNodeOptions,
) -> SignalNode<T> {
    let url = server.url();
    SignalNode::join(&url, system(id), options).await.unwrap()
}

pub(crate) async fn node<T: Value>(server: &Server, id: u64) -> SignalNode<T> {
    node_with(server, id, options()).await
}

/// The nodes 1 and 2.
pub(crate) async fn two<T: Value>(server: &Server) -> (SignalNode<T>, SignalNode<T>) {
    (node(server, 1).await, node(server, 2).await)
}

/// A signal that is completed by its handle alone.
pub(crate) fn loose<T: Value>(node: &SignalNode<T>) -> SignalHandle {
    node.system().create().unwrap().into_handle()
}

/// What comes of it, well before a test would be thought to hang.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    let soon = tokio::time::timeout(PATIENCE, future).await;
    soon.expect("it ends in time")
}

/// Waits for the signal from this node.
pub(crate) async fn end<T: Value>(node: &SignalNode<T>, handle: SignalHandle) -> Result<T, Poison> {
    soon(node.system().awaiter(handle).unwrap()).await
}

/// Until it is so.
pub(crate) async fn until(mut is_so: impl FnMut() -> bool) {
    soon(async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

pub(crate) fn poison_of(status: SignalStatus) -> Poison {
    match status {
        SignalStatus::Poisoned(poison) | SignalStatus::Cancelled(poison) => poison,
        other => panic!("it is {other:?}"),
    }
}
