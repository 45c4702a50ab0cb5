//! Questions about the server itself.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use crate::auth::Caller;
use crate::body::answer;
use crate::gateway::Gateway;
use crate::params::Params;
use crate::problem::Refusal;

/// How long the store may take to say that it is there.
const READY_DEADLINE: Duration = Duration::from_secs(2);

/// Whether the process answers at all.
pub(crate) async fn healthz() -> Response {
    answer(StatusCode::OK, &json!({"status": "ok"}))
}

/// Whether requests make sense now: the store is there and the server is not being stopped.
pub(crate) async fn readyz(State(gateway): State<Gateway>) -> Result<Response, Refusal> {
    if gateway.draining().is_cancelled() {
        return Err(Refusal::draining());
    }
    let backend = gateway.sessions().backend();
    match tokio::time::timeout(READY_DEADLINE, backend.health()).await {
        Ok(Ok(())) => Ok(answer(StatusCode::OK, &json!({"status": "ready"}))),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the store is not well");
            Err(Refusal::unavailable("backend_unavailable"))
        }
        Err(_) => Err(Refusal::unavailable("backend_timeout")),
    }
}

/// The bounds that hold, so that nobody has to find them out by running into them.
pub(crate) async fn limits(
    State(gateway): State<Gateway>,
    _: Caller,
    params: Params,
) -> Result<Response, Refusal> {
    params.finish()?;
    Ok(answer(StatusCode::OK, &gateway.limits()))
}

/// Counters of the process and of the caller's tenant.
pub(crate) async fn stats(
    State(gateway): State<Gateway>,
    caller: Caller,
    params: Params,
) -> Result<Response, Refusal> {
    params.finish()?;
    let tenant = caller.tenant();
    let signals = gateway.signal_stats(tenant.clone());
    let stats = json!({
        "tenant": tenant,
        "streams": gateway.admission().streams_of(tenant),
        "bytes": gateway.sessions().bytes_of(tenant),
        "signals": {"pending": signals.pending, "waiters": signals.waiters},
    });
    Ok(answer(StatusCode::OK, &stats))
}
