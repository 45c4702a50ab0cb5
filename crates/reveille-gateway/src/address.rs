//! Which session a request is about.

use axum::http::StatusCode;
use reveille_types::{Namespace, SessionId, SessionKey, Tenant};

use crate::params::Params;
use crate::problem::Refusal;

/// The session of a path segment: `id` or `namespace/id`, or an id with its namespace in the query.
pub(crate) fn session_key(
    tenant: Tenant,
    segment: &str,
    params: &mut Params,
) -> Result<SessionKey, Refusal> {
    let key = match params.one("namespace")? {
        None => SessionKey::in_tenant(tenant, segment),
        Some(namespace) => Namespace::parse(namespace).and_then(|namespace| {
            let id = SessionId::parse(segment)?;
            Ok(SessionKey::new(tenant, namespace, id))
        }),
    };
    let key = key.map_err(|e| Refusal::invalid(StatusCode::BAD_REQUEST, "invalid_session", &e))?;
    if key.namespace.is_reserved() {
        return Err(Refusal::new(StatusCode::FORBIDDEN, "reserved_name").field("namespace"));
    }
    Ok(key)
}
