//! What the groups of a stored session have done, in a log of its own beside the session's.
//!
//! Every step of a group is an event of that log, appended where it is expected to end: whoever appends
//! has seen all steps before, so that of two processes that want the same event one learns that it is
//! gone. All processes replay the same steps in the same order, and a process that comes later, or back,
//! replays them, too. So takes are exclusive and leases outlive their process on every store, and a
//! store needs nothing for it but compare-and-append.
//!
//! The log's address is not one that anybody can ask for: in the reserved namespace, of a tenant of its
//! own for each tenant, because the steps are not events of the tenant and count nothing in its order.

mod step;

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use reveille_backend::{
    AppendError as StoreError, AppendOptions, Backend, BackendError, Incarnation, LogHandle,
    OpenOptions, ReadLimit, StoredLog,
};
use reveille_core::WakeBatch;
use reveille_types::{
    Epoch, Event, Fingerprint, Invalid, Namespace, Position, SessionId, SessionKey, Source, Tenant,
};

use crate::error::StoreFailure;
use crate::log::{SessionLog, Shared};
use crate::runtime;
use crate::state::SessionState;
use crate::stored::append_settled;

pub(crate) use step::{Did, KeptLease, Record, Snapshot};

/// What is read at once.
const READ: ReadLimit = ReadLimit {
    events: 1_000,
    bytes: 4 * 1024 * 1024,
};
/// After so many steps all that was done is written down at once, and the steps are let go of.
const SNAPSHOT_EVERY: u64 = 1_000;
/// How long to wait after the store failed.
const PAUSE: Duration = Duration::from_secs(1);

/// The log of a session's groups.
#[derive(Debug)]
pub(crate) struct GroupLog {
    stored: Arc<dyn StoredLog>,
    source: Source,
    /// Held while a step is appended or others are replayed, so that steps are replayed in order and what
    /// this process appends is never taken for somebody else's.
    turn: runtime::Mutex<()>,
    /// Replays what others append.
    following: OnceLock<runtime::AbortHandle>,
}

impl Drop for GroupLog {
    fn drop(&mut self) {
        if let Some(following) = self.following.get() {
            following.abort();
        }
    }
}

/// Where the groups of an incarnation of a session are kept.
fn address(session: &SessionKey, epoch: Epoch) -> Result<SessionKey, Invalid> {
    let tenant = Fingerprint::of(session.tenant.as_str());
    let name = Fingerprint::of(&session.name());
    Ok(SessionKey::new(
        Tenant::parse(format!("~groups.{tenant:016x}"))?,
        Namespace::parse(Namespace::SYSTEM)?,
        // Two sessions of one epoch differ in their names.
        SessionId::parse(format!("{epoch}.{name:016x}"))?,
    ))
}

/// Removes what the groups of an incarnation of a session have done.
pub(crate) async fn remove(
    backend: &dyn Backend,
    session: &SessionKey,
    epoch: Epoch,
) -> Result<(), BackendError> {
    if let Ok(address) = address(session, epoch) {
        backend.remove(&address).await?;
    }
    Ok(())
}

impl SessionLog {
    /// Learns what the groups of a stored session have done so far, in this process and in others, so
    /// that [`group_info`](Self::group_info) and [`dead_letters`](Self::dead_letters) know it. Taking
    /// and settling do so by themselves.
    ///
    /// # Errors
    /// [`StoreFailure`].
    ///
    /// # Cancel safety
    /// A dropped future changes nothing.
    pub async fn load_groups(&self) -> Result<(), StoreFailure> {
        if let Some(groups) = self.open_groups(Incarnation::Current).await? {
            let _turn = groups.turn.lock().await;
            self.replay(&*groups.stored).await?;
        }
        Ok(())
    }

    /// The log of the groups. There may be none, unless a new one is asked for. `None` for a session
    /// that is not stored, too.
    pub(crate) async fn open_groups(
        &self,
        incarnation: Incarnation,
    ) -> Result<Option<&GroupLog>, StoreFailure> {
        let Some(stored) = &self.0.stored else {
            return Ok(None);
        };
        if let Some(groups) = stored.groups.get() {
            return Ok(Some(groups));
        }
        let _one = stored.opening_groups.lock().await;
        if let Some(groups) = stored.groups.get() {
            return Ok(Some(groups));
        }
        let corrupt = |_| self.corrupt("the name of its groups");
        let address = address(&self.0.key, self.0.epoch).map_err(corrupt)?;
        let options = OpenOptions::new(incarnation, self.0.epoch);
        let opened = match stored.backend.open(&address, options).await {
            Err(BackendError::NotFound) if incarnation == Incarnation::Current => return Ok(None),
            opened => opened?,
        };
        let LogHandle::Stored(log) = opened.log else {
            return Err(self.corrupt("the kind of its logs").into());
        };
        self.replay(&*log).await?;
        let groups = stored.groups.get_or_init(|| GroupLog {
            stored: log,
            source: Source::of_session(&address),
            turn: runtime::Mutex::default(),
            following: OnceLock::new(),
        });
        let following = follow(Arc::downgrade(&self.0));
        // The groups are opened once, so the place is free.
        let _ = groups.following.set(runtime::spawn(following));
        Ok(Some(groups))
    }

    pub(crate) fn unavailable(&self, why: &'static str) -> BackendError {
        BackendError::Unavailable {
            backend: self.0.environment.backend,
            source: why.into(),
        }
    }

    fn corrupt(&self, place: &str) -> BackendError {
        BackendError::Corrupt {
            backend: self.0.environment.backend,
            place: format!("session {:?}: {place}", self.0.key.name()),
        }
    }

    /// Replays what follows in the log of the groups.
    async fn replay(&self, log: &dyn StoredLog) -> Result<(), BackendError> {
        loop {
            let from = self.0.state.lock().steps;
            let page = log.read(from, READ).await?;
            if page.events.is_empty() {
                return Ok(());
            }
            // The events that the steps speak of were appended before.
            if let Some(stored) = &self.0.stored {
                while self.catch_up(&*stored.log).await? {}
            }
            let mut records = Vec::with_capacity(page.events.len());
            for event in &page.events {
                let record = Record::read(event.payload());
                records.push(record.ok_or_else(|| self.corrupt("a step of its groups"))?);
            }
            self.apply_records(&page.events, &records, page.oldest > from);
        }
    }

    /// Replays records. What was missed must be in the snapshot that follows, or else is lost.
    fn apply_records(&self, events: &[Event], records: &[Record], missed: bool) {
        let now = self.now().with_wall();
        let is_snapshot = |record: &Record| matches!(record, Record::Snapshot(_));
        let snapshot = match missed {
            true => records.iter().position(is_snapshot),
            false => None,
        };
        let mut batch = WakeBatch::new();
        let mut state = self.0.state.lock();
        for (at, record) in records
            .iter()
            .enumerate()
            .skip(snapshot.unwrap_or_default())
        {
            match record {
                Record::Snapshot(groups) if snapshot == Some(at) => {
                    state.restore_groups(groups, now, &mut batch);
                }
                // It tells what has been replayed.
                Record::Snapshot(_) => {}
                Record::Step { group, did } => state.replay(group, did, now, &mut batch),
            }
        }
        if let Some(last) = events.last() {
            state.steps = last.position().next();
        }
        state.touch(now);
        self.remind(&mut state);
    }

    /// Learns what others have published, and what their groups have done.
    pub(crate) async fn look_again(&self, groups: &GroupLog) -> Result<(), BackendError> {
        let _turn = groups.turn.lock().await;
        if let Some(stored) = &self.0.stored {
            self.catch_up(&*stored.log).await?;
        }
        self.replay(&*groups.stored).await
    }

    /// Appends a step, once it has seen all steps before: `decide` says which, or that there is none any
    /// more, and `done` is told under the same lock that it is stored. That there is none is believed only
    /// of a state that knows what others had done when it was asked for.
    pub(crate) async fn append_step<C, R>(
        &self,
        groups: &GroupLog,
        context: &mut C,
        mut decide: impl FnMut(&mut C, &mut SessionState) -> Result<Record, R>,
        done: impl FnOnce(&mut C, &mut SessionState, &mut WakeBatch) -> R,
    ) -> Result<R, StoreFailure> {
        let _turn = groups.turn.lock().await;
        let id = self.0.environment.ids.uuid(self.now().wall());
        let mut is_fresh = false;
        loop {
            let now = self.now();
            let decided = {
                let mut batch = WakeBatch::new();
                let mut state = self.lock_due(now, &mut batch);
                decide(context, &mut state).map(|record| (record, state.steps))
            };
            let (record, expected) = match decided {
                Ok(step) => step,
                Err(answer) if is_fresh => return Ok(answer),
                Err(_) => {
                    self.replay(&*groups.stored).await?;
                    is_fresh = true;
                    continue;
                }
            };
            match self
                .append_record(groups, &record, id.into(), expected)
                .await
            {
                Ok(()) => {}
                Err(StoreError::PositionConflict { .. }) => {
                    self.replay(&*groups.stored).await?;
                    is_fresh = true;
                    continue;
                }
                Err(error) => return Err(StoreFailure::refused(error)),
            }
            let answer = {
                let mut batch = WakeBatch::new();
                let mut state = self.0.state.lock();
                state.steps = expected.next();
                state.touch(now);
                let answer = done(context, &mut state, &mut batch);
                state.settled(&mut batch);
                self.remind(&mut state);
                answer
            };
            self.write_down(groups, expected).await;
            return Ok(answer);
        }
    }

    async fn append_record(
        &self,
        groups: &GroupLog,
        record: &Record,
        id: reveille_types::EventId,
        expected: Position,
    ) -> Result<(), StoreError> {
        let now = self.now();
        let entry = record.entry(id, &groups.source, now);
        let entry = entry.map_err(|_| self.corrupt("a step of its groups"))?;
        let mut options = AppendOptions::at(now.monotonic);
        options.expected = Some(expected);
        append_settled(&*groups.stored, &[entry], options).await?;
        Ok(())
    }

    /// Writes down all that was done, now and then, and lets go of the steps. Later, if it fails.
    async fn write_down(&self, groups: &GroupLog, last: Position) {
        if !(last.0 + 1).is_multiple_of(SNAPSHOT_EVERY) {
            return;
        }
        let (record, expected) = {
            let state = self.0.state.lock();
            (
                Record::Snapshot(state.snapshot_groups(self.now())),
                state.steps,
            )
        };
        let id = self.0.environment.ids.uuid(self.now().wall());
        let appended = self.append_record(groups, &record, id.into(), expected);
        if appended.await.is_ok() {
            self.0.state.lock().steps = expected.next();
            // What is not let go of now is with the next snapshot.
            let _ = groups.stored.trim(expected).await;
        }
    }
}

/// Replays what other processes append, until the session is dropped or removed.
async fn follow(session: Weak<Shared>) {
    loop {
        match follow_once(&session).await {
            Ok(true) => {}
            Ok(false) | Err(BackendError::NotFound) => return,
            Err(_) => runtime::sleep(PAUSE).await,
        }
    }
}

async fn follow_once(session: &Weak<Shared>) -> Result<bool, BackendError> {
    let watch = {
        let Some(log) = session.upgrade().map(SessionLog) else {
            return Ok(false);
        };
        let Some(groups) = log.0.stored.as_ref().and_then(|stored| stored.groups.get()) else {
            return Ok(false);
        };
        let _turn = groups.turn.lock().await;
        log.replay(&*groups.stored).await?;
        let steps = log.0.state.lock().steps;
        groups.stored.watch(steps).await?
    };
    watch.await?;
    Ok(true)
}
