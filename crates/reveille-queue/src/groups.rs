//! What a group says about events: done, not done.

use reveille_core::WakeBatch;
use reveille_types::Label;

use crate::error::SettleError;
use crate::log::SessionLog;
use crate::outcome::LeaseId;

impl SessionLog {
    /// Settles a leased event: it is done.
    ///
    /// # Errors
    /// [`SettleError::Fenced`] when the lease is over or settled.
    ///
    /// # Cancel safety
    /// A dropped future has settled or has not.
    pub async fn ack(&self, group: &Label, lease: LeaseId) -> Result<(), SettleError> {
        self.settle(group, lease, true)
    }

    /// Gives a leased event back: it is offered again at once.
    ///
    /// # Errors
    /// [`SettleError::Fenced`] when the lease is over or settled.
    ///
    /// # Cancel safety
    /// A dropped future has given it back or has not.
    pub async fn nack(&self, group: &Label, lease: LeaseId) -> Result<(), SettleError> {
        self.settle(group, lease, false)
    }

    fn settle(&self, group: &Label, lease: LeaseId, done: bool) -> Result<(), SettleError> {
        let now = self.now();
        let mut batch = WakeBatch::new();
        let mut state = self.lock_due(now, &mut batch);
        state.settle(group, lease, done, now, &mut batch)
    }
}
