//! Idempotency keys recognise a repeated append.

use std::sync::Arc;

use reveille_backend::Backend;
use reveille_queue::AppendOptions;

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
    assert_eq!(positions(&first), [0, 1, 0, 2]);
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
        assert_eq!(refused.unwrap_err().code(), "idempotency_conflict");
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
