//! Which web pages may talk to the gateway, and from where.
//!
//! Without authentication only this machine may, and no page of another origin: a browser can be made
//! to send requests to loopback addresses by any page (drive-by requests) and under any name (DNS
//! rebinding); `Host` and `Origin` tell. What changes state and comes from a page must also say that its
//! body is JSON, which a page cannot do across origins without a preflight.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::gateway::Gateway;
use crate::observe::{observed, route_of};
use crate::problem::Refusal;
use crate::{browser, forwarded, head};

/// Refuses what must not come from where it comes from.
pub(crate) async fn check(
    State(gateway): State<Gateway>,
    mut request: Request,
    next: Next,
) -> Response {
    forwarded::resolve(&gateway, &mut request);
    match checked(&gateway, &request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// All that stands around a request where no other origin's pages read answers: the check, what is
/// counted and logged, and the headers of every answer.
pub(crate) async fn around(
    State(gateway): State<Gateway>,
    request: Request,
    next: Next,
) -> Response {
    let route = route_of(&request);
    guarded(&gateway, &route, request, |request| next.run(request)).await
}

/// As [`around`], for what `answer` answers on this route.
pub(crate) async fn guarded<F: Future<Output = Response>>(
    gateway: &Gateway,
    route: &str,
    mut request: Request,
    answer: impl FnOnce(Request) -> F,
) -> Response {
    forwarded::resolve(gateway, &mut request);
    browser::secured(match checked(gateway, &request) {
        Ok(()) => observed(gateway, route, request, answer).await,
        Err(refusal) => refusal.into_response(),
    })
}

fn checked(gateway: &Gateway, request: &Request) -> Result<(), Refusal> {
    let (method, headers) = (request.method(), request.headers());
    head::check(gateway.config(), request)?;
    if gateway.authorizer().is_none() {
        only_loopback(headers, request.uri())?;
    }
    only_json(method, headers)
}

/// Refuses what does not come from this machine, whoever is known.
pub(crate) async fn only_local(request: Request, next: Next) -> Response {
    match only_loopback(request.headers(), request.uri()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

fn only_loopback(headers: &HeaderMap, uri: &Uri) -> Result<(), Refusal> {
    let host = match headers.get(header::HOST) {
        Some(host) => host.to_str().ok(),
        None => uri.authority().map(axum::http::uri::Authority::as_str),
    };
    // HTTP/1.0 requests may come without a host; no browser sends such.
    if !host.is_none_or(is_loopback) {
        return Err(Refusal::new(StatusCode::MISDIRECTED_REQUEST, "wrong_host").field("host"));
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let origin = origin.to_str().unwrap_or_default();
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    if !authority.is_some_and(is_loopback) {
        return Err(Refusal::new(StatusCode::FORBIDDEN, "wrong_origin").field("origin"));
    }
    Ok(())
}

fn only_json(method: &Method, headers: &HeaderMap) -> Result<(), Refusal> {
    let from_page = headers.contains_key(header::ORIGIN);
    if from_page && !method.is_safe() && !says_json(headers) {
        return Err(
            Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type")
                .field("content-type"),
        );
    }
    Ok(())
}

fn says_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE);
    let text = value.and_then(|v| v.to_str().ok()).unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim();
    let lower = essence.to_ascii_lowercase();
    lower == "application/json" || (lower.starts_with("application/") && lower.ends_with("+json"))
}

/// Whether `host` or `host:port` names this machine.
fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_loopback() {
        for here in [
            "localhost",
            "localhost:7600",
            "127.0.0.1:1",
            "127.9.9.9",
            "[::1]:80",
        ] {
            assert!(is_loopback(here), "{here}");
        }
        for elsewhere in [
            "",
            "example.com",
            "localhost.example.com",
            "10.0.0.1",
            "[::2]",
            "0.0.0.0",
        ] {
            assert!(!is_loopback(elsewhere), "{elsewhere}");
        }
    }
}
