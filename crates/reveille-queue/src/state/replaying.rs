//! The groups of a session whose steps are kept in a store.

use reveille_core::WakeBatch;
use reveille_types::{Label, Position, PositionRanges};

use super::{Group, Now, SessionState};
use crate::error::ReadError;
use crate::group_log::{Did, KeptLease, Record, Snapshot};
use crate::outcome::{Lease, LeaseId, Taken};
use crate::state::{Leased, Litter};
use crate::window::Window;

impl SessionState {
    /// Replays a step of another process.
    pub(crate) fn replay(&mut self, name: &Label, did: &Did, now: Now<'_>, batch: &mut WakeBatch) {
        self.with_stored_group(name, |group, window, litter| match did {
            Did::Lease(leases) => {
                let leases: Vec<_> = leases.iter().map(|lease| lease.read(now)).collect();
                group.replay_leased(&leases, window, batch, litter);
            }
            Did::Settle(at) => group.replay_settled(&positions(at), window, batch, litter),
            Did::GiveBack { position, delivery } => {
                let position = Position(*position);
                group.replay_given_back(position, *delivery, window, batch, litter);
            }
            Did::Undo(at) => group.replay_undone(&positions(at), window, batch, litter),
            Did::SkipTo(to) => group.skip_to(Position(*to), window, batch, litter),
            Did::Retry(at) => {
                group.retry(Position(*at), window, batch, litter);
            }
            Did::Discard(at) => {
                group.discard(Position(*at), litter);
            }
        });
        self.settled(batch);
    }

    /// Goes on from what all groups had done.
    pub(crate) fn restore_groups(
        &mut self,
        groups: &[Snapshot],
        now: Now<'_>,
        batch: &mut WakeBatch,
    ) {
        for snapshot in groups {
            let record = snapshot.read(now);
            self.with_stored_group(&snapshot.group, |group, window, litter| {
                group.restore(&record, window, batch, litter);
            });
        }
        self.settled(batch);
    }

    /// All that all groups have done.
    pub(crate) fn snapshot_groups(&self, now: Now<'_>) -> Vec<Snapshot> {
        let groups = self.groups.iter();
        groups
            .map(|(name, group)| Snapshot::keep(name.clone(), &group.record(), now))
            .collect()
    }

    /// Works on a group, which begins now if it is not known here. Others have seen to the limit.
    fn with_stored_group(
        &mut self,
        name: &Label,
        work: impl FnOnce(&mut Group, &Window, &mut Litter),
    ) {
        self.ensure_group(name);
        self.with_group(name, work);
    }

    /// The step that makes claims count, those left that nobody else was given; none if there are none.
    pub(crate) fn claim_step(
        &self,
        name: &Label,
        taken: &mut Vec<Taken>,
        for_good: bool,
        now: Now<'_>,
    ) -> Option<Record> {
        let group = self.groups.get(name)?;
        taken.retain(|taken| lease(taken).is_some_and(|lease| group.is_unconfirmed(lease)));
        let did = match for_good {
            true => Did::Settle(taken.iter().map(|taken| taken.event.position().0).collect()),
            false => {
                let leases = taken.iter().filter_map(|taken| taken.lease.as_ref());
                let leased = leases.map(|Lease { id, until }| Leased {
                    position: id.position,
                    delivery: id.delivery,
                    until: *until,
                });
                Did::Lease(leased.map(|lease| KeptLease::keep(lease, now)).collect())
            }
        };
        (!taken.is_empty()).then(|| Record::Step {
            group: name.clone(),
            did,
        })
    }

    /// Claims are stored.
    pub(crate) fn confirm(&mut self, name: &Label, taken: &[Taken], for_good: bool) {
        self.with_group(name, |group, _, litter| {
            for lease in taken.iter().filter_map(lease) {
                group.confirm(lease, for_good, litter);
            }
        });
    }

    /// Claims are not stored, and not made any more.
    pub(crate) fn withdraw(&mut self, name: &Label, taken: &[Taken], batch: &mut WakeBatch) {
        self.with_group(name, |group, window, litter| {
            for lease in taken.iter().filter_map(lease) {
                group.withdraw(lease, window, batch, litter);
            }
        });
        self.settled(batch);
    }

    /// The step that gives back what was taken for somebody who is gone; none if nothing is left of it.
    pub(crate) fn undo_step(
        &self,
        name: &Label,
        taken: &[Taken],
        for_good: bool,
    ) -> Option<Record> {
        let group = self.groups.get(name)?;
        let is_ours = |lease: &LeaseId| for_good || group.held_by(*lease).is_ok();
        let leases = taken.iter().filter_map(lease).filter(is_ours);
        let positions: Vec<u64> = leases.map(|lease| lease.position.0).collect();
        (!positions.is_empty()).then(|| Record::Step {
            group: name.clone(),
            did: Did::Undo(positions),
        })
    }

    /// What was taken for somebody who is gone is available again.
    pub(crate) fn undo(&mut self, name: &Label, taken: &[Taken], batch: &mut WakeBatch) {
        let positions: Vec<_> = taken.iter().map(|taken| taken.event.position()).collect();
        self.with_group(name, |group, window, litter| {
            group.replay_undone(&positions, window, batch, litter);
        });
        self.settled(batch);
    }

    /// Who was to be told of a loss is gone, or got nothing.
    pub(crate) fn untell_lost(&mut self, name: &Label, lost: &PositionRanges) {
        self.with_group(name, |group, _, _| group.untell(lost));
    }

    /// The step that settles a lease or gives its event back, if it is held.
    pub(crate) fn settle_step(&self, name: &Label, lease: LeaseId, done: bool) -> Option<Record> {
        let group = self.groups.get(name)?;
        group.held_by(lease).ok()?;
        let position = lease.position.0;
        let did = match done {
            true => Did::Settle(vec![position]),
            false => Did::GiveBack {
                position,
                delivery: lease.delivery,
            },
        };
        Some(Record::Step {
            group: name.clone(),
            did,
        })
    }

    /// The step that moves a group on.
    pub(crate) fn skip_step(&mut self, name: &Label, to: Position) -> Result<Record, ReadError> {
        self.begin_group(name)?;
        Ok(Record::Step {
            group: name.clone(),
            did: Did::SkipTo(to.0),
        })
    }

    /// Whether a group has this dead letter.
    pub(crate) fn has_letter(&self, name: &Label, at: Position) -> bool {
        let group = self.groups.get(name);
        group.is_some_and(|group| group.dead().contains_key(&at))
    }
}

fn lease(taken: &Taken) -> Option<LeaseId> {
    taken.lease.as_ref().map(|lease| lease.id)
}

fn positions(numbers: &[u64]) -> Vec<Position> {
    numbers.iter().copied().map(Position).collect()
}
