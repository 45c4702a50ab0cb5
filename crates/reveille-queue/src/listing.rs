//! What there is: sessions page by page, and all of them in numbers.

use std::sync::atomic::Ordering;
use std::time::Duration;

use reveille_types::{EndReason, Namespace, Tenant, wire};

use crate::log::SessionLog;
use crate::sessions::Sessions;

/// Which sessions to list.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ListOptions {
    /// Only of this namespace.
    pub namespace: Option<Namespace>,
    /// Only in this state.
    pub state: Option<wire::SessionState>,
    /// What follows this page: the `next_page` of the page before.
    pub page: Option<String>,
    /// Most sessions.
    pub limit: usize,
}

impl ListOptions {
    /// The first sessions, whatever their namespace and state.
    #[must_use]
    pub fn first(limit: usize) -> Self {
        Self {
            namespace: None,
            state: None,
            page: None,
            limit,
        }
    }
}

/// All sessions in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionsInfo {
    /// Sessions that take events.
    pub open: usize,
    /// Sessions that are over and still readable.
    pub ended: usize,
    /// Those among them that have expired.
    pub expired: usize,
    /// Bytes of the events that sessions hold.
    pub bytes: usize,
    /// Events that were dropped by a bound of their session, their tenant or the process, so far.
    pub dropped: u64,
    /// Sessions that were created here so far.
    pub created: u64,
    /// Sessions that were removed, replaced by a new one or let go of after their retention, so far.
    pub removed: u64,
    /// The idle time to live of sessions that say nothing about it.
    pub default_ttl: Duration,
}

impl Sessions {
    /// Lists sessions of a tenant by namespace and id. Pages are stable: a session that is created or
    /// removed meanwhile moves no other.
    #[must_use]
    pub fn list(&self, tenant: &Tenant, options: &ListOptions) -> wire::SessionList {
        let mut logs: Vec<SessionLog> = self
            .0
            .table
            .lock()
            .sessions
            .iter()
            .filter(|(key, _)| key.tenant == *tenant)
            .filter(|(key, _)| {
                options
                    .namespace
                    .as_ref()
                    .is_none_or(|n| key.namespace == *n)
            })
            .map(|(_, log)| log.clone())
            .collect();
        logs.sort_unstable_by(|a, b| a.key().cmp(b.key()));
        let place = |log: &SessionLog| format!("{}/{}", log.key().namespace, log.key().id);
        let after = options.page.as_deref();
        let mut listed: Vec<(String, wire::SessionInfo)> = logs
            .iter()
            .filter(|log| !self.is_gone(log))
            .map(|log| (place(log), log))
            .filter(|(place, _)| after.is_none_or(|after| is_after(place, after)))
            .map(|(place, log)| (place, log.info()))
            .filter(|(_, info)| options.state.is_none_or(|state| info.state == state))
            .take(options.limit.saturating_add(1))
            .collect();
        let more = listed.len() > options.limit;
        listed.truncate(options.limit);
        wire::SessionList {
            next_page: listed
                .last()
                .filter(|_| more)
                .map(|(place, _)| place.clone()),
            sessions: listed.into_iter().map(|(_, info)| info).collect(),
        }
    }

    /// All sessions in numbers. Looks at every session.
    #[must_use]
    pub fn info(&self) -> SessionsInfo {
        let logs: Vec<SessionLog> = self.0.table.lock().sessions.values().cloned().collect();
        let (mut open, mut ended, mut expired) = (0, 0, 0);
        for log in logs {
            match log.info().reason {
                None => open += 1,
                Some(reason) => {
                    ended += 1;
                    expired += usize::from(reason == EndReason::Expired);
                }
            }
        }
        SessionsInfo {
            open,
            ended,
            expired,
            bytes: self.0.environment.budget.bytes(),
            dropped: self.0.environment.budget.dropped(),
            created: self.0.created.load(Ordering::Relaxed),
            removed: self.0.removed.load(Ordering::Relaxed),
            default_ttl: self.0.default_ttl,
        }
    }

    /// Bytes of the events that a tenant's sessions hold.
    #[must_use]
    pub fn bytes_of(&self, tenant: &Tenant) -> usize {
        self.0.environment.budget.bytes_of(tenant)
    }
}

/// Whether `namespace/id` comes after another one, in the order of session keys.
fn is_after(place: &str, after: &str) -> bool {
    place.split_once('/') > after.split_once('/')
}
