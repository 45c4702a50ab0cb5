//! Where the keys of an issuer are: in the configuration, in a file, or behind a URL.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use jsonwebtoken::{Algorithm, DecodingKey};

use super::authorizer::AuthError;
use super::config::{AuthConfigError, IssuerConfig};
use super::key_set::{JWKS_BYTES, KeySet};
use super::remote_keys::RemoteKeys;

/// Fewest bytes of a shared secret.
const SECRET_BYTES: usize = 32;
/// How often a file of keys is looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Where the keys of an issuer are.
#[derive(Debug)]
pub(super) enum Keys {
    Fixed(DecodingKey),
    File(JwksFile),
    Remote(Arc<RemoteKeys>),
}

impl Keys {
    /// The keys that the configuration names. `before` are those of the same issuer in the configuration
    /// before this one.
    pub(super) fn new(
        config: &IssuerConfig,
        algorithm: Algorithm,
        before: Option<&Self>,
    ) -> Result<Self, AuthConfigError> {
        let wrong = |problem| AuthConfigError::Issuer {
            issuer: config.issuer.clone(),
            problem,
        };
        let places = (
            &config.secret,
            &config.public_key_file,
            &config.jwks_file,
            &config.jwks_url,
        );
        match places {
            (Some(secret), None, None, None) if algorithm == Algorithm::HS256 => {
                if secret.expose().len() < SECRET_BYTES {
                    return Err(wrong("secret has less than 32 bytes"));
                }
                let secret = secret.expose().as_bytes();
                Ok(Self::Fixed(DecodingKey::from_secret(secret)))
            }
            (None, Some(path), None, None) if algorithm != Algorithm::HS256 => {
                let pem = read(path)?;
                let key = match algorithm {
                    Algorithm::RS256 => DecodingKey::from_rsa_pem(&pem),
                    Algorithm::ES256 => DecodingKey::from_ec_pem(&pem),
                    _ => DecodingKey::from_ed_pem(&pem),
                };
                key.map(Self::Fixed)
                    .map_err(|_| wrong("public_key_file has no key of its algorithm"))
            }
            (None, None, Some(path), None) if algorithm != Algorithm::HS256 => {
                let seen = Seen::of(path);
                let keys = KeySet::parse(&read(path)?);
                Ok(Self::File(JwksFile {
                    path: path.clone(),
                    current: Mutex::new(Current {
                        keys: keys.ok_or_else(|| wrong("jwks_file has no key set"))?,
                        seen,
                        looked_at: Instant::now(),
                    }),
                }))
            }
            (None, None, None, Some(url)) if algorithm != Algorithm::HS256 => {
                if let Some(Self::Remote(same)) = before
                    && same.is_at(url)
                {
                    return Ok(Self::Remote(Arc::clone(same)));
                }
                let remote = RemoteKeys::new(&config.issuer, url).map_err(wrong)?;
                Ok(Self::Remote(Arc::new(remote)))
            }
            _ => Err(wrong(
                "give secret with HS256, or else one of public_key_file, jwks_file and jwks_url",
            )),
        }
    }

    /// The keys with which a token of this id may be signed.
    pub(super) async fn find(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Vec<DecodingKey>, AuthError> {
        match self {
            Self::Fixed(key) => Ok(vec![key.clone()]),
            Self::File(file) => Ok(file.find(id, algorithm)),
            Self::Remote(remote) => remote.find(id, algorithm).await,
        }
    }
}

/// A document with keys, which is read again when it has changed. One that cannot be read leaves the
/// keys as they are.
#[derive(Debug)]
pub(super) struct JwksFile {
    path: PathBuf,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    keys: KeySet,
    seen: Option<Seen>,
    looked_at: Instant,
}

/// What tells one state of a file from another.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    modified: SystemTime,
    bytes: u64,
}

impl Seen {
    fn of(path: &Path) -> Option<Self> {
        let meta = fs::metadata(path).ok()?;
        Some(Self {
            modified: meta.modified().ok()?,
            bytes: meta.len(),
        })
    }
}

impl JwksFile {
    fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Vec<DecodingKey> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.looked_at.elapsed() >= LOOK_AGAIN {
            current.looked_at = Instant::now();
            let seen = Seen::of(&self.path);
            if seen != current.seen {
                match read(&self.path).map(|json| KeySet::parse(&json)) {
                    Ok(Some(keys)) => {
                        current.keys = keys;
                        current.seen = seen;
                    }
                    _ => tracing::warn!("a changed key set cannot be read: the old one stays"),
                }
            }
        }
        current.keys.find(id, algorithm)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, AuthConfigError> {
    let unreadable = |source| AuthConfigError::KeyFile {
        path: path.to_owned(),
        source,
    };
    let bytes = fs::metadata(path).map_err(unreadable)?.len();
    if bytes > JWKS_BYTES as u64 {
        return Err(unreadable(std::io::ErrorKind::FileTooLarge.into()));
    }
    fs::read(path).map_err(unreadable)
}
