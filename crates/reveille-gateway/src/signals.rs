//! Signals over HTTP: create, complete with the secret, merge, look at, wait for.

mod leases;
mod store;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts, Path, RawQuery, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use reveille_core::{
    MergeMode, Poison, PoisonKind, SignalError, SignalHandle, SignalStats, SignalSystem,
};
use reveille_types::wire::{
    MergeRequest, PoisonCause, PoisonInfo, PoisonRequest, SignalCancelRequest, SignalCreated,
    SignalInfo, SignalMergeMode, SignalMerged, SignalRenewRequest, SignalRenewed, SignalRequest,
    SignalState, TriggerRequest,
};
use reveille_types::{Invalid, Payload, Tenant};
use serde_json::value::RawValue;
use store::{End, New, TenantSignals};

use crate::auth::Caller;
use crate::body::{answer, json};
use crate::gateway::Gateway;
use crate::params::Params;
use crate::problem::Refusal;
use crate::waiting::waiting;

pub(crate) use store::Signals;

/// Longest name of a signal, in bytes.
const NAME_BYTES: usize = 128;
/// The reason of a cancel that gives none.
const CANCELLED: &str = "cancelled";
/// The shortest lease, and the longest.
const LEASE_MIN: Duration = Duration::from_millis(100);
const LEASE_MAX: Duration = Duration::from_secs(24 * 3600);

impl Gateway {
    /// How many signals of a tenant there are, and how many requests wait for them.
    #[must_use]
    pub fn signal_stats(&self, tenant: Tenant) -> SignalStats {
        self.signals().of(tenant).stats()
    }
}

/// The signals of the caller's tenant, and a request about them that has no parameters.
pub(crate) struct Asked {
    signals: Arc<TenantSignals>,
    owner: Arc<str>,
    headers: HeaderMap,
}

impl FromRequestParts<Gateway> for Asked {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, gateway: &Gateway) -> Result<Self, Refusal> {
        let caller = Caller::from_request_parts(parts, gateway).await?;
        Params::parse(parts.uri.query()).finish()?;
        Ok(Self {
            signals: gateway.signals().of(caller.tenant().clone()),
            owner: caller.identity().subject.as_str().into(),
            headers: parts.headers.clone(),
        })
    }
}

/// A signal of the path, and what is asked of it.
pub(crate) struct Named(SignalHandle);

impl FromRequestParts<Gateway> for Named {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, gateway: &Gateway) -> Result<Self, Refusal> {
        let Path(text) = Path::<String>::from_request_parts(parts, gateway)
            .await
            .map_err(|e| Refusal::bad_request("invalid_handle", e.body_text()).field("handle"))?;
        handle_of(&text).map(Self)
    }
}

pub(crate) async fn create(
    State(gateway): State<Gateway>,
    asked: Asked,
    body: Body,
) -> Result<Response, Refusal> {
    let request: SignalRequest = json(&asked.headers, body, gateway.config()).await?;
    let name = request.name.map(named).transpose()?;
    let lease = request.lease_ms.map(lease_of).transpose()?;
    still_serving(&gateway)?;
    let new = New {
        name,
        owner: asked.owner,
        lease,
    };
    let (handle, secret) = asked.signals.create(new)?;
    let created = SignalCreated {
        handle: handle.to_string(),
        secret,
    };
    Ok(answer(StatusCode::CREATED, &created))
}

pub(crate) async fn merge(
    State(gateway): State<Gateway>,
    asked: Asked,
    body: Body,
) -> Result<Response, Refusal> {
    let request: MergeRequest = json(&asked.headers, body, gateway.config()).await?;
    still_serving(&gateway)?;
    let signals = asked.signals;
    let limit = signals.limits().merge_inputs;
    if request.inputs.len() > limit {
        let refusal = Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "merge_too_wide");
        return Err(refusal
            .field("inputs")
            .sizes(limit as u64, request.inputs.len() as u64));
    }
    let inputs = request
        .inputs
        .iter()
        .enumerate()
        .map(|(index, text)| {
            handle_of(text).map_err(|refusal| {
                refusal
                    .with_status(StatusCode::UNPROCESSABLE_ENTITY)
                    .field(format!("inputs[{index}]"))
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let handle = signals.merge(&inputs, mode_of(request.mode))?;
    let merged = SignalMerged {
        handle: handle.to_string(),
    };
    Ok(answer(StatusCode::CREATED, &merged))
}

pub(crate) async fn look(
    State(gateway): State<Gateway>,
    caller: Caller,
    Named(handle): Named,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let mut params = Params::parse(query.as_deref());
    let timeout = params.duration("timeout")?;
    params.finish()?;
    let signals = gateway.signals().of(caller.tenant().clone());
    let Some(timeout) = timeout else {
        let end = signals.ended(handle).await?;
        return Ok(answer(StatusCode::OK, &info(&signals, handle, end)));
    };
    let timeout = timeout.min(gateway.config().wait_max);
    let ended = tokio::time::timeout(timeout, signals.end(handle));
    let Ok(end) = waiting(&gateway, &caller, ended).await? else {
        gateway.metrics().wait("timed_out");
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let end = end?;
    gateway.metrics().wait(match &end {
        Ok(_) => "triggered",
        Err(poison) if poison.kind() == PoisonKind::Cancelled => "cancelled",
        Err(_) => "poisoned",
    });
    Ok(answer(StatusCode::OK, &info(&signals, handle, Some(end))))
}

/// What blocks a signal: the inputs that are not complete, and who has not completed them.
pub(crate) async fn why(asked: Asked, Named(handle): Named) -> Result<Response, Refusal> {
    Ok(answer(StatusCode::OK, &asked.signals.why(handle)?))
}

pub(crate) async fn trigger(
    State(gateway): State<Gateway>,
    asked: Asked,
    Named(handle): Named,
    body: Body,
) -> Result<Response, Refusal> {
    let request: TriggerRequest = json(&asked.headers, body, gateway.config()).await?;
    let value = value_of(request.value.as_deref(), asked.signals.limits().value_bytes)?;
    let how = |system: &SignalSystem<Payload>| system.trigger(handle, value);
    complete(&asked.signals, handle, &request.secret, how).await
}

pub(crate) async fn poison(
    State(gateway): State<Gateway>,
    asked: Asked,
    Named(handle): Named,
    body: Body,
) -> Result<Response, Refusal> {
    let request: PoisonRequest = json(&asked.headers, body, gateway.config()).await?;
    let reason = request.reason;
    if reason.is_empty() {
        let field = "reason".into();
        return Err(unfit(
            StatusCode::UNPROCESSABLE_ENTITY,
            &Invalid::Empty { field },
        ));
    }
    let how = |system: &SignalSystem<Payload>| system.poison(handle, reason);
    complete(&asked.signals, handle, &request.secret, how).await
}

pub(crate) async fn cancel(
    State(gateway): State<Gateway>,
    asked: Asked,
    Named(handle): Named,
    body: Body,
) -> Result<Response, Refusal> {
    let request: SignalCancelRequest = json(&asked.headers, body, gateway.config()).await?;
    let reason = request.reason.unwrap_or_else(|| CANCELLED.to_owned());
    let how = |system: &SignalSystem<Payload>| system.cancel(handle, reason);
    complete(&asked.signals, handle, &request.secret, how).await
}

/// Puts off the end of a lease.
pub(crate) async fn renew(
    State(gateway): State<Gateway>,
    asked: Asked,
    Named(handle): Named,
    body: Body,
) -> Result<Response, Refusal> {
    let request: SignalRenewRequest = json(&asked.headers, body, gateway.config()).await?;
    let lease = request.lease_ms.map(lease_of).transpose()?;
    let lease_ms = asked.signals.renew(handle, &request.secret, lease)?;
    Ok(answer(StatusCode::OK, &SignalRenewed { lease_ms }))
}

async fn complete(
    signals: &TenantSignals,
    handle: SignalHandle,
    secret: &str,
    how: impl FnOnce(&SignalSystem<Payload>) -> Result<(), SignalError>,
) -> Result<Response, Refusal> {
    let end = signals.complete(handle, secret, how).await?;
    Ok(answer(StatusCode::OK, &info(signals, handle, Some(end))))
}

/// New signals would be gone with a server that stops.
fn still_serving(gateway: &Gateway) -> Result<(), Refusal> {
    match gateway.draining().is_cancelled() {
        true => Err(Refusal::draining()),
        false => Ok(()),
    }
}

fn lease_of(millis: u64) -> Result<Duration, Refusal> {
    let lease = Duration::from_millis(millis);
    match (LEASE_MIN..=LEASE_MAX).contains(&lease) {
        true => Ok(lease),
        false => Err(unfit(
            StatusCode::UNPROCESSABLE_ENTITY,
            &Invalid::form("lease_ms", "is not between 100 ms and 24 h"),
        )),
    }
}

fn handle_of(text: &str) -> Result<SignalHandle, Refusal> {
    text.parse::<SignalHandle>()
        .map_err(|error| Refusal::bad_request(error.code(), error.to_string()).field("handle"))
}

fn mode_of(mode: SignalMergeMode) -> MergeMode {
    match mode {
        SignalMergeMode::AllSettled => MergeMode::AllSettled,
        SignalMergeMode::FailFast => MergeMode::FailFast,
        SignalMergeMode::Any => MergeMode::AnyOf,
        SignalMergeMode::N(n) => {
            // More than fit are more than there can be.
            MergeMode::NOf(NonZeroUsize::try_from(n).unwrap_or(NonZeroUsize::MAX))
        }
    }
}

fn unfit(status: StatusCode, invalid: &Invalid) -> Refusal {
    Refusal::invalid(status, "invalid_signal", invalid)
}

fn named(name: String) -> Result<Arc<str>, Refusal> {
    let field = "name".into();
    let invalid = match name.len() {
        0 => Invalid::Empty { field },
        1..=NAME_BYTES => return Ok(name.into()),
        actual => Invalid::TooLarge {
            field,
            limit: NAME_BYTES as u64,
            actual: actual as u64,
            unit: "bytes",
        },
    };
    Err(unfit(StatusCode::UNPROCESSABLE_ENTITY, &invalid))
}

fn value_of(value: Option<&RawValue>, limit: usize) -> Result<Payload, Refusal> {
    let Some(value) = value else {
        return Ok(Payload::none());
    };
    let value = Payload::json(&value).map_err(|e| unfit(StatusCode::UNPROCESSABLE_ENTITY, &e))?;
    if value.len() > limit {
        let invalid = Invalid::TooLarge {
            field: "value".into(),
            limit: limit as u64,
            actual: value.len() as u64,
            unit: "bytes",
        };
        return Err(unfit(StatusCode::PAYLOAD_TOO_LARGE, &invalid));
    }
    Ok(value)
}

fn info(signals: &TenantSignals, handle: SignalHandle, end: Option<End>) -> SignalInfo {
    let (status, value, poison) = match end {
        None => (SignalState::Pending, None, None),
        Some(Ok(value)) => (SignalState::Triggered, value.parse().ok(), None),
        Some(Err(poison)) => {
            let status = match poison.kind() {
                PoisonKind::Cancelled => SignalState::Cancelled,
                _ => SignalState::Poisoned,
            };
            (status, None, Some(poison_info(signals, &poison)))
        }
    };
    SignalInfo {
        handle: handle.to_string(),
        name: signals.name(handle),
        status,
        value,
        poison,
    }
}

fn poison_info(signals: &TenantSignals, poison: &Poison) -> PoisonInfo {
    let causes = poison.causes();
    PoisonInfo {
        kind: poison.kind().to_string(),
        reason: poison.reason().to_owned(),
        causes: causes
            .iter()
            .map(|cause| PoisonCause {
                handle: cause.handle.to_string(),
                name: signals.name(cause.handle),
                kind: cause.kind.to_string(),
                reason: cause.reason.to_string(),
            })
            .collect(),
        more: (poison.cause_count() - causes.len()) as u64,
    }
}
