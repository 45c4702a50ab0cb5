//! The address of a session log: tenant, namespace and id.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use crate::invalid::{Invalid, check_text};
use crate::limits;
use crate::name::checked_name;

checked_name! {
    /// Who owns a session. On HTTP it comes from the credentials, never from the request.
    ///
    /// 1 to 128 bytes of `[A-Za-z0-9._~:@-]`.
    Tenant, "tenant", |field, text| check_text(field, text, limits::TENANT_BYTES, (
        |c| c.is_ascii_alphanumeric() || "._~:@-".contains(c),
        "letters, digits and ._~:@-",
    ))
}

checked_name! {
    /// What sort of session it is: `session` (the default), `workflow`, `ingestion`, `run`, or a name
    /// of the user's own. 1 to 64 bytes of `[a-z0-9_-]`; `system` is reserved.
    Namespace, "namespace", |field, text| {
        check_text(field, text, limits::NAMESPACE_BYTES, (
            |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-',
            "lower-case letters, digits, _ and -",
        ))
    }
}

checked_name! {
    /// The id of a session within its namespace.
    ///
    /// 1 to 256 bytes of `[A-Za-z0-9._~:@/-]`; `.` and `..` are not ids.
    SessionId, "session", |field, text| {
        if text == "." || text == ".." {
            return Err(Invalid::form(field, "must not be \".\" or \"..\""));
        }
        check_text(field, text, limits::SESSION_ID_BYTES, (
            |c| c.is_ascii_alphanumeric() || "._~:@/-".contains(c),
            "letters, digits and ._~:@/-",
        ))
    }
}

impl Tenant {
    /// The tenant of everything that carries no credentials.
    #[must_use]
    pub fn default_tenant() -> Self {
        static NAME: LazyLock<Tenant> = LazyLock::new(|| Tenant("default".into()));
        NAME.clone()
    }
}

impl Namespace {
    /// The namespace of sessions that name none: `session`.
    pub const DEFAULT: &'static str = "session";
    /// The namespace that only Reveille itself may use: `system`.
    pub const SYSTEM: &'static str = "system";

    /// Whether only Reveille itself may use it.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.as_str() == Self::SYSTEM
    }
}

impl Default for Namespace {
    fn default() -> Self {
        static NAME: LazyLock<Namespace> = LazyLock::new(|| Namespace(Namespace::DEFAULT.into()));
        NAME.clone()
    }
}

/// The address of one session log. Two tenants may use the same namespace and id: these are two
/// sessions that know nothing of each other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey {
    /// Who owns the session.
    pub tenant: Tenant,
    /// What sort of session it is.
    pub namespace: Namespace,
    /// Its id within the namespace.
    pub id: SessionId,
}

impl SessionKey {
    /// Puts an address together from its parts.
    #[must_use]
    pub fn new(tenant: Tenant, namespace: Namespace, id: SessionId) -> Self {
        Self {
            tenant,
            namespace,
            id,
        }
    }

    /// The session that `name` means within `tenant`: `id`, or `namespace/id`. The first `/`
    /// separates the two, so an id that holds `/` needs its namespace written.
    ///
    /// # Errors
    /// [`Invalid`] names the part that is not well formed.
    ///
    /// ```
    /// use reveille_types::{SessionKey, Tenant};
    ///
    /// let key = SessionKey::in_tenant(Tenant::default_tenant(), "ingestion/a/b")?;
    /// assert_eq!((key.namespace.as_str(), key.id.as_str()), ("ingestion", "a/b"));
    /// assert_eq!(key.name(), "ingestion/a/b");
    /// # Ok::<(), reveille_types::Invalid>(())
    /// ```
    pub fn in_tenant(tenant: Tenant, name: &str) -> Result<Self, Invalid> {
        let (namespace, id) = match name.split_once('/') {
            Some((namespace, id)) => (Namespace::parse(namespace)?, SessionId::parse(id)?),
            None => (Namespace::default(), SessionId::parse(name)?),
        };
        Ok(Self::new(tenant, namespace, id))
    }

    /// The address without its tenant, as [`in_tenant`](Self::in_tenant) reads it: the id alone in
    /// the default namespace, else `namespace/id`.
    #[must_use]
    pub fn name(&self) -> String {
        if self.namespace.as_str() == Namespace::DEFAULT && !self.id.as_str().contains('/') {
            self.id.to_string()
        } else {
            format!("{}/{}", self.namespace, self.id)
        }
    }
}

/// `tenant/namespace/id`.
impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.tenant, self.namespace, self.id)
    }
}

impl FromStr for SessionKey {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let mut parts = text.splitn(3, '/');
        let (Some(tenant), Some(namespace), Some(id)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(Invalid::form("session", "is not tenant/namespace/id"));
        };
        Ok(Self::new(
            Tenant::parse(tenant)?,
            Namespace::parse(namespace)?,
            SessionId::parse(id)?,
        ))
    }
}
