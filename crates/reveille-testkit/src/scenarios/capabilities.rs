//! A backend is what its capabilities say.

use std::sync::Arc;

use reveille_backend::{Backend, Incarnation, LogHandle};
use reveille_queue::AppendOptions;
use reveille_types::{Durability, Payload};

use super::raw::{epoch, open};
use super::{append, draft, everything, log_on};

/// A handle is immediate if and only if the capabilities say so. A new incarnation begins at 0,
/// unsealed, with the epoch it was given. What is stored is opened again as it is; an immediate
/// backend makes a new incarnation each time.
///
/// # Panics
/// When it is otherwise.
pub async fn handles_have_the_shape_that_the_capabilities_say(backend: Arc<dyn Backend>) {
    let immediate = backend.capabilities().immediate;
    let mut previous = None;
    for (n, incarnation) in [
        (1, Incarnation::CurrentOrNew),
        (2, Incarnation::CurrentOrNew),
        (3, Incarnation::New),
    ] {
        let opened = open(&backend, "s", incarnation, n).await.unwrap();
        let is_immediate = matches!(opened.log, LogHandle::Immediate(_));
        assert_eq!(is_immediate, immediate, "the shape of a handle");
        let new = immediate || n != 2;
        assert_eq!(opened.created, new);
        assert_eq!(
            Some(opened.epoch),
            if new { Some(epoch(n)) } else { previous }
        );
        assert_eq!((opened.oldest.0, opened.latest.0), (0, 0));
        assert_eq!(opened.seal, None);
        previous = Some(opened.epoch);
    }
}

/// Every level of durability that the backend's own covers is granted; every other one is a typed
/// error, and nothing is stored.
///
/// # Panics
/// When a level is promised that is not kept, or refused that is.
pub async fn durability_is_what_the_capabilities_say(backend: Arc<dyn Backend>) {
    let offered = backend.capabilities().durability;
    let log = log_on(backend).await;
    let mut stored = 0;
    for wanted in [
        Durability::Volatile,
        Durability::Os,
        Durability::Fsync,
        Durability::Replicated,
        Durability::ReplicatedFsync,
    ] {
        let mut options = AppendOptions::default();
        options.durability = Some(wanted);
        let result = log.append([draft("a")], options).await;
        if offered.covers(wanted) {
            stored += 1;
            assert!(result.unwrap().durability.covers(wanted));
        } else {
            let refused = result.expect_err("a level is granted that is not offered");
            assert_eq!(refused.code(), "durability_not_offered");
        }
        assert_eq!(everything(&log).len(), stored);
    }
}

/// A batch over the limit is refused as too large, and nothing of it is stored; without a limit, a
/// batch of two megabytes is stored.
///
/// # Panics
/// When it is otherwise.
pub async fn batch_limit_is_what_the_capabilities_say(backend: Arc<dyn Backend>) {
    const EVENT: usize = 128 * 1024;
    let limit = backend.capabilities().max_batch_bytes;
    let log = log_on(backend).await;
    let large = draft("a").with_payload(Payload::bytes(None, vec![0; EVENT]).unwrap());
    match limit {
        None => {
            append(&log, vec![large; 16]).await;
            assert_eq!(everything(&log).len(), 16);
        }
        Some(limit) => {
            let events = usize::try_from(limit).unwrap_or(usize::MAX) / EVENT + 1;
            let batch = vec![large; events];
            let refused = log.append(batch, AppendOptions::default()).await;
            let refused = refused.expect_err("a batch over the limit is stored");
            assert_eq!(refused.code(), "batch_too_large");
            assert!(everything(&log).is_empty());
        }
    }
}

/// A backend that works says so.
///
/// # Panics
/// When it does not.
pub async fn health_is_good(backend: Arc<dyn Backend>) {
    backend.health().await.unwrap();
}
