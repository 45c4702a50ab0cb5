//! One order for everybody, without holes, and batches in one piece.

use std::sync::Arc;

use reveille_backend::Backend;
use reveille_queue::{AppendOptions, StreamItem, SubscribeOptions, TakeOptions, TakeOutcome};

use super::raw::{contents, stored};
use super::{SESSION, append, by, draft, everything, keyed, log_on, positions};

/// Appends get the positions that follow, without holes, in the order of the batch; their sequence
/// numbers ascend.
///
/// # Panics
/// When they do not.
pub async fn positions_are_dense_in_the_order_of_appends(backend: Arc<dyn Backend>) {
    let log = log_on(backend).await;
    let mut expected = 0;
    let mut seqs = Vec::new();
    for size in [1, 3, 1, 10] {
        let receipt = append(&log, vec![draft("a"); size]).await;
        let end = expected + size as u64;
        let dense = Vec::from_iter(expected..end);
        assert_eq!(
            positions(&receipt),
            dense,
            "positions in the order of appends"
        );
        let latest = log.latest();
        assert_eq!(
            receipt.cursor, latest,
            "the positions and the end of the log"
        );
        seqs.extend(receipt.results.iter().map(|placed| placed.seq));
        expected = end;
    }
    assert!(seqs.is_sorted_by(|a, b| a < b));
    let stored: Vec<u64> = everything(&log).iter().map(|e| e.position().0).collect();
    assert_eq!(stored, Vec::from_iter(0..expected));
}

/// Of many producers at once, each batch is contiguous, and each producer's batches are in its order.
///
/// # Panics
/// When they are not.
pub async fn concurrent_batches_stay_in_one_piece(backend: Arc<dyn Backend>) {
    const BATCHES: usize = 100;
    const SIZE: usize = 3;
    let log = log_on(backend).await;
    let producers: Vec<_> = ["a", "b", "c", "d"]
        .map(|name| {
            let log = log.clone();
            tokio::spawn(async move {
                let mut last = None;
                for _ in 0..BATCHES {
                    let receipt = append(&log, vec![by(name); SIZE]).await;
                    assert!(Some(receipt.first()) > last);
                    last = Some(receipt.last());
                }
            })
        })
        .into();
    for producer in producers {
        producer.await.unwrap();
    }
    let events = everything(&log);
    assert_eq!(events.len(), 4 * BATCHES * SIZE);
    for (n, batch) in events.chunks(SIZE).enumerate() {
        assert_eq!(batch[0].position().0, (n * SIZE) as u64);
        let agent = &batch[0].envelope().agent;
        let whole = batch.iter().all(|event| event.envelope().agent == *agent);
        assert!(whole, "a batch is torn apart");
    }
}

/// A batch of which one event is refused leaves nothing, and the next append follows as if it had
/// never been tried.
///
/// # Panics
/// When something of it is left.
pub async fn refused_batch_leaves_nothing(backend: Arc<dyn Backend>) {
    let log = log_on(backend).await;
    append(&log, vec![keyed("a", "k")]).await;
    let mut invalid = draft("b");
    invalid.subject = Some("x".repeat(100_000).into());
    for (batch, code) in [
        (vec![draft("b"), invalid], "invalid_event"),
        (
            vec![draft("b"), keyed("other", "k")],
            "idempotency_conflict",
        ),
    ] {
        let refused = log.append(batch, AppendOptions::default()).await;
        assert_eq!(refused.unwrap_err().code(), code);
        let left = everything(&log).len();
        assert_eq!(left, 1, "a refused batch leaves something");
    }
    let receipt = append(&log, vec![draft("c")]).await;
    assert_eq!(positions(&receipt), [1], "a refused batch leaves something");
}

/// A page, a subscription and a taker see the same events in the same order, and so does who reads the
/// store itself.
///
/// # Panics
/// When they do not.
pub async fn every_reader_sees_the_same_order(backend: Arc<dyn Backend>) {
    const EVENTS: usize = 1000;
    const BATCH: usize = 2;
    let log = log_on(Arc::clone(&backend)).await;
    let mut subscription = log.subscribe(SubscribeOptions::default()).unwrap();
    let producers = ["a", "b"].map(|name| {
        let log = log.clone();
        tokio::spawn(async move {
            for _ in 0..EVENTS / BATCH / 2 {
                append(&log, vec![by(name); BATCH]).await;
            }
        })
    });
    let mut streamed = Vec::new();
    while streamed.len() < EVENTS {
        match subscription.next().await.unwrap().unwrap() {
            StreamItem::Event(event) => streamed.push(event),
            StreamItem::CaughtUp(_) => {}
            item => panic!("nothing is missing and nothing ends: {item:?}"),
        }
    }
    for producer in producers {
        producer.await.unwrap();
    }
    assert!(everything(&log) == streamed, "page and subscription agree");
    let TakeOutcome::Taken { taken, .. } = log.take(TakeOptions::new().max(EVENTS)).await.unwrap()
    else {
        panic!("all events are there");
    };
    let taken: Vec<_> = taken.into_iter().map(|taken| taken.event).collect();
    assert!(taken == streamed, "taker and subscription agree");
    if let Some(log) = stored(&backend, SESSION).await {
        let agrees = contents(&*log).await == streamed;
        assert!(agrees, "the store holds another order than was streamed");
    }
}
