//! The names of keys and channels.
//!
//! All keys of a tenant have one hash tag, so that they lie in one slot of a cluster and one script may
//! touch them. Tenant, namespace and id stand in base 32: no character of theirs means anything.

use data_encoding::{BASE32HEX_NOPAD, BASE64URL_NOPAD};
use reveille_types::{Namespace, SessionId, SessionKey, Tenant};

/// Separates namespace and id in the index. Lower than anything in either, so that the index is in the
/// order of keys.
const SEPARATOR: char = '\0';

/// The keys of one tenant.
#[derive(Debug, Clone)]
pub(crate) struct TenantNames {
    base: String,
}

impl TenantNames {
    /// `store` is the prefix, and whatever else tells one store of another.
    pub(crate) fn new(store: &str, tenant: &Tenant) -> Self {
        let tenant = tenant_name(tenant);
        Self {
            base: format!("{store}:{{{tenant}}}"),
        }
    }

    /// The hash that holds the last sequence number.
    pub(crate) fn counters(&self) -> String {
        format!("{}:tenant", self.base)
    }

    /// The stream that says which event has which sequence number.
    pub(crate) fn sequence(&self) -> String {
        format!("{}:sequence", self.base)
    }

    /// What the keys of all logs begin with.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// The sorted set of the tenant's logs.
    pub(crate) fn index(&self) -> String {
        format!("{}:index", self.base)
    }

    /// The hash that holds what is known of each log.
    pub(crate) fn logs(&self) -> String {
        format!("{}:logs", self.base)
    }

    /// The keys of the log of this name behind the tenant's: its events, its idempotency keys, and their order.
    pub(crate) fn log(&self, name: &str) -> [String; 3] {
        ["events", "keys", "order"].map(|part| format!("{}:{part}:{name}", self.base))
    }
}

/// The name of a log among those of all tenants, in messages.
pub(crate) fn wake_name(key: &SessionKey) -> String {
    format!("{}.{}", tenant_name(&key.tenant), local_name(key))
}

/// The name of a tenant in messages: what the names of its logs begin with, up to the first dot.
pub(crate) fn tenant_name(tenant: &Tenant) -> String {
    BASE32HEX_NOPAD.encode(tenant.as_str().as_bytes())
}

/// The log of this tenant that has this name behind the tenant's.
pub(crate) fn parse_local_name(tenant: &Tenant, name: &str) -> Option<SessionKey> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).ok();
    let (namespace, id) = name.split_once('.')?;
    let namespace = text(BASE32HEX_NOPAD.decode(namespace.as_bytes()).ok()?)?;
    let id = text(BASE64URL_NOPAD.decode(id.as_bytes()).ok()?)?;
    let namespace = Namespace::parse(namespace).ok()?;
    let id = SessionId::parse(id).ok()?;
    Some(SessionKey::new(tenant.clone(), namespace, id))
}

/// The name of a log among those of its tenant.
pub(crate) fn local_name(key: &SessionKey) -> String {
    let namespace = BASE32HEX_NOPAD.encode(key.namespace.as_str().as_bytes());
    let id = BASE64URL_NOPAD.encode(key.id.as_str().as_bytes());
    format!("{namespace}.{id}")
}

/// The channel on which changes of all logs are told.
pub(crate) fn channel(prefix: &str) -> String {
    format!("{prefix}:wake")
}

/// How a log stands in its tenant's index.
pub(crate) fn member(key: &SessionKey) -> String {
    format!("{}{SEPARATOR}{}", key.namespace, key.id)
}

/// The log that stands so in the index of this tenant.
pub(crate) fn parse_member(tenant: &Tenant, member: &str) -> Option<SessionKey> {
    let (namespace, id) = member.split_once(SEPARATOR)?;
    let namespace = Namespace::parse(namespace).ok()?;
    let id = SessionId::parse(id).ok()?;
    Some(SessionKey::new(tenant.clone(), namespace, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> SessionKey {
        SessionKey::in_tenant(Tenant::default_tenant(), name).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn keys_of_a_tenant_share_one_hash_tag() {
        let tenant = Tenant::default_tenant();
        let names = TenantNames::new("p", &tenant);
        let tag = |key: &str| {
            key.split_once('{')
                .map(|(_, rest)| rest.split_once('}').map(|(tag, _)| tag.to_owned()))
        };
        let expected = tag(&names.index());
        assert!(expected.is_some());
        assert_eq!(tag(&names.counters()), expected);
        assert_eq!(tag(&names.sequence()), expected);
        assert_eq!(tag(&names.logs()), expected);
        for key in names.log(&local_name(&key("run/a:b"))) {
            assert_eq!(tag(&key), expected, "{key}");
        }
    }

    #[test]
    fn two_logs_never_share_a_name() {
        let names = ["a", "ab", "run/a", "run/b", "runa/b"].map(|name| wake_name(&key(name)));
        for (n, name) in names.iter().enumerate() {
            assert!(!names[..n].contains(name), "{name}");
        }
    }

    #[test]
    fn a_local_name_reads_back() {
        for key in ["a", "run/a.b:c"].map(key) {
            let read = parse_local_name(&key.tenant, &local_name(&key));
            assert_eq!(read, Some(key));
        }
    }

    #[test]
    fn a_member_of_the_index_reads_back_and_sorts_like_its_key() {
        let mut keys = ["run/b", "run-x/a", "b", "a", "run/a/c"].map(key);
        keys.sort();
        let members: Vec<String> = keys.iter().map(member).collect();
        assert!(members.is_sorted(), "{members:?}");
        for (key, member) in keys.iter().zip(&members) {
            let read = parse_member(&Tenant::default_tenant(), member);
            assert_eq!(read.as_ref(), Some(key));
        }
    }
}
