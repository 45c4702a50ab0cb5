//! What is there after a restart is what the capabilities say. Each scenario takes what opens the store:
//! opened again, nothing is left of the process that used it before.

use std::sync::Arc;

use reveille_backend::{Backend, BackendError, Incarnation, ListOptions, OpenOptions, Seal};
use reveille_types::{EndReason, Position, Seq, Tenant};

use super::key;
use super::raw::{
    contents, entries, epoch, handle, keyed_entry, now, open, places, stored, try_append,
};

/// Opens the log as it is stored. If nothing survives a restart, it is asserted that nothing has.
async fn reopened(backend: &Arc<dyn Backend>) -> Option<reveille_backend::Opened> {
    let tenant = Tenant::default_tenant();
    let opened = open(backend, "s", Incarnation::Current, 9).await;
    if backend.capabilities().survives_restart {
        let Ok(opened) = opened else {
            panic!("a log is gone after the restart: {opened:?}");
        };
        assert!(!opened.created, "a log is made anew after the restart");
        return Some(opened);
    }
    let gone = matches!(opened, Err(BackendError::NotFound));
    assert!(
        gone,
        "nothing survives a restart, but a log has: {opened:?}"
    );
    let listed = backend.list(&tenant, ListOptions::first(10)).await.unwrap();
    assert_eq!(listed.keys, [], "nothing survives a restart, but is listed");
    assert_eq!(backend.last_seq(&tenant).await.unwrap(), Seq(0));
    None
}

/// Events, trims and seals are as they were, under the same epoch; or nothing is there.
///
/// # Panics
/// When it is otherwise.
pub async fn restart_keeps_what_was_acknowledged(store: impl AsyncFn() -> Arc<dyn Backend>) {
    let before = {
        let backend = store().await;
        let making = OpenOptions::new(Incarnation::New, epoch(1)).attributes("{\"ttl\":1}");
        backend.open(&key("s"), making).await.unwrap();
        match stored(&backend, "s").await {
            None => None,
            Some(log) => {
                for _ in 0..5 {
                    log.append(entries(1), now()).await.unwrap();
                }
                log.append(entries(3), now()).await.unwrap();
                log.trim(Position(2)).await.unwrap();
                let seal = Seal {
                    reason: EndReason::Failed,
                    message: Some("broken \u{2014} \"really\"".into()),
                };
                log.seal(seal).await.unwrap();
                Some((log.info().await.unwrap(), contents(&*log).await))
            }
        }
    };
    let backend = store().await;
    let (Some(opened), Some((info, events))) = (reopened(&backend).await, before) else {
        return;
    };
    assert_eq!(
        &*opened.attributes, "{\"ttl\":1}",
        "a log has changed its attributes by the restart"
    );
    let told = (opened.epoch, opened.oldest, opened.latest, opened.seal);
    let was = (info.epoch, info.oldest, info.latest, info.seal.clone());
    assert_eq!(told, was, "a log has changed by the restart");
    let Some(log) = stored(&backend, "s").await else {
        panic!("the handle has another shape after the restart");
    };
    assert_eq!(log.info().await.unwrap(), info);
    assert!(
        contents(&*log).await == events,
        "events have changed by the restart"
    );
    let tenant = Tenant::default_tenant();
    let listed = backend.list(&tenant, ListOptions::first(10)).await.unwrap();
    assert_eq!(listed.keys, [key("s")]);
}

/// The log goes on where it ended, its keys are known, and no sequence number is given twice; or nothing
/// is there.
///
/// # Panics
/// When it is otherwise.
pub async fn restart_goes_on_where_it_ended(store: impl AsyncFn() -> Arc<dyn Backend>) {
    let slots = {
        let backend = store().await;
        let mut log = handle(&backend, "s").await;
        let batch = vec![keyed_entry("k", 1), keyed_entry("l", 1)];
        try_append(&mut log, batch, now()).await.unwrap()
    };
    let backend = store().await;
    let Some(mut opened) = reopened(&backend).await else {
        return;
    };
    let last = backend.last_seq(&Tenant::default_tenant()).await.unwrap();
    assert_eq!(
        last, slots[1].seq,
        "the last sequence number is another one"
    );
    let batch = vec![keyed_entry("l", 1), keyed_entry("m", 1)];
    let after = try_append(&mut opened.log, batch, now()).await.unwrap();
    assert!(after[0].deduplicated, "a key is forgotten by the restart");
    assert_eq!(places(&after), [1, 2], "the log goes on elsewhere");
    assert!(after[1].seq > last, "a sequence number is given twice");
}

/// What was removed stays so, and does not free its sequence numbers.
///
/// # Panics
/// When it comes back.
pub async fn restart_does_not_bring_back_what_was_removed(
    store: impl AsyncFn() -> Arc<dyn Backend>,
) {
    let last = {
        let backend = store().await;
        let mut log = handle(&backend, "s").await;
        let slots = try_append(&mut log, entries(2), now()).await.unwrap();
        backend.remove(&key("s")).await.unwrap();
        slots[1].seq
    };
    let backend = store().await;
    let opened = open(&backend, "s", Incarnation::Current, 2).await;
    let gone = matches!(opened, Err(BackendError::NotFound));
    assert!(gone, "a log that was removed comes back: {opened:?}");
    let mut opened = open(&backend, "s", Incarnation::CurrentOrNew, 3)
        .await
        .unwrap();
    assert_eq!((opened.epoch, opened.latest.0), (epoch(3), 0));
    let slots = try_append(&mut opened.log, entries(1), now())
        .await
        .unwrap();
    let again = backend.capabilities().survives_restart && slots[0].seq <= last;
    assert!(!again, "a sequence number is given twice");
}
