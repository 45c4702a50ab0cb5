//! Leases of signals: one task a tenant, however many there are.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use reveille_core::SignalHandle;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::store::TenantSignals;

/// When to look at which signal. A renewal is found when the old end is reached, so that it costs
/// nothing here.
#[derive(Debug, Default)]
pub(super) struct Leases {
    ends: Mutex<BTreeSet<(Instant, SignalHandle)>>,
    /// Told when an earlier end than all others comes.
    earlier: Arc<Notify>,
    is_watched: AtomicBool,
}

impl Leases {
    fn ends(&self) -> MutexGuard<'_, BTreeSet<(Instant, SignalHandle)>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the signal then, unless it is renewed.
    pub(super) fn watch(&self, signals: &Arc<TenantSignals>, handle: SignalHandle, end: Instant) {
        let mut ends = self.ends();
        ends.insert((end, handle));
        let is_first = ends.first() == Some(&(end, handle));
        drop(ends);
        if !self.is_watched.swap(true, Ordering::Relaxed) {
            tokio::spawn(watch(Arc::downgrade(signals), Arc::clone(&self.earlier)));
        } else if is_first {
            self.earlier.notify_one();
        }
    }

    /// Looks at what has come to its end, and tells when the next one does.
    fn sweep(&self, signals: &TenantSignals) -> Option<Instant> {
        let now = Instant::now();
        loop {
            let (end, handle) = *self.ends().first()?;
            if end > now {
                return Some(end);
            }
            self.ends().remove(&(end, handle));
            match signals.lease_end(handle) {
                Some(renewed) if renewed > now => {
                    self.ends().insert((renewed, handle));
                }
                _ => signals.expire(handle),
            }
        }
    }
}

/// Runs until the signals are gone.
async fn watch(signals: Weak<TenantSignals>, earlier: Arc<Notify>) {
    loop {
        let Some(held) = signals.upgrade() else {
            return;
        };
        let next = held.leases().sweep(&held);
        drop(held);
        match next {
            Some(end) => tokio::select! {
                () = sleep_until(end) => {}
                () = earlier.notified() => {}
            },
            None => earlier.notified().await,
        }
    }
}
