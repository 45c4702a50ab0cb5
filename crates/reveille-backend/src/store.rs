//! The backend itself: what it offers, and how logs are opened, listed and removed.

use std::fmt;

use async_trait::async_trait;
use reveille_types::{Durability, Epoch, Event, Position, Seq, SessionKey, Tenant};

use crate::error::BackendError;
use crate::log::{LogHandle, ReadLimit, Seal, Watch};

/// What a backend offers. Fixed for the life of the backend.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// The backend's name in messages, lower case.
    pub name: &'static str,
    /// Whether logs are [`ImmediateLog`](crate::ImmediateLog)s.
    pub immediate: bool,
    /// What an acknowledged event survives.
    pub durability: Durability,
    /// Whether logs are still there after the process that wrote them is gone, with their epochs, attributes,
    /// positions, keys, trims and seals, and the last sequence number and order epoch of each tenant.
    pub survives_restart: bool,
    /// Whether the events of a tenant can be [read](Backend::read_order) over all its logs, and, if several
    /// processes may append, [watched](Backend::watch_order).
    pub reads_order: bool,
    /// Whether several processes may use the same store at once.
    pub shared: bool,
    /// Most bytes in a batch, if there is a limit.
    pub max_batch_bytes: Option<u64>,
}

impl Capabilities {
    /// A backend that stores in this process and keeps nothing.
    #[must_use]
    pub fn volatile(name: &'static str) -> Self {
        Self {
            name,
            immediate: false,
            durability: Durability::Volatile,
            survives_restart: false,
            reads_order: false,
            shared: false,
            max_batch_bytes: None,
        }
    }
}

/// Which incarnation of a log to open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incarnation {
    /// The one that is stored, else a new one.
    CurrentOrNew,
    /// The one that is stored.
    Current,
    /// A new one in place of whatever is stored.
    New,
}

/// Most bytes of the [attributes](OpenOptions::attributes) of a log.
pub const ATTRIBUTES_BYTES: usize = 4_096;

/// How to open a log.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OpenOptions {
    /// Which incarnation to open.
    pub incarnation: Incarnation,
    /// The epoch of a new incarnation, should one be made.
    pub new_epoch: Epoch,
    /// What is kept with a new incarnation, should one be made, and told to whoever opens it: text, at
    /// most [`ATTRIBUTES_BYTES`], which says nothing to a backend. Empty if there is nothing to keep.
    pub attributes: Box<str>,
}

impl OpenOptions {
    /// Opens what is stored, else makes a new incarnation with this epoch.
    #[must_use]
    pub fn new(incarnation: Incarnation, new_epoch: Epoch) -> Self {
        Self {
            incarnation,
            new_epoch,
            attributes: Box::default(),
        }
    }

    /// Keeping these attributes with a new incarnation.
    #[must_use]
    pub fn attributes(mut self, attributes: impl Into<Box<str>>) -> Self {
        self.attributes = attributes.into();
        self
    }
}

/// An opened log.
#[derive(Debug)]
pub struct Opened {
    /// Its incarnation.
    pub epoch: Epoch,
    /// Whether this call made it.
    pub created: bool,
    /// The first position that can be read.
    pub oldest: Position,
    /// The end of the log.
    pub latest: Position,
    /// That it takes no more events, if so.
    pub seal: Option<Seal>,
    /// What was kept when the incarnation was made, whatever this call wanted to keep.
    pub attributes: Box<str>,
    /// The log.
    pub log: LogHandle,
}

/// Which stored logs to list.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ListOptions {
    /// List what comes after this one, by namespace and id.
    pub after: Option<SessionKey>,
    /// Most logs to list.
    pub limit: usize,
}

impl ListOptions {
    /// The first `limit` logs.
    #[must_use]
    pub fn first(limit: usize) -> Self {
        Self { after: None, limit }
    }
}

/// A page of stored logs, by namespace and id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPage {
    /// The logs' addresses.
    pub keys: Vec<SessionKey>,
    /// Whether more follow.
    pub more: bool,
}

/// Events of a tenant, over all its logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderPage {
    /// By ascending sequence number.
    pub events: Vec<Event>,
    /// Everything up to this sequence number has been looked through: what is not among the events is
    /// no longer stored, or was never assigned.
    pub through: Seq,
}

impl OrderPage {
    /// The first page of these events, which are all that follow up to `through`, in any order.
    #[must_use]
    pub fn first_of(mut events: Vec<Event>, through: Seq, limit: ReadLimit) -> Self {
        events.sort_unstable_by_key(|event| event.place().seq);
        let mut bytes = 0_usize;
        let fit = events.iter().take(limit.events.max(1)).take_while(|event| {
            let is_first = bytes == 0;
            bytes = bytes.saturating_add(event.weight());
            is_first || bytes <= limit.bytes
        });
        let fit = fit.count();
        if fit == events.len() {
            return Self { events, through };
        }
        events.truncate(fit);
        let through = events.last().map_or(through, |last| last.place().seq);
        Self { events, through }
    }
}

/// Orders and keeps the events of session logs.
///
/// # Contract
/// Tenants are walls: no operation on one tenant's key sees or changes anything of another tenant's.
#[async_trait]
pub trait Backend: fmt::Debug + Send + Sync + 'static {
    /// What it offers.
    fn capabilities(&self) -> Capabilities;

    /// Opens a log. Of several concurrent calls for a key that is not stored, exactly one reports
    /// `created`, and all get the same epoch. A new incarnation begins at position 0, unsealed, without
    /// events and keys. An immediate backend keeps nothing, so each open makes a new incarnation.
    ///
    /// # Errors
    /// [`BackendError::NotFound`] when [`Incarnation::Current`] is asked for and nothing is stored.
    async fn open(&self, key: &SessionKey, options: OpenOptions) -> Result<Opened, BackendError>;

    /// The last sequence number that was assigned in a tenant; 0 if none was. Sequence numbers ascend
    /// from 1 over all logs of the tenant, without holes unless the backend is
    /// [shared](Capabilities::shared): such a one may also begin elsewhere, and tells the number before
    /// the first once it was asked for the [epoch](Backend::order_epoch) of the order. None is assigned
    /// twice, whatever is removed.
    ///
    /// # Errors
    /// [`BackendError`].
    async fn last_seq(&self, tenant: &Tenant) -> Result<Seq, BackendError>;

    /// The incarnation of the order of a tenant's sequence numbers: the one that the backend keeps, else
    /// `new_epoch`, which it keeps from then on, or one of its own making. It stays as long as no
    /// sequence number is assigned twice, and no two tenants or stores have the same.
    ///
    /// # Errors
    /// [`BackendError`].
    async fn order_epoch(&self, tenant: &Tenant, new_epoch: Epoch) -> Result<Epoch, BackendError>;

    /// Reads what follows `after` of the events of a tenant, whatever their logs. Behind what is looked
    /// through nothing appears any more. Reading goes on behind `after` unless that is the end.
    ///
    /// # Errors
    /// [`BackendError::NotSupported`] unless the backend [does this](Capabilities::reads_order).
    async fn read_order(
        &self,
        tenant: &Tenant,
        after: Seq,
        limit: ReadLimit,
    ) -> Result<OrderPage, BackendError>;

    /// A watch of a tenant's order as [`StoredLog::watch`](crate::StoredLog::watch) is one of a log: it
    /// resolves once an event with a higher sequence number than `after` was stored by any process, and
    /// is armed before this returns. What [reads the order](Capabilities::reads_order) and is
    /// [shared](Capabilities::shared) must have it: so each process learns what others append.
    ///
    /// # Errors
    /// [`BackendError`]; [`BackendError::NotSupported`] is what a backend says that need not have it.
    async fn watch_order(&self, tenant: &Tenant, after: Seq) -> Result<Watch, BackendError> {
        let _ = (tenant, after);
        Err(BackendError::NotSupported {
            backend: self.capabilities().name,
            operation: "watch_order",
        })
    }

    /// Lists the stored logs of a tenant by namespace and id, from the first one behind `after`, which
    /// need not be stored any more; none for an immediate backend.
    ///
    /// # Errors
    /// [`BackendError`].
    async fn list(&self, tenant: &Tenant, options: ListOptions)
    -> Result<StoredPage, BackendError>;

    /// Deletes a stored log. `false` if there was none.
    ///
    /// # Errors
    /// [`BackendError`].
    async fn remove(&self, key: &SessionKey) -> Result<bool, BackendError>;

    /// Deletes a stored log if it is of this incarnation. `false` if it is not; then nothing has changed.
    ///
    /// What is [shared](Capabilities::shared) must do it in one step, so that an incarnation which another
    /// process makes meanwhile stays. The default looks first and removes then, for a backend on which one
    /// process alone makes them.
    ///
    /// # Errors
    /// [`BackendError`].
    async fn remove_incarnation(
        &self,
        key: &SessionKey,
        epoch: Epoch,
    ) -> Result<bool, BackendError> {
        if self.capabilities().immediate {
            return Ok(false);
        }
        let current = OpenOptions::new(Incarnation::Current, epoch);
        match self.open(key, current).await {
            Ok(opened) if opened.epoch == epoch => self.remove(key).await,
            Ok(_) | Err(BackendError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the store can be used right now.
    ///
    /// # Errors
    /// [`BackendError::Unavailable`] when it cannot.
    async fn health(&self) -> Result<(), BackendError>;
}
