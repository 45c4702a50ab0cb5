//! The groups of a session.

use reveille_core::{Removed, WaiterKey, WakeBatch};
use reveille_types::{Cursor, Gap, GapReason, Label};

use super::{Group, Now, SessionState, Taker};
use crate::error::{ReadError, SettleError};
use crate::outcome::LeaseId;
use crate::window::Window;

impl SessionState {
    /// The group of this name, which begins with the oldest event.
    pub(crate) fn group(&mut self, name: &Label) -> Result<&mut Group, ReadError> {
        let limit = self.terms.max_groups;
        if self.groups.len() >= limit && !self.groups.contains_key(name) {
            return Err(ReadError::TooManyGroups { limit });
        }
        Ok(self.groups.entry(name.clone()).or_default())
    }

    /// The parts that taking needs at once.
    pub(crate) fn group_and_window(
        &mut self,
        name: &Label,
    ) -> Result<(&mut Group, &Window), ReadError> {
        self.group(name)?;
        match self.groups.get_mut(name) {
            Some(group) => Ok((group, &self.window)),
            None => Err(ReadError::TooManyGroups {
                limit: self.terms.max_groups,
            }),
        }
    }

    /// How far a group has settled its events without a hole.
    pub(crate) fn consumed(&mut self, name: &Label) -> Result<Cursor, ReadError> {
        let (group, window) = self.group_and_window(name)?;
        group.account(window);
        let next = group.next();
        Ok(self.cursor(next))
    }

    /// Tells a group what it lost since it was last told.
    pub(crate) fn told_lost(&mut self, name: &Label, filtered: bool) -> Option<Gap> {
        let group = self.groups.get_mut(name)?;
        group.account(&self.window);
        let ranges = group.told_lost();
        let resumes_at = Cursor::session(self.epoch, group.next());
        (!ranges.is_empty()).then(|| Gap {
            reason: GapReason::Expired,
            missed: (!filtered).then(|| ranges.count()),
            ranges,
            requested: None,
            resumes_at,
            repair: None,
        })
    }

    pub(crate) fn leave_group(
        &mut self,
        name: &Label,
        key: WaiterKey,
        batch: &mut WakeBatch,
    ) -> Option<Removed<Taker>> {
        self.groups.get_mut(name)?.leave(key, &self.window, batch)
    }

    /// Settles a lease or gives its event back. Settling is activity. What is due at `now` has been
    /// done, so that a lease that is held is not over.
    pub(crate) fn settle(
        &mut self,
        name: &Label,
        lease: LeaseId,
        done: bool,
        now: Now,
        batch: &mut WakeBatch,
    ) -> Result<(), SettleError> {
        if lease.epoch != self.epoch {
            return Err(SettleError::Fenced);
        }
        let group = self.groups.get_mut(name).ok_or(SettleError::Fenced)?;
        if done {
            group.ack(lease)?;
        } else {
            group.nack(lease, &self.window, batch)?;
        }
        self.touch(now);
        self.settled(batch);
        Ok(())
    }

    /// After the end, a taker may be waiting only for what another taker holds: let it look again.
    pub(crate) fn settled(&mut self, batch: &mut WakeBatch) {
        if self.ended.is_some() {
            for group in self.groups.values_mut() {
                group.wake_all(batch);
            }
        }
    }
}
