//! No wake-up is lost, and the end comes after the last event.

use std::sync::Arc;

use reveille_backend::Backend;
use reveille_queue::{
    AppendOptions, StreamItem, SubscribeOptions, Subscription, TakeOptions, TakeOutcome,
    WaitOptions, WaitOutcome,
};
use reveille_types::{Cursor, EndReason, Filter, Start};

use super::{append, draft, elsewhere, log_on};
use crate::conformance::patience;

/// A waiter that waits before the append gets the event, though somebody else appends.
///
/// # Panics
/// When it does not.
pub async fn waiter_wakes_for_an_append(backend: Arc<dyn Backend>) {
    let log = log_on(Arc::clone(&backend)).await;
    let other = elsewhere(backend, &log).await;
    let options = WaitOptions::any(Filter::matching("b").unwrap()).timeout(patience());
    let waiter = tokio::spawn({
        let log = log.clone();
        async move { log.wait(options).await.unwrap() }
    });
    while log.info().waiters == 0 {
        tokio::task::yield_now().await;
    }
    append(&other, vec![draft("a"), draft("b")]).await;
    let WaitOutcome::Matched { events, .. } = waiter.await.unwrap() else {
        panic!("a waiter is not woken");
    };
    assert_eq!(events[0].position().0, 1, "another event woke it");
    assert_eq!(log.info().waiters, 0);
}

/// A waiter and a taker that start at the same time as an append of somebody else never miss it.
///
/// # Panics
/// When one of them does.
pub async fn waiters_that_race_appends_are_woken(backend: Arc<dyn Backend>) {
    const ROUNDS: u64 = 1000;
    let log = log_on(Arc::clone(&backend)).await;
    let other = elsewhere(backend, &log).await;
    let start = Arc::new(tokio::sync::Barrier::new(2));
    let producer = tokio::spawn({
        let start = Arc::clone(&start);
        async move {
            for round in 0..ROUNDS {
                start.wait().await;
                (0..round % 61).for_each(|_| std::hint::spin_loop());
                append(&other, vec![draft("a")]).await;
            }
        }
    });
    let mut after = log.latest();
    for round in 0..ROUNDS {
        start.wait().await;
        let options = WaitOptions::any(Filter::all()).from(Start::After(after));
        let outcome = log.wait(options.timeout(patience())).await.unwrap();
        let WaitOutcome::Matched { events, cursor, .. } = outcome else {
            panic!("a wake-up was lost in round {round}");
        };
        assert_eq!(events[0].position().0, round);
        after = cursor;
        let outcome = log
            .take(TakeOptions::new().timeout(patience()))
            .await
            .unwrap();
        assert!(
            matches!(outcome, TakeOutcome::Taken { .. }),
            "round {round}"
        );
    }
    producer.await.unwrap();
}

/// An ended session refuses appends, hands out what is in it, and then ends every reader, also somebody
/// else's: whether its last event or a close ended it.
///
/// # Panics
/// When it does not.
pub async fn ended_session_drains_and_then_ends(backend: Arc<dyn Backend>) {
    for (last, reason) in [
        ("task.result", EndReason::Completed),
        ("b", EndReason::Closed),
    ] {
        let log = log_on(Arc::clone(&backend)).await;
        let other = elsewhere(Arc::clone(&backend), &log).await;
        let readers = [&log, &other].map(|log| {
            let options = SubscribeOptions::default();
            tokio::spawn(drained(log.subscribe(options).unwrap()))
        });
        append(&log, vec![draft("a"), draft(last)]).await;
        assert_eq!(log.close(None).await.unwrap(), reason == EndReason::Closed);
        let refused = log.append([draft("c")], AppendOptions::default()).await;
        assert_eq!(refused.unwrap_err().code(), "session_ended");
        let late = tokio::spawn(drained(
            other.subscribe(SubscribeOptions::default()).unwrap(),
        ));
        for reader in readers.into_iter().chain([late]) {
            let read = reader.await.unwrap();
            assert_eq!(read.0, ["a", last], "what is read before the end");
            assert_eq!((read.1, read.2), (reason, log.latest()), "how it ends");
        }
        backend.remove(log.key()).await.unwrap();
    }
}

/// The kinds that a subscription reads up to the end, and the end.
async fn drained(mut subscription: Subscription) -> (Vec<String>, EndReason, Cursor) {
    let mut kinds = Vec::new();
    let reading = async {
        loop {
            match subscription.next().await.unwrap().unwrap() {
                StreamItem::Event(event) => kinds.push(event.kind().to_string()),
                StreamItem::CaughtUp(_) => {}
                StreamItem::Ended { reason, cursor } => return (reason, cursor),
                item => panic!("nothing is missing: {item:?}"),
            }
        }
    };
    let end = tokio::time::timeout(patience(), reading).await;
    let (reason, cursor) = end.expect("a reader is not told the end");
    assert!(subscription.next().await.is_none());
    (kinds, reason, cursor)
}
