//! Leases: an event is its taker's for a time, and comes back unless it is acknowledged.

use std::time::Duration;

use reveille_queue::{LeaseId, SessionLog, SessionOptions, TakeOptions, TakeOutcome};
use reveille_types::{EndReason, Label};
use tokio_test::{assert_pending, assert_ready, task};

use crate::support::{
    append, create, key, log, log_of, ms, on_manual_clock, sessions, take_now, taken,
};

fn group() -> Label {
    TakeOptions::new().group
}

/// Takes what is there now on lease.
async fn lease(log: &SessionLog, millis: u64) -> Vec<(u64, LeaseId)> {
    let options = TakeOptions::new().lease(ms(millis)).max(10);
    match log.take(options.timeout(Duration::ZERO)).await.unwrap() {
        TakeOutcome::Taken { taken, .. } => taken
            .into_iter()
            .map(|t| (t.event.position().0, t.lease.unwrap().id))
            .collect(),
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn acknowledged_event_does_not_come_back() {
    let (sessions, clock) = on_manual_clock();
    let log = create(&sessions, "s", SessionOptions::default());
    append(&log, &["a"]);
    let (_, id) = lease(&log, 10).await[0];
    log.ack(&group(), id).await.unwrap();
    assert_eq!(log.ack(&group(), id).await.unwrap_err().code(), "fenced");
    clock.advance(ms(20));
    sessions.sweep();
    assert!(taken(&take_now(&log).await).is_empty());
}

#[tokio::test]
async fn event_given_back_goes_to_the_first_who_waits() {
    let log = log();
    append(&log, &["a"]);
    let (_, id) = lease(&log, 1000).await[0];
    let mut first = task::spawn(log.take(TakeOptions::new()));
    let mut second = task::spawn(log.take(TakeOptions::new()));
    assert_pending!(first.poll());
    assert_pending!(second.poll());
    log.nack(&group(), id).await.unwrap();
    assert!(first.is_woken() && !second.is_woken());
    assert_eq!(taken(&assert_ready!(first.poll()).unwrap()), [0]);
    assert_eq!(log.nack(&group(), id).await.unwrap_err().code(), "fenced");
}

#[tokio::test]
async fn leaving_taker_hands_on_the_oldest_first_whatever_came_first() {
    let log = log();
    append(&log, &["a"]);
    let (_, id) = lease(&log, 1000).await[0];
    let mut leaving = task::spawn(log.take(TakeOptions::new().max(2)));
    let mut second = task::spawn(log.take(TakeOptions::new()));
    let mut third = task::spawn(log.take(TakeOptions::new()));
    assert_pending!(leaving.poll());
    assert_pending!(second.poll());
    assert_pending!(third.poll());
    append(&log, &["b"]);
    log.nack(&group(), id).await.unwrap();
    drop(leaving);
    assert_eq!(taken(&assert_ready!(second.poll()).unwrap()), [0]);
    assert_eq!(taken(&assert_ready!(third.poll()).unwrap()), [1]);
}

#[tokio::test(start_paused = true)]
async fn lease_that_is_over_wakes_a_taker_on_time() {
    let sessions = sessions();
    let driver = tokio::spawn(sessions.drive());
    let log = create(&sessions, "s", SessionOptions::default());
    append(&log, &["a"]);
    let began = tokio::time::Instant::now();
    let (_, old) = lease(&log, 30_000).await[0];
    // Another lease that ends sooner moves the reminder forward, and back after it.
    append(&log, &["b"]);
    lease(&log, 10_000).await;
    let options = TakeOptions::new().lease(ms(1000)).max(1);
    let outcome = log.take(options.clone()).await.unwrap();
    assert_eq!((taken(&outcome), began.elapsed()), (vec![1], ms(10_000)));
    // The second delivery of b ends at 11 s.
    let outcome = log.take(options.clone()).await.unwrap();
    assert_eq!((taken(&outcome), began.elapsed()), (vec![1], ms(11_000)));
    let TakeOutcome::Taken { taken: events, .. } = outcome else {
        panic!("b was taken");
    };
    let id = events[0].lease.as_ref().unwrap().id;
    assert_eq!(id.delivery(), 3);
    log.ack(&group(), id).await.unwrap();
    let outcome = log.take(options).await.unwrap();
    assert_eq!((taken(&outcome), began.elapsed()), (vec![0], ms(30_000)));
    assert_eq!(log.ack(&group(), old).await.unwrap_err().code(), "fenced");
    drop((log, sessions));
    driver.await.unwrap();
}

#[tokio::test]
async fn lease_is_fenced_by_time_by_group_and_by_epoch() {
    let (sessions, clock) = on_manual_clock();
    let log = create(&sessions, "s", SessionOptions::default());
    append(&log, &["a"]);
    let (_, first) = lease(&log, 10).await[0];
    let other = Label::parse("other").unwrap();
    assert!(log.ack(&other, first).await.is_err());
    // Without a sweep in between: an ack at the deadline is too late.
    clock.advance(ms(10));
    assert!(log.ack(&group(), first).await.is_err());
    let (position, second) = lease(&log, 10).await[0];
    assert_eq!((position, second.delivery()), (0, 2));
    assert!(log.ack(&group(), first).await.is_err());
    log.close(None).await.unwrap();
    let next = sessions
        .recreate(key("s"), SessionOptions::default())
        .await
        .unwrap();
    append(&next, &["a"]);
    lease(&next, 10).await;
    assert!(next.ack(&group(), second).await.is_err());
    log.ack(&group(), second).await.unwrap();
}

#[tokio::test]
async fn leased_event_survives_its_eviction() {
    let log = log_of(2);
    append(&log, &["a", "b"]);
    let leases = lease(&log, 1000).await;
    append(&log, &["c"; 4]);
    log.ack(&group(), leases[0].1).await.unwrap();
    log.nack(&group(), leases[1].1).await.unwrap();
    let TakeOutcome::Taken { taken, gap, .. } = take_now(&log).await else {
        panic!("b came back");
    };
    assert_eq!(taken[0].event.position().0, 1);
    assert_eq!(
        gap.unwrap().ranges.as_slice(),
        [(2, 3)],
        "a and b are not lost"
    );
    assert_eq!(lease(&log, 1000).await.len(), 2);
}

#[tokio::test]
async fn end_waits_for_what_is_leased() {
    let log = log();
    append(&log, &["a", "b"]);
    let leases = lease(&log, 1000).await;
    let mut taker = task::spawn(log.take(TakeOptions::new()));
    assert_pending!(taker.poll());
    log.close(None).await.unwrap();
    assert!(taker.is_woken());
    assert_pending!(taker.poll());
    log.nack(&group(), leases[0].1).await.unwrap();
    assert!(taker.is_woken());
    assert_eq!(taken(&assert_ready!(taker.poll()).unwrap()), [0]);
    let mut last = task::spawn(log.take(TakeOptions::new()));
    assert_pending!(last.poll());
    log.ack(&group(), leases[1].1).await.unwrap();
    assert!(last.is_woken());
    let outcome = assert_ready!(last.poll()).unwrap();
    assert!(matches!(outcome, TakeOutcome::Ended { .. }));
    assert_eq!(log.info().waiters, 0);
}

#[tokio::test]
async fn removal_and_the_end_of_retention_end_who_waits_for_a_lease() {
    for remove in [true, false] {
        let (sessions, clock) = on_manual_clock();
        let options = SessionOptions::default().ttl(ms(1000));
        let log = create(&sessions, "s", options);
        append(&log, &["a"]);
        let (_, id) = lease(&log, 1_000_000).await[0];
        log.close(None).await.unwrap();
        let mut taker = task::spawn(log.take(TakeOptions::new()));
        assert_pending!(taker.poll());
        let expected = if remove {
            sessions.remove(&key("s")).await.unwrap();
            EndReason::Deleted
        } else {
            clock.advance(ms(1000));
            assert_eq!(sessions.sweep().removed, 1);
            EndReason::Closed
        };
        assert!(taker.is_woken());
        let outcome = assert_ready!(taker.poll()).unwrap();
        assert!(matches!(outcome, TakeOutcome::Ended { reason, .. } if reason == expected));
        assert!(log.ack(&group(), id).await.is_err());
        assert_eq!(log.info().bytes, 0);
    }
}

#[tokio::test]
async fn event_reserved_for_a_taker_goes_with_its_session() {
    let sessions = sessions();
    let log = create(&sessions, "s", SessionOptions::default());
    let mut taker = task::spawn(log.take(TakeOptions::new()));
    assert_pending!(taker.poll());
    append(&log, &["a"]);
    sessions.remove(&key("s")).await.unwrap();
    let outcome = assert_ready!(taker.poll()).unwrap();
    assert!(matches!(
        outcome,
        TakeOutcome::Ended {
            reason: EndReason::Deleted,
            ..
        }
    ));
}

#[tokio::test]
async fn longest_lease_is_not_over_at_once() {
    let (sessions, clock) = on_manual_clock();
    let log = create(&sessions, "s", SessionOptions::default());
    append(&log, &["a"]);
    let options = TakeOptions::new().lease(Duration::MAX);
    assert_eq!(taken(&log.take(options).await.unwrap()), [0]);
    clock.advance(ms(1000));
    sessions.sweep();
    assert!(taken(&take_now(&log).await).is_empty());
}
