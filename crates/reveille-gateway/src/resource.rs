//! Where clients learn who issues tokens for the gateway: the metadata of a protected resource
//! (RFC 9728), and the mention of them in challenges.

use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;

use crate::body::answer;
use crate::browser::is_origin;
use crate::gateway::{Gateway, no_such_path};
use crate::problem::Refusal;

/// Where the metadata are.
pub(crate) const METADATA: &str = "/.well-known/oauth-protected-resource";

/// Marks requests that came over TLS.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Encrypted;

/// Where a request was sent to, as it says itself.
pub(crate) struct SentTo {
    host: Option<HeaderValue>,
    authority: Option<Authority>,
    encrypted: bool,
}

impl SentTo {
    pub(crate) fn of(parts: &Parts) -> Self {
        Self {
            host: parts.headers.get(header::HOST).cloned(),
            authority: parts.uri.authority().cloned(),
            encrypted: parts.extensions.get::<Encrypted>().is_some(),
        }
    }

    /// Where the gateway is to be found: as configured, else where the request was sent to. Nothing if
    /// that is no name of a host.
    fn origin(&self, gateway: &Gateway) -> Option<String> {
        if let Some(url) = &gateway.config().public_url {
            return Some(url.clone()).filter(|url| is_origin(url));
        }
        let host = match &self.host {
            Some(host) => host.to_str().ok()?,
            None => self.authority.as_ref()?.as_str(),
        };
        let (scheme, usual_port) = match self.encrypted {
            true => ("https", ":443"),
            false => ("http", ":80"),
        };
        let host = host.strip_suffix(usual_port).unwrap_or(host);
        let origin = format!("{scheme}://{}", host.to_ascii_lowercase());
        is_origin(&origin).then_some(origin)
    }

    /// A response that asks for a credential says where it can be learned who issues them.
    pub(crate) fn challenged(&self, gateway: &Gateway, mut response: Response) -> Response {
        let asks = response.status() == StatusCode::UNAUTHORIZED && gateway.authorizer().is_some();
        if !asks {
            return response;
        }
        let headers = response.headers_mut();
        let challenge = headers.get(header::WWW_AUTHENTICATE);
        if let Some(challenge) = challenge.and_then(|value| value.to_str().ok())
            && let Some(origin) = self.origin(gateway)
            && let Ok(value) =
                format!("{challenge}, resource_metadata=\"{origin}{METADATA}\"").try_into()
        {
            headers.insert(header::WWW_AUTHENTICATE, value);
        }
        response
    }
}

/// The metadata. What has no values is left out, as the RFC demands.
#[derive(Serialize)]
struct Metadata {
    resource: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    authorization_servers: Vec<String>,
    bearer_methods_supported: [&'static str; 1],
}

/// Answers the metadata, where there is authentication.
pub(crate) async fn metadata(
    State(gateway): State<Gateway>,
    request: Request,
) -> Result<Response, Refusal> {
    let authorizer = gateway.authorizer().ok_or_else(no_such_path)?;
    let (parts, _) = request.into_parts();
    let resource = SentTo::of(&parts)
        .origin(&gateway)
        .ok_or_else(|| Refusal::new(StatusCode::MISDIRECTED_REQUEST, "wrong_host").field("host"))?;
    let mut authorization_servers = authorizer.issuers();
    // An `iss` may be any text; where to get tokens can be learned of URLs alone.
    authorization_servers
        .retain(|issuer| issuer.starts_with("https://") || issuer.starts_with("http://"));
    authorization_servers.sort_unstable();
    authorization_servers.dedup();
    let metadata = Metadata {
        resource,
        authorization_servers,
        bearer_methods_supported: ["header"],
    };
    Ok(answer(StatusCode::OK, &metadata))
}
