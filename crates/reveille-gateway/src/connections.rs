//! Open streams: how long their credentials hold, and how they go on with new ones.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use reveille_core::Cancelled;
use reveille_queue::{SessionLog, Tail};
use reveille_types::wire::ConnectionRenewed;
use uuid::Uuid;

use crate::auth::{Caller, Identity, Watch};
use crate::body::answer;
use crate::gateway::Gateway;
use crate::params::Params;
use crate::problem::Refusal;

/// The streams that are open.
#[derive(Debug, Default)]
pub(crate) struct Connections(Mutex<HashMap<Uuid, Arc<Life>>>);

/// How long the credential of one stream holds.
#[derive(Debug)]
struct Life {
    watch: Watch,
    /// How far the stream has come.
    place: AtomicU64,
    /// What it reads.
    log: Log,
    expires_at: Mutex<Option<Timestamp>>,
}

/// What a stream reads.
#[derive(Debug)]
pub(crate) enum Log {
    Session(SessionLog),
    Bus(Tail),
}

impl Log {
    /// The place of its end.
    fn latest(&self) -> u64 {
        match self {
            Self::Session(log) => log.latest().place(),
            Self::Bus(tail) => tail.info().latest.0,
        }
    }
}

/// One stream among those that are open, until it is dropped.
#[derive(Debug)]
pub(crate) struct Connection {
    gateway: Gateway,
    id: Uuid,
    life: Arc<Life>,
}

impl Connections {
    fn open(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<Life>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn len(&self) -> usize {
        self.open().len()
    }

    /// How far each stream is behind the end of what it reads.
    pub(crate) fn lags(&self) -> Vec<u64> {
        let lives: Vec<Arc<Life>> = self.open().values().cloned().collect();
        let lag = |life: &Arc<Life>| {
            let place = life.place.load(Ordering::Relaxed);
            life.log.latest().saturating_sub(place)
        };
        lives.iter().map(lag).collect()
    }
}

impl Connection {
    pub(crate) fn new(gateway: &Gateway, identity: Arc<Identity>, log: Log, place: u64) -> Self {
        let (id, expires_at) = (Uuid::now_v7(), Mutex::new(identity.expires_at));
        let life = Arc::new(Life {
            watch: Watch::new(gateway, identity),
            place: AtomicU64::new(place),
            log,
            expires_at,
        });
        gateway.connections().open().insert(id, Arc::clone(&life));
        Self {
            gateway: gateway.clone(),
            id,
            life,
        }
    }

    pub(crate) fn id(&self) -> Uuid {
        self.id
    }

    /// Tells how far the stream has come.
    pub(crate) fn is_at(&self, place: u64) {
        self.life.place.store(place, Ordering::Relaxed);
    }

    /// When the credential ends, which a new one puts off.
    pub(crate) fn expires_at(&self) -> Option<Timestamp> {
        self.life.expires_at()
    }

    /// Resolves when the credential is taken back; none where that cannot be.
    pub(crate) fn revoked(&self) -> Option<Cancelled> {
        self.life.watch.revoked()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.gateway.connections().open().remove(&self.id);
    }
}

impl Life {
    fn expires_at(&self) -> Option<Timestamp> {
        *self
            .expires_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// `POST /v1/connections/{id}/token`: the stream goes on with the credential of this request, which
/// must be of the same tenant and subject and give the same rights.
pub(crate) async fn renew(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(id): Path<String>,
    params: Params,
) -> Result<Response, Refusal> {
    params.finish()?;
    let new = caller.identity();
    let unknown = || Refusal::new(StatusCode::NOT_FOUND, "unknown_connection").field("id");
    let id: Uuid = id.parse().map_err(|_| unknown())?;
    let life = gateway.connections().open().get(&id).cloned();
    let life = life
        .filter(|life| {
            let old = life.watch.identity();
            old.tenant == new.tenant && old.subject == new.subject
        })
        .ok_or_else(unknown)?;
    if life.watch.identity().grants != new.grants {
        return Err(Refusal::new(StatusCode::CONFLICT, "different_grants")
            .detail("the new credential gives other rights: connect again with it"));
    }
    *life
        .expires_at
        .lock()
        .unwrap_or_else(PoisonError::into_inner) = new.expires_at;
    life.watch.renew(Arc::clone(new));
    let renewed = ConnectionRenewed {
        expires_at: new.expires_at,
    };
    Ok(answer(StatusCode::OK, &renewed))
}
