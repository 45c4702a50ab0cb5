//! Groups whose steps are in a store that takes its time.

use std::time::Duration;

use reveille_e2e::soon;
use reveille_queue::{
    GroupInfo, LeaseId, SessionLog, SessionOptions, Sessions, SettleError, TakeOptions, TakeOutcome,
};
use reveille_testkit::dropped_at_each_poll;
use reveille_types::{Label, Position, Start};

use crate::queue::{append, key, takeable};
use crate::yielding::Yielding;

const LEASE: Duration = Duration::from_secs(1_000);

fn group() -> Label {
    TakeOptions::new().group
}

/// The session in another process.
async fn process(store: &Yielding) -> SessionLog {
    let sessions = Sessions::builder(store.clone()).build();
    let options = SessionOptions::default().max_deliveries(1);
    sessions.get_or_create(key(), options).await.unwrap().0
}

/// A session with an event, in two processes.
async fn two() -> (SessionLog, SessionLog) {
    let store = Yielding::default();
    let log = process(&store).await;
    append(&log, &["a"]).await;
    log.skip_to(&group(), Start::Earliest).await.unwrap();
    let other = process(&store).await;
    (log, other)
}

async fn lease(log: &SessionLog) -> LeaseId {
    let options = TakeOptions::new().lease(LEASE);
    let TakeOutcome::Taken { taken, .. } = log.take(options).await.unwrap() else {
        panic!("the event is there");
    };
    taken[0].lease.as_ref().unwrap().id
}

async fn leased() -> (SessionLog, SessionLog, LeaseId) {
    let (log, other) = two().await;
    let lease = lease(&log).await;
    (log, other, lease)
}

async fn with_letter() -> (SessionLog, SessionLog) {
    let (log, other, lease) = leased().await;
    log.nack(&group(), lease).await.unwrap();
    (log, other)
}

async fn info(log: &SessionLog) -> GroupInfo {
    log.load_groups().await.unwrap();
    log.group_info(&group()).unwrap()
}

async fn take(log: &SessionLog, lease: Option<Duration>) {
    let mut options = TakeOptions::new();
    options.lease = lease;
    let outcome = log.take(options).await.unwrap();
    assert!(matches!(outcome, TakeOutcome::Taken { .. }));
}

async fn check_taken((_, other): &(SessionLog, SessionLog), done: Option<()>) {
    match done {
        Some(()) => assert_eq!(takeable(other).await, 0, "somebody has it"),
        // It comes back by itself, as if it had not been delivered.
        None => {
            let again = soon("the event comes back", lease(other)).await;
            assert_eq!(again.delivery(), 1);
        }
    }
}

cases! {
    event_of_a_store_is_taken_or_comes_back drops "queue/src/take.rs take" {
        for lease in [None, Some(LEASE)] {
            dropped_at_each_poll(
                two,
                async |(log, _)| take(log, lease).await,
                async |_, _| (),
                check_taken,
            )
            .await;
        }
    }

    lease_of_a_store_is_settled_or_is_not drops "queue/src/groups.rs ack" {
        dropped_at_each_poll(
            leased,
            async |(log, _, lease)| log.ack(&group(), *lease).await.unwrap(),
            async |_, _| (),
            async |(_, other, lease), done| {
                let left = info(other).await.leased;
                assert!(done.is_none() || left == 0);
                let again = other.ack(&group(), *lease).await;
                assert_eq!(again == Err(SettleError::Fenced), left == 0);
                let after = info(other).await;
                assert_eq!((after.leased, after.pending, after.dead), (0, 0, 0));
            },
        )
        .await;
    }

    event_of_a_store_is_given_back_or_is_not drops "queue/src/groups.rs nack" {
        dropped_at_each_poll(
            leased,
            async |(log, _, lease)| log.nack(&group(), *lease).await.unwrap(),
            async |_, _| (),
            async |(_, other, lease), done| {
                let dead = info(other).await.dead;
                assert!(done.is_none() || dead == 1, "one delivery is all there is");
                let again = other.nack(&group(), *lease).await;
                assert_eq!(again == Err(SettleError::Fenced), dead == 1);
                assert_eq!(info(other).await.dead, 1);
            },
        )
        .await;
    }

    group_in_a_store_moves_on_or_does_not drops "queue/src/groups.rs skip_to" {
        dropped_at_each_poll(
            two,
            async |(log, _)| log.skip_to(&group(), Start::Latest).await.unwrap(),
            async |_, _| (),
            async |(log, other), done| {
                let pending = info(other).await.pending;
                assert!(done.is_none() || pending == 0);
                assert_eq!(info(log).await.pending, pending);
            },
        )
        .await;
    }

    letter_in_a_store_is_retried_or_is_not drops "queue/src/groups.rs retry_dead_letter" {
        dropped_at_each_poll(
            with_letter,
            async |(log, _)| log.retry_dead_letter(&group(), Position(0)).await.unwrap(),
            async |_, _| (),
            async |(log, other), done| {
                let dead = info(other).await.dead as u64;
                assert!(done.is_none_or(|found| found && dead == 0));
                assert_eq!(info(log).await.dead as u64, dead);
                assert_eq!(takeable(other).await + dead, 1);
            },
        )
        .await;
    }

    letter_in_a_store_is_discarded_or_is_not drops "queue/src/groups.rs discard_dead_letter" {
        dropped_at_each_poll(
            with_letter,
            async |(log, _)| log.discard_dead_letter(&group(), Position(0)).await.unwrap(),
            async |_, _| (),
            async |(log, other), done| {
                let dead = info(other).await.dead;
                assert!(done.is_none_or(|found| found && dead == 0));
                assert_eq!(info(log).await.dead, dead);
                assert_eq!(takeable(other).await, 0);
            },
        )
        .await;
    }

    a_place_is_reached_or_is_not drops "queue/src/stored.rs load_to" {
        dropped_at_each_poll(
            leased,
            async |(log, other, _)| other.load_to(Start::After(log.latest())).await.unwrap(),
            async |_, _| (),
            async |(log, other, _), _| {
                let place = Start::After(log.latest());
                other.load_to(place).await.unwrap();
                assert_eq!(other.latest(), log.latest());
            },
        )
        .await;
    }

    groups_are_learnt_or_not drops "queue/src/group_log/mod.rs load_groups" {
        dropped_at_each_poll(
            leased,
            async |(_, other, _)| other.load_groups().await.unwrap(),
            async |_, _| (),
            async |(_, other, _), _| assert_eq!(info(other).await.leased, 1),
        )
        .await;
    }
}
