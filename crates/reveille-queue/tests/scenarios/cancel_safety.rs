//! Every public future may be dropped after any number of polls: it leaves no waiter, and what it
//! changes is changed wholly or not at all.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reveille_backend::{
    Backend, BackendError, Capabilities, ListOptions, OpenOptions, Opened, OrderPage, ReadLimit,
    StoredPage,
};
use reveille_memory::MemoryBackend;
use reveille_queue::{
    AppendOptions, LeaseId, SessionLog, SessionOptions, Sessions, SettleError, SubscribeOptions,
    TakeOptions, TakeOutcome, WaitOptions,
};
use reveille_types::{EndReason, Epoch, Filter, Seq, SessionKey, Tenant};
use tokio_test::task;

use crate::support::{append, create, draft, key, log, ms, take_now, taken};

type Op<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Runs `op` with a fresh `setup` for each number of polls until it is done, drops it there, and
/// lets `check` see what is left and whether the future was done. `between` runs after each poll.
async fn drop_after_each_poll<C>(
    setup: impl Fn() -> C,
    op: impl for<'a> Fn(&'a C) -> Op<'a>,
    between: impl Fn(&C, usize),
    check: impl AsyncFn(&C, bool),
) {
    for polls in 0..100 {
        let context = setup();
        let mut running = task::spawn(op(&context));
        let mut done = false;
        for poll in 0..polls {
            done = running.poll().is_ready();
            if done {
                break;
            }
            between(&context, poll);
        }
        drop(running);
        check(&context, done).await;
        if done {
            return;
        }
    }
    panic!("the future does not end");
}

/// A backend that takes its time: each operation is pending once before and once after its effect.
#[derive(Debug, Default)]
struct Slow(MemoryBackend);

#[async_trait]
impl Backend for Slow {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    async fn open(&self, key: &SessionKey, options: OpenOptions) -> Result<Opened, BackendError> {
        tokio::task::yield_now().await;
        let opened = self.0.open(key, options).await;
        tokio::task::yield_now().await;
        opened
    }

    async fn last_seq(&self, tenant: &Tenant) -> Result<Seq, BackendError> {
        self.0.last_seq(tenant).await
    }

    async fn order_epoch(&self, tenant: &Tenant, new_epoch: Epoch) -> Result<Epoch, BackendError> {
        self.0.order_epoch(tenant, new_epoch).await
    }

    async fn read_order(
        &self,
        tenant: &Tenant,
        after: Seq,
        limit: ReadLimit,
    ) -> Result<OrderPage, BackendError> {
        self.0.read_order(tenant, after, limit).await
    }

    async fn list(
        &self,
        tenant: &Tenant,
        options: ListOptions,
    ) -> Result<StoredPage, BackendError> {
        self.0.list(tenant, options).await
    }

    async fn remove(&self, key: &SessionKey) -> Result<bool, BackendError> {
        tokio::task::yield_now().await;
        let removed = self.0.remove(key).await;
        tokio::task::yield_now().await;
        removed
    }

    async fn health(&self) -> Result<(), BackendError> {
        Ok(())
    }
}

fn slow() -> Sessions {
    Sessions::on(Arc::new(Slow::default())).build()
}

fn options() -> SessionOptions {
    SessionOptions::default()
}

#[tokio::test]
async fn append_stores_all_or_nothing() {
    drop_after_each_poll(
        log,
        |log| {
            Box::pin(async {
                let batch = [draft("a"), draft("b")];
                log.append(batch, AppendOptions::default()).await.unwrap();
            })
        },
        |_, _| (),
        async |log, done| assert_eq!(log.info().retained, if done { 2 } else { 0 }),
    )
    .await;
}

#[tokio::test]
async fn wait_leaves_no_waiter() {
    drop_after_each_poll(
        log,
        |log| {
            Box::pin(async {
                let both = ["a", "b"].map(crate::support::matching).to_vec();
                log.wait(WaitOptions::all(both)).await.unwrap();
            })
        },
        |log, poll| drop(append(log, &[["a", "b"][poll % 2]])),
        async |log, _| assert_eq!(log.info().waiters, 0),
    )
    .await;
}

#[tokio::test]
async fn take_owns_nothing_until_it_returns() {
    for lease in [None, Some(ms(1000))] {
        drop_after_each_poll(
            log,
            |log| {
                Box::pin(async move {
                    let mut options = TakeOptions::new();
                    options.lease = lease;
                    log.take(options).await.unwrap();
                })
            },
            |log, _| drop(append(log, &["a"])),
            async |log, done| {
                assert_eq!(log.info().waiters, 0);
                let left = taken(&take_now(log).await).len() as u64;
                assert_eq!(left, if done { 0 } else { log.info().retained });
            },
        )
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn take_and_wait_with_a_time_out_leave_no_waiter() {
    drop_after_each_poll(
        log,
        |log| {
            Box::pin(async {
                let wait = WaitOptions::any(Filter::all()).timeout(ms(10));
                log.wait(wait).await.unwrap();
                log.take(TakeOptions::new().timeout(ms(10))).await.unwrap();
            })
        },
        |log, poll| {
            if poll % 2 == 1 {
                append(log, &["a"]);
            }
        },
        async |log, _| assert_eq!(log.info().waiters, 0),
    )
    .await;
}

#[tokio::test]
async fn next_item_is_handed_out_or_still_there() {
    let setup = || {
        let log = log();
        let subscription = log.subscribe(SubscribeOptions::default()).unwrap();
        (log, tokio::sync::Mutex::new(subscription))
    };
    drop_after_each_poll(
        setup,
        |(_, subscription)| {
            Box::pin(async {
                let mut subscription = subscription.lock().await;
                // Live, and then an event.
                assert!(subscription.next().await.is_some());
                assert!(subscription.next().await.is_some());
            })
        },
        |(log, _), _| drop(append(log, &["a"])),
        async |(log, subscription), done| {
            let mut subscription = subscription.lock().await;
            let items = crate::support::drain(&mut subscription);
            let events = items.iter().filter(|item| *item != "live").count() as u64;
            assert_eq!(events + u64::from(done), log.info().retained);
            assert!(log.info().waiters <= 1);
        },
    )
    .await;
}

#[tokio::test]
async fn cancel_and_close_happen_or_do_not() {
    drop_after_each_poll(
        log,
        |log| {
            Box::pin(async {
                log.cancel(None, None).await.unwrap();
            })
        },
        |_, _| (),
        async |log, done| {
            assert_eq!(log.cancel_token().is_cancelled(), done);
            assert_eq!(log.info().cancel.is_some(), done);
            assert_eq!(log.info().retained, u64::from(done));
        },
    )
    .await;
    drop_after_each_poll(
        log,
        |log| {
            Box::pin(async {
                log.close(None).await.unwrap();
            })
        },
        |_, _| (),
        async |log, done| assert_eq!(log.info().reason.is_some(), done),
    )
    .await;
}

async fn settle((log, id, ack): &(SessionLog, LeaseId, bool)) -> Result<(), SettleError> {
    let group = TakeOptions::new().group;
    match ack {
        true => log.ack(&group, *id).await,
        false => log.nack(&group, *id).await,
    }
}

#[tokio::test]
async fn ack_and_nack_settle_or_do_not() {
    for ack in [true, false] {
        let setup = || {
            let log = log();
            append(&log, &["a"]);
            let mut take = task::spawn(log.take(TakeOptions::new().lease(ms(1000))));
            let std::task::Poll::Ready(Ok(TakeOutcome::Taken { taken, .. })) = take.poll() else {
                panic!("the event is there");
            };
            drop(take);
            let id = taken[0].lease.as_ref().unwrap().id;
            (log, id, ack)
        };
        drop_after_each_poll(
            setup,
            |held| Box::pin(async { settle(held).await.unwrap() }),
            |_, _| (),
            async |held, done| {
                let log = &held.0;
                let there = !taken(&take_now(log).await).is_empty();
                assert_eq!(there, done && !ack);
                assert_eq!(settle(held).await.is_err(), done || there);
            },
        )
        .await;
    }
}

#[tokio::test]
async fn session_is_created_or_not() {
    drop_after_each_poll(
        slow,
        |sessions| {
            Box::pin(async {
                sessions.create(key("s"), options()).await.unwrap();
            })
        },
        |_, _| (),
        async |sessions, done| {
            assert_eq!(sessions.len(), usize::from(done));
            let (_, created) = sessions.get_or_create(key("s"), options()).await.unwrap();
            assert_eq!(created, !done);
        },
    )
    .await;
    drop_after_each_poll(
        slow,
        |sessions| {
            Box::pin(async {
                sessions.get_or_create(key("s"), options()).await.unwrap();
            })
        },
        |_, _| (),
        async |sessions, done| assert_eq!(sessions.get(&key("s")).is_ok(), done),
    )
    .await;
}

/// Sessions on a slow backend with one session, which is open.
fn with_one() -> (Sessions, SessionLog) {
    let sessions = slow();
    let mut creating = task::spawn(sessions.create(key("s"), options()));
    loop {
        if let std::task::Poll::Ready(log) = creating.poll() {
            drop(creating);
            return (sessions, log.unwrap());
        }
    }
}

#[tokio::test]
async fn session_is_made_anew_or_not() {
    let setup = || {
        let (sessions, log) = with_one();
        append(&log, &["task.result"]);
        (sessions, log)
    };
    drop_after_each_poll(
        setup,
        |(sessions, _)| {
            Box::pin(async {
                sessions.recreate(key("s"), options()).await.unwrap();
            })
        },
        |_, _| (),
        async |(sessions, old), done| {
            let found = sessions.get(&key("s")).unwrap();
            assert_eq!(found.epoch() != old.epoch(), done);
            assert_eq!(found.info().retained, u64::from(!done));
        },
    )
    .await;
}

#[tokio::test]
async fn session_is_removed_and_over_or_neither() {
    drop_after_each_poll(
        with_one,
        |(sessions, _)| Box::pin(async { sessions.remove(&key("s")).await.unwrap() }),
        |_, _| (),
        async |(sessions, log), done| {
            assert_eq!(sessions.get(&key("s")).is_err(), done);
            assert_eq!(log.info().reason == Some(EndReason::Deleted), done);
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn another_driver_takes_over_from_a_dropped_one() {
    for polls in 0..4 {
        let sessions = crate::support::sessions();
        let mut dropped = task::spawn(sessions.drive());
        let mut log = None;
        for poll in 0..polls {
            assert!(dropped.poll().is_pending());
            if poll == 1 {
                log = Some(create(&sessions, "s", options().ttl(ms(1000))));
            }
        }
        drop(dropped);
        let log = log.unwrap_or_else(|| create(&sessions, "s", options().ttl(ms(1000))));
        let driver = tokio::spawn(sessions.drive());
        let ended = log.wait(WaitOptions::any(Filter::all()).timeout(Duration::from_secs(5)));
        assert!(matches!(
            ended.await.unwrap(),
            reveille_queue::WaitOutcome::Ended {
                reason: EndReason::Expired,
                ..
            }
        ));
        drop((log, sessions));
        driver.await.unwrap();
    }
}
