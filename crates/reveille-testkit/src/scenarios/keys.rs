//! Idempotency keys recognise a repeated append.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reveille_backend::{AppendOptions as Conditions, Backend, Incarnation};
use reveille_queue::AppendOptions;

use super::raw::{keyed_entry, now, open, places, try_append};
use super::{append, create, draft, everything, keyed, log_on, positions, sessions};

/// The same keyed append once more has the answer of the first, says so, and stores nothing; also
/// when the key stands twice in one batch, and after the end.
///
/// # Panics
/// When it is stored twice or answered differently.
pub async fn repeated_key_is_stored_once(backend: Arc<dyn Backend>) {
    let log = log_on(backend).await;
    let batch = || {
        vec![
            keyed("a", "k1"),
            draft("x"),
            keyed("a", "k1"),
            keyed("b", "k2"),
        ]
    };
    let first = append(&log, batch()).await;
    let once = [0, 1, 0, 2];
    assert_eq!(positions(&first), once, "a known key is stored again");
    assert!(first.results[2].deduplicated);
    let second = append(&log, vec![keyed("b", "k2"), keyed("a", "k1")]).await;
    assert!(second.deduplicated());
    assert_eq!(positions(&second), [2, 0]);
    assert_eq!(second.results[0].seq, first.results[3].seq);
    let end = append(&log, vec![keyed("task.result", "end")]).await;
    let again = append(&log, vec![keyed("task.result", "end")]).await;
    assert!(again.deduplicated());
    assert_eq!(again.cursor, end.cursor);
    assert_eq!(everything(&log).len(), 4);
}

/// A key that was used for another event is refused, with its whole batch.
///
/// # Panics
/// When it is stored, or answered as if it were the same.
pub async fn key_of_another_event_is_refused(backend: Arc<dyn Backend>) {
    let log = log_on(backend).await;
    append(&log, vec![keyed("a", "k")]).await;
    for batch in [
        vec![keyed("b", "k")],
        vec![draft("c"), keyed("b", "k")],
        vec![keyed("a", "new"), keyed("b", "new")],
    ] {
        let refused = log.append(batch, AppendOptions::default()).await;
        let refused = refused.expect_err("the key of another event is taken for its own");
        assert_eq!(refused.code(), "idempotency_conflict");
    }
    assert_eq!(everything(&log).len(), 1);
}

/// Keys are scoped by session.
///
/// # Panics
/// When a key of one session is known in another.
pub async fn keys_of_two_sessions_do_not_meet(backend: Arc<dyn Backend>) {
    let sessions = sessions(backend);
    for name in ["one", "two"] {
        let log = create(&sessions, name).await;
        let receipt = append(&log, vec![keyed(name, "k")]).await;
        assert_eq!(
            (positions(&receipt), receipt.deduplicated()),
            (vec![0], false)
        );
    }
}

/// A key is known for ten minutes, by the clock of whoever appends.
///
/// # Panics
/// When it is forgotten before.
pub async fn key_is_known_for_ten_minutes(backend: Arc<dyn Backend>) {
    let begin = Instant::now();
    let mut log = super::raw::handle(&backend, "s").await;
    for (second, known) in [(0, false), (30, true), (300, true), (599, true)] {
        let at = Conditions::at(begin + Duration::from_secs(second));
        let batch = vec![keyed_entry("k", 1)];
        let slots = try_append(&mut log, batch, at).await.unwrap();
        let as_known = (slots[0].position.0, slots[0].deduplicated);
        assert_eq!(as_known, (0, known), "the key after {second} s");
    }
}

/// A key that was used in an old incarnation is a new one in the next.
///
/// # Panics
/// When it is known, or refused.
pub async fn key_of_an_old_incarnation_is_new(backend: Arc<dyn Backend>) {
    for n in [1, 2] {
        let opened = open(&backend, "s", Incarnation::New, n).await;
        let mut log = opened.unwrap().log;
        let batch = vec![keyed_entry("k", n.into())];
        let slots = try_append(&mut log, batch, now()).await;
        let Ok(slots) = slots else {
            panic!("a key of an old incarnation is in the way: {slots:?}");
        };
        assert_eq!((places(&slots), slots[0].deduplicated), (vec![0], false));
    }
}
