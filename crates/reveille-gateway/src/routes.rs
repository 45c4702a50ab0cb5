//! Every route in one table: what it answers to, and who may use it.

use axum::Router;
use axum::extract::Request;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};

use crate::auth::{Access, Action, admit, create_ticket};
use crate::gateway::{Gateway, method_not_allowed};
use crate::{
    bus_events, connections, consume, groups, manage, metrics, notify, openapi, page, publish,
    read, resource, signals, status, task_paths, wait,
};

/// A route of the gateway.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path, with `{name}` for a segment.
    pub path: &'static str,
    /// Whether it answers without a credential.
    pub open: bool,
    /// The right that it needs. Routes that are not open and need none are for every credential that
    /// is valid.
    pub right: Option<Action>,
    /// Whether a ticket is as good as a credential.
    pub tickets: bool,
}

/// Where the events of a session are.
pub(crate) const EVENTS: &str = "/v1/sessions/{session}/events";

struct Entry {
    method: Method,
    path: &'static str,
    access: Access,
    handler: MethodRouter<Gateway>,
}

fn entry<H, T>(method: Method, path: &'static str, access: Access, handler: H) -> Entry
where
    H: Handler<T, Gateway>,
    T: 'static,
{
    let handler = match method {
        Method::GET => on(MethodFilter::GET, handler),
        Method::PUT => on(MethodFilter::PUT, handler),
        Method::DELETE => on(MethodFilter::DELETE, handler),
        Method::OPTIONS => on(MethodFilter::OPTIONS, handler),
        // The router has no word for it: what it has no handler for comes here.
        Method::QUERY => MethodRouter::new().fallback(handler),
        _ => on(MethodFilter::POST, handler),
    };
    Entry {
        method,
        path,
        access,
        handler,
    }
}

/// Lets through what was sent with the method `QUERY`; other methods are not allowed.
async fn only_query(request: Request, next: Next) -> Response {
    match *request.method() {
        Method::QUERY => next.run(request).await,
        _ => method_not_allowed().await.into_response(),
    }
}

fn entries() -> Vec<Entry> {
    use Access::{Known, Open, Right, Stream};
    use Action::{Admin, Cancel, Publish, Subscribe, Take, Trigger, Wait};
    const SESSION: &str = "/v1/sessions/{session}";
    const GROUP: &str = "/v1/sessions/{session}/groups/{group}";
    const DEAD: &str = "/v1/sessions/{session}/groups/{group}/dead-letters";
    let get = |path, access| (Method::GET, path, access);
    let post = |path, access| (Method::POST, path, access);
    let query = |path, access| (Method::QUERY, path, access);
    macro_rules! table {
        ($($route:expr => $handler:expr,)*) => {
            vec![$({
                let (method, path, access) = $route;
                entry(method, path, access, $handler)
            },)*]
        };
    }
    table![
        get(page::INDEX, Open) => page::index,
        get(page::PART, Open) => page::part,
        get("/healthz", Open) => status::healthz,
        get("/readyz", Open) => status::readyz,
        get("/metrics", Right(Admin)) => metrics::metrics,
        get("/openapi.json", Open) => openapi::document,
        get(resource::METADATA, Open) => resource::metadata,
        get("/v1/limits", Known) => status::limits,
        get("/v1/stats", Right(Admin)) => status::stats,
        get("/v1/events", Stream(Subscribe)) => bus_events::get,
        post("/v1/events:query", Right(Subscribe)) => bus_events::query,
        query("/v1/events", Right(Subscribe)) => bus_events::query,
        get("/v1/sessions", Right(Subscribe)) => manage::list,
        (Method::PUT, SESSION, Right(Publish)) => manage::create,
        get(SESSION, Right(Subscribe)) => manage::info,
        (Method::DELETE, SESSION, Right(Admin)) => manage::remove,
        get(EVENTS, Stream(Subscribe)) => read::events,
        post(EVENTS, Right(Publish)) => publish::events,
        post("/v1/sessions/{session}/events:query", Right(Subscribe)) => read::query,
        query(EVENTS, Right(Subscribe)) => read::query,
        // The handshake of web hooks comes before any credential.
        (Method::OPTIONS, EVENTS, Open) => publish::handshake,
        get("/v1/sessions/{session}/wait", Right(Wait)) => wait::wait,
        post("/v1/sessions/{session}/take", Right(Take)) => consume::take,
        post("/v1/sessions/{session}/ack", Right(Take)) => consume::ack,
        post("/v1/sessions/{session}/nack", Right(Take)) => consume::nack,
        get(GROUP, Right(Take)) => groups::info,
        post("/v1/sessions/{session}/groups/{group}/skip", Right(Take)) => groups::skip,
        get(DEAD, Right(Take)) => groups::dead_letters,
        post(DEAD, Right(Take)) => groups::settle_dead_letters,
        post("/v1/sessions/{session}/cancel", Right(Cancel)) => manage::cancel,
        post("/v1/sessions/{session}/close", Right(Publish)) => manage::close,
        post("/v1/signals", Right(Trigger)) => signals::create,
        post("/v1/signals:merge", Right(Trigger)) => signals::merge,
        get("/v1/signals/{handle}", Right(Wait)) => signals::look,
        get("/v1/signals/{handle}/why", Right(Wait)) => signals::why,
        post("/v1/signals/{handle}/renew", Right(Trigger)) => signals::renew,
        post("/v1/signals/{handle}/trigger", Right(Trigger)) => signals::trigger,
        post("/v1/signals/{handle}/poison", Right(Trigger)) => signals::poison,
        post("/v1/signals/{handle}/cancel", Right(Cancel)) => signals::cancel,
        post("/v1/tickets", Right(Subscribe)) => create_ticket,
        post("/v1/connections/{id}/token", Right(Subscribe)) => connections::renew,
        post("/events", Right(Publish)) => notify::event,
        get("/events/workflows/{id}", Stream(Subscribe)) => task_paths::workflow,
        get("/events/ingestion/{id}", Stream(Subscribe)) => task_paths::ingestion,
        post("/events/workflows/{id}/cancel", Right(Cancel)) => task_paths::cancel_workflow,
        post("/events/ingestion/{id}/cancel", Right(Cancel)) => task_paths::cancel_ingestion,
        get("/events/queues", Right(Subscribe)) => task_paths::queues,
        get("/events/queues/{id}", Right(Subscribe)) => task_paths::queue,
        get("/events/queues/{id}/offset", Right(Subscribe)) => task_paths::offset,
    ]
}

impl Gateway {
    /// Every route, with the right that it needs.
    #[must_use]
    pub fn routes() -> Vec<Route> {
        let route = |entry: Entry| Route {
            open: entry.access == Access::Open,
            right: entry.access.action(),
            tickets: matches!(entry.access, Access::Stream(_)),
            method: entry.method,
            path: entry.path,
        };
        entries().into_iter().map(route).collect()
    }

    /// A router with all of them, each behind its right.
    pub(crate) fn routed(&self) -> Router<Self> {
        entries().into_iter().fold(Router::new(), |router, entry| {
            let admitting = from_fn_with_state((self.clone(), entry.access), admit);
            let handler = match entry.method {
                // Layers on routes leave out what no route handles.
                Method::QUERY => entry.handler.layer(admitting).layer(from_fn(only_query)),
                _ => entry.handler.route_layer(admitting),
            };
            router.route(entry.path, handler)
        })
    }
}
