//! Idempotency keys: the same append once more is recognised.

use reveille_memory::WINDOW;
use reveille_queue::{AppendError, AppendOptions, SessionLog, SessionOptions};
use reveille_types::{EventDraft, Receipt};

use crate::support::{append, create, draft, log, on_manual_clock};

fn keyed(kind: &str, key: &str) -> EventDraft {
    let mut draft = draft(kind);
    draft.idempotency_key = Some(key.into());
    draft
}

fn publish(log: &SessionLog, drafts: &[EventDraft]) -> Result<Receipt, AppendError> {
    log.try_append(drafts.to_vec(), AppendOptions::default())
}

fn places(receipt: &Receipt) -> Vec<(u64, bool)> {
    let results = receipt.results.iter();
    results.map(|r| (r.position.0, r.deduplicated)).collect()
}

#[tokio::test]
async fn d000_19_repeated_append_answers_as_the_first_and_stores_nothing() {
    let log = log();
    let batch = [keyed("a", "k1"), keyed("b", "k2")];
    let first = publish(&log, &batch).unwrap();
    assert_eq!(places(&first), [(0, false), (1, false)]);
    let second = publish(&log, &batch).unwrap();
    assert_eq!(places(&second), [(0, true), (1, true)]);
    assert_eq!(second.cursor, first.cursor);
    assert_eq!(first.results[0].seq, second.results[0].seq);
    let ids =
        |receipt: &Receipt| -> Vec<_> { receipt.results.iter().map(|r| r.id.clone()).collect() };
    assert_eq!(ids(&second), ids(&first), "the ids of what is stored");
    log.close(None).await.unwrap();
    assert_eq!(ids(&publish(&log, &batch).unwrap()), ids(&first));
    assert_eq!(log.info().retained, 2);
}

#[tokio::test]
async fn key_with_another_body_is_refused_with_its_whole_batch() {
    let log = log();
    publish(&log, &[keyed("a", "k")]).unwrap();
    let error = publish(&log, &[draft("c"), keyed("b", "k")]).unwrap_err();
    assert_eq!(error.code(), "idempotency_conflict");
    let error = publish(&log, &[keyed("a", "n"), keyed("b", "n")]).unwrap_err();
    assert_eq!(error.code(), "idempotency_conflict");
    assert_eq!(log.info().retained, 1);
    assert_eq!(
        places(&publish(&log, &[keyed("b", "n")]).unwrap()),
        [(1, false)]
    );
}

#[tokio::test]
async fn key_twice_in_one_batch_is_stored_once() {
    let log = log();
    let batch = [keyed("a", "k"), draft("b"), keyed("a", "k"), draft("c")];
    let receipt = publish(&log, &batch).unwrap();
    assert_eq!(
        places(&receipt),
        [(0, false), (1, false), (0, true), (2, false)]
    );
    assert_eq!(log.info().retained, 3);
}

#[tokio::test]
async fn repeated_append_is_answered_after_the_end() {
    let log = log();
    publish(&log, &[keyed("a", "k")]).unwrap();
    let last = publish(&log, &[keyed("task.result", "end")]).unwrap();
    assert_eq!(
        places(&publish(&log, &[keyed("a", "k")]).unwrap()),
        [(0, true)]
    );
    let again = publish(&log, &[keyed("task.result", "end")]).unwrap();
    assert_eq!(places(&again), [(1, true)]);
    assert_eq!(again.cursor, last.cursor);
    for unknown in [keyed("a", "new"), keyed("b", "k"), draft("a")] {
        let error = publish(&log, &[keyed("a", "k"), unknown]).unwrap_err();
        assert_eq!(error.code(), "session_ended");
    }
    assert_eq!(log.info().retained, 2);
}

#[tokio::test]
async fn repeated_append_is_answered_whatever_position_it_expected() {
    let log = log();
    let expecting = AppendOptions::default().expecting(log.latest().position().unwrap());
    log.try_append([keyed("a", "k")], expecting).unwrap();
    append(&log, &["b"]);
    let again = log.try_append([keyed("a", "k")], expecting).unwrap();
    assert_eq!(places(&again), [(0, true)]);
}

#[tokio::test]
async fn keys_of_two_sessions_do_not_meet_and_are_forgotten_in_time() {
    let (sessions, clock) = on_manual_clock();
    let one = create(&sessions, "one", SessionOptions::default());
    let two = create(&sessions, "two", SessionOptions::default());
    publish(&one, &[keyed("a", "k")]).unwrap();
    assert_eq!(
        places(&publish(&two, &[keyed("b", "k")]).unwrap()),
        [(0, false)]
    );
    clock.advance(WINDOW);
    assert_eq!(
        places(&publish(&one, &[keyed("b", "k")]).unwrap()),
        [(1, false)]
    );
}
