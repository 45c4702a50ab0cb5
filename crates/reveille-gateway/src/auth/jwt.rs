//! Signed tokens (RFC 7519) of configured issuers.
//!
//! The library checks signatures and times; what it leaves to its caller is checked here: header
//! members that would change how a token is read (`crit`, `b64`, `jwk`, `jku`, `x5u`, `x5c`), size,
//! lifetime, and that an issuer speaks for its own tenants only.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use data_encoding::BASE64URL_NOPAD;
use jiff::Timestamp;
use jsonwebtoken::jwk::{JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use reveille_types::Tenant;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::authorizer::AuthError;
use super::config::{AuthConfigError, IssuerConfig, JwtAlgorithm};
use super::identity::{Action, Grant, Identity, every_kind, every_session};
use super::secret::Secret;

/// Most bytes of a token.
const TOKEN_BYTES: usize = 8 * 1024;
/// Most bytes of a document with keys.
const JWKS_BYTES: u64 = 256 * 1024;
/// Fewest bytes of a shared secret.
const SECRET_BYTES: usize = 32;
/// By how many seconds clocks may differ.
const LEEWAY: u64 = 5;
/// Longest life of a token, in seconds.
const LIFETIME: f64 = 24.0 * 3600.0;
/// How often a file of keys is looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// The type of our `authorization_details` (RFC 9396).
const DETAIL_TYPE: &str = "reveille";
/// Members of a header with which a token asks to be read in another way, or brings its own key.
const REFUSED: [&str; 6] = ["crit", "b64", "jwk", "jku", "x5u", "x5c"];

/// The issuers that are known.
#[derive(Debug)]
pub(super) struct Issuers(Vec<Issuer>);

#[derive(Debug)]
struct Issuer {
    name: String,
    algorithm: Algorithm,
    validation: Validation,
    tenants: Vec<Tenant>,
    keys: Keys,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: f64,
    #[serde(default)]
    iat: Option<f64>,
    #[serde(default)]
    tenant: Option<Tenant>,
    #[serde(default)]
    authorization_details: Vec<Map<String, Value>>,
}

/// What is looked at before the signature is: only to find the key.
#[derive(Deserialize)]
struct Unverified {
    iss: String,
}

impl Issuers {
    pub(super) fn new(configs: Vec<IssuerConfig>) -> Result<Self, AuthConfigError> {
        configs
            .into_iter()
            .map(Issuer::new)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether some issuer speaks for the tenant.
    pub(super) fn speak_for(&self, tenant: &Tenant) -> bool {
        self.0.iter().any(|issuer| issuer.tenants.contains(tenant))
    }

    /// Whose the token is.
    pub(super) fn verify(&self, token: &Secret) -> Result<Identity, AuthError> {
        self.identity(token.expose()).ok_or(AuthError::Invalid)
    }

    fn identity(&self, token: &str) -> Option<Identity> {
        if token.len() > TOKEN_BYTES {
            return None;
        }
        let mut parts = token.split('.');
        let header: Map<String, Value> = part(parts.next()?)?;
        let unverified: Unverified = part(parts.next()?)?;
        if REFUSED.iter().any(|name| header.contains_key(*name)) {
            return None;
        }
        let typ = header.get("typ").map(Value::as_str);
        let known = |typ: Option<&str>| {
            typ.is_some_and(|t| t.eq_ignore_ascii_case("at+jwt") || t.eq_ignore_ascii_case("jwt"))
        };
        if !typ.is_none_or(known) {
            return None;
        }
        let kid = match header.get("kid") {
            None => None,
            Some(kid) => Some(kid.as_str()?),
        };
        let of_issuer = self.0.iter().filter(|i| i.name == unverified.iss);
        of_issuer.into_iter().find_map(|i| i.identity(token, kid))
    }
}

fn part<T: for<'de> Deserialize<'de>>(encoded: &str) -> Option<T> {
    let bytes = BASE64URL_NOPAD.decode(encoded.as_bytes()).ok()?;
    serde_json::from_slice(&bytes).ok()
}

impl Issuer {
    fn new(config: IssuerConfig) -> Result<Self, AuthConfigError> {
        let name = config.issuer.clone();
        let wrong = |problem| AuthConfigError::Issuer {
            issuer: name.clone(),
            problem,
        };
        if name.is_empty() {
            return Err(wrong("its name is empty"));
        }
        if config.audience.is_empty() || config.audience.iter().any(String::is_empty) {
            return Err(wrong("audience is empty"));
        }
        if config.tenants.is_empty() {
            return Err(wrong("tenants is empty"));
        }
        let algorithm = match config.algorithm {
            JwtAlgorithm::HS256 => Algorithm::HS256,
            JwtAlgorithm::RS256 => Algorithm::RS256,
            JwtAlgorithm::ES256 => Algorithm::ES256,
            JwtAlgorithm::EdDSA => Algorithm::EdDSA,
        };
        let keys = match (config.secret, config.public_key_file, config.jwks_file) {
            (Some(secret), None, None) if algorithm == Algorithm::HS256 => {
                if secret.expose().len() < SECRET_BYTES {
                    return Err(wrong("secret has less than 32 bytes"));
                }
                Keys::Fixed(DecodingKey::from_secret(secret.expose().as_bytes()))
            }
            (None, Some(path), None) if algorithm != Algorithm::HS256 => {
                let pem = read(&path)?;
                let key = match algorithm {
                    Algorithm::RS256 => DecodingKey::from_rsa_pem(&pem),
                    Algorithm::ES256 => DecodingKey::from_ec_pem(&pem),
                    _ => DecodingKey::from_ed_pem(&pem),
                };
                Keys::Fixed(key.map_err(|_| wrong("public_key_file has no key of its algorithm"))?)
            }
            (None, None, Some(path)) if algorithm != Algorithm::HS256 => {
                let (set, state) = (read_set(&path)?, Seen::of(&path));
                Keys::File(JwksFile {
                    path,
                    current: Mutex::new(Current {
                        keys: set.ok_or_else(|| wrong("jwks_file has no key set"))?,
                        seen: state,
                        looked_at: Instant::now(),
                    }),
                })
            }
            _ => {
                return Err(wrong(
                    "give secret with HS256, or else one of public_key_file and jwks_file",
                ));
            }
        };
        let mut validation = Validation::new(algorithm);
        validation.set_audience(&config.audience);
        validation.set_issuer(&[&name]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        Ok(Self {
            name,
            algorithm,
            validation,
            tenants: config.tenants,
            keys,
        })
    }

    fn identity(&self, token: &str, kid: Option<&str>) -> Option<Identity> {
        let keys = self.keys.find(kid, self.algorithm);
        let claims = keys
            .iter()
            .find_map(|key| decode::<Claims>(token, key, &self.validation).ok())?
            .claims;
        // A token that was not issued yet lives from now on.
        let now = Timestamp::now().as_millisecond() as f64 / 1000.0;
        let issued_at = claims.iat.unwrap_or(now).min(now);
        if claims.exp - issued_at > LIFETIME || claims.sub.is_empty() {
            return None;
        }
        let tenant = self.tenant(&claims)?;
        let grants = claims
            .authorization_details
            .iter()
            .filter(|detail| detail.get("type").and_then(Value::as_str) == Some(DETAIL_TYPE))
            .map(grant)
            .collect::<Option<Vec<Grant>>>()?;
        let expires_at = Timestamp::from_millisecond((claims.exp * 1000.0) as i64).ok()?;
        Some(Identity::new(tenant, claims.sub, grants).until(expires_at))
    }

    /// The one tenant that a token names, among those that the issuer speaks for.
    fn tenant(&self, claims: &Claims) -> Option<Tenant> {
        let in_details = claims
            .authorization_details
            .iter()
            .filter_map(|detail| detail.get("tenant"))
            .map(Value::as_str);
        let mut named = claims.tenant.clone();
        for tenant in in_details {
            let tenant = Tenant::parse(tenant?).ok()?;
            match &named {
                None => named = Some(tenant),
                Some(named) if *named == tenant => {}
                Some(_) => return None,
            }
        }
        match (named, &self.tenants[..]) {
            (Some(named), tenants) if tenants.contains(&named) => Some(named),
            (None, [only]) => Some(only.clone()),
            _ => None,
        }
    }
}

/// Reads a grant. Actions that are not known give no right; anything else that is wrong spoils the
/// token.
fn grant(detail: &Map<String, Value>) -> Option<Grant> {
    let actions = detail.get("actions")?.as_array()?;
    let actions = actions
        .iter()
        .map(|action| {
            let text = action.as_str()?;
            Some(
                Action::ALL
                    .into_iter()
                    .find(|action| action.as_str() == text),
            )
        })
        .collect::<Option<Vec<Option<Action>>>>()?;
    let sessions = match detail.get("sessions") {
        None => every_session(),
        Some(list) => Deserialize::deserialize(list).ok()?,
    };
    let types = match detail.get("types") {
        None => every_kind(),
        Some(list) => Deserialize::deserialize(list).ok()?,
    };
    Some(Grant {
        actions: actions.into_iter().flatten().collect(),
        sessions,
        types,
    })
}

/// Where the keys of an issuer are.
#[derive(Debug)]
enum Keys {
    Fixed(DecodingKey),
    File(JwksFile),
}

/// A document with keys, which is read again when it has changed. One that cannot be read leaves the
/// keys as they are.
#[derive(Debug)]
struct JwksFile {
    path: PathBuf,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    keys: JwkSet,
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

impl Keys {
    /// The keys with which a token of this id may be signed.
    fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Vec<DecodingKey> {
        let file = match self {
            Self::Fixed(key) => return vec![key.clone()],
            Self::File(file) => file,
        };
        let mut current = file.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.looked_at.elapsed() >= LOOK_AGAIN {
            current.looked_at = Instant::now();
            let seen = Seen::of(&file.path);
            if seen != current.seen {
                match read_set(&file.path) {
                    Ok(Some(keys)) => {
                        current.keys = keys;
                        current.seen = seen;
                    }
                    _ => tracing::warn!("a changed key set cannot be read: the old one stays"),
                }
            }
        }
        let fits = |jwk: &&jsonwebtoken::jwk::Jwk| {
            let common = &jwk.common;
            let of_algorithm = |name: &jsonwebtoken::jwk::KeyAlgorithm| {
                name.to_string() == format!("{algorithm:?}")
            };
            common.key_algorithm.as_ref().is_none_or(of_algorithm)
                && !matches!(common.public_key_use, Some(PublicKeyUse::Encryption))
                && kid.is_none_or(|kid| common.key_id.as_deref() == Some(kid))
        };
        let keys = current.keys.keys.iter().filter(fits);
        // A key of another family would make the library refuse; here it is just not the one.
        keys.filter_map(|jwk| DecodingKey::from_jwk(jwk).ok())
            .filter(|key| key.family().algorithms().contains(&algorithm))
            .collect()
    }
}

fn read(path: &Path) -> Result<Vec<u8>, AuthConfigError> {
    let unreadable = |source| AuthConfigError::KeyFile {
        path: path.to_owned(),
        source,
    };
    let bytes = fs::metadata(path).map_err(unreadable)?.len();
    if bytes > JWKS_BYTES {
        return Err(unreadable(std::io::ErrorKind::FileTooLarge.into()));
    }
    fs::read(path).map_err(unreadable)
}

/// The key set in a file; nothing if there is none in it.
fn read_set(path: &Path) -> Result<Option<JwkSet>, AuthConfigError> {
    Ok(serde_json::from_slice(&read(path)?).ok())
}
