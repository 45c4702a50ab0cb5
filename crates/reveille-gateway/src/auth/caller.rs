//! Who may come in: authentication and the first half of authorisation, before every handler.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use reveille_types::{Filter, Kind, SessionKey, Tenant};

use super::authorizer::AuthError;
use super::credential::{Credential, without_ticket};
use super::identity::{Action, Identity};
use crate::browser::is_origin;
use crate::gateway::Gateway;
use crate::problem::Refusal;
use crate::read::{Mode, mode};
use crate::resource::SentTo;
use crate::server::Peer;
use crate::soft_errors::{self, set_query};

/// The code of a request that shows no credential where one is needed.
const MISSING: &str = "missing_token";

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everybody, without a credential.
    Open,
    /// Who has any credential that is valid.
    Known,
    /// Who has the right.
    Right(Action),
    /// Who has the right, by a ticket as well.
    Stream(Action),
}

impl Access {
    /// The right that is needed.
    pub(crate) fn action(self) -> Option<Action> {
        match self {
            Self::Open | Self::Known => None,
            Self::Right(action) | Self::Stream(action) => Some(action),
        }
    }
}

/// Who sent a request, and the right that its route needs.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    identity: Arc<Identity>,
    action: Option<Action>,
    /// What the ticket shows, if there is one.
    ticket: Option<Filter>,
}

impl Caller {
    pub(crate) fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    pub(crate) fn tenant(&self) -> &Tenant {
        &self.identity.tenant
    }

    /// Refuses a session in which the caller may not do what the route does, there or not.
    pub(crate) fn check(&self, key: &SessionKey) -> Result<(), Refusal> {
        match self.action {
            Some(action) if !self.identity.may_in(action, key) => Err(insufficient(action)),
            _ => Ok(()),
        }
    }

    /// Whether the session may be shown to the caller.
    pub(crate) fn sees(&self, key: &SessionKey) -> bool {
        self.check(key).is_ok()
    }

    /// Refuses a kind of event with which the caller may not do in the session what the route does.
    pub(crate) fn check_kind(&self, key: &SessionKey, kind: &Kind) -> Result<(), Refusal> {
        match self.action {
            Some(action) if !self.identity.may_with(action, key, kind) => Err(insufficient(action)),
            _ => Ok(()),
        }
    }

    /// Of what the filter asks for, that which the caller may see.
    pub(crate) fn narrow(&self, filter: Filter) -> Result<Filter, Refusal> {
        let filter = match &self.ticket {
            None => filter,
            Some(shown) if filter.is_all() || filter == *shown => shown.clone(),
            Some(_) => {
                return Err(Refusal::new(StatusCode::FORBIDDEN, "insufficient_scope")
                    .field("match")
                    .detail("the ticket is for another filter"));
            }
        };
        match self.action {
            Some(action) => Ok(filter.within(self.identity.visible(action))),
            None => Ok(filter),
        }
    }
}

impl FromRequestParts<Gateway> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &Gateway) -> Result<Self, Refusal> {
        // Every route that is not open lets in only who has been admitted.
        let admitted = parts.extensions.get::<Self>().cloned();
        admitted.ok_or_else(|| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal"))
    }
}

fn insufficient(action: Action) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, "insufficient_scope").detail(format!(
        "the credential does not give the right to {} here",
        action.as_str()
    ))
}

/// Lets a request through to its handler, or refuses it: with a stream of one frame if it asks so.
pub(crate) async fn admit(
    State((gateway, access)): State<(Gateway, Access)>,
    mut request: Request,
    next: Next,
) -> Response {
    let soft = matches!(access, Access::Stream(_))
        && mode(request.headers()).is_ok_and(|mode| mode == Mode::Sse)
        && soft_errors::asked(request.uri_mut());
    let response = let_in(gateway, access, request, next).await;
    match soft {
        true => soft_errors::soften(response).await,
        false => response,
    }
}

/// Lets a request through to its handler, or refuses it.
async fn let_in(gateway: Gateway, access: Access, request: Request, next: Next) -> Response {
    if access == Access::Open {
        let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
        return match gateway.admission().anonymous(peer) {
            Ok(()) => next.run(request).await,
            Err(refusal) => refusal.into_response(),
        };
    }
    admitted(&gateway, access, request, |caller, mut request| {
        if caller.ticket.is_some() {
            let query = without_ticket(request.uri().query().unwrap_or_default());
            set_query(request.uri_mut(), &query);
        }
        request.extensions_mut().insert(caller);
        next.run(request)
    })
    .await
}

/// Lets `answer` answer a caller who may use the route. What takes longer than the credential holds ends
/// with it.
pub(crate) async fn admitted<F: Future<Output = Response>>(
    gateway: &Gateway,
    access: Access,
    request: Request,
    answer: impl FnOnce(Caller, Request) -> F,
) -> Response {
    let (parts, body) = request.into_parts();
    let sent_to = SentTo::of(&parts);
    let peer = parts.extensions.get::<Peer>().map(|peer| peer.0);
    let caller = match identify(gateway, access, &parts).await {
        Ok(caller) => caller,
        Err(refusal) if refusal.status() == StatusCode::UNAUTHORIZED => {
            let response = counted(gateway, peer, refusal).into_response();
            return sent_to.challenged(gateway, response);
        }
        Err(refusal) => return refusal.into_response(),
    };
    let left = caller.identity.expires_at.map(until);
    let answer = answer(caller, Request::from_parts(parts, body));
    let response = match left {
        None => answer.await,
        Some(left) => match tokio::time::timeout(left, answer).await {
            Ok(response) => response,
            Err(_) => refused(AuthError::Invalid).into_response(),
        },
    };
    sent_to.challenged(gateway, response)
}

/// A request without a credential, or with one that is refused, counts for its address.
fn counted(gateway: &Gateway, peer: Option<IpAddr>, refusal: Refusal) -> Refusal {
    match refusal.code() {
        MISSING => gateway.admission().anonymous(peer).err().unwrap_or(refusal),
        _ => gateway.admission().failure(peer, refusal),
    }
}

/// How long it is until then.
pub(crate) fn until(time: Timestamp) -> Duration {
    Duration::try_from(time.duration_since(Timestamp::now())).unwrap_or_default()
}

/// What a credential is told that is not valid any more.
pub(crate) fn revoked() -> Refusal {
    refused(AuthError::Invalid)
}

fn refused(error: AuthError) -> Refusal {
    match error {
        AuthError::Invalid => Refusal::new(StatusCode::UNAUTHORIZED, error.code()),
        AuthError::Unavailable => Refusal::unavailable(error.code()),
    }
}

async fn identify(gateway: &Gateway, access: Access, parts: &Parts) -> Result<Caller, Refusal> {
    let headers = &parts.headers;
    let by_ticket = matches!(access, Access::Stream(_));
    let credential = match gateway.authorizer() {
        Some(_) => Credential::of(headers, parts.uri.query())?,
        // Tickets are the gateway's own; other credentials are nobody's where nobody is known.
        None => match Credential::of(&HeaderMap::new(), parts.uri.query()) {
            Ok(ticket @ Credential::Ticket(_)) if by_ticket => ticket,
            _ => Credential::None,
        },
    };
    let (identity, ticket) = match (credential, gateway.authorizer()) {
        (Credential::Ticket(ticket), authorizer) if by_ticket => {
            let found = gateway.tickets().find(&ticket);
            let found = found.ok_or_else(revoked)?;
            // It is good for no longer than the credential that it was made with.
            if !authorizer.is_none_or(|known| known.is_valid(&found.identity)) {
                return Err(revoked());
            }
            (Arc::new(found.identity), Some(found.filter))
        }
        (_, None) => (Identity::anybody(), None),
        (Credential::None | Credential::Ticket(_), Some(_)) => {
            return Err(Refusal::new(StatusCode::UNAUTHORIZED, MISSING));
        }
        (Credential::Unreadable, Some(_)) => return Err(refused(AuthError::Invalid)),
        (Credential::Token(token), Some(authorizer)) => {
            let known = authorizer.authenticate(&token).await.map_err(refused)?;
            (Arc::new(known), None)
        }
        (Credential::Cookie(token), Some(authorizer)) => {
            check_origin(gateway, headers)?;
            let known = authorizer.authenticate(&token).await.map_err(refused)?;
            (Arc::new(known), None)
        }
    };
    if identity.expires_at.is_some_and(|at| at <= Timestamp::now()) {
        return Err(refused(AuthError::Invalid));
    }
    let action = access.action();
    match action.filter(|action| !identity.may(*action)) {
        Some(action) => Err(insufficient(action)),
        None => Ok(Caller {
            identity,
            action,
            ticket,
        }),
    }
}

/// A browser sends cookies whichever page asks, so the page must be one of ours.
fn check_origin(gateway: &Gateway, headers: &HeaderMap) -> Result<(), Refusal> {
    let origin = headers.get(header::ORIGIN).and_then(|o| o.to_str().ok());
    let listed = |origin: &str| {
        let known = &gateway.config().origins;
        is_origin(origin) && known.iter().any(|known| known == origin)
    };
    match origin.is_some_and(listed) {
        true => Ok(()),
        false => Err(Refusal::new(StatusCode::FORBIDDEN, "wrong_origin").field("origin")),
    }
}
