//! What is due on a stream, and when: one timer serves it all.

use std::time::Duration;

use reveille_types::Cursor;
use tokio::time::Instant;

use crate::auth::until;
use crate::connections::Connection;

/// How long before a credential ends its stream is told.
const ANNOUNCED: Duration = Duration::from_secs(30);

/// What is due on a stream, and when.
#[derive(Debug)]
pub(crate) struct Due {
    heartbeat: Duration,
    /// A heartbeat, unless something is written before.
    pub(crate) silence: Option<Instant>,
    /// The end of this connection.
    pub(crate) age: Option<Instant>,
    /// The announcement of the credential's end.
    announcement: Option<Instant>,
    /// The time to read on, of a stream that has read history too fast.
    pub(crate) pace: Option<Instant>,
    /// The credential's end.
    expiry: Option<Instant>,
    /// The stream's turn to end while the server drains.
    pub(crate) drain: Option<Instant>,
    /// The end of the log at that time: the stream goes there, then ends.
    pub(crate) drain_at: Option<Cursor>,
}

impl Due {
    pub(crate) fn new(heartbeat: Duration, max_age: Duration, connection: &Connection) -> Self {
        let now = Instant::now();
        // Clients that came together should not all come back together.
        let age = max_age.mul_f64(0.9 + 0.2 * random());
        let mut due = Self {
            heartbeat,
            silence: (!heartbeat.is_zero()).then(|| now + heartbeat),
            age: (!max_age.is_zero()).then(|| now + age),
            announcement: None,
            pace: None,
            expiry: None,
            drain: None,
            drain_at: None,
        };
        due.follow(now, connection);
        due
    }

    /// Takes over when the credential ends.
    fn follow(&mut self, now: Instant, connection: &Connection) {
        self.expiry = connection.expires_at().map(|at| now + until(at));
        self.announcement = self
            .expiry
            .map(|at| at.checked_sub(ANNOUNCED).unwrap_or(now).max(now));
    }

    /// When the first of it all is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        // A turn that has come is not waited for: events are.
        let drain = self.drain.filter(|_| self.drain_at.is_none());
        [
            self.silence,
            self.age,
            self.announcement,
            self.pace,
            self.expiry,
            drain,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Something was written: silence begins anew.
    pub(crate) fn wrote(&mut self, now: Instant) {
        self.silence = self.silence.map(|_| now + self.heartbeat);
    }

    /// Whether the credential has ended.
    pub(crate) fn credential(&mut self, now: Instant, connection: &Connection) -> bool {
        if self.expiry.is_some_and(|at| at <= now) {
            // A new credential may have put it off.
            self.follow(now, connection);
            return self.expiry.is_some_and(|at| at <= now);
        }
        false
    }

    /// Whether the end of the credential is to be told now.
    pub(crate) fn announce(&mut self, now: Instant, connection: &Connection) -> bool {
        if self.announcement.is_none_or(|at| at > now) {
            return false;
        }
        self.follow(now, connection);
        let is_due = self.announcement.is_some_and(|at| at <= now);
        if is_due {
            self.announcement = None;
        }
        is_due
    }
}

/// A number from 0 to 1, at random.
pub(crate) fn random() -> f64 {
    // The last bytes of a version 7 UUID are random.
    f64::from(uuid::Uuid::now_v7().as_bytes()[15]) / 255.0
}
