//! The groups of a session.

use std::task::Waker;

use reveille_core::{Removed, WaiterKey, WakeBatch};
use reveille_types::{Cursor, Gap, GapReason, Label, Position, PositionRanges};

use super::group::{Looked, TakeStep};
use super::{Group, Now, SessionState, Taker, Wanted};
use crate::error::{ReadError, SettleError};
use crate::outcome::{DeadLetter, GroupInfo, LeaseId};
use crate::state::Litter;
use crate::window::Window;

/// Where a taker stands.
pub(crate) enum TakerPlace<'a> {
    /// It looks for what is available.
    Looking(&'a mut Looked),
    /// It waits for what is reserved for it.
    Waiting(WaiterKey),
}

impl SessionState {
    /// Works on a group, keeping count of what the groups keep.
    pub(super) fn with_group<R>(
        &mut self,
        name: &Label,
        work: impl FnOnce(&mut Group, &Window, &mut Litter) -> R,
    ) -> Option<R> {
        let group = self.groups.get_mut(name)?;
        self.kept_bytes -= group.kept_bytes();
        let result = work(group, &self.window, &mut self.litter);
        self.kept_bytes += group.kept_bytes();
        Some(result)
    }

    /// As [`with_group`](Self::with_group), on all of them.
    pub(super) fn with_groups(&mut self, mut work: impl FnMut(&mut Group, &Window, &mut Litter)) {
        for group in self.groups.values_mut() {
            self.kept_bytes -= group.kept_bytes();
            work(group, &self.window, &mut self.litter);
            self.kept_bytes += group.kept_bytes();
        }
    }

    /// Sees to it that there is a group of this name. It begins with the oldest event.
    pub(super) fn begin_group(&mut self, name: &Label) -> Result<(), ReadError> {
        if self.groups.contains_key(name) {
            return Ok(());
        }
        let limit = self.terms.max_groups;
        if self.groups.len() >= limit {
            return Err(ReadError::TooManyGroups { limit });
        }
        self.ensure_group(name);
        Ok(())
    }

    /// As [`begin_group`](Self::begin_group), however many there are.
    pub(super) fn ensure_group(&mut self, name: &Label) {
        if !self.groups.contains_key(name) {
            let group = Group::new(self.terms.group);
            self.groups.insert(name.clone(), group);
        }
    }

    /// Takes what is there now, or, for a taker that waits, what is reserved for it.
    pub(crate) fn take(
        &mut self,
        name: &Label,
        taker: TakerPlace<'_>,
        wanted: &Wanted,
        now: Now<'_>,
        batch: &mut WakeBatch,
    ) -> Result<(TakeStep, Option<Removed<Taker>>), ReadError> {
        self.begin_group(name)?;
        let epoch = self.epoch;
        let taken = self.with_group(name, |group, window, litter| match taker {
            TakerPlace::Looking(looked) => {
                let step = group.take_now(wanted, looked, window, epoch, now.monotonic);
                (step, None)
            }
            TakerPlace::Waiting(key) => {
                group.take_reserved(key, window, epoch, now.monotonic, batch, litter)
            }
        });
        Ok(taken.unwrap_or((TakeStep::Nothing, None)))
    }

    /// Whether an event that matches may come back from another taker of the group.
    pub(crate) fn may_come_back(&self, name: &Label, wanted: &Wanted) -> bool {
        let group = self.groups.get(name);
        group.is_some_and(|group| group.may_come_back(wanted))
    }

    /// Registers a taker behind all others of its group.
    pub(crate) fn register_taker(
        &mut self,
        name: &Label,
        waker: Waker,
        wanted: Wanted,
    ) -> Option<WaiterKey> {
        let group = self.groups.get_mut(name)?;
        Some(group.register(waker, wanted))
    }

    /// Makes `waker` the one of a waiting taker. What is handed back is to be dropped after the lock.
    pub(crate) fn set_taker_waker(
        &mut self,
        name: &Label,
        key: WaiterKey,
        waker: Waker,
    ) -> Option<Waker> {
        match self.groups.get_mut(name) {
            Some(group) => group.set_waker(key, waker),
            None => Some(waker),
        }
    }

    /// How far a group has settled its events without a hole.
    pub(crate) fn consumed(&mut self, name: &Label) -> Cursor {
        let next = self.with_group(name, |group, window, _| {
            group.account(window);
            group.next()
        });
        self.cursor(next.unwrap_or(self.window.oldest()))
    }

    /// Tells a group what it lost since it was last told.
    pub(crate) fn told_lost(&mut self, name: &Label, filtered: bool) -> Option<Gap> {
        let (lost, next) = self.with_group(name, |group, window, _| {
            group.account(window);
            (group.told_lost(), group.next())
        })?;
        self.lost(lost, next, filtered)
    }

    /// The gap of what a group lost that goes on at `next`.
    pub(crate) fn lost(
        &self,
        ranges: PositionRanges,
        next: Position,
        filtered: bool,
    ) -> Option<Gap> {
        (!ranges.is_empty()).then(|| Gap {
            reason: GapReason::Expired,
            missed: (!filtered).then(|| ranges.count()),
            ranges,
            requested: None,
            resumes_at: self.cursor(next),
            repair: None,
            overflow: None,
        })
    }

    pub(crate) fn leave_group(
        &mut self,
        name: &Label,
        key: WaiterKey,
        batch: &mut WakeBatch,
    ) -> Option<Removed<Taker>> {
        self.with_group(name, |group, window, litter| {
            group.leave(key, window, batch, litter)
        })?
    }

    /// Settles a lease or gives its event back. Settling is activity. What is due at `now` has been
    /// done, so that a lease that is held is not over.
    pub(crate) fn settle(
        &mut self,
        name: &Label,
        lease: LeaseId,
        done: bool,
        now: Now<'_>,
        batch: &mut WakeBatch,
    ) -> Result<(), SettleError> {
        if lease.epoch != self.epoch {
            return Err(SettleError::Fenced);
        }
        let settled = self.with_group(name, |group, window, litter| match done {
            true => group.ack(lease, litter),
            false => group.nack(lease, window, batch, litter),
        });
        settled.ok_or(SettleError::Fenced)??;
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

    /// Settles everything before `to` for a group.
    pub(crate) fn skip_group_to(
        &mut self,
        name: &Label,
        to: Position,
        now: Now<'_>,
        batch: &mut WakeBatch,
    ) -> Result<Cursor, ReadError> {
        self.begin_group(name)?;
        self.with_group(name, |group, window, litter| {
            group.skip_to(to, window, batch, litter);
        });
        self.touch(now);
        self.settled(batch);
        Ok(self.consumed(name))
    }

    /// Makes a dead letter available again; whether there is such a letter.
    pub(crate) fn retry(&mut self, name: &Label, at: Position, batch: &mut WakeBatch) -> bool {
        let found = self.with_group(name, |group, window, litter| {
            group.retry(at, window, batch, litter)
        });
        self.settled(batch);
        found.unwrap_or(false)
    }

    /// Lets go of a dead letter; whether there was one.
    pub(crate) fn discard(&mut self, name: &Label, at: Position) -> bool {
        let found = self.with_group(name, |group, _, litter| group.discard(at, litter));
        found.unwrap_or(false)
    }

    /// The dead letters of a group, oldest first.
    pub(crate) fn dead_letters(&self, name: &Label) -> Vec<DeadLetter> {
        let dead = self.groups.get(name).map(Group::dead);
        dead.into_iter()
            .flat_map(|dead| dead.values().cloned())
            .collect()
    }

    /// What is known of a group.
    pub(crate) fn group_info(&mut self, name: &Label) -> Option<GroupInfo> {
        let cursor = self.consumed(name);
        let group = self.groups.get(name)?;
        let counts = group.counts();
        Some(GroupInfo {
            cursor,
            pending: group.pending(&self.window),
            leased: group.leased(),
            waiting: group.waiting(),
            dead: group.dead().len(),
            kept_bytes: group.kept_bytes(),
            lost: counts.lost,
            died: counts.dead,
            dead_dropped: counts.dead_dropped,
        })
    }
}
