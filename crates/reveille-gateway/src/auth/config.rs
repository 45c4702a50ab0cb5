//! What can be configured of authentication.

use std::path::PathBuf;

use jiff::Timestamp;
use reveille_types::Tenant;
use serde::Deserialize;

use super::identity::Grant;
use super::revoked::RevokedConfig;
use super::secret::Secret;

/// Who is known: API keys, and issuers of tokens.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthConfig {
    /// The API keys.
    pub keys: Vec<ApiKeyConfig>,
    /// The issuers.
    pub issuers: Vec<IssuerConfig>,
    /// What does not count any more, before its time.
    pub revoked: Vec<RevokedConfig>,
}

/// An API key.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyConfig {
    /// The public part of the key: 1 to 64 letters, digits and `-`.
    pub id: String,
    /// SHA-256 of the whole key, in hexadecimal.
    pub sha256: String,
    /// Whose it is.
    pub tenant: Tenant,
    /// Who uses it; limits for one token count by it. `key:<id>` if none.
    #[serde(default)]
    pub subject: Option<String>,
    /// What it is good for.
    #[serde(default)]
    pub grants: Vec<Grant>,
    /// Until when.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
}

/// How tokens are signed. The issuer's entry says it, never the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum JwtAlgorithm {
    /// HMAC with SHA-256: whoever checks can also sign.
    HS256,
    /// RSA with SHA-256.
    RS256,
    /// The curve P-256 with SHA-256.
    ES256,
    /// Ed25519.
    EdDSA,
}

/// An issuer of tokens: one algorithm, one set of keys, one set of tenants.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerConfig {
    /// What `iss` must be.
    pub issuer: String,
    /// One of which must be in `aud`.
    pub audience: Vec<String>,
    /// How its tokens are signed.
    pub algorithm: JwtAlgorithm,
    /// The shared secret, for HS256: at least 32 bytes.
    #[serde(default)]
    pub secret: Option<Secret>,
    /// The public key in PEM, for all but HS256.
    #[serde(default)]
    pub public_key_file: Option<PathBuf>,
    /// A JWKS document with the public keys, read again when it changes.
    #[serde(default)]
    pub jwks_file: Option<PathBuf>,
    /// Where a JWKS document with the public keys is fetched from: `https`, or `http` on this machine.
    #[serde(default)]
    pub jwks_url: Option<String>,
    /// The tenants it may speak for. If it is one, tokens need not name it.
    pub tenants: Vec<Tenant>,
}

/// Why authentication cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthConfigError {
    /// Nobody could ever be let in.
    #[error("neither keys nor issuers are configured")]
    Empty,
    /// The id of a key.
    #[error("the key id {id:?} is not 1 to 64 letters, digits and -")]
    KeyId {
        /// The id.
        id: String,
    },
    /// The digest of a key.
    #[error("sha256 of key {id} is not 64 hexadecimal digits")]
    KeyDigest {
        /// The id.
        id: String,
    },
    /// Two keys have one id.
    #[error("there are two keys {id}")]
    KeyTwice {
        /// The id.
        id: String,
    },
    /// Something of an issuer.
    #[error("issuer {issuer}: {problem}")]
    Issuer {
        /// The issuer.
        issuer: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// A file with keys.
    #[error("keys cannot be read from {}", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// An entry of what was taken back.
    #[error("an entry of revoked gives one of token, subject and key")]
    Revoked,
    /// The system has no random bytes.
    #[error("the system gives no random bytes")]
    Random,
}

impl AuthConfigError {
    /// Stable name of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "auth_empty",
            Self::KeyId { .. } => "invalid_key_id",
            Self::KeyDigest { .. } => "invalid_key_digest",
            Self::KeyTwice { .. } => "duplicate_key",
            Self::Issuer { .. } => "invalid_issuer",
            Self::KeyFile { .. } => "unreadable_key_file",
            Self::Revoked => "invalid_revocation",
            Self::Random => "no_random_bytes",
        }
    }
}
