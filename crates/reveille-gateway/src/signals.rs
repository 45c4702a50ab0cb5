//! Signals over HTTP: create, complete with the secret, merge, look at, wait for.

mod store;

use std::num::NonZeroUsize;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use reveille_core::{MergeMode, Poison, PoisonKind, SignalHandle, SignalStats};
use reveille_types::wire::{
    MergeRequest, PoisonCause, PoisonInfo, PoisonRequest, SignalCancelRequest, SignalCreated,
    SignalInfo, SignalMergeMode, SignalMerged, SignalRequest, SignalState, TriggerRequest,
};
use reveille_types::{Invalid, Payload, Tenant};
use serde_json::value::RawValue;
use store::{End, TenantSignals};

use crate::body::{answer, json};
use crate::gateway::Gateway;
use crate::params::Params;
use crate::problem::Refusal;

pub(crate) use store::Signals;

/// Longest name of a signal, in bytes.
const NAME_BYTES: usize = 128;
/// The reason of a cancel that gives none.
const CANCELLED: &str = "cancelled";

pub(crate) fn routes() -> Router<Gateway> {
    Router::new()
        .route("/v1/signals", post(create))
        .route("/v1/signals:merge", post(merge))
        .route("/v1/signals/{handle}", get(look))
        .route("/v1/signals/{handle}/trigger", post(trigger))
        .route("/v1/signals/{handle}/poison", post(poison))
        .route("/v1/signals/{handle}/cancel", post(cancel))
}

impl Gateway {
    /// How many signals of a tenant there are, and how many requests wait for them.
    #[must_use]
    pub fn signal_stats(&self, tenant: Tenant) -> SignalStats {
        self.signals().of(tenant).stats()
    }
}

async fn create(
    State(gateway): State<Gateway>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    Params::parse(query.as_deref()).finish()?;
    let request: SignalRequest = json(&headers, body, gateway.config()).await?;
    let name = request.name.map(named).transpose()?;
    let (handle, secret) = open(&gateway)?.create(name)?;
    let created = SignalCreated {
        handle: handle.to_string(),
        secret,
    };
    Ok(answer(StatusCode::CREATED, &created))
}

async fn merge(
    State(gateway): State<Gateway>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    Params::parse(query.as_deref()).finish()?;
    let request: MergeRequest = json(&headers, body, gateway.config()).await?;
    let signals = open(&gateway)?;
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

async fn look(
    State(gateway): State<Gateway>,
    Path(handle): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let mut params = Params::parse(query.as_deref());
    let timeout = params.duration("timeout")?;
    params.finish()?;
    let handle = handle_of(&handle)?;
    let signals = of_tenant(&gateway);
    let Some(timeout) = timeout else {
        let end = signals.ended(handle).await?;
        return Ok(answer(StatusCode::OK, &info(&signals, handle, end)));
    };
    let end = tokio::select! {
        // What has ended is told even when the time is up or the server stops.
        biased;
        end = signals.end(handle) => end?,
        _ = gateway.draining().cancelled() => return Err(Refusal::draining()),
        () = tokio::time::sleep(timeout.min(gateway.config().wait_max)) => {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
    };
    Ok(answer(StatusCode::OK, &info(&signals, handle, Some(end))))
}

async fn trigger(
    State(gateway): State<Gateway>,
    Path(handle): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    Params::parse(query.as_deref()).finish()?;
    let handle = handle_of(&handle)?;
    let request: TriggerRequest = json(&headers, body, gateway.config()).await?;
    let signals = of_tenant(&gateway);
    let value = value_of(request.value.as_deref(), signals.limits().value_bytes)?;
    let end = signals
        .complete(handle, &request.secret, |system| {
            system.trigger(handle, value)
        })
        .await?;
    Ok(answer(StatusCode::OK, &info(&signals, handle, Some(end))))
}

async fn poison(
    State(gateway): State<Gateway>,
    Path(handle): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    Params::parse(query.as_deref()).finish()?;
    let handle = handle_of(&handle)?;
    let request: PoisonRequest = json(&headers, body, gateway.config()).await?;
    let reason = request.reason;
    if reason.is_empty() {
        let field = "reason".into();
        return Err(unfit(
            StatusCode::UNPROCESSABLE_ENTITY,
            &Invalid::Empty { field },
        ));
    }
    let signals = of_tenant(&gateway);
    let end = signals
        .complete(handle, &request.secret, |system| {
            system.poison(handle, reason)
        })
        .await?;
    Ok(answer(StatusCode::OK, &info(&signals, handle, Some(end))))
}

async fn cancel(
    State(gateway): State<Gateway>,
    Path(handle): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    Params::parse(query.as_deref()).finish()?;
    let handle = handle_of(&handle)?;
    let request: SignalCancelRequest = json(&headers, body, gateway.config()).await?;
    let reason = request.reason.unwrap_or_else(|| CANCELLED.to_owned());
    let signals = of_tenant(&gateway);
    let end = signals
        .complete(handle, &request.secret, |system| {
            system.cancel(handle, reason)
        })
        .await?;
    Ok(answer(StatusCode::OK, &info(&signals, handle, Some(end))))
}

fn of_tenant(gateway: &Gateway) -> Arc<TenantSignals> {
    gateway.signals().of(gateway.tenant())
}

/// The signals of the tenant, for new ones. They would be gone with a server that stops.
fn open(gateway: &Gateway) -> Result<Arc<TenantSignals>, Refusal> {
    if gateway.draining().is_cancelled() {
        return Err(Refusal::draining());
    }
    Ok(of_tenant(gateway))
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
