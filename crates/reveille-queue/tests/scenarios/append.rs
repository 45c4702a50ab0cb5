//! `append`: all or nothing, in order, and refused with a reason.

use reveille_queue::{AppendError, AppendOptions, SessionOptions};
use reveille_types::{Durability, EventDraft, Kind, Payload, Position, SessionKey, Tenant};
use tokio_test::{assert_pending, task};

use crate::support::{append, create, draft, key, log, sessions, take_now, taken};

fn refused(log: &reveille_queue::SessionLog, drafts: Vec<EventDraft>) -> &'static str {
    let before = log.latest();
    let error = log
        .try_append(drafts, AppendOptions::default())
        .unwrap_err();
    assert_eq!(log.latest(), before, "nothing was stored");
    error.code()
}

#[tokio::test]
async fn d000_10_reserved_kinds_are_refused_and_disturb_nobody() {
    let log = log();
    let mut waiting = task::spawn(log.take(reveille_queue::TakeOptions::new()));
    assert_pending!(waiting.poll());
    for kind in ["timeout", "reveille.gap", "task.status.cancel_requested"] {
        assert_eq!(refused(&log, vec![draft(kind)]), "reserved_kind");
    }
    assert!(!waiting.is_woken());
}

#[tokio::test]
async fn d000_11_kinds_that_are_no_kinds_cannot_be_published() {
    assert!(Kind::parse("").is_err());
    assert!(EventDraft::parse(&"k".repeat(200)).is_err());
    let log = log();
    assert_eq!(refused(&log, Vec::new()), "empty_batch");
}

#[tokio::test]
async fn batch_with_one_bad_event_leaves_nothing() {
    let log = log();
    let mut long = draft("c");
    long.subject = Some("x".repeat(2000).into());
    let batch = vec![draft("a"), draft("b"), long];
    let error = log.try_append(batch, AppendOptions::default()).unwrap_err();
    assert!(matches!(error, AppendError::InvalidEvent { index: 2, .. }));
    assert_eq!(log.latest().position(), Some(Position::START));
    let after_final = vec![draft("task.result"), draft("a")];
    assert_eq!(refused(&log, after_final), "after_final");
    assert_eq!(refused(&log, vec![draft("a"); 1001]), "batch_too_large");
    append(&log, &["a", "task.result"]);
    assert_eq!(refused(&log, vec![draft("a")]), "session_ended");
}

#[tokio::test]
async fn d000_14_event_that_can_never_fit_is_refused_and_evicts_nothing() {
    let options = SessionOptions::default().max_events(10).max_bytes(4096);
    let log = create(&sessions(), "s", options);
    append(&log, &["a"; 2]);
    let large = draft("b").with_payload(Payload::bytes(None, vec![0; 8192]).unwrap());
    assert_eq!(refused(&log, vec![large]), "event_too_large");
    assert_eq!(log.info().retained, 2);
    for _ in 0..50 {
        append(&log, &["a"]);
        assert!(log.info().bytes <= 4096);
    }
    let info = log.info();
    assert!(info.retained < 10, "the bytes ran out before the number");
    assert_eq!(info.dropped, 52 - info.retained);
}

#[tokio::test]
async fn d001_15_event_of_another_tenant_or_session_is_refused() {
    let sessions = sessions();
    let ours = create(&sessions, "x", SessionOptions::default());
    let theirs = SessionKey::in_tenant(Tenant::parse("b").unwrap(), "x").unwrap();
    let other = sessions
        .create(theirs.clone(), SessionOptions::default())
        .await
        .unwrap();
    append(&other, &["secret"]);
    assert!(taken(&take_now(&ours).await).is_empty());
    let mut event = draft("a");
    event.session = Some(std::sync::Arc::new(theirs));
    assert_eq!(refused(&ours, vec![event]), "tenant_mismatch");
    let mut event = draft("a");
    event.session = Some(std::sync::Arc::new(key("y")));
    assert_eq!(refused(&ours, vec![event]), "session_mismatch");
}

#[tokio::test]
async fn d000_19_receipt_says_where_each_event_is() {
    let log = log();
    append(&log, &["a"]);
    let receipt = append(&log, &["b", "c"]);
    let places: Vec<u64> = receipt.results.iter().map(|r| r.position.0).collect();
    assert_eq!(places, [1, 2]);
    assert_eq!(receipt.cursor, log.latest());
    assert_eq!(receipt.durability, Durability::Volatile);
    assert!(receipt.results.iter().all(|r| !r.deduplicated));
}

#[tokio::test]
async fn append_at_an_expected_position_takes_place_only_there() {
    let log = log();
    append(&log, &["a"]);
    let at = |position| AppendOptions::default().expecting(Position(position));
    for wrong in [0, 2] {
        let error = log.try_append([draft("b")], at(wrong)).unwrap_err();
        let AppendError::PositionConflict { expected, actual } = error else {
            panic!("{error}");
        };
        assert_eq!((expected.0, actual), (wrong, log.latest()));
    }
    log.try_append([draft("b")], at(1)).unwrap();
    assert_eq!(log.latest().position(), Some(Position(2)));
}

#[tokio::test]
async fn durability_that_memory_does_not_have_is_refused() {
    let log = log();
    let mut options = AppendOptions::default();
    options.durability = Some(Durability::Fsync);
    let error = log.try_append([draft("a")], options).unwrap_err();
    assert_eq!(error.code(), "durability_not_offered");
    assert_eq!(log.latest().position(), Some(Position::START));
}

#[tokio::test]
async fn d000_17_publishing_to_an_unknown_session_names_it() {
    let error = sessions().get(&key("workflow/build-7")).unwrap_err();
    assert_eq!(error.code(), "session_not_found");
    assert!(error.to_string().contains("workflow/build-7"));
}
