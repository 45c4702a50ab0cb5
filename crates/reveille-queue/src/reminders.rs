//! When to look at which session: one list for all deadlines, so that an idle session costs no timer.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Instant;

use reveille_core::sync::Mutex;

use crate::log::Shared;
use crate::runtime::Notify;

/// When to look at which session: one entry a session at most, the one that its state holds in
/// `reminder`. It may be early, never late: a session moves its deadline back without telling, and
/// moves the entry when the deadline comes forward.
#[derive(Debug, Default)]
pub(crate) struct Reminders {
    /// By time, and by the address of the session, which no other has while the entry is there.
    due: Mutex<BTreeMap<(Instant, usize), Weak<Shared>>>,
    /// Told when an entry has become the first.
    pub(crate) sooner: Notify,
}

impl Reminders {
    /// Moves the entry of a session from `old` to `new`.
    pub(crate) fn set(&self, session: &Arc<Shared>, old: Option<Instant>, new: Option<Instant>) {
        let address = address(session);
        let first = {
            let mut due = self.due.lock();
            let before = due.first_key_value().map(|((at, _), _)| *at);
            if let Some(old) = old {
                due.remove(&(old, address));
            }
            new.is_some_and(|new| {
                due.insert((new, address), Arc::downgrade(session));
                before.is_none_or(|before| new < before)
            })
        };
        if first {
            self.sooner.notify_one();
        }
    }

    /// Takes out the entry of a session that is no more.
    pub(crate) fn forget(&self, session: &Shared, at: Instant) {
        self.due.lock().remove(&(at, address(session)));
    }

    /// Takes out a session that is due and still there, and the time of its entry.
    pub(crate) fn pop(&self, now: Instant) -> Option<(Instant, Arc<Shared>)> {
        let mut due = self.due.lock();
        while let Some(first) = due.first_entry()
            && first.key().0 <= now
        {
            let ((at, _), session) = first.remove_entry();
            if let Some(session) = session.upgrade() {
                return Some((at, session));
            }
        }
        None
    }

    /// When the next session is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.due.lock().first_key_value().map(|((at, _), _)| *at)
    }
}

fn address(session: &Shared) -> usize {
    std::ptr::from_ref(session).addr()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Duration;

    use reveille_core::ManualClock;
    use reveille_memory::MemoryBackend;
    use reveille_types::{EventDraft, SessionKey, Tenant};

    use super::*;
    use crate::{AppendOptions, SessionOptions, Sessions, TakeOptions};

    #[tokio::test]
    async fn session_has_one_reminder_whatever_comes_and_none_once_it_is_gone() {
        let clock = Arc::new(ManualClock::new());
        let sessions = Sessions::builder(MemoryBackend::new())
            .clock(clock.clone())
            .build();
        let key = SessionKey::in_tenant(Tenant::default_tenant(), "s").unwrap();
        let log = sessions
            .create(key.clone(), SessionOptions::default())
            .await
            .unwrap();
        let reminders = Arc::clone(&log.0.reminders);
        for _ in 0..100 {
            let draft = EventDraft::parse("a").unwrap();
            log.try_append([draft], AppendOptions::default()).unwrap();
            let lease = Duration::from_millis(1);
            log.take(TakeOptions::new().lease(lease)).await.unwrap();
            assert_eq!(reminders.due.lock().len(), 1);
            clock.advance(lease);
            sessions.sweep();
            assert_eq!(reminders.due.lock().len(), 1);
        }
        sessions.remove(&key).await.unwrap();
        drop(log);
        assert!(reminders.due.lock().is_empty());
    }
}
