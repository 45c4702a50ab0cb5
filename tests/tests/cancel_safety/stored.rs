//! Sessions in a store that takes its time, so that a future is dropped before and after each effect.

use std::sync::Arc;
use std::time::Duration;

use reveille_backend::{Backend, Incarnation, OpenOptions};
use reveille_core::ManualClock;
use reveille_queue::{
    AppendOptions, PageOptions, SessionError, SessionLog, SessionOptions, Sessions, TailLimits,
};
use reveille_testkit::dropped_at_each_poll;
use reveille_types::{EndReason, Epoch, EventDraft, Position, Receipt, Start, Tenant};

use crate::queue::{append, draft, key};
use crate::yielding::Yielding;

fn sessions_on(store: &Yielding) -> Sessions {
    Sessions::builder(store.clone())
        .tail(TailLimits::default())
        .build()
}

async fn sessions() -> (Yielding, Sessions) {
    let store = Yielding::default();
    let sessions = sessions_on(&store);
    (store, sessions)
}

async fn log() -> (Yielding, Sessions, SessionLog) {
    let (store, sessions) = sessions().await;
    let created = sessions.create(key(), SessionOptions::default()).await;
    (store, sessions, created.unwrap())
}

/// The session as another process finds it.
async fn elsewhere(store: &Yielding) -> SessionLog {
    sessions_on(store).find(&key()).await.unwrap()
}

fn kinds(log: &SessionLog) -> Vec<String> {
    let page = log.page(&PageOptions::from(Start::Earliest, 100)).unwrap();
    page.events.iter().map(|e| e.kind().to_string()).collect()
}

fn batch() -> [EventDraft; 2] {
    ["a", "b"].map(|kind| {
        let mut draft = draft(kind);
        draft.idempotency_key = Some(kind.into());
        draft
    })
}

async fn append_keyed(log: &SessionLog) -> Receipt {
    log.append(batch(), AppendOptions::default()).await.unwrap()
}

cases! {
    append_is_settled_by_its_keys drops "queue/src/append.rs append" {
        dropped_at_each_poll(
            log,
            async |(_, _, log)| append_keyed(log).await,
            async |_, _| (),
            async |(store, _, log), receipt| {
                let there = kinds(&elsewhere(store).await).len();
                assert!([0, 2].contains(&there), "{there} events of a batch of two");
                let again = append_keyed(log).await;
                assert_eq!(again.deduplicated(), there == 2);
                assert!(receipt.is_none_or(|first| first.cursor == again.cursor));
                assert_eq!(kinds(log), ["a", "b"]);
                assert_eq!(kinds(&elsewhere(store).await), ["a", "b"]);
            },
        )
        .await;
    }

    last_append_ends_the_session_with_itself_or_not drops "queue/src/append.rs append" {
        dropped_at_each_poll(
            log,
            async |(_, _, log)| append(log, &["task.result"]).await,
            async |_, _| (),
            async |(store, _, _), _| {
                // As the store has it, whatever a session makes of it.
                let current = OpenOptions::new(Incarnation::Current, Epoch::from_parts(1, 1));
                let opened = store.open(&key(), current).await.unwrap();
                let reason = opened.seal.map(|seal| seal.reason);
                let is_over = reason == Some(EndReason::Completed);
                assert_eq!(is_over, opened.latest > Position::START);
            },
        )
        .await;
    }

    cancel_is_one_whether_it_was_answered_or_not drops "queue/src/lifecycle.rs cancel" {
        dropped_at_each_poll(
            log,
            async |(_, _, log)| log.cancel(Some("first"), None).await.unwrap(),
            async |_, _| (),
            async |(store, _, log), first| {
                let second = log.cancel(Some("second"), None).await.unwrap();
                assert_eq!(kinds(log), ["task.status.cancel_requested"]);
                if first.is_some() {
                    assert!(second.already_cancelled);
                    assert_eq!(second.reason.as_deref(), Some("first"));
                }
                let told = elsewhere(store).await.info().cancel.unwrap();
                assert_eq!(told.reason, second.reason);
                assert!(log.cancel_token().is_cancelled());
            },
        )
        .await;
    }

    close_seals_or_does_not drops "queue/src/lifecycle.rs close" {
        dropped_at_each_poll(
            log,
            async |(_, _, log)| log.close(Some("done")).await.unwrap(),
            async |_, _| (),
            async |(store, _, log), done| {
                let there = elsewhere(store).await.info().reason;
                assert!(done.is_none() || there.is_some());
                log.close(None).await.unwrap();
                assert_eq!(log.info().reason, Some(EndReason::Closed));
                let told = elsewhere(store).await.info().message;
                assert_eq!(told.is_some(), there.is_some(), "the first seal stays");
            },
        )
        .await;
    }

    session_is_created_or_not drops
        "queue/src/sessions.rs create",
        "queue/src/sessions.rs get_or_create"
    {
        dropped_at_each_poll(
            sessions,
            async |(_, sessions)| sessions.create(key(), SessionOptions::default()).await.unwrap(),
            async |_, _| (),
            async |(_, sessions), done| {
                assert_eq!(sessions.len(), usize::from(done.is_some()));
                check_usable(sessions).await;
            },
        )
        .await;
        dropped_at_each_poll(
            sessions,
            async |(_, sessions)| {
                let options = SessionOptions::default();
                sessions.get_or_create(key(), options).await.unwrap()
            },
            async |_, _| (),
            async |(_, sessions), _| check_usable(sessions).await,
        )
        .await;
    }

    session_is_made_anew_or_not drops "queue/src/sessions.rs recreate" {
        dropped_at_each_poll(
            async || {
                let (store, sessions, log) = log().await;
                append(&log, &["task.result"]).await;
                (store, sessions, log)
            },
            async |(_, sessions, _)| {
                let options = SessionOptions::default();
                sessions.recreate(key(), options).await.unwrap()
            },
            async |_, _| (),
            async |(store, sessions, old), new| {
                let there = elsewhere(store).await;
                let is_new = there.epoch() != old.epoch();
                assert_eq!(there.info().retained, u64::from(!is_new));
                if let Some(new) = new {
                    assert_eq!(new.epoch(), there.epoch());
                }
                // Whatever came of it, it can be done once more.
                if let Ok(found) = sessions.find(&key()).await {
                    found.close(None).await.unwrap_or_default();
                }
            },
        )
        .await;
    }

    session_is_removed_and_over_or_neither drops "queue/src/sessions.rs remove" {
        dropped_at_each_poll(
            log,
            async |(_, sessions, _)| sessions.remove(&key()).await.unwrap(),
            async |_, _| (),
            async |(store, sessions, log), done| {
                let there = sessions_on(store).find(&key()).await.is_ok();
                assert!(!(there && done.is_some()), "removed, and there");
                if there {
                    append(log, &["a"]).await;
                }
                let again = sessions.remove(&key()).await;
                assert!(there <= again.is_ok());
                assert_eq!(log.info().reason, Some(EndReason::Deleted));
                check_usable(sessions).await;
            },
        )
        .await;
    }

    session_is_found_or_not_yet drops
        "queue/src/sessions.rs find",
        "queue/src/sessions.rs open_stored",
        "queue/src/sessions.rs tail_or_begin"
    {
        let stored = async || {
            let (store, sessions, log) = log().await;
            append(&log, &["a"]).await;
            drop((sessions, log));
            let restarted = sessions_on(&store);
            (store, restarted)
        };
        dropped_at_each_poll(
            stored,
            async |(_, sessions)| sessions.find(&key()).await.unwrap(),
            async |_, _| (),
            async |(_, sessions), _| {
                let found = sessions.find(&key()).await.unwrap();
                assert_eq!(kinds(&found), ["a"]);
            },
        )
        .await;
        dropped_at_each_poll(
            stored,
            async |(_, sessions)| sessions.open_stored(&Tenant::default_tenant()).await.unwrap(),
            async |_, _| (),
            async |(_, sessions), _| {
                sessions.open_stored(&Tenant::default_tenant()).await.unwrap();
                assert_eq!(sessions.len(), 1);
            },
        )
        .await;
        dropped_at_each_poll(
            stored,
            async |(_, sessions)| sessions.tail_or_begin(&Tenant::default_tenant()).await.unwrap(),
            async |_, _| (),
            async |(_, sessions), _| {
                let found = sessions.find(&key()).await.unwrap();
                append(&found, &["b"]).await;
                let tail = sessions.tail_or_begin(&Tenant::default_tenant()).await;
                assert_eq!(tail.unwrap().unwrap().info().latest.0, 2);
            },
        )
        .await;
    }

    sweep_of_the_store_is_done_by_the_next_one drops "queue/src/unopened.rs sweep_stored" {
        dropped_at_each_poll(
            async || {
                let (store, before, log) = log().await;
                append(&log, &["a"]).await;
                log.close(None).await.unwrap();
                drop((before, log));
                let clock = Arc::new(ManualClock::new());
                let sessions = Sessions::builder(store).clock(clock.clone()).build();
                sessions.look_after(&Tenant::default_tenant());
                sessions.sweep_stored().await.unwrap();
                clock.advance(Duration::from_secs(24 * 3_600));
                sessions
            },
            async |sessions| sessions.sweep_stored().await.unwrap(),
            async |_, _| (),
            async |sessions, swept| {
                let again = sessions.sweep_stored().await.unwrap();
                assert!(swept.is_none_or(|swept| (swept.removed, again.removed) == (1, 0)));
                let found = sessions.find(&key()).await;
                assert!(matches!(found, Err(SessionError::NotFound { .. })));
                check_usable(sessions).await;
            },
        )
        .await;
    }
}

/// There is a session, or one can be made, and it works.
async fn check_usable(sessions: &Sessions) {
    let options = SessionOptions::default();
    let (log, _) = sessions.get_or_create(key(), options).await.unwrap();
    append(&log, &["a"]).await;
    assert_eq!(kinds(&log), ["a"]);
}
