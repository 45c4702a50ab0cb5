//! Who is asking, and what they may do.
//!
//! A request carries one [`Credential`](credential::Credential); an [`Authorizer`] says whose it is;
//! the [`Identity`] it answers with holds the tenant and the grants. Rights are checked before
//! anything is looked up, so that what may not be seen and what does not exist look alike.

mod authorizer;
mod config;
mod credential;
mod identity;
mod issuer_keys;
mod jwt;
mod key_set;
mod keys;
mod remote_keys;
mod revoked;
mod secret;

mod caller;
mod tickets;
mod watch;

pub use authorizer::{AuthError, Authorizer, StaticAuthorizer};
pub use config::{ApiKeyConfig, AuthConfig, AuthConfigError, IssuerConfig, JwtAlgorithm};
pub use identity::{Action, Grant, Identity};
pub use keys::{NewApiKey, new_api_key};
pub use revoked::RevokedConfig;
pub use secret::Secret;

pub(crate) use caller::{Access, Caller, admit, admitted, revoked, until};
pub(crate) use tickets::{Tickets, create as create_ticket};
pub(crate) use watch::{Watch, Watches};
