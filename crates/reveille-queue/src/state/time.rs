//! What time does to a session.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use reveille_core::WakeBatch;
use reveille_types::EndReason;

use super::{Group, Moment, Now, SessionState};

impl SessionState {
    /// Does what is due: expires the session, ends the grace of a cancel, takes leases back.
    pub(crate) fn tick(&mut self, now: Now<'_>, batch: &mut WakeBatch) {
        if self.ended.is_none() {
            let grace = self.cancelled.as_ref().and_then(|c| c.grace_until);
            if grace.is_some_and(|until| until <= now.monotonic) {
                self.seal(EndReason::Cancelled, None, now, batch);
            } else if self.expires().is_some_and(|at| at <= now.monotonic) {
                self.seal(EndReason::Expired, None, now, batch);
            }
        }
        let over = self.ended.is_some();
        self.with_groups(|group, window, litter| {
            group.expire_leases(now.monotonic, window, batch, litter);
            if over {
                group.wake_all(batch);
            }
        });
    }

    /// When an open session expires if nothing happens in it, or an ended one vanishes.
    pub(crate) fn expires(&self) -> Option<Instant> {
        let ends = self.ends().into_iter().flatten();
        ends.filter_map(|(from, after)| from.monotonic.checked_add(after))
            .min()
    }

    /// The wall time of [`expires`](Self::expires), for display.
    pub(crate) fn expires_wall(&self) -> Option<Timestamp> {
        let ends = self.ends().into_iter().flatten();
        ends.filter_map(|(from, after)| {
            let after = jiff::SignedDuration::try_from(after).ok()?;
            from.wall.checked_add(after).ok()
        })
        .min()
    }

    /// What ends the session as it stands, the first of them: from when on, and after how long.
    fn ends(&self) -> [Option<(Moment, Duration)>; 2] {
        match &self.ended {
            None => [
                self.terms
                    .ttl
                    .filter(|_| self.kept_alive == 0)
                    .map(|ttl| (self.last_activity, ttl)),
                self.terms.lifetime.map(|life| (self.created, life)),
            ],
            Some(ended) => {
                let at = Moment {
                    monotonic: ended.at,
                    wall: ended.wall,
                };
                [Some((at, self.terms.retention)), None]
            }
        }
    }

    /// Whether an ended session has been readable for long enough, or was removed.
    pub(crate) fn is_gone(&self, now: Instant) -> bool {
        self.ended.as_ref().is_some_and(|ended| {
            ended.reason == EndReason::Deleted || self.expires().is_some_and(|at| at <= now)
        })
    }

    /// When to look at the session again.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let grace = self
            .cancelled
            .as_ref()
            .filter(|_| self.ended.is_none())
            .and_then(|c| c.grace_until);
        let leases = self.groups.values().filter_map(Group::next_expiry).min();
        [self.expires(), grace, leases].into_iter().flatten().min()
    }
}
