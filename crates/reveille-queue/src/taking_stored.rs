//! Taking from a stored session: what is claimed here is the taker's once the store has it.

use std::time::Duration;

use reveille_backend::Incarnation;
use reveille_core::WakeBatch;
use reveille_types::{Cursor, Gap, Label, Position, Start};

use crate::error::{ReadError, SettleError, StoreFailure};
use crate::group_log::{Did, GroupLog, Record};
use crate::log::SessionLog;
use crate::options::TakeOptions;
use crate::outcome::{LeaseId, TakeOutcome, Taken};
use crate::runtime;

/// How long a claim that is taken for good is nobody else's in this process while it is being stored.
const HANDOVER: Duration = Duration::from_secs(30);

/// What was claimed for a taker. Dropped before the taker has it, it is given back.
struct Claims {
    log: SessionLog,
    group: Label,
    taken: Vec<Taken>,
    for_good: bool,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// In this process.
    Claimed,
    /// In the store, too.
    Stored,
    /// The taker has it.
    Taken,
}

impl SessionLog {
    /// As [`take`](Self::take). The time-out is for the wait; that the claim is stored is waited for.
    pub(crate) async fn take_stored(&self, options: TakeOptions) -> Result<TakeOutcome, ReadError> {
        let groups = self.groups().await?;
        self.load_to(Start::At(options.from)).await?;
        let for_good = options.lease.is_none();
        let began = self.now().monotonic;
        let waited = || self.now().monotonic.saturating_duration_since(began);
        let mut is_fresh = false;
        loop {
            let mut attempt = options.clone();
            attempt.lease.get_or_insert(HANDOVER);
            let left = |timeout: Duration| timeout.saturating_sub(waited());
            attempt.timeout = options.timeout.map(left);
            let (taken, cursor, gap) = match self.take_here(attempt).await? {
                TakeOutcome::Taken { taken, cursor, gap } => (taken, cursor, gap),
                // Others may have published or given back what is not known here yet. Whoever has waited
                // long enough is not told that the store fails.
                outcome if !is_fresh && self.look_again(groups).await.is_ok() => {
                    is_fresh = true;
                    if let TakeOutcome::Ended { gap, .. } = outcome {
                        self.untell(&options.group, gap);
                    }
                    continue;
                }
                TakeOutcome::TimedOut { next, .. } => {
                    let waited = waited();
                    return Ok(TakeOutcome::TimedOut { next, waited });
                }
                outcome => return Ok(outcome),
            };
            let claims = Claims {
                log: self.clone(),
                group: options.group.clone(),
                taken,
                for_good,
                stage: Stage::Claimed,
            };
            // In a task of its own, so that a dropped take knows what it has to give back.
            let stored = runtime::run(claims.store()).await;
            let failed = match stored.map(|stored| stored.map(Claims::take)) {
                Some(Ok(taken)) if !taken.is_empty() => {
                    return Ok(TakeOutcome::Taken { taken, cursor, gap });
                }
                Some(Err(error)) => Some(error),
                // Others were first with all of it.
                Some(Ok(_)) => None,
                None => Some(self.unavailable("the runtime ends").into()),
            };
            self.untell(&options.group, gap);
            if let Some(error) = failed {
                return Err(error.into());
            }
        }
    }

    /// What this tells is told to nobody.
    fn untell(&self, group: &Label, gap: Option<Gap>) {
        if let Some(gap) = gap {
            let mut state = self.0.state.lock();
            state.untell_lost(group, &gap.ranges);
        }
    }

    /// The log of the groups, which begins if there is none. Only stored sessions have one.
    async fn groups(&self) -> Result<&GroupLog, StoreFailure> {
        let groups = self.open_groups(Incarnation::CurrentOrNew).await?;
        groups.ok_or_else(|| reveille_backend::BackendError::NotFound.into())
    }

    /// As [`ack`](Self::ack) and [`nack`](Self::nack).
    pub(crate) async fn settle_stored(
        &self,
        group: &Label,
        lease: LeaseId,
        done: bool,
    ) -> Result<(), SettleError> {
        if lease.epoch != self.0.epoch {
            return Err(SettleError::Fenced);
        }
        let groups = self.groups().await?;
        self.append_step(
            groups,
            &mut (),
            |(), state| {
                let step = state.settle_step(group, lease, done);
                step.ok_or(Err(SettleError::Fenced))
            },
            |(), state, batch| state.settle(group, lease, done, self.now(), batch),
        )
        .await?
    }

    /// As [`skip_to`](Self::skip_to).
    pub(crate) async fn skip_stored(
        &self,
        group: &Label,
        to: Position,
    ) -> Result<Cursor, ReadError> {
        let groups = self.groups().await?;
        self.append_step(
            groups,
            &mut (),
            |(), state| state.skip_step(group, to).map_err(Err),
            |(), state, batch| state.skip_group_to(group, to, self.now(), batch),
        )
        .await?
    }

    /// Offers a dead letter again, or lets go of it.
    pub(crate) async fn settle_letter_stored(
        &self,
        group: &Label,
        at: Position,
        again: bool,
    ) -> Result<bool, StoreFailure> {
        let groups = self.groups().await?;
        let did = match again {
            true => Did::Retry(at.0),
            false => Did::Discard(at.0),
        };
        self.append_step(
            groups,
            &mut (),
            |(), state| match state.has_letter(group, at) {
                true => Ok(Record::Step {
                    group: group.clone(),
                    did: did.clone(),
                }),
                false => Err(false),
            },
            |(), state, batch| match again {
                true => state.retry(group, at, batch),
                false => state.discard(group, at),
            },
        )
        .await
    }
}

impl Claims {
    /// Stores the claims, but for those that others were first with.
    async fn store(mut self) -> Result<Self, StoreFailure> {
        let log = self.log.clone();
        let for_good = self.for_good;
        let groups = log.groups().await?;
        log.append_step(
            groups,
            &mut self,
            |claims, state| {
                let Self { group, taken, .. } = claims;
                let step = state.claim_step(group, taken, for_good, log.now());
                step.ok_or(())
            },
            |claims, state, _| {
                state.confirm(&claims.group, &claims.taken, claims.for_good);
                claims.stage = Stage::Stored;
            },
        )
        .await?;
        Ok(self)
    }

    /// The taker has them.
    fn take(mut self) -> Vec<Taken> {
        self.stage = Stage::Taken;
        let mut taken = std::mem::take(&mut self.taken);
        if self.for_good {
            for taken in &mut taken {
                taken.lease = None;
            }
        }
        taken
    }
}

impl Drop for Claims {
    fn drop(&mut self) {
        if self.taken.is_empty() {
            return;
        }
        match self.stage {
            Stage::Claimed => {
                let mut batch = WakeBatch::new();
                let mut state = self.log.0.state.lock();
                state.withdraw(&self.group, &self.taken, &mut batch);
            }
            Stage::Stored => {
                let log = self.log.clone();
                let taken = std::mem::take(&mut self.taken);
                let undoing = undo(log, self.group.clone(), taken, self.for_good);
                // Without a runtime the leases run out.
                runtime::spawn_if_running(undoing);
            }
            Stage::Taken => {}
        }
    }
}

/// Gives back what was stored for a taker who is gone. If the store fails, the leases run out.
async fn undo(log: SessionLog, group: Label, taken: Vec<Taken>, for_good: bool) {
    let Ok(groups) = log.groups().await else {
        return;
    };
    let _ = log
        .append_step(
            groups,
            &mut (),
            |(), state| state.undo_step(&group, &taken, for_good).ok_or(()),
            |(), state, batch| state.undo(&group, &taken, batch),
        )
        .await;
}
