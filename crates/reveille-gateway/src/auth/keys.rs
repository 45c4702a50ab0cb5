//! API keys: long random text, of which only a digest is kept.
//!
//! A key is `rvk_<id>_<secret>`. The id is public and finds the entry; the digest is of the whole key
//! and compared in constant time. A secret of 256 random bits needs no slow hash: nobody can try all.

use std::collections::HashMap;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER, HEXLOWER_PERMISSIVE};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::authorizer::AuthError;
use super::config::{ApiKeyConfig, AuthConfigError};
use super::identity::Identity;
use super::secret::Secret;

/// What every key begins with.
const PREFIX: &str = "rvk_";
/// How many random bytes a secret has.
const SECRET_BYTES: usize = 32;

/// A new key. It can be told once.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NewApiKey {
    /// The key, for whoever is to use it.
    pub key: Secret,
    /// Its digest, for the configuration.
    pub sha256: String,
}

/// Makes up a key with this public id.
///
/// # Errors
/// [`AuthConfigError::KeyId`] when the id is not 1 to 64 letters, digits and `-`;
/// [`AuthConfigError::Random`] when the system gives no random bytes.
pub fn new_api_key(id: &str) -> Result<NewApiKey, AuthConfigError> {
    check_id(id)?;
    let mut random = [0; SECRET_BYTES];
    getrandom::fill(&mut random).map_err(|_| AuthConfigError::Random)?;
    let key = format!("{PREFIX}{id}_{}", BASE64URL_NOPAD.encode(&random));
    Ok(NewApiKey {
        sha256: HEXLOWER.encode(&digest(&key)),
        key: Secret::new(key),
    })
}

fn check_id(id: &str) -> Result<(), AuthConfigError> {
    let named = id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    match (1..=64).contains(&id.len()) && named {
        true => Ok(()),
        false => Err(AuthConfigError::KeyId { id: id.to_owned() }),
    }
}

fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key).into()
}

/// The keys that are known.
#[derive(Debug)]
pub(super) struct ApiKeys(HashMap<String, Known>);

#[derive(Debug)]
struct Known {
    digest: [u8; 32],
    identity: Identity,
}

impl ApiKeys {
    pub(super) fn new(configs: Vec<ApiKeyConfig>) -> Result<Self, AuthConfigError> {
        let mut known = HashMap::new();
        for config in configs {
            check_id(&config.id)?;
            let digest = HEXLOWER_PERMISSIVE
                .decode(config.sha256.as_bytes())
                .ok()
                .and_then(|bytes| bytes.try_into().ok())
                .ok_or_else(|| AuthConfigError::KeyDigest {
                    id: config.id.clone(),
                })?;
            let subject = config
                .subject
                .unwrap_or_else(|| format!("key:{}", config.id));
            let mut identity = Identity::new(config.tenant, subject, config.grants);
            identity.expires_at = config.expires_at;
            identity.key = Some(config.id.clone());
            let entry = Known { digest, identity };
            if known.insert(config.id.clone(), entry).is_some() {
                return Err(AuthConfigError::KeyTwice { id: config.id });
            }
        }
        Ok(Self(known))
    }

    /// Whether the key of this id is still that of the same subject.
    pub(super) fn holds(&self, id: &str, identity: &Identity) -> bool {
        let known = self.0.get(id).map(|known| &known.identity);
        known.is_some_and(|k| k.tenant == identity.tenant && k.subject == identity.subject)
    }

    /// Whose the key is; nothing if the text is no key.
    pub(super) fn look_up(&self, token: &Secret) -> Option<Result<Identity, AuthError>> {
        let rest = token.expose().strip_prefix(PREFIX)?;
        let id = rest.split('_').next().unwrap_or_default();
        let known = self.0.get(id);
        // An unknown id takes as long as a known one.
        let expected = known.map_or([0; 32], |known| known.digest);
        let same = bool::from(digest(token.expose()).ct_eq(&expected));
        let valid = known.filter(|known| {
            same && known
                .identity
                .expires_at
                .is_none_or(|at| Timestamp::now() < at)
        });
        Some(match valid {
            Some(known) => Ok(known.identity.clone()),
            None => Err(AuthError::Invalid),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Action, Grant};

    fn config(id: &str, sha256: &str) -> ApiKeyConfig {
        ApiKeyConfig {
            id: id.to_owned(),
            sha256: sha256.to_owned(),
            tenant: "acme".parse().unwrap(),
            subject: None,
            grants: vec![Grant::everything([Action::Publish])],
            expires_at: None,
        }
    }

    #[test]
    fn a_key_is_found_by_its_id_and_counts_only_as_a_whole() {
        let new = new_api_key("ci").unwrap();
        let keys = ApiKeys::new(vec![config("ci", &new.sha256)]).unwrap();
        let identity = keys.look_up(&new.key).unwrap().unwrap();
        assert_eq!(identity.tenant.as_str(), "acme");
        for wrong in [
            new.key.expose().replace("ci", "cd"),
            new.key.expose()[..20].to_owned(),
            "rvk_ci_".to_owned(),
            "rvk_".to_owned(),
        ] {
            let refused = keys.look_up(&Secret::new(wrong)).unwrap();
            assert_eq!(refused.unwrap_err(), AuthError::Invalid);
        }
        assert!(keys.look_up(&Secret::new("ey.J.x")).is_none());
    }

    #[test]
    fn an_expired_key_counts_no_more() {
        let new = new_api_key("ci").unwrap();
        let mut config = config("ci", &new.sha256);
        config.expires_at = Some(Timestamp::UNIX_EPOCH);
        let keys = ApiKeys::new(vec![config]).unwrap();
        assert!(keys.look_up(&new.key).unwrap().is_err());
    }

    #[test]
    fn a_new_key_shows_in_no_debug_output() {
        let new = new_api_key("ci").unwrap();
        assert!(!format!("{new:?}").contains(new.key.expose()));
    }
}
