//! Groups: moving on, dead letters, and what a group may keep.

use std::time::Duration;

use reveille_memory::MemoryBackend;
use reveille_queue::{
    GroupInfo, LeaseId, QueueLimits, SessionLog, SessionOptions, Sessions, TakeOptions, TakeOutcome,
};
use reveille_types::{EventDraft, Gap, Label, Payload, Position, Start};
use tokio_test::{assert_pending, assert_ready, task};

use crate::support::{append, create, draft, log, log_of, matching, ms, on_manual_clock, taken};

fn group() -> Label {
    TakeOptions::new().group
}

fn info(log: &SessionLog) -> GroupInfo {
    log.group_info(&group()).unwrap()
}

/// Takes what is there now, on lease.
async fn lease(log: &SessionLog, max: usize) -> (Vec<(u64, LeaseId)>, Option<Gap>) {
    let options = TakeOptions::new().lease(ms(1000)).max(max);
    match log.take(options.timeout(Duration::ZERO)).await.unwrap() {
        TakeOutcome::Taken { taken, gap, .. } => {
            let leases = taken.into_iter();
            let leases = leases.map(|t| (t.event.position().0, t.lease.unwrap().id));
            (leases.collect(), gap)
        }
        _ => (Vec::new(), None),
    }
}

async fn take_all(log: &SessionLog) -> Vec<u64> {
    let options = TakeOptions::new().max(10_000).timeout(Duration::ZERO);
    taken(&log.take(options).await.unwrap())
}

fn with_limits(limits: QueueLimits, options: SessionOptions) -> SessionLog {
    let sessions = Sessions::builder(MemoryBackend::new()).limits(limits);
    create(&sessions.build(), "s", options)
}

#[tokio::test]
async fn d000_15_group_moves_on_and_leaves_no_dead_weight() {
    let log = log();
    for _ in 0..10 {
        append(&log, &["a"; 100]);
    }
    let late = TakeOptions::new().from(Position(990));
    assert_eq!(taken(&log.take(late).await.unwrap()), [990]);
    assert_eq!(info(&log).pending, 999);
    let cursor = log
        .skip_to(&group(), Start::At(Position(990)))
        .await
        .unwrap();
    assert_eq!(cursor.position(), Some(Position(991)));
    assert_eq!(info(&log).pending, 9);
    assert_eq!(take_all(&log).await, Vec::from_iter(991..1000));
    assert_eq!(info(&log).pending, 0);
}

#[tokio::test]
async fn group_may_begin_at_the_end_and_never_moves_back() {
    let log = log();
    append(&log, &["a", "b"]);
    log.skip_to(&group(), Start::Latest).await.unwrap();
    assert!(take_all(&log).await.is_empty());
    append(&log, &["c"]);
    log.skip_to(&group(), Start::Earliest).await.unwrap();
    assert_eq!(take_all(&log).await, [2]);
    let ahead = log.skip_to(&group(), Start::At(Position(4))).await;
    assert_eq!(ahead.unwrap_err().code(), "cursor_ahead");
    assert_eq!(
        log.group_info(&Label::parse("other").unwrap()),
        None,
        "looking makes no group"
    );
}

#[tokio::test]
async fn skipped_event_on_lease_can_be_settled_and_does_not_come_back() {
    let log = log();
    append(&log, &["a", "b", "c"]);
    let (leases, _) = lease(&log, 2).await;
    log.skip_to(&group(), Start::At(Position(2))).await.unwrap();
    log.ack(&group(), leases[0].1).await.unwrap();
    log.nack(&group(), leases[1].1).await.unwrap();
    assert_eq!(take_all(&log).await, [2]);
    assert_eq!(info(&log).kept_bytes, 0);
}

#[tokio::test]
async fn taker_that_loses_its_event_to_a_skip_gets_the_next_that_is_there() {
    let log = log();
    let mut taker = task::spawn(log.take(TakeOptions::new().max(2)));
    assert_pending!(taker.poll());
    // It has room for two, so the third waits.
    append(&log, &["a", "b", "c"]);
    assert!(taker.is_woken());
    log.skip_to(&group(), Start::At(Position(2))).await.unwrap();
    assert_eq!(taken(&assert_ready!(taker.poll()).unwrap()), [2]);

    let mut taker = task::spawn(log.take(TakeOptions::new()));
    assert_pending!(taker.poll());
    append(&log, &["d"]);
    log.skip_to(&group(), Start::Latest).await.unwrap();
    assert_pending!(taker.poll(), "what was reserved is settled");
    append(&log, &["e"]);
    assert_eq!(taken(&assert_ready!(taker.poll()).unwrap()), [4]);
}

#[tokio::test]
async fn what_a_group_skipped_is_no_gap() {
    let log = log_of(2);
    append(&log, &["a"; 5]);
    log.skip_to(&group(), Start::At(Position(4))).await.unwrap();
    let outcome = log.take(TakeOptions::new()).await.unwrap();
    assert!(matches!(outcome, TakeOutcome::Taken { gap: None, .. }));
    // From the first event that it wants on, a loss is told.
    append(&log, &["a"; 5]);
    let TakeOutcome::Taken { gap, .. } = log.take(TakeOptions::new()).await.unwrap() else {
        panic!("two are retained");
    };
    assert_eq!(gap.unwrap().ranges.as_slice(), [(5, 7)]);
}

#[tokio::test]
async fn event_delivered_too_often_is_set_aside_until_it_is_retried_or_discarded() {
    let (sessions, clock) = on_manual_clock();
    let options = SessionOptions::default().max_deliveries(3);
    let log = create(&sessions, "s", options);
    append(&log, &["a", "b"]);
    let mut old = Vec::new();
    for delivery in 1..=3 {
        let (leases, _) = lease(&log, 1).await;
        assert_eq!((leases[0].0, leases[0].1.delivery()), (0, delivery));
        old.push(leases[0].1);
        // Given back in either way.
        match delivery {
            2 => log.nack(&group(), leases[0].1).await.unwrap(),
            _ => clock.advance(ms(1000)),
        }
    }
    let (next, _) = lease(&log, 9).await;
    assert_eq!(next[0].0, 1, "the poisonous one is out of the way");
    assert_eq!(next.len(), 1);
    log.ack(&group(), next[0].1).await.unwrap();
    assert_eq!(info(&log).cursor.position(), Some(Position(2)));
    let dead = log.dead_letters(&group());
    assert_eq!((dead.len(), dead[0].deliveries), (1, 3));
    assert_eq!((info(&log).dead, info(&log).died), (1, 1));

    // Retried: as many deliveries again, and old leases stay fenced.
    assert!(log.retry_dead_letter(&group(), Position(0)).await.unwrap());
    assert!(!log.retry_dead_letter(&group(), Position(0)).await.unwrap());
    assert_eq!(info(&log).pending, 1);
    for delivery in 4..=6 {
        let (leases, _) = lease(&log, 9).await;
        assert_eq!(leases.len(), 1);
        assert_eq!((leases[0].0, leases[0].1.delivery()), (0, delivery));
        for old in &old {
            assert!(log.ack(&group(), *old).await.is_err());
        }
        log.nack(&group(), leases[0].1).await.unwrap();
    }
    assert!(take_all(&log).await.is_empty());
    assert_eq!(log.dead_letters(&group())[0].deliveries, 6);
    assert!(
        log.discard_dead_letter(&group(), Position(0))
            .await
            .unwrap()
    );
    assert!(
        !log.discard_dead_letter(&group(), Position(0))
            .await
            .unwrap()
    );
    let after = info(&log);
    assert_eq!((after.dead, after.kept_bytes, after.pending), (0, 0, 0));
}

#[tokio::test]
async fn retried_letter_goes_to_a_waiting_taker_and_can_be_settled() {
    let log = create(
        &crate::support::sessions(),
        "s",
        SessionOptions::default().max_deliveries(1),
    );
    append(&log, &["a"]);
    let (leases, _) = lease(&log, 1).await;
    log.nack(&group(), leases[0].1).await.unwrap();
    let mut taker = task::spawn(log.take(TakeOptions::new()));
    assert_pending!(taker.poll());
    assert!(log.retry_dead_letter(&group(), Position(0)).await.unwrap());
    assert!(taker.is_woken());
    assert_eq!(taken(&assert_ready!(taker.poll()).unwrap()), [0]);
    assert_eq!((info(&log).pending, info(&log).kept_bytes), (0, 0));
}

#[tokio::test]
async fn no_more_events_are_on_lease_than_allowed() {
    let mut limits = QueueLimits::default();
    limits.leases_per_group = 3;
    let log = with_limits(limits, SessionOptions::default());
    append(&log, &["a"; 5]);
    let (leases, _) = lease(&log, 10).await;
    assert_eq!(leases.len(), 3, "as many as there is room for");
    let refused = log.take(TakeOptions::new().lease(ms(1000))).await;
    assert_eq!(refused.unwrap_err().code(), "too_many_leases");
    // Without a lease nothing is owed.
    assert_eq!(taken(&log.take(TakeOptions::new()).await.unwrap()), [3]);
    log.ack(&group(), leases[1].1).await.unwrap();
    assert_eq!(lease(&log, 10).await.0[0].0, 4);
    assert_eq!(info(&log).leased, 3);

    // A taker that waits takes what fits, and leaves the rest to others.
    let wants = |kind| TakeOptions::new().lease(ms(1000)).matching(matching(kind));
    let mut waiting = task::spawn(log.take(wants("b").max(2)));
    assert_pending!(waiting.poll());
    log.ack(&group(), leases[0].1).await.unwrap();
    append(&log, &["b", "b"]);
    assert_eq!(taken(&assert_ready!(waiting.poll()).unwrap()), [5]);
    assert_eq!(info(&log).leased, 3);
    assert_eq!(take_all(&log).await, [6]);
}

fn heavy(bytes: usize) -> EventDraft {
    draft("heavy").with_payload(Payload::json(&"x".repeat(bytes)).unwrap())
}

#[tokio::test]
async fn leased_events_outside_the_window_stay_within_their_bound() {
    const KEPT: usize = 16 * 1024;
    let mut limits = QueueLimits::default();
    limits.kept_bytes_per_group = KEPT;
    let log = with_limits(limits, SessionOptions::default().max_events(10));
    let mut leases = Vec::new();
    for _ in 0..10 {
        log.append(vec![heavy(4 * 1024); 10], Default::default())
            .await
            .unwrap();
        leases.extend(lease(&log, 10).await.0);
    }
    assert_eq!(info(&log).leased, 100);
    assert!(info(&log).kept_bytes <= KEPT);
    // A lease whose event was let go of is a lease all the same: work that is done is not lost.
    log.ack(&group(), leases[0].1).await.unwrap();
    log.nack(&group(), leases[1].1).await.unwrap();
    let (back, gap) = lease(&log, 10).await;
    assert!(back.is_empty() && gap.is_none());
    log.append([draft("a")], Default::default()).await.unwrap();
    let (next, gap) = lease(&log, 10).await;
    assert_eq!(next[0].0, 100);
    assert_eq!(gap.unwrap().ranges.as_slice(), [(1, 1)]);
    assert_eq!(info(&log).lost, 1);
    // The newest that left the window are still there.
    log.nack(&group(), leases[89].1).await.unwrap();
    assert_eq!(lease(&log, 10).await.0[0].0, 89);
}

#[tokio::test]
async fn events_given_back_after_their_eviction_are_bounded_and_lost_with_a_gap() {
    let mut limits = QueueLimits::default();
    limits.kept_events_per_group = 2;
    let log = with_limits(limits, SessionOptions::default().max_events(4));
    append(&log, &["a"; 4]);
    let (leases, _) = lease(&log, 4).await;
    append(&log, &["b"; 4]);
    for (_, id) in &leases {
        log.nack(&group(), *id).await.unwrap();
    }
    let (next, gap) = lease(&log, 10).await;
    let positions: Vec<u64> = next.iter().map(|(position, _)| *position).collect();
    assert_eq!(positions, [2, 3, 4, 5, 6, 7]);
    assert_eq!(gap.unwrap().ranges.as_slice(), [(0, 1)]);
}

#[tokio::test]
async fn reserved_events_outside_the_window_are_bounded_too() {
    let mut limits = QueueLimits::default();
    limits.kept_events_per_group = 2;
    let log = with_limits(limits, SessionOptions::default().max_events(2));
    let mut idle = task::spawn(log.take(TakeOptions::new().max(6)));
    assert_pending!(idle.poll());
    // Eight come, six are reserved: two of those are in the window at the end of the first append.
    append(&log, &["a"; 6]);
    append(&log, &["a"; 2]);
    assert!(idle.is_woken());
    let TakeOutcome::Taken { taken, gap, .. } = assert_ready!(idle.poll()).unwrap() else {
        panic!("events are reserved");
    };
    let positions: Vec<u64> = taken.iter().map(|t| t.event.position().0).collect();
    assert_eq!(positions, [4, 5, 6, 7]);
    assert_eq!(gap.unwrap().ranges.as_slice(), [(0, 3)]);
    assert_eq!(info(&log).kept_bytes, 0);
}
