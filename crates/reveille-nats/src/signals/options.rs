//! What can be set about a node.

use std::path::PathBuf;
use std::time::Duration;

use super::error::JoinError;
use crate::access::Files;

/// The longest lease and deadline.
const TIME_MAX: Duration = Duration::from_secs(300);

/// How a node is to behave. Those of one subject space should have the same prefix, and may differ in all
/// else.
///
/// ```
/// use reveille_nats::SignalNodeOptions;
/// use std::time::Duration;
///
/// let mut options = SignalNodeOptions::default();
/// options.lease = Duration::from_millis(500);
/// assert_eq!(&*options.prefix, "reveille");
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SignalNodeOptions {
    /// What the subjects begin with: `PREFIX.signals.v1.SYSTEM`. Letters, digits, `_` and `-` only.
    pub prefix: Box<str>,
    /// How long an owner may be silent before who waits for it gets
    /// [`OwnerLost`](reveille_core::PoisonKind::OwnerLost): after one lease and a quarter at most. It is
    /// asked four times a lease. At least 100 ms, at most 5 minutes.
    pub lease: Duration,
    /// How long a request is tried. It has no effect later than that, by the clock of its owner. At most
    /// 5 minutes.
    pub request_deadline: Duration,
    /// How long this node may be without the broker before its waits end with
    /// [`OwnerLost`](reveille_core::PoisonKind::OwnerLost). No owner is given up meanwhile.
    pub broker_patience: Duration,
    /// How many signals of others this node waits for at once. Those beyond are
    /// [`Refused`](reveille_core::PoisonKind::Refused).
    pub max_waits: usize,
    /// How many requests of this node may be without an answer. Those beyond are
    /// [`Exhausted`](reveille_core::SignalError::Exhausted).
    pub max_requests: usize,
    /// For how many waits of others this node serves its signals; a signal counts once for each node
    /// that waits for it. Those beyond are [`Refused`](reveille_core::PoisonKind::Refused) there.
    pub max_served: usize,
    /// How many answers are kept for requests that may come again. Those beyond are not carried out
    /// until there is room.
    pub max_answers: usize,
    /// The credentials of a user, as `nsc` writes them; they go before what the address says.
    pub credentials: Option<PathBuf>,
    /// The certificates of the authorities that the broker's certificate may be of, in PEM, instead of
    /// those that the system trusts. With it, TLS is spoken or nothing.
    pub ca: Option<PathBuf>,
    /// The certificate that this node shows, in PEM, with those that lead to its authority; with
    /// [`key`](Self::key) only. With it, TLS is spoken or nothing.
    pub cert: Option<PathBuf>,
    /// The certificate's private key, in PEM.
    pub key: Option<PathBuf>,
    /// How long a connection to the broker may take to be made.
    pub connect_timeout: Duration,
    /// How often the connection is tried. One that misses two answers is made anew.
    pub ping_interval: Duration,
}

impl Default for SignalNodeOptions {
    /// Subjects begin with `reveille`; a lease is 2 s, a request is tried for 5 s and a broker waited for
    /// for 15 s; 65 536 waits each way, as many answers, and 4096 requests; connections take 2 s at most,
    /// and a ping is sent each 2 s.
    fn default() -> Self {
        Self {
            prefix: "reveille".into(),
            lease: Duration::from_secs(2),
            request_deadline: Duration::from_secs(5),
            broker_patience: Duration::from_secs(15),
            max_waits: 1 << 16,
            max_requests: 1 << 12,
            max_served: 1 << 16,
            max_answers: 1 << 16,
            credentials: None,
            ca: None,
            cert: None,
            key: None,
            connect_timeout: Duration::from_secs(2),
            ping_interval: Duration::from_secs(2),
        }
    }
}

impl SignalNodeOptions {
    pub(super) fn files(&self) -> Files {
        Files {
            credentials: self.credentials.clone(),
            ca: self.ca.clone(),
            cert: self.cert.clone(),
            key: self.key.clone(),
        }
    }

    pub(super) fn check(&self) -> Result<(), JoinError> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let invalid = |what| Err(JoinError::Invalid { what });
        if self.prefix.is_empty() || !self.prefix.chars().all(is_name) {
            return invalid("prefix has other characters than letters, digits, `_` and `-`");
        }
        if self.lease < Duration::from_millis(100) || self.lease > TIME_MAX {
            return invalid("lease is not between 100 ms and 5 minutes");
        }
        if self.request_deadline.is_zero() || self.request_deadline > TIME_MAX {
            return invalid("request deadline is not between 0 and 5 minutes");
        }
        if self.ping_interval.is_zero() {
            return invalid("ping interval is zero");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_subject_or_timer_can_be_made_of_is_refused() {
        let changed = |change: fn(&mut SignalNodeOptions)| {
            let mut options = SignalNodeOptions::default();
            change(&mut options);
            options.check().map_err(|error| error.code())
        };
        assert_eq!(changed(|_| {}), Ok(()));
        for change in [
            (|it| it.prefix = "a.b".into()) as fn(&mut SignalNodeOptions),
            |it| it.prefix = "".into(),
            |it| it.prefix = "*".into(),
            |it| it.lease = Duration::ZERO,
            |it| it.lease = Duration::MAX,
            |it| it.request_deadline = Duration::ZERO,
            |it| it.request_deadline = Duration::MAX,
            |it| it.ping_interval = Duration::ZERO,
        ] {
            assert_eq!(changed(change), Err("invalid_option"));
        }
    }
}
