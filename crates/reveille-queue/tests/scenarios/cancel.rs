//! `cancel`: a request that the first caller makes and the producer answers.

use reveille_queue::{StreamItem, SubscribeOptions};
use reveille_types::{EndReason, Payload};
use serde_json::json;
use tokio_test::{assert_pending, assert_ready, task};

use crate::support::{append, create, drain, key, log, ms, on_manual_clock};

#[tokio::test]
async fn d001_14_first_cancel_wins_and_is_told_to_the_second() {
    let log = log();
    let mut stopped = task::spawn(log.cancel_token().cancelled());
    assert_pending!(stopped.poll());
    let first = log.cancel(Some("a"), None).await.unwrap();
    assert!(!first.already_cancelled);
    assert!(stopped.is_woken());
    let request = assert_ready!(stopped.poll());
    assert_eq!(request.reason.as_deref(), Some("a"));

    let second = log.cancel(Some("b"), None).await.unwrap();
    assert!(second.already_cancelled);
    assert_eq!(
        (second.reason.as_deref(), second.time),
        (Some("a"), first.time)
    );

    let mut subscription = log.subscribe(SubscribeOptions::default()).unwrap();
    let Some(Ok(StreamItem::Event(event))) = subscription.next().await else {
        panic!("a cancel leaves an event");
    };
    assert_eq!(event.kind().as_str(), "task.status.cancel_requested");
    assert_eq!(
        *event.payload(),
        Payload::json(&json!({"reason": "a"})).unwrap()
    );
    assert_eq!(drain(&mut subscription), ["live"], "one event, and no end");
    let info = log.info().cancel.unwrap();
    assert_eq!((info.reason.as_deref(), info.time), (Some("a"), first.time));
}

#[tokio::test]
async fn d001_14_token_event_and_session_tell_one_time_of_a_cancel() {
    let log = log();
    let outcome = log.cancel(None, None).await.unwrap();
    let token = log.cancel_token().cancellation().unwrap();
    assert_eq!(token.at, outcome.time);
    assert_eq!(log.info().cancel.unwrap().time, outcome.time);
    let page = log
        .page(&reveille_queue::PageOptions::from(Default::default(), 1))
        .unwrap();
    assert_eq!(page.events[0].envelope().time, outcome.time);
}

#[tokio::test]
async fn d001_14_session_that_is_over_cannot_be_cancelled() {
    let log = log();
    append(&log, &["task.result"]);
    let error = log.cancel(None, None).await.unwrap_err();
    assert_eq!(error.code(), "session_ended");
    assert!(!log.cancel_token().is_cancelled());
    assert_eq!(log.info().retained, 1);
}

#[tokio::test]
async fn grace_ends_the_session_unless_its_producer_did() {
    let (sessions, clock) = on_manual_clock();
    let silent = create(&sessions, "silent", Default::default());
    let obedient = create(&sessions, "obedient", Default::default());
    let patient = create(&sessions, "patient", Default::default());
    for log in [&silent, &obedient] {
        log.cancel(None, Some(ms(1000))).await.unwrap();
    }
    patient.cancel(None, None).await.unwrap();
    append(&obedient, &["task.result"]);
    clock.advance(ms(999));
    assert_eq!(sessions.sweep().ended, 0);
    clock.advance(ms(1));
    assert_eq!(sessions.sweep().ended, 1);
    assert_eq!(silent.info().reason, Some(EndReason::Cancelled));
    assert_eq!(obedient.info().reason, Some(EndReason::Completed));
    assert_eq!(patient.info().reason, None);
}

#[tokio::test]
async fn grace_ends_the_session_without_a_sweep_too() {
    let (sessions, clock) = on_manual_clock();
    let log = create(&sessions, "s", Default::default());
    log.cancel(None, Some(ms(10))).await.unwrap();
    clock.advance(ms(10));
    assert_eq!(
        sessions.get(&key("s")).unwrap().info().reason,
        Some(EndReason::Cancelled)
    );
}

#[tokio::test]
async fn reason_that_is_too_long_changes_nothing() {
    let log = log();
    let long = "x".repeat(1025);
    assert_eq!(
        log.cancel(Some(&long), None).await.unwrap_err().code(),
        "invalid_event"
    );
    assert!(log.close(Some(&long)).await.is_err());
    assert_eq!((log.info().retained, log.info().reason), (0, None));
}
