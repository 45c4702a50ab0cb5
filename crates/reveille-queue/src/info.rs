//! What is known of a session.

use std::time::{Duration, Instant};

use reveille_core::WakeBatch;
use reveille_types::{Cursor, EndReason, wire};

use crate::log::SessionLog;
use crate::outcome::SubscriptionInfo;

/// The little that a reader must know when it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outline {
    /// The oldest place that can be read.
    pub oldest: Cursor,
    /// The end of the log.
    pub latest: Cursor,
    /// How the session ended, if it is over.
    pub ended: Option<EndReason>,
    /// When the session expires unless something happens in it, for display.
    pub expires_at: Option<jiff::Timestamp>,
}

impl SessionLog {
    /// What is known of the session.
    #[must_use]
    pub fn info(&self) -> wire::SessionInfo {
        let now = self.now();
        let mut batch = WakeBatch::new();
        let state = self.lock_due(now, &mut batch);
        let key = &self.0.key;
        let millis = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        wire::SessionInfo {
            session: key.name(),
            namespace: key.namespace.to_string(),
            id: key.id.to_string(),
            state: match state.ended {
                None => wire::SessionState::Open,
                Some(_) => wire::SessionState::Ended,
            },
            reason: state.ended.as_ref().map(|e| e.reason),
            message: state
                .ended
                .as_ref()
                .and_then(|e| e.message.as_deref().map(str::to_owned)),
            oldest: state.oldest(),
            latest: state.latest(),
            retained: state.window.len() as u64,
            bytes: state.bytes() as u64,
            dropped: state.dropped,
            subscribers: state.readers.len() as u64,
            lag: state
                .subscriptions()
                .map(|s| s.lag)
                .max()
                .unwrap_or_default(),
            waiters: state.waiters() as u64,
            cancel: state.cancelled.as_ref().map(|c| wire::CancelInfo {
                reason: c.reason.as_deref().map(str::to_owned),
                time: c.wall,
            }),
            created_at: self.0.created_at,
            last_activity_at: state.last_activity.wall,
            ended_at: state.ended.as_ref().map(|e| e.wall),
            expires_at: state.expires_wall(),
            ttl_ms: state.terms.ttl.map(millis),
            lifetime_ms: state.terms.lifetime.map(millis),
            max_deliveries: state.terms.group.deliveries,
            max_events: state.terms.bounds.events as u64,
            max_bytes: state.terms.bounds.bytes as u64,
        }
    }

    /// The little that a reader must know when it begins, at the same cost however many readers there
    /// are.
    #[must_use]
    pub fn outline(&self) -> Outline {
        let now = self.now();
        let mut batch = WakeBatch::new();
        let state = self.lock_due(now, &mut batch);
        Outline {
            oldest: state.oldest(),
            latest: state.latest(),
            ended: state.ended.as_ref().map(|e| e.reason),
            expires_at: state.expires_wall(),
        }
    }

    /// How many subscriptions are open.
    #[must_use]
    pub fn readers(&self) -> usize {
        self.0.state.lock().readers.len()
    }

    /// How far each subscription is, in no order.
    #[must_use]
    pub fn subscriptions(&self) -> Vec<SubscriptionInfo> {
        self.0.state.lock().subscriptions().collect()
    }

    /// The wall time of a deadline of this session, for display.
    #[must_use]
    pub fn wall_time_of(&self, deadline: Instant) -> jiff::Timestamp {
        let now = self.now();
        let ahead = deadline.saturating_duration_since(now.monotonic);
        jiff::SignedDuration::try_from(ahead)
            .ok()
            .and_then(|ahead| now.wall().checked_add(ahead).ok())
            .unwrap_or(now.wall())
    }
}
