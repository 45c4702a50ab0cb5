//! Consuming as a group: take, ack, nack. Over HTTP always on lease, because an answer can be lost.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use reveille_queue::{LeaseId, TakeOptions, TakeOutcome};
use reveille_types::wire::{
    LeaseInfo, SettleAnswer, SettleRequest, TakeAnswer, TakeRequest, WaitOutcomeKind,
};
use reveille_types::{Invalid, Label};

use crate::address::Addressed;
use crate::body::{answer, required, timed_out};
use crate::gateway::Gateway;
use crate::problem::Refusal;
use crate::read::raw;
use crate::waiting::waiting;

/// Most events that one take hands out.
pub(crate) const TAKE_MAX: u32 = 1_000;

pub(crate) async fn take(
    State(gateway): State<Gateway>,
    addressed: Addressed,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let caller = addressed.caller.clone();
    let key = addressed.only()?;
    let request: TakeRequest = crate::body::json(&headers, body, gateway.config()).await?;
    let mut options = options_of(&gateway, request)?;
    options.filter = caller.narrow(options.filter)?;
    let log = gateway.session_or_new(key).await?;
    let outcome = waiting(&gateway, &caller, log.take(options)).await??;
    let got = match outcome {
        TakeOutcome::TimedOut { next, .. } => {
            gateway.metrics().wait("timed_out");
            return Ok(timed_out(next));
        }
        TakeOutcome::Taken { taken, cursor, gap } => TakeAnswer {
            outcome: WaitOutcomeKind::Matched,
            events: taken.iter().map(|t| raw(&t.event)).collect(),
            leases: taken
                .iter()
                .filter_map(|t| t.lease.as_ref())
                .map(|lease| LeaseInfo {
                    lease: lease.id.to_string(),
                    delivery: lease.id.delivery(),
                    expires_at: log.wall_time_of(lease.until),
                })
                .collect(),
            reason: None,
            cursor,
            gap,
        },
        TakeOutcome::Ended {
            reason,
            cursor,
            gap,
        } => TakeAnswer {
            outcome: WaitOutcomeKind::Ended,
            events: Vec::new(),
            leases: Vec::new(),
            reason: Some(reason),
            cursor,
            gap,
        },
    };
    gateway.metrics().wait(got.outcome.as_str());
    Ok(answer(StatusCode::OK, &got))
}

fn options_of(gateway: &Gateway, request: TakeRequest) -> Result<TakeOptions, Refusal> {
    let config = gateway.config();
    let filter = gateway.kinds(request.matching, request.strict)?;
    let mut options = TakeOptions::new().matching(filter);
    if let Some(name) = &request.group {
        options.group = group(name)?;
    }
    let max = request.max.unwrap_or(1);
    if max > TAKE_MAX {
        return Err(unprocessable(&Invalid::TooLarge {
            field: "max".into(),
            limit: u64::from(TAKE_MAX),
            actual: u64::from(max),
            unit: "events",
        }));
    }
    options.max = usize::try_from(max).unwrap_or(usize::MAX);
    options.lease = Some(
        request
            .lease_ms
            .map_or(config.lease_default, Duration::from_millis),
    );
    let timeout = request
        .timeout_ms
        .map_or(config.wait_default, Duration::from_millis);
    options.timeout = Some(timeout.min(config.wait_max));
    Ok(options)
}

fn group(name: &str) -> Result<Label, Refusal> {
    Label::parse(name).map_err(|e| unprocessable(&e).field("group"))
}

fn unprocessable(invalid: &Invalid) -> Refusal {
    Refusal::invalid(StatusCode::UNPROCESSABLE_ENTITY, "invalid_option", invalid)
}

pub(crate) async fn ack(
    State(gateway): State<Gateway>,
    addressed: Addressed,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    settle(&gateway, addressed, &headers, body, true).await
}

pub(crate) async fn nack(
    State(gateway): State<Gateway>,
    addressed: Addressed,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    settle(&gateway, addressed, &headers, body, false).await
}

/// Settles leases in order, up to the first that is not held any more.
async fn settle(
    gateway: &Gateway,
    addressed: Addressed,
    headers: &HeaderMap,
    body: Body,
    done: bool,
) -> Result<Response, Refusal> {
    let key = addressed.only()?;
    let request: SettleRequest = required(headers, body, gateway.config()).await?;
    let group = match &request.group {
        Some(name) => group(name)?,
        None => TakeOptions::new().group,
    };
    let leases: Result<Vec<LeaseId>, Invalid> =
        request.leases.iter().map(|text| text.parse()).collect();
    let leases = leases.map_err(|e| unprocessable(&e))?;
    let log = gateway.session(&key).await?;
    for lease in &leases {
        match done {
            true => log.ack(&group, *lease).await?,
            false => log.nack(&group, *lease).await?,
        }
    }
    let settled = u32::try_from(leases.len()).unwrap_or(u32::MAX);
    Ok(answer(StatusCode::OK, &SettleAnswer { settled }))
}
