//! The order of a tenant over all its logs: which incarnation it is, and reading along it.

use std::sync::Arc;

use reveille_backend::{
    Backend, BackendError, Incarnation, LogHandle, OpenOptions, OrderPage, ReadLimit,
};
use reveille_types::{Event, EventId, Position, Seq, SessionKey, Tenant};

use super::key;
use super::raw::{ALL, entries, epoch, handle, now, stored, try_append, woken};

fn tenant(name: &str) -> Tenant {
    Tenant::parse(name).unwrap()
}

/// The epoch of a tenant's order is the same whenever it is asked for, whatever is stored and removed
/// meanwhile, and no other tenant's.
///
/// # Panics
/// When it is another one.
pub async fn order_of_a_tenant_has_one_epoch(backend: Arc<dyn Backend>) {
    let (one, other) = (Tenant::default_tenant(), tenant("other"));
    let of_one = backend.order_epoch(&one, epoch(1)).await.unwrap();
    let of_other = backend.order_epoch(&other, epoch(2)).await.unwrap();
    assert!(of_one != of_other, "two tenants have one order epoch");
    let mut log = handle(&backend, "s").await;
    try_append(&mut log, entries(2), now()).await.unwrap();
    backend.remove(&key("s")).await.unwrap();
    for n in 3..6 {
        let again = backend.order_epoch(&one, epoch(n)).await.unwrap();
        assert!(again == of_one, "the order has begun anew");
    }
}

/// A place, and who stands there.
fn placed(events: &[Event]) -> Vec<(Seq, EventId)> {
    let placed = |event: &Event| (event.place().seq, event.id().clone());
    events.iter().map(placed).collect()
}

/// Appends to a log; what was stored, with its places.
async fn put(log: &mut LogHandle, count: usize) -> Vec<(Seq, EventId)> {
    let batch = entries(count);
    let ids = batch.iter().map(|e| e.event.envelope().id.clone());
    let ids: Vec<EventId> = ids.collect();
    let slots = try_append(log, batch, now()).await.unwrap();
    slots.iter().map(|slot| slot.seq).zip(ids).collect()
}

/// Reads what follows, page by page.
async fn follow(
    backend: &Arc<dyn Backend>,
    tenant: &Tenant,
    after: Seq,
    limit: ReadLimit,
) -> Vec<(Seq, EventId)> {
    let (mut at, mut read) = (after, Vec::new());
    loop {
        let page = backend.read_order(tenant, at, limit).await.unwrap();
        let OrderPage { events, through } = page;
        assert!(events.len() <= limit.events, "a page is over its limit");
        let last = events.last().map_or(at, |event| event.place().seq);
        assert!(last <= through, "a page says that it ends before its end");
        read.extend(placed(&events));
        if through == at {
            return read;
        }
        assert!(through > at, "a page goes back");
        at = through;
    }
}

/// The events of a tenant are read by ascending sequence number over all its logs, page by page and
/// from anywhere, without what was trimmed or removed and without another tenant's. A backend that
/// does not read the order says so; one that does and is shared wakes who watches it.
///
/// # Panics
/// When an event is missing, comes twice, or stands elsewhere, or a watch sleeps on.
pub async fn order_is_read_over_all_logs_of_a_tenant(backend: Arc<dyn Backend>) {
    let ours = Tenant::default_tenant();
    if !backend.capabilities().reads_order {
        let refused = backend.read_order(&ours, Seq(0), ALL).await;
        assert!(
            matches!(refused, Err(BackendError::NotSupported { .. })),
            "what is not supported is answered with {refused:?}"
        );
        return;
    }
    let nothing = follow(&backend, &ours, Seq(0), ALL).await;
    assert_eq!(nothing, [], "nothing was appended");
    let theirs = SessionKey::in_tenant(tenant("other"), "b").unwrap();
    let options = OpenOptions::new(Incarnation::CurrentOrNew, epoch(2));
    let mut theirs = backend.open(&theirs, options).await.unwrap().log;
    let mut logs = Vec::new();
    for name in ["b", "a", "gone"] {
        logs.push(handle(&backend, name).await);
    }
    let mut all = Vec::new();
    for n in [0, 1, 0, 2, 1, 1, 0] {
        all.extend(put(&mut logs[n], 2).await);
        put(&mut theirs, 1).await;
    }
    let limit = |events| ReadLimit {
        events,
        bytes: usize::MAX,
    };
    assert_eq!(follow(&backend, &ours, Seq(0), ALL).await, all, "the order");
    for page in [1, 3, 5] {
        let paged = follow(&backend, &ours, Seq(0), limit(page)).await;
        assert_eq!(paged, all, "the order in pages of {page}");
    }
    let small = ReadLimit {
        events: usize::MAX,
        bytes: 1,
    };
    let one_by_one = follow(&backend, &ours, Seq(0), small).await;
    assert_eq!(one_by_one, all, "the order in pages of one");
    for (n, (seq, _)) in all.iter().enumerate() {
        let rest = follow(&backend, &ours, *seq, limit(4)).await;
        assert_eq!(rest, all[n + 1..], "what follows {seq:?}");
    }
    if backend.capabilities().shared {
        let last = all.last().map_or(Seq(0), |(seq, _)| *seq);
        let watch = backend.watch_order(&ours, Seq(last.0 - 1)).await.unwrap();
        let seen = woken(watch, "a watch sleeps on what is there");
        seen.await.unwrap();
        for n in [1, 0] {
            let last = all.last().map_or(Seq(0), |(seq, _)| *seq);
            let watch = backend.watch_order(&ours, last).await.unwrap();
            all.extend(put(&mut logs[n], 1).await);
            let seen = woken(watch, "an append after the watch was armed is missed");
            seen.await.unwrap();
        }
    }
    // The first two of "b", and everything of "gone".
    if let Some(log) = stored(&backend, "b").await {
        log.trim(Position(2)).await.unwrap();
    }
    backend.remove(&key("gone")).await.unwrap();
    let left = [&all[2..6], &all[8..]].concat();
    let read = follow(&backend, &ours, Seq(0), limit(3)).await;
    assert_eq!(read, left, "what is left");
}

/// The order of a tenant goes on under its epoch and is read as it was; or it begins anew.
///
/// # Panics
/// When it is otherwise.
pub async fn restart_keeps_the_order_of_a_tenant(store: impl AsyncFn() -> Arc<dyn Backend>) {
    let tenant = Tenant::default_tenant();
    let (before, mut all) = {
        let backend = store().await;
        let before = backend.order_epoch(&tenant, epoch(1)).await.unwrap();
        let mut logs = [handle(&backend, "a").await, handle(&backend, "b").await];
        let mut all = Vec::new();
        for n in [1, 0, 1] {
            all.extend(put(&mut logs[n], 2).await);
        }
        (before, all)
    };
    let backend = store().await;
    let capabilities = backend.capabilities();
    let after = backend.order_epoch(&tenant, epoch(2)).await.unwrap();
    if !capabilities.survives_restart {
        assert!(after != before, "an order goes on that does not survive");
        return;
    }
    assert!(after == before, "the restart has begun the order anew");
    if capabilities.reads_order {
        let mut log = handle(&backend, "a").await;
        all.extend(put(&mut log, 1).await);
        let read = follow(&backend, &tenant, Seq(0), ALL).await;
        assert_eq!(read, all, "the order has changed by the restart");
    }
}
