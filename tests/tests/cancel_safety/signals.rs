//! The client's signals, over a real socket.

use std::time::Duration;

use reveille_client::Signals;
use reveille_testkit::dropped_at_each_poll;
use reveille_types::wire::{SignalCreated, SignalMergeMode, SignalState};

use crate::client::{Remote, remote};

/// A server with a signal that is owed.
struct Owed {
    remote: Remote,
    signals: Signals,
    made: SignalCreated,
}

async fn owed() -> Owed {
    let remote = remote().await;
    let signals = remote.client.signals();
    let made = signals.create(Some("owed")).await.unwrap();
    Owed {
        remote,
        signals,
        made,
    }
}

impl Owed {
    async fn state(&self) -> SignalState {
        let info = self.signals.status(&self.made.handle).await;
        info.unwrap().status
    }

    /// The signal is pending or as it was completed, and then it stays so.
    async fn check(&self, completed: SignalState) {
        let Owed { signals, made, .. } = self;
        let before = self.state().await;
        assert!(before == SignalState::Pending || before == completed);
        let again = signals.trigger(&made.handle, &made.secret, None).await;
        assert!(again.is_ok() || self.state().await != SignalState::Pending);
        self.remote.server.signal_waiters(0).await;
    }
}

cases! {
    signal_is_created_and_looked_at drops
        "client/src/signal.rs create",
        "client/src/signal.rs status"
    {
        dropped_at_each_poll(
            owed,
            async |owed| {
                let made = owed.signals.create(None).await.unwrap();
                owed.signals.status(&made.handle).await.unwrap().status
            },
            async |_, _| (),
            async |owed, state| {
                assert!(state.is_none_or(|state| state == SignalState::Pending));
                owed.check(SignalState::Pending).await;
            },
        )
        .await;
    }

    signal_is_completed_or_pending drops
        "client/src/signal.rs trigger",
        "client/src/signal.rs poison",
        "client/src/signal.rs cancel"
    {
        for completed in [SignalState::Triggered, SignalState::Poisoned, SignalState::Cancelled] {
            dropped_at_each_poll(
                owed,
                async |owed| {
                    let Owed { signals, made: SignalCreated { handle, secret }, .. } = owed;
                    let answer = match completed {
                        SignalState::Triggered => signals.trigger(handle, secret, None).await,
                        SignalState::Poisoned => signals.poison(handle, secret, "broken").await,
                        _ => signals.cancel(handle, secret, None).await,
                    };
                    assert_eq!(answer.unwrap().status, completed);
                },
                async |_, _| (),
                async |owed, done| {
                    if done.is_some() {
                        assert_eq!(owed.state().await, completed);
                    }
                    owed.check(completed).await;
                },
            )
            .await;
        }
    }

    merge_and_wait_leave_no_waiter drops
        "client/src/signal.rs merge",
        "client/src/signal.rs wait"
    {
        dropped_at_each_poll(
            owed,
            async |owed| {
                let inputs = [owed.made.handle.clone()];
                let mode = SignalMergeMode::AllSettled;
                let merged = owed.signals.merge(&inputs, mode).await.unwrap();
                let minute = Some(Duration::from_secs(60));
                let waited = owed.signals.wait(&merged.handle, minute, |_| ()).await;
                waited.unwrap().unwrap().status
            },
            async |owed, _| {
                let Owed { signals, made, .. } = owed;
                let _ = signals.trigger(&made.handle, &made.secret, None).await;
            },
            async |owed, state| {
                assert!(state.is_none_or(|state| state == SignalState::Triggered));
                owed.check(SignalState::Triggered).await;
            },
        )
        .await;
    }
}
