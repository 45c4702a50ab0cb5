//! Stored sessions that nobody has open here: letting go of those that are over, and forgetting what
//! others have removed.
//!
//! Time passes for them as if they had been opened when this process first saw them as they are: an end
//! counts from there, and so does silence. What happens elsewhere is not seen in the store if it is no
//! event, so on a store that others share silence ends nothing: whoever has the session open sees to it.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use foldhash::quality::RandomState;
use reveille_backend::{
    BackendError, Incarnation, ListOptions, LogHandle, OpenOptions, Opened, Seal, StoredLog,
};
use reveille_core::WakeBatch;
use reveille_core::sync::Mutex;
use reveille_types::{EndReason, Epoch, SessionKey, Tenant};

use crate::error::SessionError;
use crate::group_log;
use crate::options::SessionOptions;
use crate::runtime;
use crate::sessions::{STORED_PAGE, Sessions};
use crate::state::Terms;

/// Most sessions of a tenant that one sweep looks at, and most that it makes sure are gone. Others wait
/// for the next one.
const LOOKS: usize = 1_000;
/// Most sessions of a tenant of which is remembered when to look at them again.
const KNOWN: usize = 1_000_000;

/// What a sweep of the store did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SweptStored {
    /// Sessions that nobody has open here and that ended: silent for too long, or too old.
    pub ended: usize,
    /// Ended sessions whose retention was over, and which the store does not have any more.
    pub removed: usize,
    /// Incarnations that others have removed and that were still shown here.
    pub forgotten: usize,
}

/// What is known of sessions that are not open here.
#[derive(Debug, Default)]
pub(crate) struct Unopened {
    /// Whose sessions are looked after.
    tenants: Mutex<BTreeSet<Tenant>>,
    known: Mutex<HashMap<Tenant, HashMap<u64, Known>>>,
    /// Keys are known by their hashes, which take little room.
    hasher: RandomState,
    /// One sweep at a time.
    turn: runtime::Mutex<()>,
    /// Held by whoever opens a session until it can be found, and alone by whoever ends one that is not
    /// open.
    pub(crate) opening: runtime::RwLock<()>,
}

/// A session as it was when it was last looked at.
#[derive(Debug, Clone, Copy)]
struct Known {
    epoch: Epoch,
    is_over: bool,
    /// When it was first seen like that.
    since: Instant,
    look_at: Instant,
    /// It was open here until its retention was over.
    was_open: bool,
}

impl Known {
    /// Whether its retention is over, as far as that is known.
    fn is_gone(&self, now: Instant) -> bool {
        self.is_over && self.look_at <= now
    }
}

impl Unopened {
    pub(crate) fn look_after(&self, tenant: &Tenant) {
        let mut tenants = self.tenants.lock();
        if !tenants.contains(tenant) {
            tenants.insert(tenant.clone());
        }
    }

    /// A session whose retention was over here, at this time: the next sweep removes it.
    pub(crate) fn note_gone(&self, key: &SessionKey, epoch: Epoch, now: Instant, terms: &Terms) {
        let known = Known {
            epoch,
            is_over: true,
            since: now.checked_sub(terms.retention).unwrap_or(now),
            look_at: now,
            was_open: true,
        };
        self.note(key, known);
    }

    fn note(&self, key: &SessionKey, known: Known) {
        let id = self.hasher.hash_one(key);
        let mut all = self.known.lock();
        let of_tenant = all.entry(key.tenant.clone()).or_default();
        let is_full = of_tenant.len() >= KNOWN;
        match of_tenant.entry(id) {
            Entry::Occupied(mut present) => *present.get_mut() = known,
            Entry::Vacant(free) if !is_full => drop(free.insert(known)),
            Entry::Vacant(_) => {}
        }
    }

    fn get(&self, key: &SessionKey) -> Option<Known> {
        let id = self.hasher.hash_one(key);
        self.known.lock().get(&key.tenant)?.get(&id).copied()
    }

    fn forget(&self, key: &SessionKey) {
        let id = self.hasher.hash_one(key);
        if let Some(of_tenant) = self.known.lock().get_mut(&key.tenant) {
            of_tenant.remove(&id);
        }
    }

    /// Forgets the sessions of a tenant that are not among these.
    fn retain(&self, tenant: &Tenant, listed: &HashSet<u64>) {
        if let Some(of_tenant) = self.known.lock().get_mut(tenant) {
            of_tenant.retain(|id, _| listed.contains(id));
        }
    }
}

impl Sessions {
    /// Looks after the stored sessions of this tenant from now on, as after those of each tenant of whom
    /// a session was opened here.
    pub fn look_after(&self, tenant: &Tenant) {
        self.0.unopened.look_after(tenant);
    }

    /// Does what is due to sessions in the store that nobody has open here: ends those that were silent
    /// or there for too long, lets go of ended ones whose retention is over, and forgets what other
    /// processes have removed. Time counts from when this process first saw a session as it is, the
    /// lifetime aside. Does nothing on an immediate backend. [`drive`](Self::drive) calls it, too.
    ///
    /// Several processes may do so to one store. There silence ends nothing, since use that is no event
    /// is not seen in the store.
    ///
    /// # Errors
    /// [`SessionError::Backend`]; what is left is done by the next sweep.
    ///
    /// # Cancel safety
    /// A dropped future has done some of it.
    pub async fn sweep_stored(&self) -> Result<SweptStored, SessionError> {
        let mut swept = SweptStored::default();
        if self.0.backend.capabilities().immediate {
            return Ok(swept);
        }
        let _turn = self.0.unopened.turn.lock().await;
        let tenants = self.0.unopened.tenants.lock().clone();
        for tenant in &tenants {
            self.sweep_tenant(tenant, &mut swept).await?;
        }
        Ok(swept)
    }

    async fn sweep_tenant(
        &self,
        tenant: &Tenant,
        swept: &mut SweptStored,
    ) -> Result<(), SessionError> {
        let unopened = &self.0.unopened;
        // What is shown now is stored now, so it is listed if nobody removes it.
        let mut unlisted = self.shown(tenant);
        let mut listed = HashSet::new();
        let mut looks = 0;
        let mut options = ListOptions::first(STORED_PAGE);
        loop {
            let page = self.0.backend.list(tenant, options.clone()).await?;
            for key in &page.keys {
                unlisted.remove(key);
                listed.insert(unopened.hasher.hash_one(key));
                if key.namespace.is_reserved() || self.has(key) {
                    continue;
                }
                let now = self.0.environment.now().monotonic;
                let is_due = unopened.get(key).is_none_or(|known| known.look_at <= now);
                if is_due && looks < LOOKS {
                    looks += 1;
                    match self.look(key, swept).await {
                        // What is damaged stays for whoever asks for it, and does not stop the others.
                        Err(error) if !is_unavailable(&error) => self.look_later(key, now),
                        looked => looked?,
                    }
                }
            }
            options.after = page.keys.last().cloned();
            if !page.more || options.after.is_none() {
                break;
            }
        }
        unopened.retain(tenant, &listed);
        for (key, epochs) in unlisted.into_iter().take(LOOKS) {
            swept.forgotten += self.forget_removed(&key, &epochs).await?;
        }
        Ok(())
    }

    fn has(&self, key: &SessionKey) -> bool {
        self.0.table.lock().sessions.contains_key(key)
    }

    /// Looks at one session that is stored and not open here, and does what is due.
    async fn look(&self, key: &SessionKey, swept: &mut SweptStored) -> Result<(), SessionError> {
        let Some(opened) = self.stored(key).await? else {
            return Ok(());
        };
        let default = self.terms(&SessionOptions::default());
        let default = default.map_err(SessionError::InvalidOption)?;
        let now = self.0.environment.now().moment();
        let (terms, created) = self.agreed(&opened, default, now);
        let now = now.monotonic;
        let is_over = opened.seal.is_some();
        let before = self.0.unopened.get(key);
        let before = before.filter(|known| (known.epoch, known.is_over) == (opened.epoch, is_over));
        let since = before.map_or(now, |known| known.since);
        let after = |from: Instant, time: Duration| from.checked_add(time);
        let due = match is_over {
            true => after(since, terms.retention),
            false => {
                let is_shared = self.0.backend.capabilities().shared;
                let ttl = terms.ttl.filter(|_| !is_shared);
                let silent = ttl.and_then(|ttl| after(since, ttl));
                let old = terms
                    .lifetime
                    .and_then(|life| after(created.monotonic, life));
                silent.into_iter().chain(old).min()
            }
        };
        // An end elsewhere that is not seen before that is not over before that either.
        let next = after(now, terms.retention).unwrap_or(now);
        let mut known = Known {
            epoch: opened.epoch,
            is_over,
            since,
            look_at: due.map_or(next, |due| due.min(next)),
            was_open: before.is_some_and(|known| known.was_open),
        };
        if due.is_some_and(|due| due <= now) {
            let _alone = self.0.unopened.opening.write().await;
            if self.has(key) {
                return Ok(());
            }
            match &opened.log {
                LogHandle::Stored(log) if !is_over => {
                    swept.ended += usize::from(expire(&**log).await?);
                    (known.is_over, known.since, known.look_at) = (true, now, next);
                }
                _ => {
                    let removed = self.remove_over(key, known).await?;
                    swept.removed += usize::from(removed);
                    return Ok(());
                }
            }
        }
        self.0.unopened.note(key, known);
        Ok(())
    }

    /// The present incarnation in the store.
    async fn stored(&self, key: &SessionKey) -> Result<Option<Opened>, BackendError> {
        let options = OpenOptions::new(Incarnation::Current, self.new_epoch());
        match self.0.backend.open(key, options).await {
            Ok(opened) => Ok(Some(opened)),
            Err(BackendError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn remove_over(&self, key: &SessionKey, known: Known) -> Result<bool, BackendError> {
        let backend = &self.0.backend;
        group_log::remove(&**backend, key, known.epoch).await?;
        let removed = backend.remove_incarnation(key, known.epoch).await?;
        self.0.unopened.forget(key);
        if removed {
            // What was open here was counted when it left the table.
            let count = u64::from(!known.was_open);
            self.0.removed.fetch_add(count, Ordering::Relaxed);
            if let Some(tail) = self.tail(&key.tenant) {
                tail.forget(key, known.epoch);
            }
        }
        Ok(removed)
    }

    /// Looks at a session again after a while.
    fn look_later(&self, key: &SessionKey, now: Instant) {
        let known = Known {
            epoch: self.new_epoch(),
            is_over: false,
            since: now,
            look_at: now.checked_add(self.0.default_ttl).unwrap_or(now),
            was_open: false,
        };
        self.0.unopened.note(key, known);
    }

    /// Lets go of a session whose retention is over, so that whoever opens it next does not find it in
    /// the store.
    pub(crate) async fn let_go(&self, key: &SessionKey) -> Result<(), BackendError> {
        let now = self.0.environment.now().monotonic;
        let present = self.0.table.lock().sessions.get(key).cloned();
        if let Some(log) = present.filter(|log| self.is_gone(log)) {
            self.note_gone(&log, now);
        }
        let gone = || self.0.unopened.get(key).filter(|known| known.is_gone(now));
        if gone().is_none() {
            return Ok(());
        }
        let _alone = self.0.unopened.opening.write().await;
        // Somebody else may have been first.
        if let Some(known) = gone() {
            self.remove_over(key, known).await?;
        }
        Ok(())
    }

    /// The incarnations of a tenant that somebody else may have removed: of which events are shown, and
    /// which are open here.
    fn shown(&self, tenant: &Tenant) -> HashMap<Arc<SessionKey>, Vec<Epoch>> {
        let mut shown = match self.tail(tenant) {
            _ if !self.0.backend.capabilities().shared => return HashMap::new(),
            Some(tail) => tail.incarnations(),
            None => HashMap::new(),
        };
        for (key, log) in &self.0.table.lock().sessions {
            if key.tenant == *tenant {
                let epochs = shown.entry(Arc::clone(key)).or_default();
                if !epochs.contains(&log.epoch()) {
                    epochs.push(log.epoch());
                }
            }
        }
        shown
    }

    /// Forgets those of these incarnations that the store does not have. How many these are.
    async fn forget_removed(
        &self,
        key: &SessionKey,
        epochs: &[Epoch],
    ) -> Result<usize, BackendError> {
        let current = self.stored(key).await?.map(|opened| opened.epoch);
        let mut forgotten = 0;
        for &epoch in epochs.iter().filter(|&&epoch| Some(epoch) != current) {
            forgotten += 1;
            if let Some(tail) = self.tail(&key.tenant) {
                tail.forget(key, epoch);
            }
            let open = self.0.table.lock().sessions.get(key).cloned();
            let Some(log) = open.filter(|log| log.epoch() == epoch) else {
                continue;
            };
            if self.0.table.lock().remove_this(&log) {
                self.0.removed.fetch_add(1, Ordering::Relaxed);
            }
            let mut batch = WakeBatch::new();
            let mut state = log.0.state.lock();
            state.delete(log.now(), &mut batch);
        }
        Ok(forgotten)
    }
}

/// Ends a session that was silent or there for too long. Whether this call did.
async fn expire(log: &dyn StoredLog) -> Result<bool, BackendError> {
    let seal = Seal {
        reason: EndReason::Expired,
        message: None,
    };
    match log.seal(seal).await {
        Err(BackendError::NotFound) => Ok(false),
        sealed => sealed,
    }
}

fn is_unavailable(error: &SessionError) -> bool {
    matches!(
        error,
        SessionError::Backend(BackendError::Unavailable { .. })
    )
}
