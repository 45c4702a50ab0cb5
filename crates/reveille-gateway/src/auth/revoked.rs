//! Credentials that were taken back before their time.

use std::collections::HashMap;

use reveille_types::Tenant;
use serde::Deserialize;

use super::config::AuthConfigError;
use super::identity::Identity;

/// A credential, or all of somebody, that does not count any more. One of `token`, `subject` and `key`
/// says which.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RevokedConfig {
    /// The claim `jti` of a token.
    pub token: Option<String>,
    /// The subject of tokens and API keys.
    pub subject: Option<String>,
    /// The public id of an API key.
    pub key: Option<String>,
    /// Only tokens of this issuer; of any if none.
    pub issuer: Option<String>,
    /// Only credentials of this tenant; of any if none.
    pub tenant: Option<Tenant>,
}

/// By which of its sides a credential is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Side {
    Token,
    Subject,
    Key,
}

/// Whose credentials an entry means.
#[derive(Debug)]
struct Scope {
    issuer: Option<String>,
    tenant: Option<Tenant>,
}

/// What was taken back.
#[derive(Debug, Default)]
pub(super) struct Revoked(HashMap<(Side, String), Vec<Scope>>);

impl Revoked {
    pub(super) fn new(configs: Vec<RevokedConfig>) -> Result<Self, AuthConfigError> {
        let mut entries: HashMap<_, Vec<Scope>> = HashMap::new();
        for config in configs {
            let named = match (config.token, config.subject, config.key) {
                (Some(token), None, None) => (Side::Token, token),
                (None, Some(subject), None) => (Side::Subject, subject),
                (None, None, Some(key)) => (Side::Key, key),
                _ => return Err(AuthConfigError::Revoked),
            };
            entries.entry(named).or_default().push(Scope {
                issuer: config.issuer,
                tenant: config.tenant,
            });
        }
        Ok(Self(entries))
    }

    /// Whether the credential behind the identity was taken back.
    pub(super) fn holds(&self, identity: &Identity) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let sides = [
            (Side::Token, identity.token.as_ref()),
            (Side::Subject, Some(&identity.subject)),
            (Side::Key, identity.key.as_ref()),
        ];
        sides.into_iter().any(|(side, name)| {
            let scopes = name.and_then(|name| self.0.get(&(side, name.clone())));
            scopes.is_some_and(|scopes| scopes.iter().any(|scope| scope.means(identity)))
        })
    }
}

impl Scope {
    fn means(&self, identity: &Identity) -> bool {
        let issuer = self.issuer.is_none() || self.issuer == identity.issuer;
        let tenant = self.tenant.as_ref().is_none_or(|t| *t == identity.tenant);
        issuer && tenant
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(change: fn(&mut RevokedConfig)) -> RevokedConfig {
        let mut entry = RevokedConfig::default();
        change(&mut entry);
        entry
    }

    fn somebody() -> Identity {
        let mut identity = Identity::new("acme".parse().unwrap(), "me", Vec::new());
        identity.token = Some("t1".into());
        identity.issuer = Some("https://issuer.example".into());
        identity
    }

    #[test]
    fn s16_an_entry_names_one_side_and_may_be_narrowed() {
        let holds = |change| {
            Revoked::new(vec![entry(change)])
                .unwrap()
                .holds(&somebody())
        };
        assert!(holds(|e| e.token = Some("t1".into())));
        assert!(holds(|e| e.subject = Some("me".into())));
        // A name of another side is none.
        assert!(!holds(|e| e.key = Some("t1".into())));
        assert!(!holds(|e| e.subject = Some("t1".into())));
        assert!(holds(|e| {
            e.subject = Some("me".into());
            e.tenant = Some("acme".parse().unwrap());
        }));
        assert!(!holds(|e| {
            e.subject = Some("me".into());
            e.tenant = Some("rival".parse().unwrap());
        }));
        assert!(!holds(|e| {
            e.token = Some("t1".into());
            e.issuer = Some("https://other.example".into());
        }));
    }

    #[test]
    fn an_entry_that_could_mean_anything_is_refused() {
        assert!(Revoked::new(vec![RevokedConfig::default()]).is_err());
        let two = entry(|e| {
            e.token = Some("t1".into());
            e.key = Some("k".into());
        });
        assert!(Revoked::new(vec![two]).is_err());
    }
}
