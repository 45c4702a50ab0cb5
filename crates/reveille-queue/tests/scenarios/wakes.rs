//! Whatever ends a session wakes all who wait in it, once, with the reason.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use reveille_core::ManualClock;
use reveille_queue::{
    SessionLog, SessionOptions, Sessions, StreamItem, SubscribeOptions, TakeOptions, TakeOutcome,
    WaitOptions, WaitOutcome,
};
use reveille_types::{EndReason, Filter};

use crate::support::{append, create, key, ms, on_manual_clock};

const WAITERS: usize = 9_999;

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

type Waiter = Pin<Box<dyn Future<Output = EndReason> + Send>>;

/// A third of the waiters of each sort; each answers why it ended.
fn waiter(n: usize, log: &SessionLog) -> Waiter {
    let log = log.clone();
    Box::pin(async move {
        match n % 3 {
            0 => match log.wait(WaitOptions::any(Filter::all())).await {
                Ok(WaitOutcome::Ended { reason, .. }) => reason,
                other => panic!("{other:?}"),
            },
            1 => match log.take(TakeOptions::new()).await {
                Ok(TakeOutcome::Ended { reason, .. }) => reason,
                other => panic!("{other:?}"),
            },
            _ => {
                let mut subscription = log.subscribe(SubscribeOptions::default()).unwrap();
                loop {
                    if let Some(Ok(StreamItem::Ended { reason, .. })) = subscription.next().await {
                        return reason;
                    }
                }
            }
        }
    })
}

async fn all_are_woken_once(
    expected: EndReason,
    end: impl AsyncFnOnce(&Sessions, &SessionLog, &ManualClock),
) {
    let (sessions, clock) = on_manual_clock();
    let options = SessionOptions::default().ttl(ms(1000));
    let log = create(&sessions, "s", options);
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    let mut cx = Context::from_waker(&waker);
    let mut waiters: Vec<Waiter> = (0..WAITERS).map(|n| waiter(n, &log)).collect();
    for waiter in &mut waiters {
        assert!(waiter.as_mut().poll(&mut cx).is_pending());
    }
    assert_eq!(log.info().waiters, WAITERS as u64);
    end(&sessions, &log, &clock).await;
    assert_eq!(count.0.load(Ordering::Relaxed), WAITERS);
    for waiter in &mut waiters {
        assert_eq!(waiter.as_mut().poll(&mut cx), Poll::Ready(expected));
    }
    assert_eq!((log.info().waiters, log.info().subscribers), (0, 0));
}

#[tokio::test]
async fn close_wakes_all() {
    all_are_woken_once(EndReason::Closed, async |_, log, _| {
        log.close(None).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn expiry_wakes_all() {
    all_are_woken_once(EndReason::Expired, async |sessions, _, clock| {
        clock.advance(ms(1000));
        sessions.sweep();
    })
    .await;
}

#[tokio::test]
async fn removal_wakes_all() {
    all_are_woken_once(EndReason::Deleted, async |sessions, _, _| {
        sessions.remove(&key("s")).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn close_and_recreation_wake_all_once() {
    all_are_woken_once(EndReason::Closed, async |sessions, log, _| {
        log.close(None).await.unwrap();
        let options = SessionOptions::default();
        let new = sessions.recreate(key("s"), options).await.unwrap();
        append(&new, &["a"]);
    })
    .await;
}

/// Asks the sessions when it is woken, as an executor that polls in place would.
struct Reentrant(Sessions, SessionLog);

impl Wake for Reentrant {
    fn wake(self: Arc<Self>) {
        assert!(!self.0.is_empty() || self.1.info().reason.is_some());
    }
}

#[tokio::test]
async fn waker_that_uses_the_sessions_finds_no_lock_held() {
    let (sessions, clock) = on_manual_clock();
    let options = SessionOptions::default().ttl(ms(1000));
    for end in 0..5 {
        let log = create(&sessions, &end.to_string(), options);
        let waker = Waker::from(Arc::new(Reentrant(sessions.clone(), log.clone())));
        let mut cx = Context::from_waker(&waker);
        let mut waiters: Vec<Waiter> = (0..3).map(|n| waiter(n, &log)).collect();
        for waiter in &mut waiters {
            assert!(waiter.as_mut().poll(&mut cx).is_pending());
        }
        let name = key(&end.to_string());
        match end {
            0 => drop(log.close(None).await.unwrap()),
            1 => drop(append(&log, &["task.result"])),
            2 => sessions.remove(&name).await.unwrap(),
            // Due, but found out by whoever comes first.
            3 => {
                clock.advance(ms(1000));
                let made = sessions.get_or_create(name, options).await.unwrap();
                assert!(!made.1);
            }
            _ => {
                clock.advance(ms(1000));
                sessions.sweep();
            }
        }
    }
}
