//! The paths of task dashboards: `/events/workflows/{id}`, `/events/ingestion/{id}`, `/events/queues`.
//!
//! Their JSON is flat (`event_type`, `event_id`, `task_id`, ...), their places are offsets. Behind
//! them are the same sessions, cursors and rules as everywhere.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use reveille_queue::{ListOptions, SessionLog};
use reveille_types::wire::{CancelRequest, SessionInfo, SessionState};
use reveille_types::{
    Cursor, Event, Namespace, Position, SessionId, SessionKey, Start, Tenant, json_line, rfc3339,
};
use serde_json::{Map, Value, json};

use crate::body;
use crate::frames::Dialect;
use crate::gateway::Gateway;
use crate::params::{Params, bad_value, refused};
use crate::problem::Refusal;
use crate::read::{Asked, Streaming, stream};

/// The namespaces that these paths show.
const NAMESPACES: [(&str, &str); 2] = [("workflows", "workflow"), ("ingestion", "ingestion")];
/// Most queues in a list.
const LIST_MAX: usize = 1_000;

pub(crate) fn routes() -> Router<Gateway> {
    let mut router = Router::new()
        .route("/events/queues", get(queues))
        .route("/events/queues/{id}", get(queue))
        .route("/events/queues/{id}/offset", get(offset));
    for (path, namespace) in NAMESPACES {
        let events =
            move |gateway, id, query, headers| events(namespace, gateway, id, query, headers);
        let cancel =
            move |gateway, id, headers, body| cancel(namespace, gateway, id, headers, body);
        router = router
            .route(&format!("/events/{path}/{{id}}"), get(events))
            .route(&format!("/events/{path}/{{id}}/cancel"), post(cancel));
    }
    router
}

fn key(tenant: Tenant, namespace: &str, id: &str) -> Result<SessionKey, Refusal> {
    let id = SessionId::parse(id).map_err(|e| bad_value(&e))?;
    let namespace = Namespace::parse(namespace).map_err(|e| bad_value(&e))?;
    Ok(SessionKey::new(tenant, namespace, id))
}

async fn events(
    namespace: &'static str,
    State(gateway): State<Gateway>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let mut params = Params::parse(query.as_deref());
    let from_offset = params.one("from_offset")?;
    let asked = Asked::from_request(&headers, &mut params)?;
    let filter = params.filter()?;
    let streaming = Streaming::from_query(&gateway, &mut params)?;
    params.finish()?;
    let log = gateway
        .session(&key(gateway.tenant(), namespace, &id)?)
        .await?;
    let asked = match (asked, from_offset) {
        (Asked::Nothing, None) => Asked::Earliest,
        (Asked::Nothing, Some(offset)) => Asked::After(at_offset(&log, &offset)?),
        (asked, _) => asked,
    };
    stream(&gateway, &log, asked, filter, &streaming, Dialect::Task)
}

/// The place of an offset, which must not lie beyond the end.
fn at_offset(log: &SessionLog, text: &str) -> Result<Cursor, Refusal> {
    let position: u64 = text.parse().map_err(|_| {
        refused("from_offset", "is no number that is 0 or more")
            .with_status(StatusCode::UNPROCESSABLE_ENTITY)
    })?;
    let at = Cursor::session(log.epoch(), Position(position));
    let latest = log.latest().position().unwrap_or_default();
    Start::After(at)
        .resolve(log.epoch(), Position::START, latest)
        .map_err(|e| Refusal::from(e).with_status(StatusCode::RANGE_NOT_SATISFIABLE))?;
    Ok(at)
}

async fn cancel(
    namespace: &'static str,
    State(gateway): State<Gateway>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let log = gateway
        .session(&key(gateway.tenant(), namespace, &id)?)
        .await?;
    let request: CancelRequest = body::json(&headers, body, gateway.config()).await?;
    let outcome = log.cancel(request.reason.as_deref(), None).await?;
    let message = match (outcome.already_cancelled, outcome.reason) {
        (false, _) => "cancellation requested".to_owned(),
        (true, None) => "cancellation was requested before".to_owned(),
        (true, Some(reason)) => format!("cancellation was requested before: {reason}"),
    };
    let answer = json!({"task_id": id, "cancelled": true, "message": message});
    Ok(body::answer(StatusCode::OK, &answer))
}

async fn queues(
    State(gateway): State<Gateway>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let mut params = Params::parse(query.as_deref());
    let asked = params
        .one("tenant_id")?
        .ok_or_else(|| refused("tenant_id", "is missing"))
        .map_err(|r| r.with_status(StatusCode::UNPROCESSABLE_ENTITY))?;
    params.finish()?;
    let tenant = gateway.tenant();
    // Another tenant looks like one that has no sessions.
    if asked != tenant.as_str() {
        return Ok(body::answer(StatusCode::OK, &Vec::<Value>::new()));
    }
    let mut options = ListOptions::first(LIST_MAX);
    options.state = Some(SessionState::Open);
    gateway.sessions().open_stored(&tenant).await?;
    let list = gateway.sessions().list(&tenant, &options);
    let queues: Vec<Value> = list.sessions.iter().map(|i| queue_of(&tenant, i)).collect();
    Ok(body::answer(StatusCode::OK, &queues))
}

fn queue_of(tenant: &Tenant, info: &SessionInfo) -> Value {
    json!({
        "task_id": info.id,
        "tenant_id": tenant,
        "namespace": info.namespace,
        "event_count": info.retained,
        "subscriber_count": info.subscribers,
        "is_closed": info.state == SessionState::Ended,
        "is_cancelled": info.cancel.is_some(),
        "created_at": info.created_at,
    })
}

/// Finds the one session of this id, whatever its namespace.
async fn find(gateway: &Gateway, id: &str, query: Option<&str>) -> Result<SessionLog, Refusal> {
    let mut params = Params::parse(query);
    let namespace = params.one("namespace")?;
    params.finish()?;
    let tenant = gateway.tenant();
    if let Some(namespace) = namespace {
        return gateway.session(&key(tenant, &namespace, id)?).await;
    }
    let mut found = Vec::new();
    for namespace in ["workflow", "ingestion", Namespace::DEFAULT] {
        if let Ok(log) = gateway.session(&key(tenant.clone(), namespace, id)?).await {
            found.push(log);
        }
    }
    match found.pop() {
        Some(log) if found.is_empty() => Ok(log),
        Some(_) => Err(Refusal::new(StatusCode::CONFLICT, "ambiguous_id")
            .field("namespace")
            .detail("several namespaces have a session of this id; name one in ?namespace=")),
        None => gateway.session(&key(tenant, "workflow", id)?).await,
    }
}

async fn queue(
    State(gateway): State<Gateway>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let log = find(&gateway, &id, query.as_deref()).await?;
    let queue = queue_of(&gateway.tenant(), &log.info());
    Ok(body::answer(StatusCode::OK, &queue))
}

async fn offset(
    State(gateway): State<Gateway>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let log = find(&gateway, &id, query.as_deref()).await?;
    let offset = log.latest().position().unwrap_or_default().0;
    let answer = json!({"task_id": id, "offset": offset});
    Ok(body::answer(StatusCode::OK, &answer))
}

/// The `event_type` of a kind: one of the five of task dashboards, else the kind itself.
fn event_type(kind: &str) -> &str {
    match kind {
        "task.progress" => "progress",
        "task.error" => "error",
        "task.result" => "complete",
        "task.artifact" | "task.artifact.chunk" => "artifact",
        kind if kind.starts_with("task.status.") => "status",
        kind => kind,
    }
}

/// An event as one flat object: the members of its data, and over them its own.
pub(crate) fn flat(event: &Event) -> String {
    let envelope = event.envelope();
    let mut members: Map<String, Value> = event.payload().parse().unwrap_or_default();
    let kind = envelope.kind.as_str();
    if let Some(state) = kind.strip_prefix("task.status.") {
        let state = state.replace('_', "-");
        members.entry("state").or_insert(Value::String(state));
    }
    let key = event.session();
    let own = [
        ("event_type", json!(event_type(kind))),
        ("event_id", json!(envelope.id)),
        ("task_id", json!(key.id)),
        ("tenant_id", json!(key.tenant)),
        ("timestamp", json!(rfc3339(envelope.time))),
        ("kind", json!(kind)),
        ("offset", json!(event.position().0)),
        ("seq", json!(event.place().seq)),
    ];
    members.extend(own.map(|(name, value)| (name.to_owned(), value)));
    json_line(&members)
}
