//! The paths of task dashboards: `/events/workflows/{id}`, `/events/ingestion/{id}`, `/events/queues`.
//!
//! Their JSON is flat (`event_type`, `event_id`, `task_id`, ...), their places are offsets. Behind
//! them are the same sessions, cursors and rules as everywhere.

use axum::body::Body;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use reveille_queue::{ListOptions, SessionLog};
use reveille_types::wire::{CancelRequest, SessionInfo, SessionState};
use reveille_types::{
    Cursor, Event, Namespace, Position, SessionId, SessionKey, Start, Tenant, json_line, rfc3339,
};
use serde_json::{Map, Value, json};

use crate::auth::Caller;
use crate::body;
use crate::frames::Dialect;
use crate::gateway::Gateway;
use crate::params::{Params, bad_value, refused};
use crate::problem::Refusal;
use crate::read::{Asked, Streaming, stream};

/// Most queues in a list.
const LIST_MAX: usize = 1_000;

pub(crate) async fn workflow(
    State(gateway): State<Gateway>,
    asked: About,
) -> Result<Response, Refusal> {
    events("workflow", &gateway, asked).await
}

pub(crate) async fn ingestion(
    State(gateway): State<Gateway>,
    asked: About,
) -> Result<Response, Refusal> {
    events("ingestion", &gateway, asked).await
}

pub(crate) async fn cancel_workflow(
    State(gateway): State<Gateway>,
    asked: About,
    body: Body,
) -> Result<Response, Refusal> {
    cancel("workflow", &gateway, asked, body).await
}

pub(crate) async fn cancel_ingestion(
    State(gateway): State<Gateway>,
    asked: About,
    body: Body,
) -> Result<Response, Refusal> {
    cancel("ingestion", &gateway, asked, body).await
}

/// What a request on these paths is about.
pub(crate) struct About {
    caller: Caller,
    id: String,
    params: Params,
    headers: HeaderMap,
}

impl FromRequestParts<Gateway> for About {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, gateway: &Gateway) -> Result<Self, Refusal> {
        let Path(id) = Path::<String>::from_request_parts(parts, gateway)
            .await
            .map_err(|e| Refusal::bad_request("invalid_session", e.body_text()).field("session"))?;
        Ok(Self {
            caller: Caller::from_request_parts(parts, gateway).await?,
            id,
            params: Params::parse(parts.uri.query()),
            headers: parts.headers.clone(),
        })
    }
}

impl About {
    /// The session of this namespace, in which the caller may do what is asked for.
    async fn session(&self, gateway: &Gateway, namespace: &str) -> Result<SessionLog, Refusal> {
        let key = key(self.caller.tenant().clone(), namespace, &self.id)?;
        self.caller.check(&key)?;
        gateway.session(&key).await
    }
}

fn key(tenant: Tenant, namespace: &str, id: &str) -> Result<SessionKey, Refusal> {
    let id = SessionId::parse(id).map_err(|e| bad_value(&e))?;
    let namespace = Namespace::parse(namespace).map_err(|e| bad_value(&e))?;
    Ok(SessionKey::new(tenant, namespace, id))
}

async fn events(
    namespace: &'static str,
    gateway: &Gateway,
    mut about: About,
) -> Result<Response, Refusal> {
    let params = &mut about.params;
    let from_offset = params.one("from_offset")?;
    let asked = Asked::from_request(&about.headers, params)?;
    let strict = params.strict()?;
    let filter = gateway.kinds(params.patterns()?, strict)?;
    let filter = about.caller.narrow(filter)?;
    let streaming = Streaming::from_query(gateway, &about.headers, params)?;
    std::mem::take(params).finish()?;
    let log = about.session(gateway, namespace).await?;
    let asked = match (asked, from_offset) {
        (Asked::Nothing, None) => Asked::Earliest,
        (Asked::Nothing, Some(offset)) => Asked::After(at_offset(&log, &offset).await?),
        (asked, _) => asked,
    };
    let log = asked.reached(log).await?;
    let caller = &about.caller;
    stream(
        gateway,
        caller,
        &log,
        asked,
        filter,
        &streaming,
        Dialect::Task,
    )
}

/// The place of an offset, which must not lie beyond the end.
async fn at_offset(log: &SessionLog, text: &str) -> Result<Cursor, Refusal> {
    let position: u64 = text.parse().map_err(|_| {
        refused("from_offset", "is no number that is 0 or more")
            .with_status(StatusCode::UNPROCESSABLE_ENTITY)
    })?;
    let at = Cursor::session(log.epoch(), Position(position));
    log.load_to(Start::After(at)).await?;
    let latest = log.latest().position().unwrap_or_default();
    Start::After(at)
        .resolve(log.epoch(), Position::START, latest)
        .map_err(|e| Refusal::from(e).with_status(StatusCode::RANGE_NOT_SATISFIABLE))?;
    Ok(at)
}

async fn cancel(
    namespace: &'static str,
    gateway: &Gateway,
    mut about: About,
    body: Body,
) -> Result<Response, Refusal> {
    std::mem::take(&mut about.params).finish()?;
    let log = about.session(gateway, namespace).await?;
    let request: CancelRequest = body::json(&about.headers, body, gateway.config()).await?;
    let outcome = log.cancel(request.reason.as_deref(), None).await?;
    let message = match (outcome.already_cancelled, outcome.reason) {
        (false, _) => "cancellation requested".to_owned(),
        (true, None) => "cancellation was requested before".to_owned(),
        (true, Some(reason)) => format!("cancellation was requested before: {reason}"),
    };
    let answer = json!({"task_id": about.id, "cancelled": true, "message": message});
    Ok(body::answer(StatusCode::OK, &answer))
}

pub(crate) async fn queues(
    State(gateway): State<Gateway>,
    caller: Caller,
    mut params: Params,
) -> Result<Response, Refusal> {
    let asked = params
        .one("tenant_id")?
        .ok_or_else(|| refused("tenant_id", "is missing"))
        .map_err(|r| r.with_status(StatusCode::UNPROCESSABLE_ENTITY))?;
    params.finish()?;
    let asked = Tenant::parse(asked).map_err(|e| bad_value(&e))?;
    let tenant = caller.tenant();
    // Another tenant looks like one that has no sessions.
    if asked != *tenant {
        return Ok(body::answer(StatusCode::OK, &Vec::<Value>::new()));
    }
    let mut options = ListOptions::first(LIST_MAX);
    options.state = Some(SessionState::Open);
    gateway.sessions().open_stored(tenant).await?;
    let list = gateway.sessions().list(tenant, &options);
    let visible = list.sessions.iter().filter(|info| {
        key(tenant.clone(), &info.namespace, &info.id).is_ok_and(|key| caller.sees(&key))
    });
    let queues: Vec<Value> = visible.map(|info| queue_of(tenant, info)).collect();
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
async fn find(gateway: &Gateway, about: &mut About) -> Result<SessionLog, Refusal> {
    let mut params = std::mem::take(&mut about.params);
    let namespace = params.one("namespace")?;
    params.finish()?;
    if let Some(namespace) = namespace {
        return about.session(gateway, &namespace).await;
    }
    let mut found = Vec::new();
    for namespace in ["workflow", "ingestion", Namespace::DEFAULT] {
        if let Ok(log) = about.session(gateway, namespace).await {
            found.push(log);
        }
    }
    match found.pop() {
        Some(log) if found.is_empty() => Ok(log),
        Some(_) => Err(Refusal::new(StatusCode::CONFLICT, "ambiguous_id")
            .field("namespace")
            .detail("several namespaces have a session of this id; name one in ?namespace=")),
        None => about.session(gateway, "workflow").await,
    }
}

pub(crate) async fn queue(
    State(gateway): State<Gateway>,
    mut about: About,
) -> Result<Response, Refusal> {
    let log = find(&gateway, &mut about).await?;
    let queue = queue_of(about.caller.tenant(), &log.info());
    Ok(body::answer(StatusCode::OK, &queue))
}

pub(crate) async fn offset(
    State(gateway): State<Gateway>,
    mut about: About,
) -> Result<Response, Refusal> {
    let log = find(&gateway, &mut about).await?;
    let offset = log.latest().position().unwrap_or_default().0;
    let answer = json!({"task_id": about.id, "offset": offset});
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
