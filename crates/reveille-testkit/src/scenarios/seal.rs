//! A seal is final, and everybody agrees where it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reveille_backend::{AppendError, AppendOptions, Backend, Incarnation, Seal};
use reveille_types::{EndReason, Position};

use super::raw::{
    ALL, contents, entries, entry, expecting, keyed_entry, now, open, places, stored,
};

fn seal(reason: EndReason, message: Option<&str>) -> Seal {
    Seal {
        reason,
        message: message.map(Into::into),
    }
}

/// The first seal stays, with reason and message, whatever comes after it; every handle and the next
/// open tell it.
///
/// # Panics
/// When it does not.
pub async fn first_seal_stays(backend: Arc<dyn Backend>) {
    let Some(log) = stored(&backend, "s").await else {
        return;
    };
    assert_eq!(log.info().await.unwrap().seal, None);
    let first = seal(EndReason::Closed, Some("done, \u{2014} \"really\""));
    assert!(
        log.seal(first.clone()).await.unwrap(),
        "the first one seals"
    );
    for later in [first.clone(), seal(EndReason::Cancelled, None)] {
        let again = log.seal(later).await.unwrap();
        assert!(!again, "a sealed log is sealed again");
        let told = log.info().await.unwrap().seal;
        assert_eq!(told.as_ref(), Some(&first), "the first seal does not stay");
    }
    let opened = open(&backend, "s", Incarnation::Current, 2).await.unwrap();
    assert_eq!(opened.seal, Some(first), "the next open does not tell it");
}

/// Of several concurrent seals exactly one answers that it sealed, and its seal is the one.
///
/// # Panics
/// When none or several do.
pub async fn of_concurrent_seals_one_wins(backend: Arc<dyn Backend>) {
    for round in 0..50 {
        let name = format!("s{round}");
        let mut sealing = Vec::new();
        for message in ["a", "b", "c", "d"] {
            let Some(log) = stored(&backend, &name).await else {
                return;
            };
            sealing.push(tokio::spawn(async move {
                let seal = seal(EndReason::Closed, Some(message));
                log.seal(seal.clone()).await.unwrap().then_some(seal)
            }));
        }
        let mut won = Vec::new();
        for sealing in sealing {
            won.extend(sealing.await.unwrap());
        }
        assert_eq!(won.len(), 1, "one of several seals wins, in round {round}");
        let opened = open(&backend, &name, Incarnation::Current, 2).await;
        assert_eq!(opened.unwrap().seal.as_ref(), won.first());
    }
}

/// A sealed log refuses appends with the reason of its seal, whatever they expect, but answers a
/// repeated one; reading and trimming go on.
///
/// # Panics
/// When it takes an event, or does not give one out.
pub async fn sealed_log_refuses_appends_and_reads_on(backend: Arc<dyn Backend>) {
    let Some(log) = stored(&backend, "s").await else {
        return;
    };
    let batch = vec![keyed_entry("k", 1), keyed_entry("l", 1)];
    let first = log.append(batch.clone(), now()).await.unwrap();
    log.seal(seal(EndReason::Failed, None)).await.unwrap();
    for options in [now(), expecting(2), expecting(0)] {
        for batch in [entries(1), vec![keyed_entry("k", 1), keyed_entry("m", 1)]] {
            let refused = log.append(batch, options).await;
            assert!(
                matches!(
                    refused,
                    Err(AppendError::Sealed {
                        reason: EndReason::Failed
                    })
                ),
                "a sealed log answers an append with {refused:?}"
            );
        }
    }
    let again = log.append(batch, expecting(0)).await.unwrap();
    assert_eq!(places(&again), places(&first), "a repeated append is known");
    assert_eq!(contents(&*log).await.len(), 2, "a sealed log has grown");
    log.trim(Position(2)).await.unwrap();
    assert_eq!(log.info().await.unwrap().latest, Position(2));
    assert!(log.read(Position(2), ALL).await.unwrap().events.is_empty());
}

/// What races a seal comes before it or is refused: after its answer the log does not grow.
///
/// # Panics
/// When it does.
pub async fn nothing_is_appended_behind_a_seal(backend: Arc<dyn Backend>) {
    for round in 0..50 {
        let name = format!("s{round}");
        let sealed = Arc::new(AtomicBool::new(false));
        let mut producers = Vec::new();
        for _ in 0..2 {
            let Some(log) = stored(&backend, &name).await else {
                return;
            };
            let sealed = Arc::clone(&sealed);
            producers.push(tokio::spawn(async move {
                loop {
                    let behind = sealed.load(Ordering::Acquire);
                    match log.append(entries(1), now()).await {
                        Ok(_) if behind => panic!("appends go on behind the seal"),
                        Ok(_) => tokio::task::yield_now().await,
                        Err(AppendError::Sealed { .. }) => return,
                        Err(error) => panic!("a log that is sealed answers {error:?}"),
                    }
                }
            }));
        }
        let Some(log) = stored(&backend, &name).await else {
            panic!("the handle has another shape the second time");
        };
        while log.info().await.unwrap().latest.0 < round % 7 {
            tokio::task::yield_now().await;
        }
        log.seal(seal(EndReason::Closed, None)).await.unwrap();
        sealed.store(true, Ordering::Release);
        let end = log.info().await.unwrap().latest;
        for producer in producers {
            producer.await.unwrap();
        }
        let now = log.info().await.unwrap().latest;
        assert_eq!(now, end, "the log grew behind its seal, in round {round}");
    }
}

/// Ending the log with the batch.
fn ending(mut options: AppendOptions) -> AppendOptions {
    options.seal = Some(EndReason::Completed);
    options
}

/// A batch that ends the log is stored with its seal. One that is refused, or that was stored before,
/// seals nothing.
///
/// # Panics
/// When it is otherwise.
pub async fn last_batch_seals_with_what_it_stores(backend: Arc<dyn Backend>) {
    let Some(log) = stored(&backend, "s").await else {
        return;
    };
    let first = vec![keyed_entry("k", 1)];
    log.append(first.clone(), now()).await.unwrap();
    let refused = log.append(entries(1), ending(expecting(7))).await;
    assert!(
        matches!(refused, Err(AppendError::PositionConflict { .. })),
        "an append elsewhere answers {refused:?}"
    );
    log.append(first, ending(now())).await.unwrap();
    let info = log.info().await.unwrap();
    assert_eq!(info.seal, None, "a batch that stored nothing has sealed");
    log.append(entries(2), ending(expecting(1))).await.unwrap();
    let seal = Some(seal(EndReason::Completed, None));
    let info = log.info().await.unwrap();
    assert_eq!(info.latest, Position(3), "the last batch is stored");
    assert_eq!(info.seal, seal, "the log is not sealed by its last batch");
    let opened = open(&backend, "s", Incarnation::Current, 2).await.unwrap();
    assert_eq!(opened.seal, seal, "the next open does not tell it");
    let refused = log.append(entries(1), now()).await;
    assert!(
        matches!(
            refused,
            Err(AppendError::Sealed {
                reason: EndReason::Completed
            })
        ),
        "a log that has its last batch answers an append with {refused:?}"
    );
}

/// Of appends that race the last batch none lands behind it.
///
/// # Panics
/// When one does.
pub async fn nothing_is_appended_behind_the_last_batch(backend: Arc<dyn Backend>) {
    for round in 0..50 {
        let name = format!("s{round}");
        let mut racing = Vec::new();
        for kind in ["a", "a", "last", "a", "a"] {
            let Some(log) = stored(&backend, &name).await else {
                return;
            };
            racing.push(tokio::spawn(async move {
                let options = match kind {
                    "last" => ending(now()),
                    _ => now(),
                };
                loop {
                    match log.append(vec![entry(kind)], options).await {
                        Ok(_) if kind == "last" => return,
                        Ok(_) => tokio::task::yield_now().await,
                        Err(AppendError::Sealed { .. }) => return,
                        Err(error) => panic!("a log that ends answers {error:?}"),
                    }
                }
            }));
        }
        for racing in racing {
            racing.await.unwrap();
        }
        let Some(log) = stored(&backend, &name).await else {
            panic!("the handle has another shape the second time");
        };
        let events = contents(&*log).await;
        let last = events.iter().position(|e| e.kind().as_str() == "last");
        assert_eq!(
            last,
            Some(events.len() - 1),
            "events landed behind the last batch, in round {round}"
        );
    }
}
