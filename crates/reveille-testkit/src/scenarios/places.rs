//! Places are given once, without holes, below the session: over handles, over logs, and over appends
//! that were refused or given up.

use std::sync::Arc;

use reveille_backend::{AppendError, Backend, Entry, Incarnation, LogHandle, OpenOptions, Slot};
use reveille_types::{Durability, Seq, SessionKey, Tenant};

use super::key;
use super::raw::{
    contents, entries, entry, epoch, expecting, handle, keyed_entry, now, places, poll_once,
    stored, try_append,
};

/// Appends of many handles at once get positions without holes, each batch in one piece, in one order
/// with the sequence numbers, and what a slot says is where the event is read. The handles of an
/// immediate backend are logs of their own, with one sequence.
///
/// # Panics
/// When a place is given twice or not at all.
pub async fn concurrent_appends_of_many_handles_are_dense(backend: Arc<dyn Backend>) {
    const HANDLES: usize = 4;
    const BATCHES: usize = 50;
    const SIZE: usize = 2;
    let capabilities = backend.capabilities();
    let mut producers = Vec::new();
    for _ in 0..HANDLES {
        let mut log = handle(&backend, "s").await;
        producers.push(tokio::spawn(async move {
            let mut placed = Vec::new();
            for _ in 0..BATCHES {
                let batch = entries(SIZE);
                let ids = batch.iter().map(|e| e.event.envelope().id.clone());
                let ids: Vec<_> = ids.collect();
                let slots = try_append(&mut log, batch, now()).await.unwrap();
                let (first, last) = (slots[0].position, slots[SIZE - 1].position);
                assert_eq!(last, first.plus(SIZE - 1), "a batch is torn apart");
                placed.extend(slots.into_iter().zip(ids));
            }
            placed
        }));
    }
    let mut logs = Vec::new();
    for producer in producers {
        logs.push(producer.await.unwrap());
    }
    let mut seqs: Vec<Seq> = logs.iter().flatten().map(|(slot, _)| slot.seq).collect();
    seqs.sort_unstable();
    let ascending = seqs.is_sorted_by(|a, b| a < b);
    assert!(ascending, "a sequence number is given twice");
    if !capabilities.immediate {
        logs = vec![logs.concat()];
    }
    for log in &mut logs {
        log.sort_by_key(|(slot, _)| slot.position);
        let positions: Vec<_> = log.iter().map(|(slot, _)| slot.position.0).collect();
        let dense = Vec::from_iter(0..positions.len() as u64);
        assert!(positions == dense, "positions are not dense: {positions:?}");
        assert!(
            log.is_sorted_by(|(a, _), (b, _)| a.seq < b.seq),
            "positions and sequence numbers are two orders"
        );
    }
    if let Some(log) = stored(&backend, "s").await {
        let read = contents(&*log).await;
        let read = read.iter().map(|event| (event.position(), event.id()));
        let given = logs[0].iter().map(|(slot, id)| (slot.position, id));
        assert!(read.eq(given), "an event is not where its slot says");
    }
}

/// Sequence numbers ascend over all logs of a tenant, from 1 and without holes unless the backend is
/// shared; `last_seq` tells the last one, and neither a removal nor another tenant changes that.
///
/// # Panics
/// When one is given twice or left out.
pub async fn sequence_ascends_over_all_logs_of_a_tenant(backend: Arc<dyn Backend>) {
    let shared = backend.capabilities().shared;
    let tenant = Tenant::default_tenant();
    let other = Tenant::parse("other").unwrap();
    assert_eq!(backend.last_seq(&tenant).await.unwrap(), Seq(0));
    let mut logs = [handle(&backend, "one").await, handle(&backend, "two").await];
    let mut last = Seq(0);
    for n in [0, 1, 1, 0] {
        let slots = try_append(&mut logs[n], entries(2), now()).await.unwrap();
        last = follow(last, &slots, shared);
        assert_eq!(backend.last_seq(&tenant).await.unwrap(), last);
    }
    let theirs = SessionKey::in_tenant(other.clone(), "one").unwrap();
    let options = OpenOptions::new(Incarnation::CurrentOrNew, epoch(2));
    let mut theirs = backend.open(&theirs, options).await.unwrap().log;
    let slots = try_append(&mut theirs, entries(1), now()).await.unwrap();
    let their_last = follow(Seq(0), &slots, shared);
    assert_eq!(backend.last_seq(&other).await.unwrap(), their_last);

    backend.remove(&key("one")).await.unwrap();
    let told = backend.last_seq(&tenant).await.unwrap();
    assert_eq!(told, last, "a removal or another tenant changes last_seq");
    let slots = try_append(&mut logs[1], entries(1), now()).await.unwrap();
    follow(last, &slots, shared);
}

/// The last of the slots' numbers, which follow `last`.
fn follow(mut last: Seq, slots: &[Slot], shared: bool) -> Seq {
    for slot in slots {
        assert!(slot.seq > last, "{:?} comes after {last:?}", slot.seq);
        let dense = shared || slot.seq == last.next();
        assert!(dense, "{:?} leaves a hole after {last:?}", slot.seq);
        last = slot.seq;
    }
    last
}

/// A batch that is refused, whatever the reason, leaves the log and the sequence where they are. A
/// batch of which only a part is known is looked at like a new one.
///
/// # Panics
/// When it leaves something.
pub async fn refused_batch_uses_up_no_place(backend: Arc<dyn Backend>) {
    let shared = backend.capabilities().shared;
    let offered = backend.capabilities().durability;
    let mut log = handle(&backend, "s").await;
    let first = vec![keyed_entry("k", 1)];
    let slots = try_append(&mut log, first, now()).await.unwrap();
    let last = slots[0].seq;
    let partly_known = vec![keyed_entry("k", 1), entry("b")];
    let mut refused = vec![
        ("key", vec![entry("b"), keyed_entry("k", 2)], now()),
        ("position", entries(2), expecting(7)),
        ("position", partly_known, expecting(0)),
    ];
    if !offered.covers(Durability::ReplicatedFsync) {
        let mut options = now();
        options.durability = Some(Durability::ReplicatedFsync);
        refused.push(("durability", entries(1), options));
    }
    for (reason, batch, options) in refused {
        let told = match try_append(&mut log, batch, options).await {
            Ok(slots) => panic!("a batch that must be refused is placed at {slots:?}"),
            Err(AppendError::IdempotencyConflict { .. }) => "key",
            Err(AppendError::PositionConflict { actual, .. }) if actual.0 == 1 => "position",
            Err(AppendError::Durability { .. }) => "durability",
            Err(error) => panic!("a batch is refused for another reason: {error:?}"),
        };
        assert_eq!(told, reason);
        if let LogHandle::Stored(log) = &log {
            let left = contents(&**log).await.len();
            assert_eq!(left, 1, "a refused batch leaves something");
        }
    }
    let slots = try_append(&mut log, entries(1), now()).await.unwrap();
    assert_eq!(
        places(&slots),
        [1],
        "a refused batch has used up a position"
    );
    follow(last, &slots, shared);
}

/// An append that is dropped, however far it has come, is stored as a whole or not at all; its keys
/// settle which, and the log goes on. An append to an immediate log cannot be dropped.
///
/// # Panics
/// When a part of it is stored, or it is stored twice.
pub async fn dropped_append_is_whole_or_nothing(backend: Arc<dyn Backend>) {
    const ROUNDS: usize = 50;
    const SIZE: usize = 3;
    let Some(log) = stored(&backend, "s").await else {
        return;
    };
    for round in 0..ROUNDS {
        let batch: Vec<Entry> = (0..SIZE)
            .map(|n| keyed_entry(&format!("{round}.{n}"), 1))
            .collect();
        let mut dropped = log.append(batch.clone(), now());
        for _ in 0..round % 7 {
            if poll_once(dropped.as_mut()).await.is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(dropped);
        let slots = log.append(batch, now()).await.unwrap();
        let known = slots.iter().filter(|slot| slot.deduplicated).count();
        assert!(
            known == 0 || known == SIZE,
            "{known} of {SIZE} events of a dropped append are stored"
        );
        assert_eq!(slots[2].position, slots[0].position.plus(2));
    }
    let stored = contents(&*log).await.len();
    assert_eq!(stored, ROUNDS * SIZE, "an event is stored twice");
}
