//! Reads what other processes append: one task a tail, which stands where the tail ends.

use std::sync::{Arc, Weak};
use std::time::Duration;

use reveille_backend::{Backend, BackendError, ReadLimit};
use reveille_types::{Seq, Tenant};

use super::{Inner, Tail};
use crate::runtime;

/// What is read at once.
const READ: ReadLimit = ReadLimit {
    events: 1_000,
    bytes: 4 * 1024 * 1024,
};
/// What is appended here comes by itself, and much that comes at the same time is read at once.
const GATHER: Duration = Duration::from_millis(1);
/// How long to wait after the store failed.
const PAUSE: Duration = Duration::from_millis(500);

/// Brings a tail what it does not get from sessions of its own process. A failing store is asked again.
pub(super) async fn follow(tail: Weak<Inner>, backend: Arc<dyn Backend>, tenant: Tenant) {
    while let Some(from) = latest(&tail) {
        if wait_and_read(&tail, from, &*backend, &tenant)
            .await
            .is_err()
        {
            runtime::sleep(PAUSE).await;
        }
    }
}

/// Where the tail ends, as long as there is one.
fn latest(tail: &Weak<Inner>) -> Option<Seq> {
    Some(Tail(tail.upgrade()?).info().latest)
}

async fn wait_and_read(
    tail: &Weak<Inner>,
    from: Seq,
    backend: &dyn Backend,
    tenant: &Tenant,
) -> Result<(), BackendError> {
    backend.watch_order(tenant, from).await?.await?;
    runtime::sleep(GATHER).await;
    let mut at = from;
    // What has moved meanwhile is looked at anew first: it was appended here.
    while latest(tail) == Some(at) {
        let page = backend.read_order(tenant, at, READ).await?;
        if page.through <= at {
            break;
        }
        at = page.through;
        let Some(tail) = tail.upgrade().map(Tail) else {
            break;
        };
        tail.add(page);
    }
    Ok(())
}
