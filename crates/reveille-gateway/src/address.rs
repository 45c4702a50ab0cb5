//! Which session a request is about.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::StatusCode;
use axum::http::request::Parts;
use reveille_types::{Namespace, SessionId, SessionKey, Tenant};

use crate::auth::Caller;
use crate::gateway::Gateway;
use crate::params::Params;
use crate::problem::Refusal;

/// The session of a name: `id` or `namespace/id`, or an id with its namespace beside it.
pub(crate) fn session_key(
    tenant: Tenant,
    segment: &str,
    namespace: Option<String>,
) -> Result<SessionKey, Refusal> {
    let key = match namespace {
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

/// The session that a request is about, in which its caller may do what is asked for, and the
/// parameters that are not looked at yet.
#[derive(Debug)]
pub(crate) struct Addressed {
    pub(crate) caller: Caller,
    pub(crate) key: SessionKey,
    /// The group, where the path names one.
    pub(crate) group: Option<String>,
    pub(crate) params: Params,
}

impl FromRequestParts<Gateway> for Addressed {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, gateway: &Gateway) -> Result<Self, Refusal> {
        let path = RawPathParams::from_request_parts(parts, gateway)
            .await
            .map_err(|e| Refusal::bad_request("invalid_session", e.body_text()).field("session"))?;
        let segment = |name| path.iter().find(|(known, _)| *known == name);
        let segment = |name| segment(name).map(|(_, text)| text.to_owned());
        let caller = Caller::from_request_parts(parts, gateway).await?;
        let name = segment("session").unwrap_or_default();
        let addressed = Self::new(caller, &name, parts.uri.query())?;
        Ok(Self {
            group: segment("group"),
            ..addressed
        })
    }
}

impl Addressed {
    /// The session with this name, or with the namespace of the query.
    pub(crate) fn new(caller: Caller, name: &str, query: Option<&str>) -> Result<Self, Refusal> {
        let mut params = Params::parse(query);
        let namespace = params.one("namespace")?;
        let key = session_key(caller.tenant().clone(), name, namespace)?;
        caller.check(&key)?;
        Ok(Self {
            caller,
            key,
            group: None,
            params,
        })
    }

    /// The session, of a request that takes no parameters.
    pub(crate) fn only(self) -> Result<SessionKey, Refusal> {
        self.params.finish()?;
        Ok(self.key)
    }
}
