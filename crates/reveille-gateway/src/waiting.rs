//! Requests that wait on purpose: how many may, and what ends them before they have what they wait for.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use crate::auth::{Caller, Watch, revoked};
use crate::gateway::Gateway;
use crate::problem::Refusal;

/// Waits, unless too many of the tenant do, and until the server stops or the credential is taken back.
pub(crate) async fn waiting<T>(
    gateway: &Gateway,
    caller: &Caller,
    wait: impl Future<Output = T>,
) -> Result<T, Refusal> {
    let mut wait = pin!(wait);
    // What is there already takes no room.
    let at_once = poll_fn(|cx| match wait.as_mut().poll(cx) {
        Poll::Ready(found) => Poll::Ready(Some(found)),
        Poll::Pending => Poll::Ready(None),
    });
    if let Some(found) = at_once.await {
        return Ok(found);
    }
    let _room = gateway.admission().wait(caller.tenant())?;
    let watch = Watch::new(gateway, Arc::clone(caller.identity()));
    tokio::select! {
        // What is there is told, even when the server stops.
        biased;
        found = wait => Ok(found),
        _ = gateway.draining().cancelled() => Err(Refusal::draining()),
        () = taken_back(&watch) => Err(revoked()),
    }
}

async fn taken_back(watch: &Watch) {
    match watch.revoked() {
        Some(revoked) => {
            revoked.await;
        }
        None => std::future::pending().await,
    }
}
