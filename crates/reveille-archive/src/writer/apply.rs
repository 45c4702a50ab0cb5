//! What each change means.

use std::collections::HashMap;
use std::sync::Arc;

use reveille_backend::{AppendError, BackendError, Incarnation, LogInfo, OpenOptions, Seal, Slot};
use reveille_types::{Position, Seq, SessionKey, Tenant};

use super::command::{Batch, OpenedLog};
use super::undo::{Group, PendingRow, Undo};
use super::{Answer, Change, Head, TenantState, Writer};
use crate::codec;
use crate::error::StoreError;
use crate::keys::{Keys, Known, KnownKey};
use crate::shared::Shared;
use crate::store::{self, LogId, LogRow, NewBatch, TenantId};

/// A row that has grown so far is written, and another one begun.
const ROW_BYTES: usize = 256 * 1024;

impl Writer {
    /// Makes a change within the transaction. An error means that the store failed.
    pub(super) fn apply(
        &mut self,
        change: &Change,
        group: &mut Group,
    ) -> Result<Answer, StoreError> {
        Ok(match change {
            Change::Open(key, options) => Answer::Opened(self.open(key, options, group)?),
            Change::Append(batch) => Answer::Appended(self.append(batch, group)?),
            Change::Seal(log, seal) => Answer::Changed(self.seal(log.id, seal, group)?),
            Change::Trim(log, before) => Answer::Changed(self.trim(log.id, *before, group)?),
            Change::Show(batch) => Answer::Shown(self.show(batch, group)?),
            Change::Remove(key) => Answer::Changed(Ok(self.remove(key, group)?)),
        })
    }

    /// The log of this address, from the store if nobody has it open.
    fn find(&mut self, key: &SessionKey, group: &mut Group) -> Result<Option<LogId>, StoreError> {
        if let Some(id) = self.ids.get(key) {
            return Ok(Some(*id));
        }
        let Some(row) = store::log_by_key(&self.db, key)? else {
            return Ok(None);
        };
        self.insert_head(row, group).map(Some)
    }

    fn insert_head(&mut self, row: LogRow, group: &mut Group) -> Result<LogId, StoreError> {
        let LogRow {
            id, tenant, key, ..
        } = row;
        let info = LogInfo {
            epoch: row.epoch,
            oldest: row.oldest,
            latest: row.latest,
            seal: row.seal.clone(),
        };
        let bytes = match self.retention.bytes {
            Some(_) => store::stored_bytes(&self.db, id, row.oldest)?,
            None => 0,
        };
        let head = Head {
            shared: Arc::new(Shared::new(
                id,
                Arc::new(key.clone()),
                &info,
                row.attributes,
            )),
            tenant,
            oldest: row.oldest,
            latest: row.latest,
            seal: row.seal,
            bytes,
        };
        group.undo.push(Undo::Head(id, self.heads.insert(id, head)));
        let before = self.ids.insert(key.clone(), id);
        group.undo.push(Undo::Id(key, before));
        Ok(id)
    }

    fn open(
        &mut self,
        key: &SessionKey,
        options: &OpenOptions,
        group: &mut Group,
    ) -> Result<Result<OpenedLog, BackendError>, StoreError> {
        let found = self.find(key, group)?;
        let id = match (options.incarnation, found) {
            (Incarnation::Current | Incarnation::CurrentOrNew, Some(id)) => {
                let head = self.heads.get(&id).map(|head| head.shared.clone());
                return Ok(head.map(|head| (head, false)).ok_or(BackendError::NotFound));
            }
            (Incarnation::Current, None) => return Ok(Err(BackendError::NotFound)),
            (Incarnation::New, Some(_)) => {
                self.remove(key, group)?;
                self.create(key, options, group)?
            }
            (Incarnation::New | Incarnation::CurrentOrNew, None) => {
                self.create(key, options, group)?
            }
        };
        let made = self.heads.get(&id).map(|head| head.shared.clone());
        Ok(made.map(|log| (log, true)).ok_or(BackendError::NotFound))
    }

    fn create(
        &mut self,
        key: &SessionKey,
        options: &OpenOptions,
        group: &mut Group,
    ) -> Result<LogId, StoreError> {
        let tenant = self.tenant(&key.tenant, group)?;
        let row = store::insert_log(
            &self.db,
            tenant,
            key,
            options.new_epoch,
            &options.attributes,
        )?;
        self.insert_head(row, group)
    }

    pub(super) fn tenant(
        &mut self,
        tenant: &Tenant,
        group: &mut Group,
    ) -> Result<TenantId, StoreError> {
        if let Some(state) = self.tenants.get(tenant) {
            return Ok(state.id);
        }
        let id = store::insert_tenant(&self.db, tenant)?;
        let state = TenantState {
            id,
            last_seq: Seq(0),
            keys: Keys::default(),
        };
        self.tenants.insert(tenant.clone(), state);
        group.undo.push(Undo::Tenant(tenant.clone()));
        Ok(id)
    }

    fn append(
        &mut self,
        batch: &Batch,
        group: &mut Group,
    ) -> Result<Result<Vec<Slot>, AppendError>, StoreError> {
        let Batch {
            log, entries, at, ..
        } = batch;
        let tenant = &log.key.tenant;
        let (Some(head), Some(state)) = (self.heads.get_mut(&log.id), self.tenants.get_mut(tenant))
        else {
            return Ok(Err(BackendError::NotFound.into()));
        };
        let slots = match place(head, state, batch) {
            Ok(slots) => slots,
            Err(refused) => return Ok(Err(refused)),
        };
        if slots.iter().all(|slot| slot.deduplicated) {
            return Ok(Ok(slots));
        }
        group.undo.push(Undo::Head(log.id, Some(head.clone())));
        group.undo.push(Undo::Seq(tenant.clone(), state.last_seq));
        let (_, low) = *group
            .tenants
            .entry(tenant.clone())
            .or_insert((state.id, state.last_seq.next()));
        group.grown.insert(log.id);
        let row = group.rows.entry(log.id).or_insert_with(|| PendingRow {
            first: head.latest,
            count: 0,
            at: *at,
            body: codec::start(),
        });
        for (entry, slot) in entries.iter().zip(&slots) {
            if slot.deduplicated {
                continue;
            }
            codec::push(&mut row.body, slot.seq.0 - low.0, &entry.record);
            row.count += 1;
            head.latest = slot.position.next();
            head.bytes += entry.record.len() as u64;
            state.last_seq = slot.seq;
            let Some(key) = &entry.key else {
                continue;
            };
            let mut known = KnownKey {
                row: 0,
                log: log.id,
                key: key.key.clone(),
                known: Known {
                    fingerprint: key.fingerprint,
                    position: slot.position,
                    seq: slot.seq,
                },
                at: *at,
            };
            known.row = store::insert_key(&self.db, state.id, &known)?;
            state.keys.insert(known);
            group.undo.push(Undo::Key(tenant.clone()));
        }
        if let Some(reason) = batch.seal {
            head.seal = Some(Seal {
                reason,
                message: None,
            });
        }
        if row.body.len() >= ROW_BYTES
            && let Some(row) = group.rows.remove(&log.id)
        {
            insert_row(&self.db, log.id, state.id, low, &row)?;
        }
        Ok(Ok(slots))
    }

    /// Writes what is being put together.
    pub(super) fn write_rows(&mut self, group: &mut Group) -> Result<(), StoreError> {
        for log in std::mem::take(&mut group.grown) {
            // What was appended and removed in one transaction is not written.
            if let Some(head) = self.heads.get(&log) {
                store::update_log(&self.db, &head.row())?;
            }
        }
        for (log, row) in group.rows.drain() {
            let Some(head) = self.heads.get(&log) else {
                continue;
            };
            let low = group.tenants.get(&head.shared.key.tenant);
            let low = low.map_or(Seq(0), |(_, low)| *low);
            insert_row(&self.db, log, head.tenant, low, &row)?;
        }
        for (tenant, (id, _)) in &group.tenants {
            if let Some(state) = self.tenants.get(tenant) {
                store::update_tenant(&self.db, *id, tenant, state.last_seq)?;
            }
        }
        Ok(())
    }

    fn seal(
        &mut self,
        id: LogId,
        seal: &Seal,
        group: &mut Group,
    ) -> Result<Result<bool, BackendError>, StoreError> {
        let Some(head) = self.heads.get_mut(&id) else {
            return Ok(Err(BackendError::NotFound));
        };
        if head.seal.is_some() {
            return Ok(Ok(false));
        }
        group.undo.push(Undo::Head(id, Some(head.clone())));
        head.seal = Some(seal.clone());
        store::update_log(&self.db, &head.row())?;
        Ok(Ok(true))
    }

    /// Moves the beginning of a log; the rows are deleted later.
    pub(super) fn trim(
        &mut self,
        id: LogId,
        before: Position,
        group: &mut Group,
    ) -> Result<Result<bool, BackendError>, StoreError> {
        let Some(head) = self.heads.get_mut(&id) else {
            return Ok(Err(BackendError::NotFound));
        };
        let before = before.min(head.latest);
        if before <= head.oldest {
            return Ok(Ok(false));
        }
        group.undo.push(Undo::Head(id, Some(head.clone())));
        head.oldest = before;
        store::update_log(&self.db, &head.row())?;
        store::leave_garbage(&self.db, id, Some(before))?;
        self.has_garbage = true;
        Ok(Ok(true))
    }

    /// Deletes a log; its rows are deleted later.
    fn remove(&mut self, key: &SessionKey, group: &mut Group) -> Result<bool, StoreError> {
        let Some(id) = self.find(key, group)? else {
            return Ok(false);
        };
        store::delete_log(&self.db, id)?;
        store::leave_garbage(&self.db, id, None)?;
        self.has_garbage = true;
        // What is being put together is not written.
        group.rows.remove(&id);
        group.undo.push(Undo::Head(id, self.heads.remove(&id)));
        let before = self.ids.remove(key);
        group.undo.push(Undo::Id(key.clone(), before));
        Ok(true)
    }
}

impl Head {
    /// The log as it is stored.
    fn row(&self) -> LogRow {
        LogRow {
            id: self.shared.id,
            tenant: self.tenant,
            key: (*self.shared.key).clone(),
            epoch: self.shared.epoch,
            oldest: self.oldest,
            latest: self.latest,
            seal: self.seal.clone(),
            attributes: self.shared.attributes.clone(),
        }
    }
}

fn insert_row(
    db: &rusqlite::Connection,
    log: LogId,
    tenant: TenantId,
    low: Seq,
    row: &PendingRow,
) -> Result<(), StoreError> {
    let PendingRow {
        first,
        count,
        at,
        body,
    } = row;
    let batch = NewBatch {
        log,
        tenant,
        first: *first,
        count: *count,
        low,
        at: *at,
        body,
    };
    store::insert_batch(db, &batch)
}

/// Where each entry goes, if it may go there.
fn place(head: &Head, state: &TenantState, batch: &Batch) -> Result<Vec<Slot>, AppendError> {
    let (mut position, mut seq) = (head.latest, state.last_seq);
    let mut in_batch: HashMap<&str, (u64, Slot)> = HashMap::new();
    let mut slots = Vec::with_capacity(batch.entries.len());
    for entry in &batch.entries {
        let known = entry.key.as_ref().and_then(|key| {
            let stored = state.keys.get(batch.log.id, &key.key).map(|known| {
                let slot = Slot {
                    position: known.position,
                    seq: known.seq,
                    deduplicated: true,
                };
                (known.fingerprint, slot)
            });
            stored.or_else(|| in_batch.get(&*key.key).copied())
        });
        slots.push(match (&entry.key, known) {
            (Some(key), Some((fingerprint, _))) if fingerprint != key.fingerprint => {
                return Err(AppendError::IdempotencyConflict {
                    key: key.key.clone(),
                });
            }
            (_, Some((_, slot))) => slot,
            (key, None) => {
                seq = seq.next();
                let slot = Slot {
                    position,
                    seq,
                    deduplicated: false,
                };
                position = position.next();
                if let Some(key) = key {
                    let repeated = Slot {
                        deduplicated: true,
                        ..slot
                    };
                    in_batch.insert(&key.key, (key.fingerprint, repeated));
                }
                slot
            }
        });
    }
    // A batch that is known as a whole is answered whatever has happened since.
    if position == head.latest {
        return Ok(slots);
    }
    if let Some(Seal { reason, .. }) = head.seal {
        return Err(AppendError::Sealed { reason });
    }
    match batch.expected {
        Some(expected) if expected != head.latest => Err(AppendError::PositionConflict {
            expected,
            actual: head.latest,
        }),
        _ => Ok(slots),
    }
}
