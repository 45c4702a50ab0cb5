//! Handles of one incarnation are one log; those of an old one find nothing.

use std::sync::Arc;

use reveille_backend::{AppendError, Backend, BackendError, Incarnation, Seal};
use reveille_types::{EndReason, Position};

use super::key;
use super::raw::{
    ALL, contents, entries, epoch, expecting, keyed_entry, now, open, places, stored, woken,
};

/// Two handles of a log are one log: what is appended, sealed or trimmed through one is there for the
/// other, keys and expected positions included, and wakes its watches.
///
/// # Panics
/// When they differ.
pub async fn second_handle_is_the_same_log(backend: Arc<dyn Backend>) {
    let Some(one) = stored(&backend, "s").await else {
        return;
    };
    let first = vec![keyed_entry("k", 1)];
    one.append(first.clone(), now()).await.unwrap();
    let opened = open(&backend, "s", Incarnation::Current, 2).await.unwrap();
    assert_eq!(
        (opened.epoch, opened.created, opened.latest.0),
        (epoch(1), false, 1),
        "the second handle is of another log"
    );
    let Some(two) = stored(&backend, "s").await else {
        panic!("the handle has another shape the second time");
    };
    let again = two.append(first, now()).await.unwrap();
    assert!(again[0].deduplicated, "a key is not known to the other");
    let watch = one.watch(Position(1)).await.unwrap();
    let slots = two.append(entries(2), expecting(1)).await.unwrap();
    assert_eq!(places(&slots), [1, 2]);
    let seen = woken(watch, "an append of one does not wake the other");
    seen.await.unwrap();
    let late = one.append(entries(1), expecting(1)).await;
    assert!(
        matches!(late, Err(AppendError::PositionConflict { actual, .. }) if actual.0 == 3),
        "an append of one is not seen by the other: {late:?}"
    );
    two.trim(Position(1)).await.unwrap();
    let seal = Seal {
        reason: EndReason::Completed,
        message: None,
    };
    assert!(two.seal(seal.clone()).await.unwrap());
    assert!(!one.seal(seal).await.unwrap(), "both have sealed");
    assert_eq!(one.info().await.unwrap(), two.info().await.unwrap());
    assert!(contents(&*one).await == contents(&*two).await);
}

/// Of concurrent opens of a log that is not stored, exactly one has made it, and all get its epoch. An
/// immediate backend makes a new incarnation each time.
///
/// # Panics
/// When none or several have, or the epochs differ.
pub async fn of_concurrent_opens_one_creates(backend: Arc<dyn Backend>) {
    const OPENS: u32 = 4;
    let immediate = backend.capabilities().immediate;
    for round in 0..50 {
        let opening: Vec<_> = (0..OPENS)
            .map(|n| {
                let backend = Arc::clone(&backend);
                tokio::spawn(async move {
                    let name = format!("s{round}");
                    let opened = open(&backend, &name, Incarnation::CurrentOrNew, n).await;
                    let opened = opened.unwrap();
                    (opened.created, opened.epoch)
                })
            })
            .collect();
        let mut opened = Vec::new();
        for opening in opening {
            opened.push(opening.await.unwrap());
        }
        let created: Vec<_> = opened.iter().filter(|(created, _)| *created).collect();
        if immediate {
            assert_eq!(created.len(), OPENS as usize, "each open makes a new one");
            assert!((0..OPENS).all(|n| opened[n as usize].1 == epoch(n)));
            continue;
        }
        assert_eq!(created.len(), 1, "one of several opens creates");
        let one = opened.iter().all(|(_, epoch)| *epoch == created[0].1);
        assert!(one, "the opens disagree on the epoch: {opened:?}");
    }
}

/// Once its log is removed or replaced, a handle finds nothing, and leaves the new incarnation alone.
///
/// # Panics
/// When it finds or changes something.
pub async fn handles_of_an_old_incarnation_find_nothing(backend: Arc<dyn Backend>) {
    let Some(old) = stored(&backend, "s").await else {
        return;
    };
    for round in [1, 2] {
        if round == 1 {
            assert!(backend.remove(&key("s")).await.unwrap());
        } else {
            open(&backend, "s", Incarnation::New, 2).await.unwrap();
        }
        let seal = Seal {
            reason: EndReason::Closed,
            message: None,
        };
        let appended = match old.append(entries(1), now()).await {
            Err(AppendError::Backend(error)) => Err(error),
            other => panic!("an append to a log that is gone answers {other:?}"),
        };
        for (operation, answer) in [
            ("append", appended),
            ("read", old.read(Position(0), ALL).await.map(drop)),
            ("seal", old.seal(seal).await.map(drop)),
            ("trim", old.trim(Position(1)).await),
            ("info", old.info().await.map(drop)),
        ] {
            assert!(
                matches!(answer, Err(BackendError::NotFound)),
                "the log is gone, but {operation} answers {answer:?}"
            );
        }
    }
    let new = open(&backend, "s", Incarnation::Current, 3).await.unwrap();
    assert_eq!((new.epoch, new.latest.0), (epoch(2), 0));
    assert_eq!(new.seal, None, "an old handle has sealed the new log");
}

/// A log that was removed, or replaced, begins anew: with the epoch it is given, at 0, without events,
/// keys, trims or seal.
///
/// # Panics
/// When something of the old one is left.
pub async fn removed_log_begins_anew(backend: Arc<dyn Backend>) {
    for n in [1, 2, 3] {
        let incarnation = match n {
            1 | 2 => Incarnation::CurrentOrNew,
            _ => Incarnation::New,
        };
        let opened = open(&backend, "s", incarnation, n).await.unwrap();
        assert_eq!(
            (opened.epoch, opened.created),
            (epoch(n), true),
            "the new incarnation has not the epoch it was given"
        );
        assert_eq!((opened.oldest.0, opened.latest.0), (0, 0));
        assert_eq!(opened.seal, None);
        let Some(log) = stored(&backend, "s").await else {
            continue;
        };
        assert!(contents(&*log).await.is_empty(), "events are left");
        let slots = log.append(vec![keyed_entry("k", n.into())], now()).await;
        let slots = slots.unwrap();
        assert_eq!((slots[0].position.0, slots[0].deduplicated), (0, false));
        log.trim(Position(1)).await.unwrap();
        let seal = Seal {
            reason: EndReason::Closed,
            message: None,
        };
        log.seal(seal).await.unwrap();
        if n == 1 {
            assert!(backend.remove(&key("s")).await.unwrap());
        }
    }
}
