//! What is dropped: beyond the bounds of logs at once, by age and for good little by little.

use std::time::{Duration, Instant};

use reveille_core::WakeBatch;
use reveille_types::Position;

use super::undo::{Group, Undo};
use super::{GARBAGE_ROWS, Head, Writer};
use crate::error::StoreError;
use crate::store;

/// A log may exceed a bound by the bound over this, so that not every append has to trim.
const SLACK: u64 = 8;
/// How often it is looked for what is too old.
const LOOK_FOR_AGE: Duration = Duration::from_secs(1);
/// How many rows are looked at for that, at once.
const AGE_ROWS: u32 = 256;

impl Writer {
    /// Trims the logs that have outgrown their bounds in this transaction.
    pub(super) fn retain(&mut self, group: &mut Group) -> Result<(), StoreError> {
        if self.retention.events.is_none() && self.retention.bytes.is_none() {
            return Ok(());
        }
        let mut changed: Vec<_> = group
            .undo
            .iter()
            .filter_map(|undo| match undo {
                Undo::Head(id, _) => Some(*id),
                _ => None,
            })
            .collect();
        changed.dedup();
        for id in changed {
            let Some(head) = self.heads.get(&id) else {
                continue;
            };
            let over = |value: u64, most: u64| value > most.saturating_add(most / SLACK);
            let (mut before, mut freed) = (head.oldest, 0);
            if let Some(most) = self.retention.bytes
                && over(head.bytes, most)
            {
                let excess = head.bytes - most;
                (before, freed) = store::first_bytes(&self.db, id, head.oldest, excess)?;
            }
            if let Some(most) = self.retention.events
                && over(head.latest.since(head.oldest), most)
            {
                before = before.max(Position(head.latest.0 - most));
            }
            if before > head.oldest {
                // The outcome says that the log is there, which it is.
                let _ = self.trim(id, before, group)?;
                if let Some(head) = self.heads.get_mut(&id) {
                    head.bytes = head.bytes.saturating_sub(freed);
                }
            }
        }
        Ok(())
    }

    pub(super) fn has_chores(&self) -> bool {
        (self.has_garbage || !self.forgotten.is_empty()) && !self.is_failed
    }

    /// Does a little of what can wait. A full disk is told to those who append; what is not deleted now
    /// is found when something is trimmed, or when the archive is opened again.
    pub(super) fn do_chores(&mut self) {
        if self.is_failed {
            return;
        }
        let is_due = |at: Option<Instant>| at.is_none_or(|at| at.elapsed() >= LOOK_FOR_AGE);
        if let Some(age) = self.retention.age
            && is_due(self.looked_for_age)
        {
            let dropped = self.drop_old(age);
            if !matches!(dropped, Ok(true)) {
                self.looked_for_age = Some(Instant::now());
            }
            self.note_failed_sync(dropped.as_ref().err());
        }
        if self.has_chores() {
            let cleaned = self.clean();
            if cleaned.is_err() {
                self.has_garbage = false;
                self.forgotten.clear();
            }
            self.note_failed_sync(cleaned.as_ref().err());
        }
    }

    fn note_failed_sync(&mut self, error: Option<&StoreError>) {
        if let Some(StoreError::SyncFailed) = error {
            self.fail_unknown([]);
        }
    }

    fn clean(&mut self) -> Result<(), StoreError> {
        let transaction = self.db.unchecked_transaction()?;
        let left = self.forgotten.len().saturating_sub(GARBAGE_ROWS as usize);
        let rows = self.forgotten.split_off(left);
        for row in &rows {
            store::delete_key(&transaction, *row)?;
        }
        let more = store::collect_garbage(&transaction, GARBAGE_ROWS)?;
        transaction.commit()?;
        self.has_garbage = more;
        Ok(())
    }

    /// Trims what is older than `age`, a part of it at once. Whether there may be more.
    fn drop_old(&mut self, age: Duration) -> Result<bool, StoreError> {
        let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        let before = self.times.unix_millis(Instant::now()).saturating_sub(age);
        let expired = store::expired(&self.db, before, AGE_ROWS)?;
        if expired.is_empty() {
            return Ok(false);
        }
        let more = expired.len() == AGE_ROWS as usize;
        let mut group = Group::default();
        self.db.execute_batch("begin immediate")?;
        let trimmed = self.trim_all(&expired, &mut group).and_then(|()| {
            while store::collect_garbage(&self.db, GARBAGE_ROWS)? {}
            Ok(self.db.execute_batch("commit")?)
        });
        if let Err(error) = trimmed {
            self.undo(group.undo);
            if !self.db.is_autocommit() {
                self.db.execute_batch("rollback")?;
            }
            return Err(error);
        }
        let mut batch = WakeBatch::new();
        self.publish(&group.undo, &mut batch);
        batch.wake_all();
        Ok(more)
    }

    fn trim_all(
        &mut self,
        rows: &[(store::LogId, Position)],
        group: &mut Group,
    ) -> Result<(), StoreError> {
        for (id, end) in rows {
            if !self.heads.contains_key(id) {
                let Some(mut log) = store::log_by_id(&self.db, *id)? else {
                    // Of a log that was removed.
                    store::leave_garbage(&self.db, *id, None)?;
                    continue;
                };
                if *end > log.oldest {
                    log.oldest = *end;
                    store::update_log(&self.db, &log)?;
                }
                store::leave_garbage(&self.db, *id, Some(*end))?;
                continue;
            }
            let _ = self.trim(*id, *end, group)?;
            if let Some(Head { bytes, shared, .. }) = self.heads.get_mut(id)
                && self.retention.bytes.is_some()
            {
                *bytes = store::stored_bytes(&self.db, shared.id, *end)?;
            }
        }
        Ok(())
    }
}
