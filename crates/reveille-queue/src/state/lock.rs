//! The lock around a session's state.

use std::fmt;
use std::ops::{Deref, DerefMut};

use reveille_core::sync::{Mutex, MutexGuard};
use reveille_types::Event;
use smallvec::SmallVec;

use super::SessionState;

/// Events that were let go of. One needs no allocation.
pub(crate) type Litter = SmallVec<[Event; 1]>;

/// The one lock of a session.
pub(crate) struct StateLock(Mutex<SessionState>);

impl StateLock {
    pub(crate) fn new(state: SessionState) -> Self {
        Self(Mutex::new(state))
    }

    pub(crate) fn lock(&self) -> Locked<'_> {
        Locked {
            state: self.0.lock(),
            litter: Litter::new(),
        }
    }
}

impl fmt::Debug for StateLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateLock").finish_non_exhaustive()
    }
}

/// A session's state while it is locked. Dropping it unlocks first, and then drops the events that were
/// let go of: their payloads may be anybody's memory, and freeing it anybody's code. What the session
/// holds by then is what its tenant is charged with.
pub(crate) struct Locked<'a> {
    state: MutexGuard<'a, SessionState>,
    /// Dropped after the guard, since it is declared after it.
    litter: Litter,
}

impl Deref for Locked<'_> {
    type Target = SessionState;

    fn deref(&self) -> &SessionState {
        &self.state
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut SessionState {
        &mut self.state
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.litter = std::mem::take(&mut self.state.litter);
        self.state.report();
    }
}
