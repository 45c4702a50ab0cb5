//! Publishing: one event, or a batch that is stored as a whole or not at all.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use reveille_queue::{AppendOptions, SessionLog};
use reveille_types::wire::{CURSOR_HEADER, EXPECTED_CURSOR_HEADER};
use reveille_types::{Cursor, EventDraft, Receipt, SessionKey, Tenant, limits};
use uuid::Uuid;

use crate::address::{Addressed, session_key};
use crate::auth::Caller;
use crate::body::{answer, read};
use crate::gateway::Gateway;
use crate::modes::drafts;
use crate::params::refused;
use crate::problem::Refusal;

/// The header under which a repeated publish is recognised.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

pub(crate) async fn events(
    State(gateway): State<Gateway>,
    addressed: Addressed,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    publish(&gateway, addressed, &headers, body).await
}

/// Publishes what the body has, in any mode.
pub(crate) async fn publish(
    gateway: &Gateway,
    addressed: Addressed,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let receipt = counted(gateway, store(gateway, addressed, headers, body).await)?;
    let cursor = [(CURSOR_HEADER, receipt.cursor.to_string())];
    if prefers_minimal(headers) {
        return Ok((StatusCode::NO_CONTENT, cursor).into_response());
    }
    Ok((cursor, answer(StatusCode::CREATED, &receipt)).into_response())
}

/// Counts what became of a publish.
pub(crate) fn counted(
    gateway: &Gateway,
    stored: Result<Receipt, Refusal>,
) -> Result<Receipt, Refusal> {
    match &stored {
        Ok(receipt) => gateway.metrics().published(receipt),
        Err(_) => gateway.metrics().refused(),
    }
    stored
}

async fn store(
    gateway: &Gateway,
    addressed: Addressed,
    headers: &HeaderMap,
    body: Body,
) -> Result<Receipt, Refusal> {
    let caller = addressed.caller.clone();
    let key = addressed.only()?;
    let bytes = read(body, gateway.config()).await?;
    let size = bytes.len();
    let drafts = drafts(headers, bytes)?;
    append(gateway, &caller, key, headers, drafts, size).await
}

/// Stores the events of a request of so many bytes, as far as the caller may.
pub(crate) async fn append(
    gateway: &Gateway,
    caller: &Caller,
    key: SessionKey,
    headers: &HeaderMap,
    mut drafts: Vec<EventDraft>,
    size: usize,
) -> Result<Receipt, Refusal> {
    for (index, draft) in drafts.iter().enumerate() {
        let checked = caller.check_kind(&key, &draft.kind);
        checked.map_err(|refusal| refusal.field(format!("[{index}].type")))?;
    }
    gateway
        .admission()
        .publish(caller.tenant(), drafts.len(), size)?;
    recognise(&mut drafts, headers)?;
    let log = gateway.session_or_new(key).await?;
    let admission = gateway.admission();
    admission.deliver(caller.tenant(), || log.readers(), size)?;
    let options = conditions(headers, &log)?;
    Ok(log.append(drafts, options).await?)
}

/// Gives each event the key under which a repeated publish is recognised: of the `Idempotency-Key`,
/// else of `source` and `id` where the producer gave both.
fn recognise(drafts: &mut [EventDraft], headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else {
        for draft in drafts {
            if let (Some(source), Some(id)) = (&draft.source, &draft.id) {
                // A digest, because source and id together are longer than a key may be.
                let name = format!("{}\n{source}{id}", source.as_str().len());
                let digest = Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes());
                draft.idempotency_key = Some(format!("event/{digest}").into());
            }
        }
        return Ok(());
    };
    let key = key.to_str().unwrap_or_default();
    if key.is_empty() || key.len() > limits::IDEMPOTENCY_KEY_BYTES {
        return Err(refused(
            "idempotency-key",
            format!(
                "is not 1 to {} ASCII characters",
                limits::IDEMPOTENCY_KEY_BYTES
            ),
        ));
    }
    for (index, draft) in drafts.iter_mut().enumerate() {
        let name = format!("{index}\n{key}");
        let digest = Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes());
        draft.idempotency_key = Some(format!("request/{digest}").into());
    }
    Ok(())
}

/// Whether an origin may send its events here: the handshake of web hooks.
///
/// Specification: <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/http-webhook.md>,
/// section 4.
pub(crate) async fn handshake(
    State(gateway): State<Gateway>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    // Of whose sessions it is does not matter before anybody is known.
    session_key(Tenant::default_tenant(), &name, None)?;
    let allow = [("allow", "GET, POST, OPTIONS".to_owned())];
    let asked = headers.get("webhook-request-origin");
    let origin = asked.and_then(|origin| origin.to_str().ok());
    let known = &gateway.config().webhook_origins;
    match origin {
        Some(origin) if known.iter().any(|known| known == origin) => {
            let granted = [
                ("webhook-allowed-origin", origin.to_owned()),
                ("webhook-allowed-rate", "*".to_owned()),
            ];
            Ok((StatusCode::OK, allow, granted).into_response())
        }
        _ => Ok((StatusCode::NO_CONTENT, allow).into_response()),
    }
}

fn conditions(headers: &HeaderMap, log: &SessionLog) -> Result<AppendOptions, Refusal> {
    let options = AppendOptions::default();
    let Some(expected) = headers.get(EXPECTED_CURSOR_HEADER) else {
        return Ok(options);
    };
    let malformed = || refused(EXPECTED_CURSOR_HEADER, "is no cursor of a session");
    let text = expected.to_str().map_err(|_| malformed())?;
    let cursor: Cursor = text.parse().map_err(|_| malformed())?;
    let position = cursor.position().ok_or_else(malformed)?;
    if cursor.epoch() != log.epoch() {
        return Err(
            Refusal::new(StatusCode::PRECONDITION_FAILED, "position_conflict")
                .field(EXPECTED_CURSOR_HEADER)
                .detail("the cursor is of another incarnation of the log"),
        );
    }
    Ok(options.expecting(position))
}

fn prefers_minimal(headers: &HeaderMap) -> bool {
    headers
        .get_all(HeaderName::from_static("prefer"))
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|preference| preference.trim().eq_ignore_ascii_case("return=minimal"))
}
