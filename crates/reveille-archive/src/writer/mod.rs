//! The one thread that writes.
//!
//! It takes all that was asked for while the last commit was under way, makes one transaction of it, and
//! answers when that is committed. The thread knows where each open log ends, which keys are known and
//! which numbers come next; what a failed transaction changed of that is taken back ([`undo`]), and each
//! of its changes is tried again by itself, so that one that cannot be stored fails alone.

mod apply;
mod command;
mod retain;
mod show;
mod undo;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use reveille_backend::Seal;
use reveille_core::WakeBatch;
use reveille_types::{Position, Seq, SessionKey, Tenant};
use rusqlite::Connection;

use crate::error::StoreError;
use crate::keys::{Keys, Times};
use crate::maintenance::Maintenance;
use crate::options::{ArchiveDurability, Retention};
use crate::shared::Shared;
use crate::store::{self, LogId, TenantId};

pub(crate) use command::{Answer, Batch, Change, Command, Encoded, Failure, NewPlace, ShownBatch};
use undo::{Group, Undo};

/// Most changes in one transaction.
const GROUP_CHANGES: usize = 1024;
/// Most bytes in one transaction, one change aside.
const GROUP_BYTES: usize = 8 * 1024 * 1024;
/// Rows that are deleted at once, so that nobody waits long for it.
const GARBAGE_ROWS: u32 = 256;
/// Of the time that the last commit took, the part that the next one waits for those who were answered by it,
/// and how long at most.
const TOGETHER: (u32, Duration) = (4, Duration::from_millis(2));
/// How often the thread looks whether something is to be dropped when nothing is asked for.
const IDLE: Duration = Duration::from_millis(500);

/// What the writer knows of a tenant.
#[derive(Debug)]
struct TenantState {
    id: TenantId,
    last_seq: Seq,
    keys: Keys,
}

/// What the writer knows of a log that somebody has open.
#[derive(Debug, Clone)]
struct Head {
    shared: Arc<Shared>,
    tenant: TenantId,
    oldest: Position,
    latest: Position,
    seal: Option<Seal>,
    /// What its events take, if that is bounded.
    bytes: u64,
}

/// The writer: what it writes to, and what it knows.
#[derive(Debug)]
pub(crate) struct Writer {
    db: Connection,
    retention: Retention,
    maintenance: Maintenance,
    times: Times,
    tenants: HashMap<Tenant, TenantState>,
    ids: HashMap<SessionKey, LogId>,
    heads: HashMap<LogId, Head>,
    /// With so many heads it is looked who has none open any more.
    sweep_at: usize,
    /// Rows of keys that are forgotten.
    forgotten: Vec<i64>,
    has_garbage: bool,
    looked_for_age: Option<Instant>,
    /// A sync has failed: nothing may be written any more.
    is_failed: bool,
}

impl Writer {
    /// Reads what it must know.
    pub(crate) fn new(
        db: Connection,
        retention: Retention,
        maintenance: Maintenance,
        times: Times,
    ) -> Result<Self, StoreError> {
        let mut tenants = HashMap::new();
        let mut names = HashMap::new();
        for (id, tenant, last_seq) in store::tenants(&db)? {
            names.insert(id, tenant.clone());
            let keys = Keys::default();
            tenants.insert(tenant, TenantState { id, last_seq, keys });
        }
        store::keys(&db, |tenant, key| {
            let tenant = names.get(&tenant).and_then(|name| tenants.get_mut(name));
            if let Some(tenant) = tenant {
                tenant.keys.insert(key);
            }
        })?;
        let mut forgotten = Vec::new();
        let now = times.unix_millis(Instant::now());
        for tenant in tenants.values_mut() {
            tenant.keys.expire(now, &mut forgotten);
        }
        Ok(Self {
            db,
            retention,
            maintenance,
            times,
            tenants,
            ids: HashMap::new(),
            heads: HashMap::new(),
            sweep_at: 1024,
            forgotten,
            has_garbage: true,
            looked_for_age: None,
            is_failed: false,
        })
    }

    /// Works until nobody can ask for anything any more.
    pub(crate) fn run(mut self, commands: &Receiver<Command>, mut pace: Pace) {
        loop {
            let wait = match self.has_chores() {
                true => Duration::ZERO,
                false => IDLE,
            };
            match commands.recv_timeout(wait) {
                Ok(first) => {
                    let group = pace.gather(first, commands);
                    let (count, begun) = (group.len(), Instant::now());
                    self.commit_all(group);
                    pace.note(count, begun.elapsed());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.do_chores();
            self.sweep();
        }
    }

    fn commit_all(&mut self, mut commands: Vec<Command>) {
        if commands.len() > 1 {
            match self.transact(&commands) {
                Ok(answers) => return answer(commands, answers),
                // Nothing more can be learned by trying again.
                Err(StoreError::SyncFailed) => return self.fail_unknown(commands),
                Err(_) => {}
            }
        }
        for command in commands.drain(..) {
            let one = [command];
            match self.transact(&one) {
                Ok(answers) => answer(one, answers),
                Err(StoreError::SyncFailed) if !self.is_failed => self.fail_unknown(one),
                Err(error) => {
                    for command in one {
                        let failure = Failure::Store(error_again(&error).into());
                        let _ = command.reply.send(Err(failure));
                    }
                }
            }
        }
    }

    /// A sync failed while the commands were being committed.
    fn fail_unknown(&mut self, commands: impl IntoIterator<Item = Command>) {
        self.is_failed = true;
        self.maintenance.failed.store(true, Ordering::Release);
        for command in commands {
            let failure = match command.change {
                Change::Append(_) => Failure::Unknown,
                _ => Failure::Store(StoreError::SyncFailed.into()),
            };
            let _ = command.reply.send(Err(failure));
        }
    }

    /// Makes one transaction of the commands, and shows what it changed once it is committed.
    fn transact(&mut self, commands: &[Command]) -> Result<Vec<Answer>, StoreError> {
        if self.is_failed || self.maintenance.failed.load(Ordering::Acquire) {
            self.is_failed = true;
            return Err(StoreError::SyncFailed);
        }
        self.db.prepare_cached("begin immediate")?.execute([])?;
        let mut group = Group::default();
        let done = self.apply_all(commands, &mut group).and_then(|answers| {
            self.db.prepare_cached("commit")?.execute([])?;
            Ok(answers)
        });
        if done.is_err() {
            self.undo(group.undo);
            // Some errors have ended the transaction already.
            if !self.db.is_autocommit() {
                let _ = self.db.prepare_cached("rollback")?.execute([]);
            }
            return done;
        }
        let mut batch = WakeBatch::new();
        self.publish(&group.undo, &mut batch);
        self.maintenance
            .wrote(commands.iter().map(|c| c.change.weight()).sum());
        self.expire_keys(commands);
        batch.wake_all();
        done
    }

    fn apply_all(
        &mut self,
        commands: &[Command],
        group: &mut Group,
    ) -> Result<Vec<Answer>, StoreError> {
        let mut answers = Vec::with_capacity(commands.len());
        for command in commands {
            answers.push(self.apply(&command.change, group)?);
        }
        self.write_rows(group)?;
        self.retain(group)?;
        Ok(answers)
    }

    /// Takes back what a transaction changed here, the last change first.
    fn undo(&mut self, undo: Vec<Undo>) {
        for undo in undo.into_iter().rev() {
            match undo {
                Undo::Head(id, Some(head)) => drop(self.heads.insert(id, head)),
                Undo::Head(id, None) => drop(self.heads.remove(&id)),
                Undo::Id(key, Some(id)) => drop(self.ids.insert(key, id)),
                Undo::Id(key, None) => drop(self.ids.remove(&key)),
                Undo::Seq(tenant, last) => {
                    if let Some(state) = self.tenants.get_mut(&tenant) {
                        state.last_seq = last;
                    }
                }
                Undo::Key(tenant) => {
                    if let Some(state) = self.tenants.get_mut(&tenant) {
                        state.keys.remove_newest();
                    }
                }
                Undo::Tenant(tenant) => drop(self.tenants.remove(&tenant)),
            }
        }
    }

    /// Shows what was committed to those who have handles.
    fn publish(&self, changed: &[Undo], batch: &mut WakeBatch) {
        for undo in changed {
            let Undo::Head(id, before) = undo else {
                continue;
            };
            match (self.heads.get(id), before) {
                (Some(head), _) => {
                    let Head {
                        shared,
                        oldest,
                        latest,
                        seal,
                        ..
                    } = head;
                    shared.publish(*oldest, *latest, seal.as_ref(), batch);
                }
                (None, Some(before)) => before.shared.remove(batch),
                (None, None) => {}
            }
        }
    }

    fn expire_keys(&mut self, commands: &[Command]) {
        let appends = commands.iter().filter_map(|c| match &c.change {
            Change::Append(batch) => Some(batch),
            _ => None,
        });
        // Once for each tenant would do; what is looked at is the front of a queue.
        for batch in appends {
            if let Some(state) = self.tenants.get_mut(&batch.log.key.tenant) {
                state.keys.expire(batch.at, &mut self.forgotten);
            }
        }
    }

    /// Lets go of logs that nobody has open.
    fn sweep(&mut self) {
        if self.heads.len() < self.sweep_at {
            return;
        }
        let ids = &mut self.ids;
        self.heads.retain(|_, head| {
            // Besides this one nobody has it, and only this thread hands it out.
            let is_open = Arc::strong_count(&head.shared) > 1;
            if !is_open {
                ids.remove(&*head.shared.key);
            }
            is_open
        });
        self.sweep_at = (self.heads.len() * 2).max(1024);
    }
}

/// How many commands come together, by the last transactions.
///
/// Whoever appends one event after the other is back soon after the answer, but not when the thread looks for
/// the next command: without a wait, every other sync would be for the first few alone. A transaction that is
/// not synced costs less than the wait.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    syncs: bool,
    /// As many as may come again.
    expected: usize,
    /// So long they are waited for.
    wait: Duration,
}

impl Pace {
    pub(crate) fn of(durability: ArchiveDurability) -> Self {
        Self {
            syncs: durability == ArchiveDurability::Fsync,
            ..Self::default()
        }
    }

    /// What goes into the next transaction: the first command, all that came meanwhile, and what comes within a
    /// part of the time that a transaction takes, if as many are expected.
    fn gather(&self, first: Command, commands: &Receiver<Command>) -> Vec<Command> {
        let mut bytes = first.change.weight();
        let mut group = vec![first];
        let begun = Instant::now();
        while group.len() < GROUP_CHANGES && bytes < GROUP_BYTES {
            match commands.try_recv() {
                Ok(command) => {
                    bytes += command.change.weight();
                    group.push(command);
                }
                Err(_) if group.len() >= self.expected || begun.elapsed() >= self.wait => break,
                // Shorter than it would take to be woken.
                Err(_) => std::thread::yield_now(),
            }
        }
        group
    }

    /// Takes note of a transaction.
    fn note(&mut self, count: usize, took: Duration) {
        // Of those who do not come again some are forgotten each time.
        self.expected = count.max(self.expected / 2);
        if self.syncs {
            self.wait = (took / TOGETHER.0).min(TOGETHER.1);
        }
    }
}

fn answer(commands: impl IntoIterator<Item = Command>, answers: Vec<Answer>) {
    for (command, answer) in commands.into_iter().zip(answers) {
        // Whoever asked may have gone.
        let _ = command.reply.send(Ok(answer));
    }
}

/// The same error for another command.
fn error_again(error: &StoreError) -> StoreError {
    match error {
        StoreError::DiskFull => StoreError::DiskFull,
        StoreError::SyncFailed => StoreError::SyncFailed,
        StoreError::Damaged { place } => StoreError::damaged(place.clone()),
        StoreError::Closed => StoreError::Closed,
        StoreError::Database(error) => StoreError::Database(match error.sqlite_error() {
            Some(code) => rusqlite::Error::SqliteFailure(*code, Some(error.to_string())),
            None => rusqlite::Error::InvalidQuery,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    fn command() -> Command {
        let key = SessionKey::in_tenant(Tenant::default_tenant(), "s");
        let key = key.unwrap_or_else(|e| panic!("{e}"));
        let (reply, _) = tokio::sync::oneshot::channel();
        let room = Arc::new(tokio::sync::Semaphore::new(1));
        Command {
            change: Change::Remove(key),
            reply,
            _permit: room.try_acquire_owned().unwrap_or_else(|e| panic!("{e}")),
        }
    }

    #[test]
    fn those_who_come_again_are_waited_for_and_nobody_else() {
        let (send, commands) = channel();
        let pace = Pace {
            syncs: true,
            expected: 2,
            wait: Duration::from_secs(60),
        };
        let late = std::thread::spawn(move || {
            let _ = send.send(command());
            send
        });
        assert_eq!(pace.gather(command(), &commands).len(), 2);
        let kept = late.join();
        let alone = Pace {
            expected: 1,
            ..pace
        };
        let begun = Instant::now();
        assert_eq!(alone.gather(command(), &commands).len(), 1);
        assert!(begun.elapsed() < alone.wait);
        drop(kept);
    }

    #[test]
    fn a_wait_is_short_and_its_reason_is_forgotten() {
        let mut pace = Pace::of(ArchiveDurability::Os);
        pace.note(64, Duration::from_micros(400));
        assert_eq!(pace.wait, Duration::ZERO);
        let mut pace = Pace::of(ArchiveDurability::Fsync);
        pace.note(64, Duration::from_micros(400));
        assert_eq!((pace.expected, pace.wait), (64, Duration::from_micros(100)));
        pace.note(1, Duration::from_secs(60));
        assert_eq!((pace.expected, pace.wait), (32, TOGETHER.1));
        for _ in 0..5 {
            pace.note(1, Duration::ZERO);
        }
        assert_eq!((pace.expected, pace.wait), (1, Duration::ZERO));
    }
}
