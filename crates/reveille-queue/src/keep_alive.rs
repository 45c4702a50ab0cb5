//! Keeping a session from idling out while somebody works on it.

use std::fmt;

use reveille_core::WakeBatch;

use crate::log::SessionLog;

/// Keeps its session from expiring for want of activity, until it is dropped, which counts as activity.
/// For whoever will append when there is something to tell. Keeps no session beyond its absolute
/// lifetime, and none that is over.
#[must_use = "the session is kept alive until this is dropped"]
pub struct KeepAlive(SessionLog);

impl SessionLog {
    /// Keeps the session alive until the guard is dropped. Any number of guards may be there.
    pub fn keep_alive(&self) -> KeepAlive {
        let now = self.now();
        let mut batch = WakeBatch::new();
        let mut state = self.lock_due(now, &mut batch);
        state.touch(now);
        state.kept_alive += 1;
        KeepAlive(self.clone())
    }
}

impl KeepAlive {
    /// The session that is kept alive.
    #[must_use]
    pub fn log(&self) -> &SessionLog {
        &self.0
    }
}

impl Drop for KeepAlive {
    fn drop(&mut self) {
        let now = self.0.now();
        let mut batch = WakeBatch::new();
        let mut state = self.0.lock_due(now, &mut batch);
        state.kept_alive -= 1;
        if state.ended.is_none() {
            state.touch(now);
        }
        self.0.remind(&mut state);
    }
}

impl fmt::Debug for KeepAlive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeepAlive").field(&self.0).finish()
    }
}
