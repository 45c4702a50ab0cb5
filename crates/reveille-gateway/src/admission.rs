//! How much of the server one token, tenant or address may use at once, and how fast.
//!
//! Rates count only where callers are known: without authentication there is one caller, this machine.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use reveille_types::{SessionKey, Tenant};

use crate::auth::Identity;
use crate::config::{GatewayConfig, Rate, StreamLimits};
use crate::forwarded::counted_by;
use crate::problem::Refusal;
use crate::replay::{Replay, Replays};

/// Fewer keys than this are never looked through for ones that are not needed any more.
const SWEEP_KEYS: usize = 10_000;

/// Counts what is open and how fast more comes.
#[derive(Debug)]
pub(crate) struct Admission {
    streams: StreamLimits,
    waits_per_tenant: usize,
    open: Arc<Mutex<OpenStreams>>,
    waits: Arc<Mutex<HashMap<Tenant, usize>>>,
    replays: Replays,
    rates: Option<Rates>,
}

#[derive(Debug)]
struct Rates {
    streams: Limiter<Tenant>,
    events: Limiter<Tenant>,
    bytes: Limiter<Tenant>,
    delivered_bytes: Limiter<Tenant>,
    anonymous: Limiter<IpAddr>,
    failures: Limiter<IpAddr>,
}

/// How many streams are open. A count that falls to 0 is forgotten.
#[derive(Debug, Default)]
struct OpenStreams {
    all: usize,
    tenants: HashMap<Tenant, usize>,
    tokens: HashMap<(Tenant, String), usize>,
    /// Those that read all sessions.
    buses: HashMap<Tenant, usize>,
}

/// One open stream, until it is dropped.
#[derive(Debug)]
pub(crate) struct StreamPermit {
    open: Arc<Mutex<OpenStreams>>,
    token: (Tenant, String),
    reads_all: bool,
}

/// One request that waits, until it is dropped.
#[derive(Debug)]
pub(crate) struct WaitPermit {
    waits: Arc<Mutex<HashMap<Tenant, usize>>>,
    tenant: Tenant,
}

impl Admission {
    pub(crate) fn new(config: &GatewayConfig, with_rates: bool) -> Self {
        let traffic = &config.traffic;
        let rates = with_rates.then(|| Rates {
            streams: Limiter::new(traffic.streams),
            events: Limiter::new(traffic.events),
            bytes: Limiter::new(traffic.bytes),
            delivered_bytes: Limiter::new(traffic.delivered_bytes),
            anonymous: Limiter::new(traffic.anonymous),
            failures: Limiter::new(traffic.failures),
        });
        Self {
            streams: config.streams,
            waits_per_tenant: config.waits_per_tenant,
            open: Arc::default(),
            waits: Arc::default(),
            replays: Replays::new(config.streams),
            rates,
        }
    }

    /// Lets one more stream in, of one session or of all.
    pub(crate) fn stream(
        &self,
        identity: &Identity,
        reads_all: bool,
    ) -> Result<StreamPermit, Refusal> {
        let tenant = &identity.tenant;
        if let Some(rates) = &self.rates {
            rates.streams.check("too_many_new_streams", tenant, 1)?;
        }
        let token = (tenant.clone(), identity.subject.clone());
        let mut open = lock(&self.open);
        let of_tenant = open.tenants.get(tenant).copied().unwrap_or_default();
        let of_token = open.tokens.get(&token).copied().unwrap_or_default();
        // Where nobody is known there are no tokens.
        let per_token = match self.rates {
            Some(_) => self.streams.per_token,
            None => usize::MAX,
        };
        let per_tenant = self.streams.per_tenant;
        for (code, count, limit) in [
            ("too_many_streams_of_token", of_token, per_token),
            ("too_many_streams_of_tenant", of_tenant, per_tenant),
        ] {
            if count >= limit {
                return Err(Refusal::too_many(code, limit));
            }
        }
        if open.all >= self.streams.per_node {
            return Err(Refusal::unavailable("too_many_streams"));
        }
        open.all += 1;
        *open.tenants.entry(tenant.clone()).or_default() += 1;
        *open.tokens.entry(token.clone()).or_default() += 1;
        if reads_all {
            *open.buses.entry(tenant.clone()).or_default() += 1;
        }
        Ok(StreamPermit {
            open: Arc::clone(&self.open),
            token,
            reads_all,
        })
    }

    /// The turn of a stream to read the history of a session, or of all; none where nobody is known.
    pub(crate) fn replay(&self, identity: &Identity, of: Option<&SessionKey>) -> Option<Replay> {
        self.rates.as_ref()?;
        let token = (identity.tenant.clone(), identity.subject.clone());
        Some(self.replays.turn(token, of.cloned()))
    }

    /// Lets one more request wait.
    pub(crate) fn wait(&self, tenant: &Tenant) -> Result<WaitPermit, Refusal> {
        let limit = self.waits_per_tenant;
        let mut waits = lock(&self.waits);
        let count = waits.get(tenant).copied().unwrap_or_default();
        if count >= limit {
            return Err(Refusal::too_many("too_many_waits_of_tenant", limit));
        }
        *waits.entry(tenant.clone()).or_default() += 1;
        Ok(WaitPermit {
            waits: Arc::clone(&self.waits),
            tenant: tenant.clone(),
        })
    }

    /// Lets so many bytes be delivered to all who read them now: `readers` of the session, and those of
    /// all sessions.
    pub(crate) fn deliver(
        &self,
        tenant: &Tenant,
        readers: impl FnOnce() -> usize,
        bytes: usize,
    ) -> Result<(), Refusal> {
        let Some(rates) = &self.rates else {
            return Ok(());
        };
        let of_all = lock(&self.open).buses.get(tenant).copied();
        let bytes = bytes.saturating_mul(readers() + of_all.unwrap_or_default());
        let code = "too_many_bytes_delivered";
        rates.delivered_bytes.check(code, tenant, bytes)
    }

    /// How many streams a tenant has open.
    pub(crate) fn streams_of(&self, tenant: &Tenant) -> usize {
        lock(&self.open)
            .tenants
            .get(tenant)
            .copied()
            .unwrap_or_default()
    }

    /// Lets so many events of so many bytes in.
    pub(crate) fn publish(
        &self,
        tenant: &Tenant,
        events: usize,
        bytes: usize,
    ) -> Result<(), Refusal> {
        let Some(rates) = &self.rates else {
            return Ok(());
        };
        rates.events.check("too_many_events", tenant, events)?;
        rates.bytes.check("too_many_bytes", tenant, bytes)
    }

    /// Lets in a request that shows no credential.
    pub(crate) fn anonymous(&self, peer: Option<IpAddr>) -> Result<(), Refusal> {
        match (&self.rates, peer) {
            (Some(rates), Some(peer)) => {
                let peer = counted_by(peer);
                rates.anonymous.check("too_many_requests", &peer, 1)
            }
            _ => Ok(()),
        }
    }

    /// Counts a credential that was refused; an address that guesses is told to wait instead.
    pub(crate) fn failure(&self, peer: Option<IpAddr>, refusal: Refusal) -> Refusal {
        match (&self.rates, peer) {
            (Some(rates), Some(peer)) => {
                let checked = rates
                    .failures
                    .check("too_many_failures", &counted_by(peer), 1);
                checked.err().unwrap_or(refusal)
            }
            _ => refusal,
        }
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        open.all -= 1;
        less(&mut open.tenants, self.token.0.clone());
        less(&mut open.tokens, self.token.clone());
        if self.reads_all {
            less(&mut open.buses, self.token.0.clone());
        }
    }
}

impl Drop for WaitPermit {
    fn drop(&mut self) {
        less(&mut lock(&self.waits), self.tenant.clone());
    }
}

fn less<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: K) {
    if let Entry::Occupied(mut count) = counts.entry(key) {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}

/// Nothing under these locks panics.
fn lock<T>(counts: &Mutex<T>) -> MutexGuard<'_, T> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A rate for each key.
struct Limiter<K: Clone + Hash + Eq> {
    rate: Rate,
    limiter: DefaultKeyedRateLimiter<K>,
    /// So many keys make it worth while to look for those that are not needed.
    sweep_at: AtomicUsize,
}

impl<K: Clone + Hash + Eq> Limiter<K> {
    fn new(rate: Rate) -> Self {
        // One permit is the least that makes sense.
        let least = |n: u32| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        let period = rate.per / least(rate.count).get();
        let quota = Quota::with_period(period)
            .unwrap_or_else(|| Quota::per_second(NonZeroU32::MAX))
            .allow_burst(least(rate.burst));
        Self {
            rate,
            limiter: RateLimiter::keyed(quota),
            sweep_at: AtomicUsize::new(SWEEP_KEYS),
        }
    }

    fn check(&self, code: &str, key: &K, count: usize) -> Result<(), Refusal> {
        if self.limiter.len() > self.sweep_at.load(Ordering::Relaxed) {
            self.limiter.retain_recent();
            let next = SWEEP_KEYS.max(2 * self.limiter.len());
            self.sweep_at.store(next, Ordering::Relaxed);
        }
        // What can never fit is refused elsewhere, by its own limit; here it empties the bucket.
        let count = u32::try_from(count)
            .unwrap_or(u32::MAX)
            .min(self.rate.burst);
        let Some(count) = NonZeroU32::new(count) else {
            return Ok(());
        };
        match self.limiter.check_key_n(key, count) {
            Ok(Err(until)) => {
                let wait = until.wait_time_from(DefaultClock::default().now());
                let limit = usize::try_from(self.rate.count).unwrap_or(usize::MAX);
                let wait = wait.max(Duration::from_millis(1));
                Err(Refusal::too_many(code, limit).retry_after(wait))
            }
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }
}

impl<K: Clone + Hash + Eq> std::fmt::Debug for Limiter<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Limiter").field(&self.rate).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TrafficLimits;

    fn admission(with_rates: bool) -> Admission {
        let config = GatewayConfig {
            streams: StreamLimits {
                per_token: 1,
                per_tenant: 2,
                per_node: 3,
                ..StreamLimits::default()
            },
            traffic: TrafficLimits {
                events: Rate::per_second(10, 20),
                delivered_bytes: Rate::per_second(100, 100),
                ..TrafficLimits::default()
            },
            waits_per_tenant: 2,
            ..GatewayConfig::default()
        };
        Admission::new(&config, with_rates)
    }

    fn somebody(tenant: &str, subject: &str) -> Identity {
        Identity::new(tenant.parse().unwrap(), subject, Vec::new())
    }

    #[test]
    fn streams_are_counted_by_token_tenant_and_node_and_given_back() {
        let admission = admission(true);
        let first = admission.stream(&somebody("a", "x"), false).unwrap();
        assert!(admission.stream(&somebody("a", "x"), false).is_err());
        let _second = admission.stream(&somebody("a", "y"), false).unwrap();
        assert!(admission.stream(&somebody("a", "z"), false).is_err());
        // Another tenant's use of the same name is its own.
        let _third = admission.stream(&somebody("b", "x"), false).unwrap();
        assert!(admission.stream(&somebody("c", "x"), false).is_err());
        drop(first);
        assert_eq!(admission.streams_of(&"a".parse().unwrap()), 1);
        assert!(admission.stream(&somebody("a", "x"), false).is_ok());
        assert_eq!(lock(&admission.open).tokens.len(), 2);
    }

    #[test]
    fn a_tenant_over_its_rate_is_told_when_and_another_notices_nothing() {
        let admission = admission(true);
        let (a, b) = ("a".parse().unwrap(), "b".parse().unwrap());
        admission.publish(&a, 20, 1).unwrap();
        assert!(admission.publish(&a, 1, 1).is_err());
        admission.publish(&b, 20, 1).unwrap();
    }

    #[test]
    fn there_are_neither_rates_nor_tokens_without_authentication() {
        let admission = admission(false);
        let _first = admission.stream(&somebody("a", "x"), false).unwrap();
        let _second = admission.stream(&somebody("a", "x"), false).unwrap();
        for _ in 0..100 {
            admission.publish(&"a".parse().unwrap(), 20, 1).unwrap();
        }
    }

    #[test]
    fn waits_are_counted_by_tenant_and_given_back() {
        let admission = admission(false);
        let (a, b) = ("a".parse().unwrap(), "b".parse().unwrap());
        let first = admission.wait(&a).unwrap();
        let _second = admission.wait(&a).unwrap();
        let refused = admission.wait(&a).unwrap_err();
        assert_eq!(refused.code(), "too_many_waits_of_tenant");
        assert!(admission.wait(&b).is_ok());
        drop(first);
        assert!(admission.wait(&a).is_ok());
        assert_eq!(lock(&admission.waits).len(), 1);
    }

    #[test]
    fn what_is_published_counts_as_often_as_it_is_read() {
        let admission = admission(true);
        let (a, b) = ("a".parse().unwrap(), "b".parse().unwrap());
        admission.deliver(&a, || 0, 1_000_000).unwrap();
        let _of_all = admission.stream(&somebody("a", "x"), true).unwrap();
        // One more reads all sessions.
        admission.deliver(&a, || 9, 10).unwrap();
        let refused = admission.deliver(&a, || 0, 10).unwrap_err();
        assert_eq!(refused.code(), "too_many_bytes_delivered");
        admission.deliver(&b, || 10, 10).unwrap();
    }

    #[test]
    fn a_network_of_version_6_has_one_share() {
        let mut config = GatewayConfig::default();
        config.traffic.anonymous = Rate::per_minute(2);
        let admission = Admission::new(&config, true);
        let ask = |address: &str| admission.anonymous(Some(address.parse().unwrap()));
        assert!(ask("2a00:1:2:3::1").is_ok());
        assert!(ask("2a00:1:2:3::2").is_ok());
        assert!(ask("2a00:1:2:3::3").is_err());
        assert!(ask("2a00:1:2:4::1").is_ok());
    }
}
