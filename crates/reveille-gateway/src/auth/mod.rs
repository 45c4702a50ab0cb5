//! Who is asking, and what they may do.
//!
//! A request carries one [`Credential`](credential::Credential); an [`Authorizer`] says whose it is;
//! the [`Identity`] it answers with holds the tenant and the grants. Rights are checked before
//! anything is looked up, so that what may not be seen and what does not exist look alike.

mod authorizer;
mod config;
mod credential;
mod identity;
mod jwt;
mod keys;
mod secret;

mod caller;
mod tickets;

pub use authorizer::{AuthError, Authorizer, StaticAuthorizer};
pub use config::{ApiKeyConfig, AuthConfig, AuthConfigError, IssuerConfig, JwtAlgorithm};
pub use identity::{Action, Grant, Identity};
pub use keys::{NewApiKey, new_api_key};
pub use secret::Secret;

pub(crate) use caller::{Access, Caller, admit, admitted, until};
pub(crate) use tickets::{Tickets, create as create_ticket};
