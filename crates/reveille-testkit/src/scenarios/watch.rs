//! A watch is never late: below the session, where no other wake-up helps.

use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use reveille_backend::{Backend, BackendError, Incarnation, Seal};
use reveille_types::{EndReason, Position};
use tokio::sync::Barrier;

use super::raw::{entries, now, open, poll_once, stored, woken};
use crate::conformance::patience;
use crate::scenarios::key;

/// An append that comes after `watch` has returned wakes it, though it is first polled after that.
///
/// # Panics
/// When it does not.
pub async fn watch_is_armed_before_it_returns(backend: Arc<dyn Backend>) {
    let Some(log) = stored(&backend, "s").await else {
        return;
    };
    for end in 0..5 {
        let watch = log.watch(Position(end)).await.unwrap();
        log.append(entries(1), now()).await.unwrap();
        woken(watch, "an append after the watch was armed is missed")
            .await
            .unwrap();
    }
}

/// A watch for what is there already resolves at once: for events, and for the seal.
///
/// # Panics
/// When it sleeps.
pub async fn watch_of_what_is_there_is_ready_at_once(backend: Arc<dyn Backend>) {
    let Some(log) = stored(&backend, "s").await else {
        return;
    };
    log.append(entries(3), now()).await.unwrap();
    for after in 0..3 {
        let watch = log.watch(Position(after)).await.unwrap();
        let seen = woken(watch, "a watch sleeps on what is there");
        seen.await.unwrap();
    }
    log.seal(closed()).await.unwrap();
    for after in [3, u64::MAX] {
        let watch = log.watch(Position(after)).await.unwrap();
        woken(watch, "a watch sleeps on a sealed log")
            .await
            .unwrap();
    }
}

/// One append wakes all watches of all handles.
///
/// # Panics
/// When one sleeps on.
pub async fn every_watch_is_woken(backend: Arc<dyn Backend>) {
    const WATCHES: usize = 32;
    let Some(log) = stored(&backend, "s").await else {
        return;
    };
    let Some(other) = stored(&backend, "s").await else {
        panic!("the handle has another shape the second time");
    };
    let mut watches = Vec::new();
    for n in 0..WATCHES {
        let log = if n % 2 == 0 { &log } else { &other };
        let watch = log.watch(Position::START).await.unwrap();
        let woken = woken(watch, "one of many watches is not woken");
        watches.push(tokio::spawn(woken));
    }
    // Most of them are polled by now; all were armed before.
    tokio::task::yield_now().await;
    log.append(entries(1), now()).await.unwrap();
    for watch in watches {
        watch.await.unwrap().unwrap();
    }
}

/// Watches that start at the same time as appends of another handle never miss one.
///
/// # Panics
/// When one does.
pub async fn watches_that_race_appends_are_woken(backend: Arc<dyn Backend>) {
    const ROUNDS: u64 = 1000;
    let (Some(log), Some(other)) = (stored(&backend, "s").await, stored(&backend, "s").await)
    else {
        return;
    };
    let start = Arc::new(Barrier::new(2));
    let producer = tokio::spawn({
        let start = Arc::clone(&start);
        async move {
            for round in 0..ROUNDS {
                start.wait().await;
                (0..round % 61).for_each(|_| std::hint::spin_loop());
                other.append(entries(1), now()).await.unwrap();
            }
        }
    });
    for round in 0..ROUNDS {
        start.wait().await;
        while log.info().await.unwrap().latest.0 <= round {
            let watch = log.watch(Position(round)).await.unwrap();
            let lost = format!("a watch missed the append of round {round}");
            woken(watch, &lost).await.unwrap();
        }
    }
    producer.await.unwrap();
}

/// A seal wakes a watch, and is there when it does.
///
/// # Panics
/// When it does not.
pub async fn seal_wakes_a_watch(backend: Arc<dyn Backend>) {
    let Some(log) = stored(&backend, "s").await else {
        return;
    };
    let watch = log.watch(Position::START).await.unwrap();
    let woken = tokio::spawn(woken(watch, "a watch sleeps through the seal"));
    tokio::task::yield_now().await;
    log.seal(closed()).await.unwrap();
    woken.await.unwrap().unwrap();
    assert_eq!(log.info().await.unwrap().seal, Some(closed()));
}

/// When a log is removed or replaced, its watches resolve, and who asks again is told that it is gone.
///
/// # Panics
/// When one sleeps on, or is told otherwise.
pub async fn removal_wakes_a_watch(backend: Arc<dyn Backend>) {
    for replace in [false, true] {
        let Some(log) = stored(&backend, "s").await else {
            return;
        };
        let watch = log.watch(Position::START).await.unwrap();
        let woken = tokio::spawn(woken(watch, "a watch sleeps though its log is gone"));
        tokio::task::yield_now().await;
        if replace {
            open(&backend, "s", Incarnation::New, 2).await.unwrap();
        } else {
            assert!(backend.remove(&key("s")).await.unwrap());
        }
        let told = woken.await.unwrap();
        assert!(matches!(told, Ok(()) | Err(BackendError::NotFound)));
        let again = match log.watch(Position::START).await {
            Ok(watch) => super::raw::woken(watch, "a watch sleeps on a log that is gone").await,
            Err(error) => Err(error),
        };
        assert!(
            matches!(again, Err(BackendError::NotFound)),
            "the log is gone, but a watch says {again:?}"
        );
    }
}

/// Of many watches on a log where nothing happens, not all resolve: whoever watches again each time
/// would never rest.
///
/// # Panics
/// When all resolve.
pub async fn idle_log_lets_a_watch_sleep(backend: Arc<dyn Backend>) {
    const WATCHES: usize = 32;
    let Some(log) = stored(&backend, "s").await else {
        return;
    };
    let mut resolved = 0;
    for _ in 0..WATCHES {
        let mut watch = log.watch(Position::START).await.unwrap();
        for _ in 0..100 {
            if poll_once(watch.as_mut()).await.is_ready() {
                resolved += 1;
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    assert!(
        resolved < WATCHES,
        "no watch sleeps, though nothing happens"
    );
}

/// Watches that are dropped let go of their wakers, though nothing happens in the log.
///
/// # Panics
/// When one is kept.
pub async fn dropped_watch_leaves_nothing(backend: Arc<dyn Backend>) {
    struct Nobody;
    impl Wake for Nobody {
        fn wake(self: Arc<Self>) {}
    }

    let Some(log) = stored(&backend, "s").await else {
        return;
    };
    let nobody = Arc::new(Nobody);
    for _ in 0..100 {
        let mut watch = log.watch(Position::START).await.unwrap();
        let waker = Waker::from(Arc::clone(&nobody));
        let _ = watch.as_mut().poll(&mut Context::from_waker(&waker));
    }
    let let_go = async {
        while Arc::strong_count(&nobody) > 1 {
            tokio::task::yield_now().await;
        }
    };
    let let_go = tokio::time::timeout(patience(), let_go).await;
    assert!(let_go.is_ok(), "the wakers of dropped watches are kept");
}

fn closed() -> Seal {
    Seal {
        reason: EndReason::Closed,
        message: Some("done".into()),
    }
}
