//! `POST /events`: a notification in protobuf, for processes that speak to an event queue in its own
//! messages. It is a publish of one event, under the same rules.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use reveille_types::data::PayloadData;
use reveille_types::wire::{CURSOR_HEADER, NotifiedEvent, NotifyError, NotifyRequest};

use crate::address::session_key;
use crate::auth::Caller;
use crate::body::{media_type, read};
use crate::gateway::Gateway;
use crate::params::Params;
use crate::problem::Refusal;
use crate::publish::{append, counted};

/// What senders call protobuf. Many call it nothing at all.
const MEDIA_TYPES: [&str; 4] = [
    "application/x-protobuf",
    "application/protobuf",
    "application/vnd.google.protobuf",
    "application/octet-stream",
];

pub(crate) async fn event(
    State(gateway): State<Gateway>,
    caller: Caller,
    mut params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let namespace = params.one("namespace")?;
    params.finish()?;
    media_type(&headers, &MEDIA_TYPES)?;
    let bytes = read(body, gateway.config()).await?;
    let request = match NotifyRequest::decode(&bytes) {
        Ok(request) => request,
        Err(error) => {
            gateway.metrics().refused();
            return Ok(malformed(error));
        }
    };
    let stored = async {
        let key = session_key(caller.tenant().clone(), &request.session, namespace)?;
        caller.check(&key)?;
        let draft = match request.event {
            NotifiedEvent::AgentMessage(said) => said.into_draft(),
            // Whether the time of a wait is up is nobody's to say but the server's.
            _ => {
                return Err(
                    Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "reserved_kind").field("event"),
                );
            }
        };
        append(&gateway, &caller, key, &headers, vec![draft], bytes.len()).await
    };
    let receipt = counted(&gateway, stored.await)?;
    let cursor = [(CURSOR_HEADER, receipt.cursor.to_string())];
    Ok((cursor, "OK").into_response())
}

/// The two answers that senders know by their text.
fn malformed(error: NotifyError) -> Response {
    let text = match error {
        NotifyError::MissingEvent => "Missing event",
        _ => "Invalid protobuf",
    };
    (StatusCode::BAD_REQUEST, text).into_response()
}
