//! What is known of each request afterwards: a line in the log, numbers, and the trace it belongs to.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;

use crate::gateway::Gateway;
use crate::modes::traceparent;
use crate::server::Peer;

tokio::task_local! {
    /// The trace of the request that is being answered.
    static TRACE: String;
}

/// The trace of the request that is being answered, which its errors name.
pub(crate) fn trace_id() -> Option<String> {
    TRACE.try_with(Clone::clone).ok()
}

/// Counts and logs a request.
pub(crate) async fn observe(
    State(gateway): State<Gateway>,
    request: Request,
    next: Next,
) -> Response {
    let route = route_of(&request);
    observed(&gateway, &route, request, |request| next.run(request)).await
}

/// The route that a request has matched.
pub(crate) fn route_of(request: &Request) -> String {
    let matched = request.extensions().get::<MatchedPath>();
    matched.map_or("none", MatchedPath::as_str).to_owned()
}

/// Counts and logs a request on a route. Neither its query, which may hold a ticket, nor its body is
/// logged.
pub(crate) async fn observed<F: Future<Output = Response>>(
    gateway: &Gateway,
    route: &str,
    request: Request,
    answer: impl FnOnce(Request) -> F,
) -> Response {
    let begun = Instant::now();
    let trace = trace_of(request.headers());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
    let response = TRACE.scope(trace.clone(), answer(request)).await;
    let (status, took) = (response.status(), begun.elapsed());
    gateway.metrics().request(route, method.as_str(), status);
    if !may_wait(route) {
        gateway.metrics().took(took.as_secs_f64());
    }
    tracing::info!(
        target: "reveille_gateway::access",
        %method,
        route,
        // As text in quotes: no character of it can end a line.
        path = ?path,
        status = status.as_u16(),
        took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        peer = peer.map(tracing::field::display),
        trace_id = trace,
    );
    response
}

/// Whether requests to the route wait for something on purpose.
fn may_wait(route: &str) -> bool {
    route.ends_with("/wait") || route.ends_with("/take") || route.ends_with("{handle}")
}

/// The trace that the request says it belongs to, or a new one.
fn trace_of(headers: &HeaderMap) -> String {
    let given = traceparent(headers).and_then(|parent| parent.split('-').nth(1));
    match given {
        Some(id) => id.to_owned(),
        None => uuid::Uuid::new_v4().simple().to_string(),
    }
}
