//! What is done when its time has come.

use std::future::Future;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Instant;

use reveille_core::WakeBatch;

use crate::deadline::within;
use crate::log::SessionLog;
use crate::sessions::{Inner, Sessions};

/// What a sweep did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Sessions that ended in this sweep: expired, or out of grace.
    pub ended: usize,
    /// Ended sessions whose retention was over, and which are gone now.
    pub removed: usize,
    /// When to sweep again.
    pub next: Option<Instant>,
}

impl Sessions {
    /// Does what is due: expires idle sessions, ends graces and leases, lets go of ended sessions
    /// whose retention is over. Touches only sessions that are due.
    pub fn sweep(&self) -> Swept {
        let now = self.0.environment.now();
        let mut swept = Swept::default();
        while let Some((at, shared)) = self.0.reminders.pop(now.monotonic) {
            let log = SessionLog(shared);
            let mut batch = WakeBatch::new();
            let gone = {
                let mut state = log.0.state.lock();
                let was_open = state.ended.is_none();
                if state.reminder == Some(at) {
                    state.reminder = None;
                }
                state.tick(now, &mut batch);
                swept.ended += usize::from(was_open && state.ended.is_some());
                let gone = state.is_gone(now.monotonic);
                match gone {
                    true => state.clear(&mut batch),
                    false => log.renew_reminder(&mut state),
                }
                gone
            };
            batch.wake_all();
            if gone && self.0.table.lock().remove_this(&log) {
                swept.removed += 1;
                self.0.removed.fetch_add(1, Ordering::Relaxed);
            }
        }
        swept.next = self.0.reminders.next();
        swept
    }

    /// Sweeps whenever something is due, until the last clone of these sessions is dropped. Spawn it
    /// once; without it, time passes only for sessions that are used and in [`sweep`](Self::sweep).
    ///
    /// # Cancel safety
    /// A dropped future has swept or has not; another one may take over.
    pub fn drive(&self) -> impl Future<Output = ()> + Send + 'static {
        let sessions: Weak<Inner> = Arc::downgrade(&self.0);
        let reminders = Arc::clone(&self.0.reminders);
        async move {
            loop {
                let sooner = reminders.sooner.notified();
                let next = match sessions.upgrade() {
                    Some(inner) => {
                        let next = Self(Arc::clone(&inner)).sweep().next;
                        // The wait is measured on the sessions' own clock, which a test may hold.
                        let now = inner.environment.clock.now();
                        next.map(|at| at.saturating_duration_since(now))
                    }
                    None => return,
                };
                within(next, sooner).await;
            }
        }
    }
}
