//! Publishes past the router, of which a connection may carry a hundred thousand a second.
//!
//! A route of the router is a chain of services in boxes, which costs as much as all that a publish does.
//! Here the same functions are called one by one, for this route alone and where they are all that
//! stands around a request. Whatever else comes goes through the router, as does what is not a plain
//! case of this one.

use std::panic::AssertUnwindSafe;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{Method, Uri};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;

use crate::address::Addressed;
use crate::auth::{Access, Action, admitted};
use crate::gateway::{Gateway, panicked};
use crate::guard::guarded;
use crate::publish::publish;
use crate::routes;

/// Who may.
const ACCESS: Access = Access::Right(Action::Publish);

/// Whether a request is to publish to one session, with nothing in its address to be decoded.
pub(crate) fn takes(method: &Method, uri: &Uri) -> bool {
    *method == Method::POST && session_of(uri).is_some()
}

fn session_of(uri: &Uri) -> Option<&str> {
    let (before, after) = routes::EVENTS.split_once("{session}")?;
    let session = uri.path().strip_prefix(before)?.strip_suffix(after)?;
    let is_plain = !session.is_empty() && !session.contains(['/', '%']);
    is_plain.then_some(session)
}

/// Answers what it [takes].
pub(crate) async fn answer(gateway: &Gateway, request: Request) -> Response {
    guarded(gateway, routes::EVENTS, request, |request| async {
        let answered = AssertUnwindSafe(admit(gateway, request)).catch_unwind();
        answered.await.unwrap_or_else(panicked)
    })
    .await
}

async fn admit(gateway: &Gateway, request: Request) -> Response {
    admitted(gateway, ACCESS, request, |caller, request| async move {
        let (parts, body): (_, Body) = request.into_parts();
        let session = session_of(&parts.uri).unwrap_or_default();
        let answer = match Addressed::new(caller, session, parts.uri.query()) {
            Ok(addressed) => publish(gateway, addressed, &parts.headers, body).await,
            Err(refusal) => Err(refusal),
        };
        answer.into_response()
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_route_needs_the_same_right_past_the_router() {
        let routes = Gateway::routes();
        let found = routes
            .iter()
            .find(|route| route.method == Method::POST && route.path == routes::EVENTS);
        assert_eq!(found.unwrap().right, ACCESS.action());
    }

    #[test]
    fn only_plain_publishes_go_past_the_router() {
        let takes = |method, uri: &str| takes(&method, &uri.parse().unwrap());
        assert!(takes(Method::POST, "/v1/sessions/build/events"));
        assert!(takes(Method::POST, "/v1/sessions/build/events?namespace=a"));
        for (method, uri) in [
            (Method::GET, "/v1/sessions/build/events"),
            (Method::POST, "/v1/sessions/run%2Fbuild/events"),
            (Method::POST, "/v1/sessions/a/b/events"),
            (Method::POST, "/v1/sessions//events"),
            (Method::POST, "/v1/sessions/events"),
            (Method::POST, "/v1/sessions/build/events/"),
            (Method::POST, "/v1/sessions/build/events:query"),
            (Method::POST, "/v1/sessions/build/take"),
        ] {
            assert!(!takes(method, uri), "{uri}");
        }
    }
}
