//! What a group says about events: done, not done, never mind.

use reveille_core::WakeBatch;
use reveille_types::{Cursor, Label, Position, Start};

use crate::error::{ReadError, SettleError, StoreFailure};
use crate::log::SessionLog;
use crate::outcome::{DeadLetter, GroupInfo, LeaseId};

impl SessionLog {
    /// Settles a leased event: it is done.
    ///
    /// # Errors
    /// [`SettleError::Fenced`] when the lease is over or settled, [`SettleError::Store`].
    ///
    /// # Cancel safety
    /// A dropped future has settled or has not.
    pub async fn ack(&self, group: &Label, lease: LeaseId) -> Result<(), SettleError> {
        self.settle(group, lease, true).await
    }

    /// Gives a leased event back: it is offered again at once.
    ///
    /// # Errors
    /// [`SettleError::Fenced`] when the lease is over or settled, [`SettleError::Store`].
    ///
    /// # Cancel safety
    /// A dropped future has given it back or has not.
    pub async fn nack(&self, group: &Label, lease: LeaseId) -> Result<(), SettleError> {
        self.settle(group, lease, false).await
    }

    async fn settle(&self, group: &Label, lease: LeaseId, done: bool) -> Result<(), SettleError> {
        if self.0.stored.is_some() {
            return Box::pin(self.settle_stored(group, lease, done)).await;
        }
        let now = self.now();
        let mut batch = WakeBatch::new();
        let mut state = self.lock_due(now, &mut batch);
        state.settle(group, lease, done, now, &mut batch)
    }

    /// Moves a group on: everything before `start` counts as settled for it, what it lost there
    /// included. A group that does not exist yet begins there; [`Start::Latest`] makes it take only
    /// what comes from now on. Moving back does nothing. What is on lease can still be settled, and
    /// does not come back. Counts as activity. Answers how far the group has settled without a hole.
    ///
    /// # Errors
    /// [`ReadError::Cursor`] when the place cannot be followed, [`ReadError::TooManyGroups`],
    /// [`ReadError::Store`].
    ///
    /// # Cancel safety
    /// A dropped future has moved the group or has not.
    pub async fn skip_to(&self, group: &Label, start: Start) -> Result<Cursor, ReadError> {
        self.load_to(start).await?;
        let to = {
            let now = self.now();
            let mut batch = WakeBatch::new();
            let mut state = self.lock_due(now, &mut batch);
            let (to, _) = state.start(start, false)?;
            if self.0.stored.is_none() {
                return state.skip_group_to(group, to, now, &mut batch);
            }
            to
        };
        Box::pin(self.skip_stored(group, to)).await
    }

    /// What is known of a group; `None` if it has neither taken nor skipped anything.
    #[must_use]
    pub fn group_info(&self, group: &Label) -> Option<GroupInfo> {
        let now = self.now();
        let mut batch = WakeBatch::new();
        let mut state = self.lock_due(now, &mut batch);
        state.group_info(group)
    }

    /// Events that were delivered to a group as often as the session
    /// [allows](crate::SessionOptions::max_deliveries) and came back, oldest first. They count as
    /// settled, and are kept for the group until they are [retried](Self::retry_dead_letter) or
    /// [discarded](Self::discard_dead_letter), or it keeps too much.
    #[must_use]
    pub fn dead_letters(&self, group: &Label) -> Vec<DeadLetter> {
        let now = self.now();
        let mut batch = WakeBatch::new();
        let state = self.lock_due(now, &mut batch);
        state.dead_letters(group)
    }

    /// Offers a dead letter again, for as many deliveries as the first time. Answers whether there was
    /// such a letter.
    ///
    /// # Errors
    /// [`StoreFailure`].
    ///
    /// # Cancel safety
    /// A dropped future has offered it or has not.
    pub async fn retry_dead_letter(
        &self,
        group: &Label,
        position: Position,
    ) -> Result<bool, StoreFailure> {
        if self.0.stored.is_some() {
            return Box::pin(self.settle_letter_stored(group, position, true)).await;
        }
        let now = self.now();
        let mut batch = WakeBatch::new();
        let mut state = self.lock_due(now, &mut batch);
        Ok(state.retry(group, position, &mut batch))
    }

    /// Lets go of a dead letter. Answers whether there was such a letter.
    ///
    /// # Errors
    /// [`StoreFailure`].
    ///
    /// # Cancel safety
    /// A dropped future has let go of it or has not.
    pub async fn discard_dead_letter(
        &self,
        group: &Label,
        position: Position,
    ) -> Result<bool, StoreFailure> {
        if self.0.stored.is_some() {
            return Box::pin(self.settle_letter_stored(group, position, false)).await;
        }
        let now = self.now();
        let mut batch = WakeBatch::new();
        let mut state = self.lock_due(now, &mut batch);
        Ok(state.discard(group, position))
    }
}
