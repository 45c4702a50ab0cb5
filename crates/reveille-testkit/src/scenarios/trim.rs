//! Trimming takes from the front, and moves nothing.

use std::sync::Arc;

use reveille_backend::{Backend, Incarnation, StoredLog};
use reveille_types::Position;

use super::raw::{ALL, contents, entries, now, open, places, stored};

/// A log with so many events, each a batch of its own.
async fn log_of(backend: &Arc<dyn Backend>, events: usize) -> Option<Arc<dyn StoredLog>> {
    let log = stored(backend, "s").await?;
    for _ in 0..events {
        log.append(entries(1), now()).await.unwrap();
    }
    Some(log)
}

async fn bounds(log: &dyn StoredLog) -> (u64, u64) {
    let info = log.info().await.unwrap();
    (info.oldest.0, info.latest.0)
}

/// What is below is gone, what is above is as it was, and every way to ask tells the same oldest
/// position. The log goes on where it ended.
///
/// # Panics
/// When too much or too little is dropped, or a position changes.
pub async fn trim_drops_what_is_below_and_nothing_else(backend: Arc<dyn Backend>) {
    let Some(log) = log_of(&backend, 10).await else {
        return;
    };
    let before = contents(&*log).await;
    for oldest in [0, 1, 4] {
        log.trim(Position(oldest)).await.unwrap();
        assert_eq!(bounds(&*log).await, (oldest, 10), "what info tells");
        for from in [0, oldest, 7] {
            let page = log.read(Position(from), ALL).await.unwrap();
            assert_eq!(page.oldest.0, oldest, "what a read tells");
            let from = usize::try_from(from.max(oldest)).unwrap();
            assert!(
                page.events == before[from..],
                "a read from {from} of a log trimmed to {oldest} differs"
            );
        }
    }
    let opened = open(&backend, "s", Incarnation::Current, 2).await.unwrap();
    assert_eq!(
        (opened.oldest.0, opened.latest.0),
        (4, 10),
        "what open tells"
    );
    let slots = log.append(entries(1), now()).await.unwrap();
    assert_eq!(places(&slots), [10], "the log goes on where it ended");
}

/// Trimming beyond the end drops all that is there, and leaves the end where it is.
///
/// # Panics
/// When it is refused, or the end moves.
pub async fn trim_beyond_the_end_leaves_the_end(backend: Arc<dyn Backend>) {
    let Some(log) = log_of(&backend, 3).await else {
        return;
    };
    for before in [4, u64::MAX] {
        let trimmed = log.trim(Position(before)).await;
        assert!(trimmed.is_ok(), "trimming beyond the end: {trimmed:?}");
        assert_eq!(bounds(&*log).await, (3, 3), "the end has moved");
        assert!(contents(&*log).await.is_empty(), "all of it is dropped");
    }
    let slots = log.append(entries(2), now()).await.unwrap();
    assert_eq!(places(&slots), [3, 4], "the log goes on where it ended");
    assert_eq!(bounds(&*log).await, (3, 5));
    assert_eq!(contents(&*log).await.len(), 2);
}

/// Trimming to what is gone already changes nothing.
///
/// # Panics
/// When it is an error, or something comes back.
pub async fn trimmed_events_do_not_come_back(backend: Arc<dyn Backend>) {
    let Some(log) = log_of(&backend, 5).await else {
        return;
    };
    log.trim(Position(3)).await.unwrap();
    for before in [3, 2, 0] {
        log.trim(Position(before)).await.unwrap();
        assert_eq!(bounds(&*log).await, (3, 5), "trimmed events come back");
        assert_eq!(contents(&*log).await.len(), 2);
    }
}
