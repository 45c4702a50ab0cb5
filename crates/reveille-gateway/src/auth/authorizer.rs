//! The seam behind which credentials are known.

use std::fmt;

use async_trait::async_trait;

use super::config::{AuthConfig, AuthConfigError};
use super::identity::Identity;
use super::jwt::Issuers;
use super::keys::ApiKeys;
use super::revoked::Revoked;
use super::secret::Secret;

/// Why a credential is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// It is not valid: unknown, broken, not yet or no longer. Which of these is nobody's business.
    #[error("the credential is not valid")]
    Invalid,
    /// Whoever could tell is not there.
    #[error("credentials cannot be checked now")]
    Unavailable,
}

impl AuthError {
    /// Stable name of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid => "invalid_token",
            Self::Unavailable => "auth_unavailable",
        }
    }
}

/// Says whose a credential is.
///
/// The gateway asks once for each request, before it looks at anything else. An answer holds until the
/// identity expires: streams and waits that are open then end.
#[async_trait]
pub trait Authorizer: fmt::Debug + Send + Sync {
    /// Whose the token is.
    ///
    /// # Errors
    /// [`AuthError`].
    ///
    /// # Cancel safety
    /// A dropped future changes nothing.
    async fn authenticate(&self, token: &Secret) -> Result<Identity, AuthError>;

    /// Whether the credential behind an identity still counts. Open streams and waits ask a few times a
    /// second; the answer is at hand and waits for nothing.
    fn is_valid(&self, identity: &Identity) -> bool;

    /// The issuers of the tokens that it takes. Who has no valid token is told of those that are URLs.
    fn issuers(&self) -> Vec<String> {
        Vec::new()
    }
}

/// API keys and issuers of tokens that are set in configuration.
#[derive(Debug)]
pub struct StaticAuthorizer {
    keys: ApiKeys,
    issuers: Issuers,
    revoked: Revoked,
}

impl StaticAuthorizer {
    /// Reads the keys.
    ///
    /// # Errors
    /// [`AuthConfigError`] names the entry that cannot be used.
    pub fn new(config: AuthConfig) -> Result<Self, AuthConfigError> {
        Self::with(config, None)
    }

    /// Reads the keys of a configuration that takes the place of the one behind `self`: issuers that
    /// stay keep the public keys that were fetched for them.
    ///
    /// # Errors
    /// [`AuthConfigError`] names the entry that cannot be used.
    pub fn replaced_by(&self, config: AuthConfig) -> Result<Self, AuthConfigError> {
        Self::with(config, Some(&self.issuers))
    }

    fn with(config: AuthConfig, before: Option<&Issuers>) -> Result<Self, AuthConfigError> {
        if config.issuers.is_empty() && config.keys.is_empty() {
            return Err(AuthConfigError::Empty);
        }
        Ok(Self {
            keys: ApiKeys::new(config.keys)?,
            issuers: Issuers::new(config.issuers, before)?,
            revoked: Revoked::new(config.revoked)?,
        })
    }
}

#[async_trait]
impl Authorizer for StaticAuthorizer {
    async fn authenticate(&self, token: &Secret) -> Result<Identity, AuthError> {
        let identity = match self.keys.look_up(token) {
            Some(found) => found?,
            None => self.issuers.verify(token).await?,
        };
        match self.revoked.holds(&identity) {
            true => Err(AuthError::Invalid),
            false => Ok(identity),
        }
    }

    /// Whether its key is there, or an issuer that speaks for its tenant: it need not be this
    /// authorizer that knew it first.
    fn is_valid(&self, identity: &Identity) -> bool {
        let is_known = match &identity.key {
            Some(id) => self.keys.holds(id, identity),
            None => self.issuers.speak_for(identity),
        };
        is_known && !self.revoked.holds(identity)
    }

    fn issuers(&self) -> Vec<String> {
        self.issuers.names()
    }
}
