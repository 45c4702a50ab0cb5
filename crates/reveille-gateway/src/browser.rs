//! What browsers are told: which pages may read answers, and what not to do with them.

use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use reveille_types::wire::{CURSOR_HEADER, EXPECTED_CURSOR_HEADER, LATEST_HEADER, OLDEST_HEADER};
use tower::{ServiceExt, service_fn};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::config::GatewayConfig;

/// How long a browser may remember what a preflight said.
const REMEMBER: Duration = Duration::from_secs(600);

/// Whether it is the origin of web pages, as browsers write it: `https://example.org`, with a port if it
/// is not the usual one. Neither `*` nor `null` is, because anybody can have those.
#[must_use]
pub fn is_origin(text: &str) -> bool {
    let Some((scheme @ ("http" | "https"), host)) = text.split_once("://") else {
        return false;
    };
    let usual = if scheme == "https" { ":443" } else { ":80" };
    let is_written = |b: u8| {
        b.is_ascii_lowercase()
            || b.is_ascii_digit()
            || matches!(b, b'.' | b'-' | b':' | b'[' | b']')
    };
    let is_named = host.parse::<axum::http::uri::Authority>().is_ok();
    is_named && host.bytes().all(is_written) && !host.ends_with(usual)
}

/// Lets pages of the listed origins read answers; without a list no page of another origin.
///
/// The layer answers every `OPTIONS` request itself, so only requests of pages go through it: the
/// handshake of web hooks is none.
pub(crate) fn with_cors(router: Router, config: &GatewayConfig) -> Router {
    let origins = config.origins.iter().filter(|origin| is_origin(origin));
    let origins: Vec<HeaderValue> = origins.filter_map(|origin| origin.parse().ok()).collect();
    if origins.is_empty() {
        return router;
    }
    let for_pages = router.clone().layer(layer(origins));
    Router::new().fallback_service(service_fn(move |request: Request| {
        let of_page = request.headers().contains_key(header::ORIGIN);
        let router = if of_page { &for_pages } else { &router };
        router.clone().oneshot(request)
    }))
}

fn layer(origins: Vec<HeaderValue>) -> CorsLayer {
    let own = HeaderName::from_static;
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_credentials(true)
        .allow_methods([
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::DELETE,
            Method::QUERY,
        ])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::CACHE_CONTROL,
            own("last-event-id"),
            own("idempotency-key"),
            own("traceparent"),
            own("tracestate"),
            own("prefer"),
            own(EXPECTED_CURSOR_HEADER),
        ])
        .expose_headers([
            own(CURSOR_HEADER),
            own(OLDEST_HEADER),
            own(LATEST_HEADER),
            header::RETRY_AFTER,
        ])
        .max_age(REMEMBER)
}

/// Headers of every answer: nothing is stored, guessed at, or told to other sites.
pub(crate) async fn secure(request: Request, next: Next) -> Response {
    secured(next.run(request).await)
}

pub(crate) fn secured(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s30_an_origin_is_written_as_browsers_do_and_is_not_anybody() {
        for good in [
            "https://example.org",
            "http://localhost:3000",
            "https://[::1]:8443",
        ] {
            assert!(is_origin(good), "{good}");
        }
        for bad in [
            "*",
            "null",
            "",
            "example.org",
            "https://",
            "https://example.org/",
            "https://Example.org",
            "https://example.org:443",
            "https://user@example.org",
            "https://*.example.org",
            "file://example.org",
        ] {
            assert!(!is_origin(bad), "{bad}");
        }
    }
}
