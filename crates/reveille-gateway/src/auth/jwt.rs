//! Signed tokens (RFC 7519) of configured issuers.
//!
//! The library checks signatures and times; what it leaves to its caller is checked here: header
//! members that would change how a token is read (`crit`, `b64`, `jwk`, `jku`, `x5u`, `x5c`), size,
//! lifetime, and that an issuer speaks for its own tenants only.

use data_encoding::BASE64URL_NOPAD;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use reveille_types::Tenant;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::authorizer::AuthError;
use super::config::{AuthConfigError, IssuerConfig, JwtAlgorithm};
use super::identity::{Action, Grant, Identity, every_kind, every_session};
use super::issuer_keys::Keys;
use super::secret::Secret;

/// Most bytes of a token.
const TOKEN_BYTES: usize = 8 * 1024;
/// By how many seconds clocks may differ.
const LEEWAY: u64 = 5;
/// Longest life of a token, in seconds.
const LIFETIME: f64 = 24.0 * 3600.0;
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
    jti: Option<String>,
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
    /// What each of them calls itself.
    pub(super) fn names(&self) -> Vec<String> {
        self.0.iter().map(|issuer| issuer.name.clone()).collect()
    }

    /// The issuers of a configuration. Those that were there `before` keep the keys they have fetched.
    pub(super) fn new(
        configs: Vec<IssuerConfig>,
        before: Option<&Self>,
    ) -> Result<Self, AuthConfigError> {
        let same = |config: &IssuerConfig| {
            let mut before = before?.0.iter();
            before.find(|issuer| issuer.name == config.issuer)
        };
        configs
            .into_iter()
            .map(|config| {
                let before = same(&config);
                Issuer::new(config, before)
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether the issuer of an identity, or any if it names none, speaks for its tenant.
    pub(super) fn speak_for(&self, identity: &Identity) -> bool {
        self.0.iter().any(|issuer| {
            let named = identity
                .issuer
                .as_ref()
                .is_none_or(|name| *name == issuer.name);
            named && issuer.tenants.contains(&identity.tenant)
        })
    }

    /// Whose the token is.
    pub(super) async fn verify(&self, token: &Secret) -> Result<Identity, AuthError> {
        let token = token.expose();
        let Unsigned { issuer, key } = Unsigned::of(token).ok_or(AuthError::Invalid)?;
        let mut refused = AuthError::Invalid;
        for one in self.0.iter().filter(|one| one.name == issuer) {
            match one.keys.find(key.as_deref(), one.algorithm).await {
                Ok(keys) => {
                    if let Some(identity) = one.identity(token, &keys) {
                        return Ok(identity);
                    }
                }
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }
}

/// What a token says before anybody has checked it: which key may have signed it.
struct Unsigned {
    issuer: String,
    key: Option<String>,
}

impl Unsigned {
    fn of(token: &str) -> Option<Self> {
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
            Some(kid) => Some(kid.as_str()?.to_owned()),
        };
        Some(Self {
            issuer: unverified.iss,
            key: kid,
        })
    }
}

fn part<T: for<'de> Deserialize<'de>>(encoded: &str) -> Option<T> {
    let bytes = BASE64URL_NOPAD.decode(encoded.as_bytes()).ok()?;
    serde_json::from_slice(&bytes).ok()
}

impl Issuer {
    fn new(config: IssuerConfig, before: Option<&Self>) -> Result<Self, AuthConfigError> {
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
        let keys = Keys::new(&config, algorithm, before.map(|issuer| &issuer.keys))?;
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

    /// Whose the token is, if one of the keys has signed it.
    fn identity(&self, token: &str, keys: &[DecodingKey]) -> Option<Identity> {
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
        let mut identity = Identity::new(tenant, claims.sub, grants).until(expires_at);
        identity.token = claims.jti;
        identity.issuer = Some(self.name.clone());
        Some(identity)
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
