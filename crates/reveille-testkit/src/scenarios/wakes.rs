//! No wake-up is lost, and the end comes after the last event.

use std::sync::Arc;

use reveille_backend::Backend;
use reveille_queue::{
    AppendOptions, StreamItem, SubscribeOptions, TakeOptions, TakeOutcome, WaitOptions, WaitOutcome,
};
use reveille_types::{EndReason, Filter, Start};

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

/// An ended session refuses appends, hands out what is in it, and then ends every reader.
///
/// # Panics
/// When it does not.
pub async fn ended_session_drains_and_then_ends(backend: Arc<dyn Backend>) {
    let log = log_on(backend).await;
    append(&log, vec![draft("a"), draft("task.result")]).await;
    let refused = log.append([draft("b")], AppendOptions::default()).await;
    assert_eq!(refused.unwrap_err().code(), "session_ended");
    let mut subscription = log.subscribe(SubscribeOptions::default()).unwrap();
    for (position, kind) in [(0, "a"), (1, "task.result")] {
        let item = subscription.next().await.unwrap().unwrap();
        let follows = matches!(&item, StreamItem::Event(event)
            if event.position().0 == position && event.kind().as_str() == kind);
        assert!(follows, "the session ends out of order: {item:?}");
    }
    let item = subscription.next().await.unwrap().unwrap();
    assert!(matches!(item, StreamItem::CaughtUp(_)));
    let item = subscription.next().await.unwrap().unwrap();
    let StreamItem::Ended { reason, cursor } = item else {
        panic!("the session is over: {item:?}");
    };
    assert_eq!((reason, cursor), (EndReason::Completed, log.latest()));
    assert!(subscription.next().await.is_none());
}
