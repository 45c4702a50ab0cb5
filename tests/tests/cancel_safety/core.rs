//! Signals and cancel tokens.

use std::sync::Arc;
use std::sync::Mutex;

use reveille_core::{
    CancelToken, Signal, SignalHandle, SignalRequest, SignalStatus, SignalSystem, SystemClock,
};
use reveille_testkit::dropped_at_each_poll;
use tokio::task::yield_now;

/// A system with two signals that are owed.
struct Owed {
    system: SignalSystem<u32>,
    signals: Mutex<Vec<Signal<u32>>>,
    handles: [SignalHandle; 2],
}

async fn owed() -> Owed {
    let system = SignalSystem::new();
    let signals = [(); 2].map(|()| system.create().unwrap());
    let handles = [signals[0].handle(), signals[1].handle()];
    Owed {
        system,
        signals: Mutex::new(signals.into()),
        handles,
    }
}

impl Owed {
    /// Triggers the signal that was created last of those that are left.
    fn trigger(&self) {
        if let Some(signal) = self.signals.lock().unwrap().pop() {
            signal.trigger(7).unwrap();
        }
    }

    fn check_untouched(&self) {
        assert_eq!(self.system.stats().waiters, 0, "a waiter is left");
        // Whoever waits now gets what the others would have got.
        for handle in self.handles {
            let status = self.system.poll(handle).unwrap();
            let is_owed = status == SignalStatus::Pending;
            assert!(is_owed || status == SignalStatus::Triggered, "{status:?}");
        }
    }
}

cases! {
    awaiter_leaves_nothing drops "core/src/signal/awaiter.rs SignalAwaiter" {
        let polls = dropped_at_each_poll(
            owed,
            async |owed| owed.system.awaiter(owed.handles[1]).unwrap().await,
            async |owed, _| owed.trigger(),
            async |owed, value| {
                if let Some(value) = value {
                    assert_eq!(value, Ok(7));
                }
                owed.check_untouched();
                owed.trigger();
                assert_eq!(owed.system.awaiter(owed.handles[1]).unwrap().await, Ok(7));
            },
        )
        .await;
        assert_eq!(polls, 2);
    }

    completion_of_a_merge_leaves_nothing drops "core/src/signal/awaiter.rs Completion" {
        dropped_at_each_poll(
            owed,
            async |owed| {
                let both = owed.system.merge(&owed.handles).unwrap();
                owed.system.completion(both).unwrap().await
            },
            async |owed, _| {
                owed.trigger();
                owed.trigger();
            },
            async |owed, _| {
                owed.check_untouched();
                owed.trigger();
                owed.trigger();
                let both = owed.system.merge(&owed.handles).unwrap();
                assert_eq!(owed.system.completion(both).unwrap().await, Ok(()));
            },
        )
        .await;
    }

    shutdown_that_is_dropped_poisons_nobody drops "core/src/signal/system.rs shutdown" {
        dropped_at_each_poll(
            owed,
            async |owed| owed.system.shutdown(std::future::pending()).await,
            async |owed, _| {
                owed.trigger();
                owed.trigger();
            },
            async |owed, report| {
                owed.check_untouched();
                if let Some(report) = report {
                    assert_eq!((report.completed, report.poisoned), (2, 0));
                }
                owed.trigger();
                owed.trigger();
                let again = owed.system.shutdown(std::future::ready(())).await;
                assert_eq!(again.poisoned, 0);
            },
        )
        .await;
    }

    request_has_its_effect_all_the_same drops "core/src/signal/receipt.rs SignalReceipt" {
        dropped_at_each_poll(
            async || {
                let system = SignalSystem::new();
                let handle = system.create().unwrap().into_handle();
                (system, handle)
            },
            async |(system, handle)| {
                let receipt = system.request(*handle, SignalRequest::Trigger(7));
                yield_now().await;
                receipt.await
            },
            async |_, _| (),
            async |(system, handle), answer| {
                let status = system.poll(*handle).unwrap();
                assert!(answer.is_none() || status == SignalStatus::Triggered);
                let again = system.trigger(*handle, 7);
                assert_eq!(again.is_err(), status == SignalStatus::Triggered);
                assert_eq!(system.stats().waiters, 0);
            },
        )
        .await;
    }

    cancelled_leaves_no_waiter drops "core/src/cancel.rs Cancelled" {
        dropped_at_each_poll(
            async || CancelToken::new(Arc::new(SystemClock)),
            async |token| token.cancelled().await,
            async |token, _| drop(token.cancel(Some("enough"))),
            async |token, _| {
                let first = token.cancel(Some("later"));
                let reason = token.cancelled().await.reason;
                assert_eq!(reason.is_some(), token.is_cancelled());
                drop(first);
            },
        )
        .await;
    }
}
