//! Signals over HTTP: create, complete with the secret, merge, look at, wait for, whichever gateway made
//! them.

mod proof;
mod question;
mod value;
mod view;

mod leases;
mod store;
mod tenants;

mod afar;
mod desk;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use reveille_core::{MergeMode, Poison, SignalHandle, SignalStats};
use reveille_types::wire::{
    MergeRequest, PoisonRequest, SignalCancelRequest, SignalCreated, SignalInfo, SignalMergeMode,
    SignalMerged, SignalRenewRequest, SignalRenewed, SignalRequest, SignalState, TriggerRequest,
};
use reveille_types::{Invalid, Tenant};
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep_until};

use crate::auth::Caller;
use crate::body::{answer, json};
use crate::gateway::Gateway;
use crate::params::Params;
use crate::problem::Refusal;
use crate::waiting::waiting;
use afar::Watched;
use question::{Done, How};
use store::{New, TenantSignals};

pub(crate) use tenants::Signals;
pub use value::SignalValue;

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
    signals.check_afar(&inputs).await?;
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
    mut params: Params,
) -> Result<Response, Refusal> {
    let timeout = params.duration("timeout")?;
    params.finish()?;
    let signals = gateway.signals().of(caller.tenant().clone());
    let Some(timeout) = timeout else {
        let info = match signals.is_afar(handle) {
            true => signals.look_afar(handle).await?,
            false => {
                let info = signals.info(handle, signals.ended(handle)?.as_ref());
                signals.named(info, None).await
            }
        };
        return Ok(answer(StatusCode::OK, &info));
    };
    let until = Instant::now() + timeout.min(gateway.config().wait_max);
    let waited = waiting(&gateway, &caller, wait(&signals, handle, until));
    let Some(info) = waited.await?? else {
        gateway.metrics().wait("timed_out");
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    gateway.metrics().wait(match info.status {
        SignalState::Triggered => "triggered",
        SignalState::Cancelled => "cancelled",
        _ => "poisoned",
    });
    Ok(answer(StatusCode::OK, &info))
}

/// What is told of a signal once it has ended; nothing if the time is up before.
async fn wait(
    signals: &TenantSignals,
    handle: SignalHandle,
    until: Instant,
) -> Result<Option<SignalInfo>, Refusal> {
    if signals.is_afar(handle) {
        // However short the time is, the owner says whether it has ended.
        let watch = match signals.watch_afar(handle).await? {
            Watched::Ended(info) => return Ok(Some(info)),
            Watched::Pending(watch) => watch,
        };
        return Ok(tokio::select! {
            biased;
            info = watch.end() => Some(info),
            () = sleep_until(until) => None,
        });
    }
    let end = tokio::select! {
        // What has ended is told even when the time is up.
        biased;
        end = signals.end(handle) => end?,
        () = sleep_until(until) => return Ok(None),
    };
    Ok(Some(
        signals.named(signals.info(handle, Some(&end)), None).await,
    ))
}

/// What blocks a signal: the inputs that are not complete, and who has not completed them.
pub(crate) async fn why(asked: Asked, Named(handle): Named) -> Result<Response, Refusal> {
    Ok(answer(StatusCode::OK, &asked.signals.why(handle).await?))
}

pub(crate) async fn trigger(
    State(gateway): State<Gateway>,
    asked: Asked,
    Named(handle): Named,
    body: Body,
) -> Result<Response, Refusal> {
    let request: TriggerRequest = json(&asked.headers, body, gateway.config()).await?;
    let value = value_of(request.value.as_deref(), asked.signals.limits().value_bytes)?;
    order(
        &asked.signals,
        handle,
        How::Trigger { value },
        &request.secret,
    )
    .await
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
    let reason = clipped(reason);
    order(
        &asked.signals,
        handle,
        How::Poison { reason },
        &request.secret,
    )
    .await
}

pub(crate) async fn cancel(
    State(gateway): State<Gateway>,
    asked: Asked,
    Named(handle): Named,
    body: Body,
) -> Result<Response, Refusal> {
    let request: SignalCancelRequest = json(&asked.headers, body, gateway.config()).await?;
    let reason = clipped(request.reason.unwrap_or_else(|| CANCELLED.to_owned()));
    order(
        &asked.signals,
        handle,
        How::Cancel { reason },
        &request.secret,
    )
    .await
}

/// Puts off the end of a lease.
pub(crate) async fn renew(
    State(gateway): State<Gateway>,
    asked: Asked,
    Named(handle): Named,
    body: Body,
) -> Result<Response, Refusal> {
    let request: SignalRenewRequest = json(&asked.headers, body, gateway.config()).await?;
    let lease_ms = request.lease_ms;
    lease_ms.map(lease_of).transpose()?;
    order(
        &asked.signals,
        handle,
        How::Renew { lease_ms },
        &request.secret,
    )
    .await
}

/// Does with a signal what `how` says, wherever it is, and tells what was done.
async fn order(
    signals: &TenantSignals,
    handle: SignalHandle,
    how: How,
    secret: &str,
) -> Result<Response, Refusal> {
    let done = match signals.is_afar(handle) {
        true => signals.order_afar(handle, how, secret).await?,
        false => signals.carry_out(handle, how, |kept| kept.is_of(secret))?,
    };
    Ok(match done {
        Done::Ended(info) => answer(StatusCode::OK, &info),
        Done::Renewed(lease_ms) => answer(StatusCode::OK, &SignalRenewed { lease_ms }),
    })
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

fn value_of(value: Option<&RawValue>, limit: usize) -> Result<SignalValue, Refusal> {
    let Some(value) = value else {
        return Ok(SignalValue::default());
    };
    let value = SignalValue::of(value).map_err(|e| unfit(StatusCode::UNPROCESSABLE_ENTITY, &e))?;
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

/// As much of a reason as may be kept, and a little more, so that whoever keeps it says that it was cut.
fn clipped(mut reason: String) -> String {
    reason.truncate(reason.floor_char_boundary(2 * Poison::REASON_BYTES_MAX));
    reason
}
