//! Tickets for streams that cannot send headers: a browser's `EventSource` in a page of another site.
//!
//! A ticket is not a token: it is good for reading one session through one filter, for minutes, and
//! again and again in that time, because an `EventSource` repeats its URL when it reconnects.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use reveille_types::wire::{TicketCreated, TicketRequest};
use reveille_types::{Filter, SessionKey, Tenant};
use sha2::{Digest, Sha256};

use super::caller::Caller;
use super::identity::{Action, Grant, Identity};
use super::secret::Secret;
use crate::body::{answer, json};
use crate::gateway::Gateway;
use crate::params::{Params, bad_value, filter_of};
use crate::problem::Refusal;

/// How many random bytes a ticket has.
const TICKET_BYTES: usize = 20;
/// How long a ticket is good if the request does not say, and at most.
const LIFE_DEFAULT: Duration = Duration::from_secs(5 * 60);
const LIFE_MAX: Duration = Duration::from_secs(15 * 60);
/// Fewer tickets of a tenant than this are never looked through for old ones.
const SWEEP_MIN: usize = 64;

/// The tickets that are good.
#[derive(Debug)]
pub(crate) struct Tickets {
    per_tenant: usize,
    good: Mutex<Good>,
}

#[derive(Debug, Default)]
struct Good {
    by_digest: HashMap<[u8; 32], Ticket>,
    tenants: HashMap<Tenant, OfTenant>,
}

/// The tickets of one tenant.
#[derive(Debug, Default)]
struct OfTenant {
    digests: Vec<[u8; 32]>,
    /// So many make it worth while to look for old ones.
    sweep_at: usize,
}

/// What a ticket is good for.
#[derive(Debug, Clone)]
pub(super) struct Ticket {
    pub(super) identity: Identity,
    /// What its stream is filtered by.
    pub(super) filter: Filter,
    until: Instant,
}

impl Tickets {
    pub(crate) fn new(per_tenant: usize) -> Self {
        Self {
            per_tenant,
            good: Mutex::default(),
        }
    }

    fn good(&self) -> MutexGuard<'_, Good> {
        self.good.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looked up by digest, so that time tells nothing of the text.
    pub(super) fn find(&self, ticket: &Secret) -> Option<Ticket> {
        let found = self
            .good()
            .by_digest
            .get(&digest(ticket.expose()))
            .cloned()?;
        (Instant::now() < found.until).then_some(found)
    }

    fn add(&self, ticket: Ticket) -> Result<String, Refusal> {
        let mut random = [0; TICKET_BYTES];
        getrandom::fill(&mut random)
            .map_err(|_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal"))?;
        let text = HEXLOWER.encode(&random);
        let mut good = self.good();
        let Good { by_digest, tenants } = &mut *good;
        let own = tenants.entry(ticket.identity.tenant.clone()).or_default();
        if own.digests.len() >= own.sweep_at.max(SWEEP_MIN).min(self.per_tenant) {
            let now = Instant::now();
            own.digests.retain(|digest| {
                let is_good = by_digest.get(digest).is_some_and(|t| now < t.until);
                if !is_good {
                    by_digest.remove(digest);
                }
                is_good
            });
            own.sweep_at = 2 * own.digests.len();
        }
        if own.digests.len() >= self.per_tenant {
            return Err(Refusal::too_many("too_many_tickets", self.per_tenant));
        }
        own.digests.push(digest(&text));
        by_digest.insert(digest(&text), ticket);
        Ok(text)
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// `POST /v1/tickets`.
pub(crate) async fn create(
    State(gateway): State<Gateway>,
    caller: Caller,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    params.finish()?;
    let request: TicketRequest = json(&headers, body, gateway.config()).await?;
    let key = SessionKey::in_tenant(caller.tenant().clone(), &request.session)
        .map_err(|e| bad_value(&e).with_status(StatusCode::UNPROCESSABLE_ENTITY))?;
    caller.check(&key)?;
    let filter = filter_of(request.matching)
        .map_err(|refusal| refusal.with_status(StatusCode::UNPROCESSABLE_ENTITY))?;
    let life = request.ttl_ms.map_or(LIFE_DEFAULT, Duration::from_millis);
    let life = life.min(LIFE_MAX);
    let ticket = Ticket {
        identity: narrowed(caller.identity(), &key)?,
        filter,
        until: Instant::now() + life,
    };
    let until = Timestamp::now() + jiff::SignedDuration::try_from(life).unwrap_or_default();
    let created = TicketCreated {
        ticket: gateway.tickets().add(ticket)?,
        expires_at: match caller.identity().expires_at {
            Some(end) => until.min(end),
            None => until,
        },
    };
    Ok(answer(StatusCode::CREATED, &created))
}

/// The same caller, who may only read this session.
fn narrowed(identity: &Identity, key: &SessionKey) -> Result<Identity, Refusal> {
    let only = format!("{}/{}", key.namespace, key.id);
    let only = only.parse().map_err(|e| bad_value(&e))?;
    let reading = |grant: &&Grant| {
        grant.actions.contains(&Action::Subscribe)
            && grant.sessions.iter().any(|pattern| pattern.matches(key))
    };
    let mut identity = identity.clone();
    identity.grants = identity
        .grants
        .iter()
        .filter(reading)
        .map(|grant| Grant {
            actions: vec![Action::Subscribe],
            sessions: vec![reveille_types::SessionPattern::clone(&only)],
            types: grant.types.clone(),
        })
        .collect();
    Ok(identity)
}
