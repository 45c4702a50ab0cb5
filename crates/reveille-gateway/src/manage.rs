//! Sessions as resources: create, look at, list, cancel, close, remove.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use reveille_queue::{ListOptions, SessionError, SessionLog, SessionOptions};
use reveille_types::wire::{
    CancelAnswer, CancelInfo, CancelRequest, CloseRequest, CreateRequest, SessionState,
};
use reveille_types::{Invalid, Namespace, SessionKey};

use crate::address::Addressed;
use crate::auth::Caller;
use crate::body::{answer, json};
use crate::gateway::Gateway;
use crate::params::{Params, bad_value, refused};
use crate::problem::Refusal;

/// Sessions on a page of the list if the request does not say.
const LIST_DEFAULT: u64 = 100;
/// Most sessions on a page of the list.
const LIST_MAX: u64 = 1_000;

pub(crate) async fn create(
    State(gateway): State<Gateway>,
    addressed: Addressed,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let key = addressed.only()?;
    let request: CreateRequest = json(&headers, body, gateway.config()).await?;
    let options = options_of(&request)?;
    let sessions = gateway.sessions();
    if request.recreate {
        let log = sessions.recreate(key, options).await?;
        return Ok(answer(StatusCode::CREATED, &log.info()));
    }
    let (log, created) = sessions.get_or_create(key, options).await?;
    let info = log.info();
    if created {
        return Ok(answer(StatusCode::CREATED, &info));
    }
    if let Some(reason) = info.reason {
        return Err(SessionError::Ended {
            name: info.session,
            reason,
            at: info.ended_at.unwrap_or(info.last_activity_at),
        }
        .into());
    }
    // What is not asked for may be anything.
    let same = request.ttl_ms.is_none_or(|ttl| info.ttl_ms == Some(ttl))
        && (request.lifetime_ms.is_none() || info.lifetime_ms == request.lifetime_ms)
        && (request.max_deliveries.is_none() || info.max_deliveries == request.max_deliveries)
        && request.max_events.is_none_or(|n| info.max_events == n)
        && request.max_bytes.is_none_or(|n| info.max_bytes == n);
    if same {
        Ok(answer(StatusCode::OK, &info))
    } else {
        Err(SessionError::AlreadyExists { name: info.session }.into())
    }
}

fn options_of(request: &CreateRequest) -> Result<SessionOptions, Refusal> {
    let size = |name: &'static str, value: Option<u64>| match value.map(usize::try_from) {
        None => Ok(None),
        Some(Ok(value)) => Ok(Some(value)),
        Some(Err(_)) => Err(bad_value(&Invalid::form(name, "is too large"))),
    };
    let mut options = SessionOptions::default();
    options.ttl = request.ttl_ms.map(Duration::from_millis);
    options.lifetime = request.lifetime_ms.map(Duration::from_millis);
    options.max_deliveries = request.max_deliveries;
    options.max_events = size("max_events", request.max_events)?;
    options.max_bytes = size("max_bytes", request.max_bytes)?;
    Ok(options)
}

/// The session that a path names and that must be there, with no other parameters.
async fn existing(gateway: &Gateway, addressed: Addressed) -> Result<SessionLog, Refusal> {
    gateway.session(&addressed.only()?).await
}

pub(crate) async fn info(
    State(gateway): State<Gateway>,
    addressed: Addressed,
) -> Result<Response, Refusal> {
    let log = existing(&gateway, addressed).await?;
    Ok(answer(StatusCode::OK, &log.info()))
}

pub(crate) async fn remove(
    State(gateway): State<Gateway>,
    addressed: Addressed,
) -> Result<Response, Refusal> {
    let log = existing(&gateway, addressed).await?;
    gateway.sessions().remove(log.key()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(crate) async fn cancel(
    State(gateway): State<Gateway>,
    addressed: Addressed,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let log = existing(&gateway, addressed).await?;
    let request: CancelRequest = json(&headers, body, gateway.config()).await?;
    let grace = request.grace_ms.map(Duration::from_millis);
    let outcome = log.cancel(request.reason.as_deref(), grace).await?;
    let cancelled = CancelAnswer {
        session: log.key().name(),
        already_cancelled: outcome.already_cancelled,
        cancel: CancelInfo {
            reason: outcome.reason,
            time: outcome.time,
        },
    };
    Ok(answer(StatusCode::OK, &cancelled))
}

pub(crate) async fn close(
    State(gateway): State<Gateway>,
    addressed: Addressed,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let log = existing(&gateway, addressed).await?;
    let request: CloseRequest = json(&headers, body, gateway.config()).await?;
    log.close(request.reason.as_deref()).await?;
    Ok(answer(StatusCode::OK, &log.info()))
}

pub(crate) async fn list(
    State(gateway): State<Gateway>,
    caller: Caller,
    mut params: Params,
) -> Result<Response, Refusal> {
    let limit = params.number("limit")?.unwrap_or(LIST_DEFAULT);
    if !(1..=LIST_MAX).contains(&limit) {
        return Err(refused("limit", format!("is not between 1 and {LIST_MAX}")));
    }
    let mut options = ListOptions::first(usize::try_from(limit).unwrap_or(usize::MAX));
    options.namespace = params
        .one("namespace")?
        .map(Namespace::parse)
        .transpose()
        .map_err(|e| bad_value(&e))?;
    options.state = params.word(
        "state",
        &[("open", SessionState::Open), ("ended", SessionState::Ended)],
    )?;
    options.page = params.one("page")?;
    params.finish()?;
    gateway.sessions().open_stored(caller.tenant()).await?;
    let mut list = gateway.sessions().list(caller.tenant(), &options);
    list.sessions.retain(|info| {
        SessionKey::in_tenant(caller.tenant().clone(), &info.session).is_ok_and(|k| caller.sees(&k))
    });
    Ok(answer(StatusCode::OK, &list))
}
