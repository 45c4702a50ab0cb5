//! Whose a request is, and what it may do.

use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use reveille_types::{Kind, Pattern, SessionKey, SessionPattern, Tenant, Visibility, Visible};
use serde::{Deserialize, Serialize};

/// What can be done. None of them implies another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Create sessions, append events, close.
    Publish,
    /// Read and follow events, look at sessions.
    Subscribe,
    /// Wait for events and signals.
    Wait,
    /// Consume events as a group.
    Take,
    /// Create and complete signals.
    Trigger,
    /// Ask for a cancel.
    Cancel,
    /// Remove sessions, see counters.
    Admin,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Publish,
        Self::Subscribe,
        Self::Wait,
        Self::Take,
        Self::Trigger,
        Self::Cancel,
        Self::Admin,
    ];

    /// The word in grants.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
            Self::Wait => "wait",
            Self::Take => "take",
            Self::Trigger => "trigger",
            Self::Cancel => "cancel",
            Self::Admin => "admin",
        }
    }
}

/// Rights over some sessions and kinds of event. Where `sessions` or `types` is not said, they are
/// over all; an empty list is over none.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// What can be done.
    pub actions: Vec<Action>,
    /// In which sessions.
    #[serde(default = "every_session")]
    pub sessions: Vec<SessionPattern>,
    /// With which kinds of event.
    #[serde(default = "every_kind")]
    pub types: Vec<Pattern>,
}

pub(super) fn every_session() -> Vec<SessionPattern> {
    vec![SessionPattern::every()]
}

pub(super) fn every_kind() -> Vec<Pattern> {
    vec![Pattern::every()]
}

impl Grant {
    /// The rights to do this with everything of the tenant.
    #[must_use]
    pub fn everything(actions: impl IntoIterator<Item = Action>) -> Self {
        Self {
            actions: actions.into_iter().collect(),
            sessions: every_session(),
            types: every_kind(),
        }
    }

    fn of(&self, action: Action) -> bool {
        self.actions.contains(&action)
    }
}

/// Whose a request is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// The tenant. It comes from here and from nowhere else.
    pub tenant: Tenant,
    /// Who it is within the tenant; limits for one token count by it.
    pub subject: String,
    /// What they may do.
    pub grants: Vec<Grant>,
    /// The public id of the API key, if it was one.
    pub key: Option<String>,
    /// The claim `jti` of the token, if it had one.
    pub token: Option<String>,
    /// The issuer of the token, if it was one.
    pub issuer: Option<String>,
    /// When the credential ends, and with it all that was begun with it.
    pub expires_at: Option<Timestamp>,
}

impl Identity {
    /// Who may do what the grants say, for as long as the credential holds.
    #[must_use]
    pub fn new(tenant: Tenant, subject: impl Into<String>, grants: Vec<Grant>) -> Self {
        Self {
            tenant,
            subject: subject.into(),
            grants,
            key: None,
            token: None,
            issuer: None,
            expires_at: None,
        }
    }

    /// Until then.
    #[must_use]
    pub fn until(mut self, expires_at: Timestamp) -> Self {
        self.expires_at = Some(expires_at);
        self
    }

    /// Everybody, where there is no authentication.
    pub(crate) fn anybody() -> Arc<Self> {
        static ANYBODY: LazyLock<Arc<Identity>> = LazyLock::new(|| {
            let grants = vec![Grant::everything(Action::ALL)];
            Arc::new(Identity::new(Tenant::default_tenant(), "anybody", grants))
        });
        Arc::clone(&ANYBODY)
    }

    /// Whether there is anything with which this can be done.
    #[must_use]
    pub fn may(&self, action: Action) -> bool {
        self.grants.iter().any(|g| g.of(action))
    }

    /// Whether this can be done in the session, with some kind of event at least.
    #[must_use]
    pub fn may_in(&self, action: Action, session: &SessionKey) -> bool {
        let matching = |g: &Grant| g.sessions.iter().any(|p| p.matches(session));
        self.grants.iter().any(|g| g.of(action) && matching(g))
    }

    /// Whether this can be done in the session with this kind of event.
    #[must_use]
    pub fn may_with(&self, action: Action, session: &SessionKey, kind: &Kind) -> bool {
        let matching = |g: &Grant| {
            g.types.iter().any(|p| p.matches(kind)) && g.sessions.iter().any(|p| p.matches(session))
        };
        self.grants.iter().any(|g| g.of(action) && matching(g))
    }

    /// Which events this can be done with.
    #[must_use]
    pub fn visible(&self, action: Action) -> Visibility {
        let parts = self.grants.iter().filter(|g| g.of(action));
        Visibility::new(
            parts
                .map(|g| Visible {
                    sessions: g.sessions.clone(),
                    kinds: g.types.clone(),
                })
                .collect(),
        )
    }
}
