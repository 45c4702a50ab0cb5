//! The names of streams and subjects.
//!
//! Tenant, namespace and id stand in base 32 and base 64: no character of theirs means anything.

use data_encoding::{BASE32HEX_NOPAD, BASE64URL_NOPAD};
use reveille_backend::types::{Namespace, SessionId, SessionKey, Tenant};

/// The names of one store.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    prefix: Box<str>,
}

impl Names {
    pub(crate) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.into(),
        }
    }

    /// The stream of what is known of all logs.
    pub(crate) fn records(&self) -> String {
        format!("{}_logs", self.prefix)
    }

    /// The subjects of that stream.
    pub(crate) fn record_subjects(&self) -> String {
        format!("{}.log.>", self.prefix)
    }

    /// What is known of the logs of a tenant.
    pub(crate) fn records_of(&self, tenant: &Tenant) -> String {
        format!("{}.log.{}.>", self.prefix, tenant_name(tenant))
    }

    /// What is known of a log.
    pub(crate) fn record(&self, key: &SessionKey) -> String {
        format!("{}.log.{}", self.prefix, log_name(key))
    }

    /// The stream of a tenant's events.
    pub(crate) fn events(&self, tenant: &Tenant) -> String {
        format!("{}_events_{}", self.prefix, tenant_name(tenant))
    }

    /// The subjects of that stream.
    pub(crate) fn events_of(&self, tenant: &Tenant) -> String {
        format!("{}.events.{}.>", self.prefix, tenant_name(tenant))
    }

    /// The events of one incarnation of a log.
    pub(crate) fn log(&self, key: &SessionKey, place: &str) -> String {
        format!("{}.events.{}.{place}", self.prefix, log_name(key))
    }

    /// The incarnation of whose event this is the subject, as [`log`](Self::log) names it.
    pub(crate) fn place_of<'a>(&self, subject: &'a str) -> Option<&'a str> {
        let rest = subject.strip_prefix(&*self.prefix)?;
        Some(rest.strip_prefix(".events.")?.rsplit_once('.')?.1)
    }

    /// The log of whose record or event this is the subject, as [`log_name`] names it.
    pub(crate) fn log_of<'a>(&self, subject: &'a str) -> Option<&'a str> {
        let rest = subject.strip_prefix(&*self.prefix)?;
        match rest.strip_prefix(".events.") {
            Some(rest) => Some(rest.rsplit_once('.')?.0),
            None => rest.strip_prefix(".log."),
        }
    }
}

/// The name of a log among those of all tenants.
pub(crate) fn log_name(key: &SessionKey) -> String {
    let tenant = tenant_name(&key.tenant);
    let namespace = BASE32HEX_NOPAD.encode(key.namespace.as_str().as_bytes());
    let id = BASE64URL_NOPAD.encode(key.id.as_str().as_bytes());
    format!("{tenant}.{namespace}.{id}")
}

fn tenant_name(tenant: &Tenant) -> String {
    BASE32HEX_NOPAD.encode(tenant.as_str().as_bytes())
}

/// The log of this tenant with this name.
pub(crate) fn parse_log_name(tenant: &Tenant, name: &str) -> Option<SessionKey> {
    let mut parts = name.split('.').skip(1);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).ok();
    let namespace = text(BASE32HEX_NOPAD.decode(parts.next()?.as_bytes()).ok()?)?;
    let id = text(BASE64URL_NOPAD.decode(parts.next()?.as_bytes()).ok()?)?;
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
    fn a_name_reads_back() {
        for name in ["a", "run/a", "run/a.b:c"] {
            let key = key(name);
            let read = parse_log_name(&key.tenant, &log_name(&key));
            assert_eq!(read, Some(key));
        }
    }

    #[test]
    fn two_logs_never_share_a_name() {
        let names = ["a", "ab", "run/a", "run/b", "runa/b"].map(|name| log_name(&key(name)));
        for (n, name) in names.iter().enumerate() {
            assert!(!names[..n].contains(name), "{name}");
        }
    }

    #[test]
    fn subjects_tell_their_log() {
        let names = Names::new("p");
        let key = key("run/a.b");
        for subject in [names.record(&key), names.log(&key, "place")] {
            assert_eq!(names.log_of(&subject), Some(&*log_name(&key)));
            assert!(
                subject
                    .bytes()
                    .all(|b| b.is_ascii_graphic() && b != b'*' && b != b'>')
            );
        }
        assert_eq!(names.log_of("other.log.a.b.c"), None);
        assert_eq!(names.place_of(&names.log(&key, "place")), Some("place"));
        assert_eq!(names.place_of(&names.record(&key)), None);
    }
}
