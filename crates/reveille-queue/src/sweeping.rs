//! What is done when its time has come.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Instant;

use reveille_core::WakeBatch;
use reveille_types::EndReason;

use crate::deadline::within;
use crate::log::SessionLog;
use crate::runtime;
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
                self.note_gone(&log, now.monotonic);
                self.0.removed.fetch_add(1, Ordering::Relaxed);
            }
        }
        swept.next = self.0.reminders.next();
        swept
    }

    /// The store is to let go of a session, too, whose retention is over.
    pub(crate) fn note_gone(&self, log: &SessionLog, now: Instant) {
        if log.0.stored.is_none() {
            return;
        }
        let (reason, terms) = {
            let state = log.0.state.lock();
            let reason = state.ended.as_ref().map(|ended| ended.reason);
            (reason, Arc::clone(&state.terms))
        };
        if reason != Some(EndReason::Deleted) {
            let unopened = &self.0.unopened;
            unopened.note_gone(log.key(), log.epoch(), now, &terms);
        }
    }

    /// Sweeps whenever something is due, and [the store](Self::sweep_stored) now and then, until the last
    /// clone of these sessions is dropped. Spawn it once; without it, time passes only for sessions that
    /// are used and in [`sweep`](Self::sweep).
    ///
    /// # Cancel safety
    /// A dropped future has swept or has not; another one may take over.
    pub fn drive(&self) -> impl Future<Output = ()> + Send + 'static {
        let sweeping = self.sweep_when_due();
        let looking = sweep_stored_often(Arc::downgrade(&self.0));
        async move {
            let (mut sweeping, mut looking) = (pin!(sweeping), pin!(looking));
            let mut looks = true;
            // A store that is slow keeps nothing waiting that is due here.
            poll_fn(|cx| {
                if looks {
                    looks = looking.as_mut().poll(cx).is_pending();
                }
                sweeping.as_mut().poll(cx)
            })
            .await;
        }
    }

    fn sweep_when_due(&self) -> impl Future<Output = ()> + Send + 'static {
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

/// Looks through the store at once and then at calm intervals, as long as there are these sessions. A store
/// that fails is looked through the next time.
async fn sweep_stored_often(sessions: Weak<Inner>) {
    while let Some(inner) = sessions.upgrade() {
        let every = inner.sweep_stored;
        if every.is_zero() || inner.backend.capabilities().immediate {
            return;
        }
        // What fails is told to whoever uses the store.
        let _ = Sessions(inner).sweep_stored().await;
        runtime::sleep(every).await;
    }
}
