//! Sessions in memory.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use reveille_memory::MemoryBackend;
use reveille_queue::{
    AppendOptions, LeaseId, MultiWait, SessionLog, SessionOptions, Sessions, StreamItem,
    SubscribeOptions, Subscription, TailLimits, TakeOptions, TakeOutcome, WaitOptions, WaitOutcome,
};
use reveille_testkit::dropped_at_each_poll;
use reveille_types::{EndReason, EventDraft, Filter, SessionKey, Start, Tenant};
use tokio::sync::Mutex;

pub(crate) fn key() -> SessionKey {
    SessionKey::in_tenant(Tenant::default_tenant(), "s").unwrap()
}

pub(crate) fn draft(kind: &str) -> EventDraft {
    EventDraft::parse(kind).unwrap()
}

pub(crate) async fn append(log: &SessionLog, kinds: &[&str]) {
    let drafts = kinds.iter().map(|kind| draft(kind));
    log.append(drafts, AppendOptions::default()).await.unwrap();
}

fn sessions() -> Sessions {
    Sessions::builder(MemoryBackend::new())
        .tail(TailLimits::default())
        .build()
}

async fn log() -> SessionLog {
    let options = SessionOptions::default().max_deliveries(1);
    sessions().create(key(), options).await.unwrap()
}

/// How many events can be taken now.
pub(crate) async fn takeable(log: &SessionLog) -> u64 {
    let options = TakeOptions::new().max(1_000).timeout(Duration::ZERO);
    match log.take(options).await.unwrap() {
        TakeOutcome::Taken { taken, .. } => taken.len() as u64,
        _ => 0,
    }
}

fn any() -> WaitOptions {
    WaitOptions::any(Filter::all())
}

/// A session with an event on lease.
async fn leased() -> (SessionLog, LeaseId) {
    let log = log().await;
    append(&log, &["a"]).await;
    let options = TakeOptions::new().lease(Duration::from_secs(1_000));
    let TakeOutcome::Taken { taken, .. } = log.take(options).await.unwrap() else {
        panic!("the event is there");
    };
    let lease = taken[0].lease.as_ref().unwrap().id;
    (log, lease)
}

/// A session with a dead letter.
async fn with_letter() -> SessionLog {
    let (log, lease) = leased().await;
    log.nack(&TakeOptions::new().group, lease).await.unwrap();
    assert_eq!(log.dead_letters(&TakeOptions::new().group).len(), 1);
    log
}

async fn followed() -> (SessionLog, Mutex<Subscription>) {
    let log = log().await;
    let events = log.subscribe(SubscribeOptions::default()).unwrap();
    (log, Mutex::new(events))
}

/// What is handed out and what is left is all there is, each once.
async fn check_followed(log: &SessionLog, events: &Mutex<Subscription>, given: u64) {
    let mut left = 0;
    let mut events = events.lock().await;
    while let Some(Some(item)) = events.next().now_or_never() {
        left += u64::from(matches!(item.unwrap(), StreamItem::Event(_)));
    }
    assert_eq!(given + left, log.info().retained);
}

cases! {
    append_is_whole_or_nothing drops "queue/src/append.rs append" {
        dropped_at_each_poll(
            log,
            async |log| append(log, &["a", "b"]).await,
            async |_, _| (),
            async |log, done| {
                let stored = if done.is_some() { 2 } else { 0 };
                assert_eq!(log.info().retained, stored);
            },
        )
        .await;
    }

    take_owns_nothing_until_it_returns drops "queue/src/take.rs take" {
        for lease in [None, Some(Duration::from_secs(1_000))] {
            dropped_at_each_poll(
                log,
                async |log| {
                    let mut options = TakeOptions::new();
                    options.lease = lease;
                    log.take(options).await.unwrap()
                },
                async |log, _| append(log, &["a"]).await,
                async |log, taken| {
                    let info = log.info();
                    assert_eq!(info.waiters, 0);
                    let taken = u64::from(taken.is_some());
                    assert_eq!(takeable(log).await + taken, info.retained);
                },
            )
            .await;
        }
    }

    wait_leaves_no_waiter drops "queue/src/wait.rs wait" {
        dropped_at_each_poll(
            log,
            async |log| {
                let both = ["a", "b"].map(|kind| Filter::matching(kind).unwrap());
                let timeout = Duration::from_secs(1_000);
                let options = WaitOptions::all(both.into()).timeout(timeout);
                log.wait(options).await.unwrap()
            },
            async |log, _| append(log, &["b", "a"]).await,
            async |log, _| {
                assert_eq!(log.info().waiters, 0);
                assert_eq!(takeable(log).await, log.info().retained);
            },
        )
        .await;
    }

    wait_for_sessions_leaves_no_waiter drops "queue/src/multi_wait.rs wait" {
        dropped_at_each_poll(
            async || [log().await, log().await],
            async |[a, b]| {
                let waits = vec![(a.clone(), any()), (b.clone(), any())];
                MultiWait::all(waits).wait().await.unwrap()
            },
            async |[a, b], polls| append([a, b][polls % 2], &["a"]).await,
            async |[a, b], _| assert_eq!(a.info().waiters + b.info().waiters, 0),
        )
        .await;
    }

    next_item_is_handed_out_or_still_there drops "queue/src/subscription.rs next" {
        dropped_at_each_poll(
            followed,
            async |(_, events)| {
                let mut events = events.lock().await;
                // Live, and then an event.
                let _live = events.next().await.unwrap().unwrap();
                events.next().await.unwrap().unwrap()
            },
            async |(log, _), _| append(log, &["a"]).await,
            async |(log, events), item| {
                check_followed(log, events, u64::from(item.is_some())).await;
            },
        )
        .await;
    }

    stream_of_items_loses_none drops "queue/src/subscription.rs Subscription" {
        dropped_at_each_poll(
            followed,
            async |(_, events)| {
                let mut events = events.lock().await;
                let _live = StreamExt::next(&mut *events).await.unwrap().unwrap();
                StreamExt::next(&mut *events).await.unwrap().unwrap()
            },
            async |(log, _), _| append(log, &["a"]).await,
            async |(log, events), item| {
                check_followed(log, events, u64::from(item.is_some())).await;
            },
        )
        .await;
    }

    ack_settles_or_does_not drops "queue/src/groups.rs ack" {
        dropped_at_each_poll(
            leased,
            async |(log, lease)| log.ack(&TakeOptions::new().group, *lease).await.unwrap(),
            async |_, _| (),
            async |(log, lease), done| {
                let again = log.ack(&TakeOptions::new().group, *lease).await;
                assert_eq!(again.is_err(), done.is_some());
                assert_eq!(takeable(log).await, 0);
            },
        )
        .await;
    }

    nack_settles_or_does_not drops "queue/src/groups.rs nack" {
        dropped_at_each_poll(
            leased,
            async |(log, lease)| log.nack(&TakeOptions::new().group, *lease).await.unwrap(),
            async |_, _| (),
            async |(log, lease), done| {
                let again = log.nack(&TakeOptions::new().group, *lease).await;
                assert_eq!(again.is_err(), done.is_some());
                assert_eq!(log.dead_letters(&TakeOptions::new().group).len(), 1);
            },
        )
        .await;
    }

    skip_moves_the_group_or_does_not drops "queue/src/groups.rs skip_to" {
        dropped_at_each_poll(
            async || {
                let log = log().await;
                append(&log, &["a", "b"]).await;
                log
            },
            async |log| {
                let group = TakeOptions::new().group;
                log.skip_to(&group, Start::Latest).await.unwrap()
            },
            async |_, _| (),
            async |log, done| {
                let left = if done.is_some() { 0 } else { 2 };
                assert_eq!(takeable(log).await, left);
            },
        )
        .await;
    }

    letter_is_retried_or_is_not drops "queue/src/groups.rs retry_dead_letter" {
        dropped_at_each_poll(
            with_letter,
            async |log| {
                let group = TakeOptions::new().group;
                let letter = log.dead_letters(&group).remove(0);
                log.retry_dead_letter(&group, letter.event.position()).await
            },
            async |_, _| (),
            async |log, done| {
                let letters = log.dead_letters(&TakeOptions::new().group).len() as u64;
                assert_eq!(letters, u64::from(done.is_none()));
                assert_eq!(takeable(log).await + letters, 1);
            },
        )
        .await;
    }

    letter_is_discarded_or_is_not drops "queue/src/groups.rs discard_dead_letter" {
        dropped_at_each_poll(
            with_letter,
            async |log| {
                let group = TakeOptions::new().group;
                let letter = log.dead_letters(&group).remove(0);
                log.discard_dead_letter(&group, letter.event.position()).await
            },
            async |_, _| (),
            async |log, done| {
                let letters = log.dead_letters(&TakeOptions::new().group).len();
                assert_eq!(letters, usize::from(done.is_none()));
                assert_eq!(takeable(log).await, 0);
            },
        )
        .await;
    }

    driver_hands_over_to_another drops "queue/src/sweeping.rs drive" {
        dropped_at_each_poll(
            async || (Mutex::new(Some(sessions())), std::sync::Mutex::new(None)),
            async |(sessions, _)| {
                let driving = sessions.lock().await.as_ref().unwrap().drive();
                driving.await;
            },
            async |(sessions, log), polls| {
                let mut sessions = sessions.lock().await;
                if polls == 1 {
                    let options = SessionOptions::default().ttl(Duration::from_millis(2));
                    let created = sessions.as_ref().unwrap().create(key(), options).await;
                    *log.lock().unwrap() = Some(created.unwrap());
                } else {
                    // The driver ends with the last of them.
                    drop(sessions.take());
                }
            },
            async |(sessions, log), _| {
                let log = log.lock().unwrap().take();
                if let (Some(sessions), Some(log)) = (sessions.lock().await.take(), log) {
                    let driver = tokio::spawn(sessions.drive());
                    let ended = log.wait(any()).await.unwrap();
                    let expired = matches!(ended, WaitOutcome::Ended {
                        reason: EndReason::Expired,
                        ..
                    });
                    assert!(expired, "{ended:?}");
                    drop(sessions);
                    driver.await.unwrap();
                }
            },
        )
        .await;
    }
}
