//! `Sessions`: creates, finds and removes session logs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reveille_backend::{Backend, BackendError, Incarnation, OpenOptions, Opened};
use reveille_core::WakeBatch;
use reveille_core::sync::Mutex;
use reveille_types::{Epoch, Filter, FilterSpec, Invalid, SessionKey, Tenant};

use crate::builder::SessionsBuilder;
use crate::environment::Environment;
use crate::error::{ReadError, SessionError};
use crate::group_log;
use crate::kept;
use crate::log::{SessionLog, Shared};
use crate::options::{QueueLimits, SessionOptions};
use crate::reminders::Reminders;
use crate::state::{GroupTerms, Moment, Terms};
use crate::table::Table;
use crate::tail::Tail;
use crate::unopened::Unopened;
use crate::window::Bounds;

/// Sessions listed by a store at once.
pub(crate) const STORED_PAGE: usize = 1_000;

/// All sessions of one process. Cheap to clone; all clones are the same.
#[derive(Debug, Clone)]
pub struct Sessions(pub(crate) Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) environment: Arc<Environment>,
    pub(crate) default_ttl: Duration,
    /// What the last session was created with: most often the next one is, too.
    latest_terms: Mutex<Option<Arc<Terms>>>,
    pub(crate) table: Mutex<Table>,
    pub(crate) reminders: Arc<Reminders>,
    pub(crate) unopened: Unopened,
    /// How often the store is looked through; never if it is zero.
    pub(crate) sweep_stored: Duration,
    /// How many sessions were created here, and how many were removed or ran out of retention.
    pub(crate) created: AtomicU64,
    pub(crate) removed: AtomicU64,
}

impl Sessions {
    pub(crate) fn new(
        backend: Arc<dyn Backend>,
        environment: Environment,
        default_ttl: Duration,
        sweep_stored: Duration,
    ) -> Self {
        Self(Arc::new(Inner {
            backend,
            environment: Arc::new(environment),
            default_ttl,
            latest_terms: Mutex::default(),
            table: Mutex::default(),
            reminders: Arc::default(),
            unopened: Unopened::default(),
            sweep_stored,
            created: AtomicU64::new(0),
            removed: AtomicU64::new(0),
        }))
    }

    /// Sessions on this backend.
    #[must_use]
    pub fn builder(backend: impl Backend) -> SessionsBuilder {
        Self::on(Arc::new(backend))
    }

    /// Sessions on a backend that is shared or was chosen at run time.
    #[must_use]
    pub fn on(backend: Arc<dyn Backend>) -> SessionsBuilder {
        SessionsBuilder::on(backend)
    }

    /// The bounds in force.
    #[must_use]
    pub fn limits(&self) -> &QueueLimits {
        &self.0.environment.limits
    }

    /// A filter of kinds that are [known](SessionsBuilder::registry), by their present name or an older
    /// one, whichever an event was published under.
    ///
    /// # Errors
    /// [`ReadError::UnknownKind`] names the known kind that is most like the one that is not known;
    /// [`ReadError::InvalidOption`] when it is no filter at all.
    pub fn strict_filter(&self, spec: FilterSpec) -> Result<Filter, ReadError> {
        let registry = &self.0.environment.registry;
        registry
            .check_known(&spec)
            .map_err(ReadError::UnknownKind)?;
        Filter::compile(&registry.with_aliases(spec)).map_err(ReadError::InvalidOption)
    }

    /// The backend.
    #[must_use]
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.0.backend
    }

    /// All events of a tenant in one order: once it has had a session, and if the order is
    /// [kept](SessionsBuilder::tail).
    #[must_use]
    pub fn tail(&self, tenant: &Tenant) -> Option<Tail> {
        self.0.environment.tails.as_ref()?.get(tenant)
    }

    /// As [`tail`](Self::tail), for a tenant that may not have had a session yet. `None` if the order
    /// is not kept.
    ///
    /// # Errors
    /// [`SessionError::Backend`].
    ///
    /// # Cancel safety
    /// A dropped future has begun the order or has not.
    pub async fn tail_or_begin(&self, tenant: &Tenant) -> Result<Option<Tail>, SessionError> {
        let Some(tails) = &self.0.environment.tails else {
            return Ok(None);
        };
        if let Some(tail) = tails.get(tenant) {
            return Ok(Some(tail));
        }
        // No session of the tenant has been opened here yet, so nothing is appended meanwhile.
        let backend = &self.0.backend;
        let epoch = backend.order_epoch(tenant, self.new_epoch()).await?;
        let seq = backend.last_seq(tenant).await?;
        let tail = tails.get_or_begin(tenant, epoch, seq);
        self.0.unopened.look_after(tenant);
        tail.follow(backend, tenant);
        Ok(Some(tail))
    }

    /// How many sessions can be found, ended ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.table.lock().sessions.len()
    }

    /// Whether there is no session.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Finds a session, ended ones included while they are readable.
    ///
    /// # Errors
    /// [`SessionError::NotFound`].
    pub fn get(&self, key: &SessionKey) -> Result<SessionLog, SessionError> {
        let log = self.0.table.lock().sessions.get(key).cloned();
        match log {
            Some(log) if !self.is_gone(&log) => Ok(log),
            _ => Err(SessionError::not_found(key)),
        }
    }

    pub(crate) fn is_gone(&self, log: &SessionLog) -> bool {
        let now = self.0.environment.now();
        let mut batch = WakeBatch::new();
        log.lock_due(now, &mut batch).is_gone(now.monotonic)
    }

    /// Creates a session.
    ///
    /// # Errors
    /// [`SessionError::AlreadyExists`] when it is open, [`SessionError::Ended`] when it is over and
    /// still readable, [`SessionError::TooManySessions`], [`SessionError::InvalidOption`].
    ///
    /// # Cancel safety
    /// A dropped future has created the session or has not.
    pub async fn create(
        &self,
        key: SessionKey,
        options: SessionOptions,
    ) -> Result<SessionLog, SessionError> {
        let name = key.name();
        match self.open(key, options, Incarnation::CurrentOrNew).await? {
            (log, true) => Ok(log),
            (log, false) => Err(match &log.0.state.lock().ended {
                None => SessionError::AlreadyExists { name },
                Some(ended) => SessionError::Ended {
                    name,
                    reason: ended.reason,
                    at: ended.wall,
                },
            }),
        }
    }

    /// Finds a session or creates it, in one step: of any number of concurrent calls exactly one
    /// answers `true`. The options count only if it is created.
    ///
    /// # Errors
    /// [`SessionError::TooManySessions`], [`SessionError::InvalidOption`].
    ///
    /// # Cancel safety
    /// A dropped future has created the session or has not.
    pub async fn get_or_create(
        &self,
        key: SessionKey,
        options: SessionOptions,
    ) -> Result<(SessionLog, bool), SessionError> {
        self.open(key, options, Incarnation::CurrentOrNew).await
    }

    /// Starts a new incarnation of a session that is over, or creates it: a new epoch, so that old
    /// cursors are recognised.
    ///
    /// # Errors
    /// [`SessionError::AlreadyExists`] when it is open; otherwise as [`create`](Self::create).
    ///
    /// # Cancel safety
    /// A dropped future has started the incarnation or has not.
    pub async fn recreate(
        &self,
        key: SessionKey,
        options: SessionOptions,
    ) -> Result<SessionLog, SessionError> {
        let name = key.name();
        // What is open in the store only must not be replaced either.
        match self.find(&key).await {
            Ok(_) | Err(SessionError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        match self.open(key, options, Incarnation::New).await? {
            (log, true) => Ok(log),
            (_, false) => Err(SessionError::AlreadyExists { name }),
        }
    }

    async fn open(
        &self,
        key: SessionKey,
        options: SessionOptions,
        incarnation: Incarnation,
    ) -> Result<(SessionLog, bool), SessionError> {
        if key.namespace.is_reserved() {
            return Err(SessionError::ReservedNamespace {
                name: key.namespace.to_string(),
            });
        }
        let terms = self.terms(&options).map_err(SessionError::InvalidOption)?;
        if let Ok(log) = self.get(&key)
            && !replaces(&log, incarnation)
        {
            return Ok((log, false));
        }
        let tail = self.tail_or_begin(&key.tenant).await?;
        let epoch = self.new_epoch();
        let now = self.0.environment.now().moment();
        let opening =
            OpenOptions::new(incarnation, epoch).attributes(kept::text(&options, now.wall));
        let _opening = match self.0.backend.capabilities().immediate {
            true => None,
            false => {
                self.let_go(&key).await?;
                Some(self.0.unopened.opening.read().await)
            }
        };
        let opened = self.0.backend.open(&key, opening).await?;
        self.0.unopened.look_after(&key.tenant);
        let (terms, created_at) = self.agreed(&opened, terms, now);
        let (created, epoch, seal) = (opened.created, opened.epoch, opened.seal.clone());
        if incarnation == Incarnation::New
            && let Ok(before) = self.get(&key)
        {
            group_log::remove(&*self.0.backend, &key, before.epoch()).await?;
        }
        let shared = Shared::new(
            Arc::new(key.clone()),
            opened,
            terms,
            created_at,
            tail,
            &self.0,
        );
        let log = SessionLog(Arc::new(shared));
        log.0.budget.enter(&log.0);
        log.load(seal).await?;
        if !created {
            log.load_groups().await.map_err(SessionError::Store)?;
        }
        let (log, _) = self.insert(log, incarnation)?;
        // Another open of the same incarnation may have come into the table first.
        let created = created && log.epoch() == epoch;
        self.0
            .created
            .fetch_add(u64::from(created), Ordering::Relaxed);
        Ok((log, created))
    }

    /// Opens a tenant's sessions that are in the store and have not been opened here yet, so that they
    /// are [listed](Self::list). Does nothing on an immediate backend.
    ///
    /// # Errors
    /// [`SessionError`].
    ///
    /// # Cancel safety
    /// A dropped future has opened some of them.
    pub async fn open_stored(&self, tenant: &Tenant) -> Result<(), SessionError> {
        if self.0.backend.capabilities().immediate {
            return Ok(());
        }
        self.0.unopened.look_after(tenant);
        let mut options = reveille_backend::ListOptions::first(STORED_PAGE);
        loop {
            let page = self.0.backend.list(tenant, options.clone()).await?;
            for key in &page.keys {
                match self.find(key).await {
                    // Removed since it was listed.
                    Ok(_) | Err(SessionError::NotFound { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            options.after = page.keys.last().cloned();
            if !page.more || options.after.is_none() {
                return Ok(());
            }
        }
    }

    /// Finds a session as [`get`](Self::get), also one that is in the store and has not been opened
    /// here yet.
    ///
    /// # Errors
    /// [`SessionError::NotFound`], [`SessionError::Backend`].
    ///
    /// # Cancel safety
    /// A dropped future changes nothing.
    pub async fn find(&self, key: &SessionKey) -> Result<SessionLog, SessionError> {
        if let Ok(log) = self.get(key) {
            return Ok(log);
        }
        if self.0.backend.capabilities().immediate || key.namespace.is_reserved() {
            return Err(SessionError::not_found(key));
        }
        let options = SessionOptions::default();
        match self.open(key.clone(), options, Incarnation::Current).await {
            Ok((log, _)) => Ok(log),
            Err(SessionError::Backend(BackendError::NotFound)) => Err(SessionError::not_found(key)),
            Err(error) => Err(error),
        }
    }

    /// Puts an opened session into the table, unless somebody else was first.
    fn insert(
        &self,
        log: SessionLog,
        incarnation: Incarnation,
    ) -> Result<(SessionLog, bool), SessionError> {
        // A session that was replaced or evicted is dropped after the lock, and whoever waits in one
        // that is due is woken after it.
        let mut evicted = None;
        let replaced;
        let now = self.0.environment.now();
        let mut batch = WakeBatch::new();
        let mut table = self.0.table.lock();
        let present = table.sessions.get(log.key()).cloned();
        match present {
            Some(present) => {
                let gone = present.lock_due(now, &mut batch).is_gone(now.monotonic);
                if !gone && !replaces(&present, incarnation) {
                    return Ok((present, false));
                }
            }
            None => evicted = self.make_room(&mut table, &log.key().tenant)?,
        }
        replaced = table.insert(log.clone());
        drop(table);
        let removed = usize::from(evicted.is_some()) + usize::from(replaced.is_some());
        self.0.removed.fetch_add(removed as u64, Ordering::Relaxed);
        let mut state = log.0.state.lock();
        log.remind(&mut state);
        drop(state);
        Ok((log, true))
    }

    /// Makes room for one more session by letting go of an ended one, if it must be.
    fn make_room(
        &self,
        table: &mut Table,
        tenant: &Tenant,
    ) -> Result<Option<SessionLog>, SessionError> {
        let limits = &self.0.environment.limits;
        let full = |limit, scope| SessionError::TooManySessions { limit, scope };
        let of_tenant = table.per_tenant.get(tenant).copied().unwrap_or_default();
        let error = if of_tenant >= limits.sessions_per_tenant {
            full(limits.sessions_per_tenant, "for the tenant")
        } else if table.sessions.len() >= limits.sessions {
            full(limits.sessions, "in all")
        } else {
            return Ok(None);
        };
        let oldest_ended = table
            .sessions
            .iter()
            .filter(|(key, _)| key.tenant == *tenant)
            .filter_map(|(key, log)| Some((log.0.state.lock().ended.as_ref()?.at, key)))
            .min_by_key(|(at, _)| *at)
            .map(|(_, key)| key.clone());
        match oldest_ended {
            Some(key) => Ok(table.remove(&key)),
            None => Err(error),
        }
    }

    /// The options with the defaults filled in, which must be allowed as well.
    pub(crate) fn terms(&self, options: &SessionOptions) -> Result<Arc<Terms>, Invalid> {
        let limits = &self.0.environment.limits;
        let ttl = options.ttl.unwrap_or(self.0.default_ttl);
        let events = options.max_events.unwrap_or(limits.session_events);
        let bytes = options.max_bytes.unwrap_or(limits.session_bytes);
        let deliveries = options.max_deliveries.or(limits.max_deliveries);
        SessionOptions {
            ttl: Some(ttl),
            lifetime: options.lifetime,
            max_events: Some(events),
            max_bytes: Some(bytes),
            max_deliveries: deliveries,
        }
        .check()?;
        let never = ttl == Duration::MAX;
        let terms = Terms {
            ttl: (!never).then_some(ttl),
            lifetime: options.lifetime,
            retention: if never { self.0.default_ttl } else { ttl },
            bounds: Bounds { events, bytes },
            max_waiters: limits.waiters_per_session,
            max_groups: limits.groups_per_session,
            group: GroupTerms {
                leases: limits.leases_per_group,
                kept_events: limits.kept_events_per_group,
                kept_bytes: limits.kept_bytes_per_group,
                deliveries,
                stored: !self.0.backend.capabilities().immediate,
            },
        };
        let mut latest = self.0.latest_terms.lock();
        match &*latest {
            Some(same) if **same == terms => Ok(Arc::clone(same)),
            _ => Ok(Arc::clone(latest.insert(Arc::new(terms)))),
        }
    }

    /// What a session was created with, and when: as the store has kept it, if somebody else created it.
    pub(crate) fn agreed(
        &self,
        opened: &Opened,
        asked: Arc<Terms>,
        now: Moment,
    ) -> (Arc<Terms>, Moment) {
        let kept = match opened.created {
            true => None,
            false => kept::parse(&opened.attributes),
        };
        let Some((options, created)) = kept else {
            return (asked, now);
        };
        // Wall time is all that two processes have in common. A clock that went back made no session.
        let age = Duration::try_from(now.wall.duration_since(created)).unwrap_or_default();
        let created = Moment {
            monotonic: now.monotonic.checked_sub(age).unwrap_or(now.monotonic),
            wall: created,
        };
        (self.terms(&options).unwrap_or(asked), created)
    }

    pub(crate) fn new_epoch(&self) -> Epoch {
        let environment = &self.0.environment;
        let millis = environment.clock.wall().as_millisecond();
        // The low half of a random word.
        let random = (environment.ids.random_u64() & u64::from(u32::MAX)) as u32;
        Epoch::from_parts(u64::try_from(millis).unwrap_or_default(), random)
    }

    /// Removes a session: it ends as deleted for whoever still has it, and cannot be found any more.
    ///
    /// # Errors
    /// [`SessionError::NotFound`].
    ///
    /// # Cancel safety
    /// A dropped future has removed the session or has not.
    pub async fn remove(&self, key: &SessionKey) -> Result<(), SessionError> {
        let present = self.0.table.lock().sessions.get(key).cloned();
        self.remove_groups(key, present.as_ref()).await?;
        let stored = self.0.backend.remove(key).await?;
        // From here on there is no await, so that a dropped future leaves no session that can neither
        // be found nor has ended.
        let Some(log) = present else {
            return match stored {
                true => Ok(()),
                false => Err(SessionError::not_found(key)),
            };
        };
        let was_there = self.0.table.lock().remove_this(&log);
        self.0
            .removed
            .fetch_add(u64::from(was_there), Ordering::Relaxed);
        if let Some(tail) = self.tail(&key.tenant) {
            tail.forget(key, log.epoch());
        }
        let now = self.0.environment.now();
        let mut batch = WakeBatch::new();
        let mut state = log.lock_due(now, &mut batch);
        let gone = state.is_gone(now.monotonic);
        state.delete(now, &mut batch);
        match stored || (was_there && !gone) {
            true => Ok(()),
            false => Err(SessionError::not_found(key)),
        }
    }
}

impl Sessions {
    /// Removes what the groups of a session have done, before the session itself: who takes from it
    /// meanwhile is told that the store failed.
    async fn remove_groups(
        &self,
        key: &SessionKey,
        present: Option<&SessionLog>,
    ) -> Result<(), BackendError> {
        let backend = &self.0.backend;
        if backend.capabilities().immediate {
            return Ok(());
        }
        let epoch = match present {
            Some(log) => log.epoch(),
            None => {
                let options = OpenOptions::new(Incarnation::Current, self.new_epoch());
                match backend.open(key, options).await {
                    Ok(opened) => opened.epoch,
                    Err(BackendError::NotFound) => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
        };
        group_log::remove(&**backend, key, epoch).await
    }
}

/// Whether opening a new incarnation replaces this session.
fn replaces(log: &SessionLog, incarnation: Incarnation) -> bool {
    incarnation == Incarnation::New && log.0.state.lock().ended.is_some()
}

impl Drop for Inner {
    fn drop(&mut self) {
        // All who drive see that there is nothing left to drive.
        self.reminders.sooner.notify_waiters();
    }
}
