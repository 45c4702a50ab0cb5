//! What can be set on a gateway.

use std::time::Duration;

use ipnet::IpNet;

/// What can be set on a gateway. Every value has a default.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct GatewayConfig {
    /// Silence on a stream after which a heartbeat is sent; zero means never.
    pub heartbeat: Duration,
    /// How long clients should wait before they reconnect. Each connection gets up to twice as much,
    /// at random, so that clients do not come back all at once.
    pub retry: Duration,
    /// How long a wait, a take or a long poll waits if the request does not say.
    pub wait_default: Duration,
    /// The longest wait; longer ones are cut to it.
    pub wait_max: Duration,
    /// How long a taken event stays with its taker if the request does not say.
    pub lease_default: Duration,
    /// Whether the first publish, wait, take or stream creates the session. If not said: only where
    /// there is no authentication.
    pub auto_create: Option<bool>,
    /// Most bytes of a request's body.
    pub body_bytes: usize,
    /// How long a request's body may take to begin; from then on it must come at 1 KiB a second.
    pub body_deadline: Duration,
    /// Origins that may send events as web hooks, as they name themselves in the handshake.
    pub webhook_origins: Vec<String>,
    /// Events on a page if the request does not say.
    pub page_default: usize,
    /// Most events on a page.
    pub page_max: usize,
    /// How many signals there may be, and how much of them is kept.
    pub signals: SignalLimits,
    /// Origins of web pages that may read answers, and whose cookies count.
    pub origins: Vec<String>,
    /// Where clients find the gateway, as an [origin](crate::is_origin). If not said, it is where each
    /// request was sent to.
    pub public_url: Option<String>,
    /// How long a stream stays on one connection, give or take a tenth; zero means without end.
    pub max_age: Duration,
    /// How long streams stay while a store that processes share does not say that it is well; zero means
    /// for ever. Then they end with `reveille.reconnect`, and no stream begins until it does.
    pub backend_lost_after: Duration,
    /// Proxies that are believed when they say, in `Forwarded` or `X-Forwarded-For`, whose request it
    /// is. Limits of addresses then count for that one.
    pub trusted_proxies: Vec<IpNet>,
    /// Most bytes of a request's URL.
    pub url_bytes: usize,
    /// Most bytes of a request's headers.
    pub header_bytes: usize,
    /// Most requests of one tenant that wait for events or signals.
    pub waits_per_tenant: usize,
    /// Most tickets of one tenant that are good at once.
    pub tickets_per_tenant: usize,
    /// How many streams may be open.
    pub streams: StreamLimits,
    /// How fast requests may come, where callers are known.
    pub traffic: TrafficLimits,
    /// How long open requests may take to end once the server is told to stop. Streams end one by one
    /// over this time, so that their clients do not come back all at once.
    pub drain: Duration,
}

/// How many streams may be open at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamLimits {
    /// By one token.
    pub per_token: usize,
    /// By one tenant.
    pub per_tenant: usize,
    /// In all.
    pub per_node: usize,
    /// Streams of one token that read the history of one session at once, where callers are known. More
    /// wait for their turn.
    pub replays: usize,
    /// Bytes of history that one stream reads in a second, where callers are known, and at once at its
    /// beginning.
    pub replay_bytes: usize,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self {
            per_token: 100,
            per_tenant: 10_000,
            per_node: usize::MAX,
            replays: 4,
            replay_bytes: 16 * 1024 * 1024,
        }
    }
}

/// So many at a time, and a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rate {
    /// How many in a period.
    pub count: u32,
    /// The period.
    pub per: Duration,
    /// How many at once.
    pub burst: u32,
}

impl Rate {
    /// So many a second.
    #[must_use]
    pub fn per_second(count: u32, burst: u32) -> Self {
        Self {
            count,
            per: Duration::from_secs(1),
            burst,
        }
    }

    /// So many a minute, all of them at once if need be.
    #[must_use]
    pub fn per_minute(count: u32) -> Self {
        Self {
            count,
            per: Duration::from_secs(60),
            burst: count,
        }
    }
}

/// How fast requests may come. It holds where there is authentication.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrafficLimits {
    /// New streams of a tenant.
    pub streams: Rate,
    /// Events that a tenant publishes.
    pub events: Rate,
    /// Bytes that a tenant publishes.
    pub bytes: Rate,
    /// Bytes that a tenant publishes, each as often as there are streams that read it.
    pub delivered_bytes: Rate,
    /// Requests without a credential from one address.
    pub anonymous: Rate,
    /// Credentials from one address that were refused.
    pub failures: Rate,
    /// Connections from one address at once.
    pub connections_per_address: usize,
    /// Connections in all, with and without authentication.
    pub connections: usize,
}

impl Default for TrafficLimits {
    fn default() -> Self {
        Self {
            streams: Rate::per_second(100, 500),
            events: Rate::per_second(10_000, 20_000),
            bytes: Rate::per_second(32 * 1024 * 1024, 64 * 1024 * 1024),
            delivered_bytes: Rate::per_second(1 << 30, 2 << 30),
            anonymous: Rate::per_second(20, 100),
            failures: Rate::per_minute(10),
            connections_per_address: 256,
            connections: usize::MAX,
        }
    }
}

/// The bounds on the signals of one tenant. Every value has a default.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SignalLimits {
    /// Most signals that are not complete, merged ones included.
    pub pending: usize,
    /// How many outcomes can still be asked for after their signals are complete; the latest ones.
    /// As many inputs of a merge can be complete before it is made.
    pub history: usize,
    /// Most bytes of a value.
    pub value_bytes: usize,
    /// Most inputs of one merge.
    pub merge_inputs: usize,
    /// Most inputs of all merges together that are not complete.
    pub merge_inputs_pending: usize,
    /// Most requests that wait for signals.
    pub waiters: usize,
}

impl Default for SignalLimits {
    fn default() -> Self {
        Self {
            pending: 100_000,
            history: 10_000,
            value_bytes: 16 * 1024,
            merge_inputs: 10_000,
            merge_inputs_pending: 1_000_000,
            waiters: 10_000,
        }
    }
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(15),
            retry: Duration::from_secs(2),
            wait_default: Duration::from_secs(25),
            wait_max: Duration::from_secs(300),
            lease_default: Duration::from_secs(30),
            auto_create: None,
            body_bytes: 4 * 1024 * 1024,
            body_deadline: Duration::from_secs(10),
            webhook_origins: Vec::new(),
            page_default: 100,
            page_max: 1_000,
            signals: SignalLimits::default(),
            origins: Vec::new(),
            public_url: None,
            max_age: Duration::from_secs(3600),
            backend_lost_after: Duration::from_secs(15),
            trusted_proxies: Vec::new(),
            url_bytes: 8 * 1024,
            header_bytes: 16 * 1024,
            waits_per_tenant: 100_000,
            tickets_per_tenant: 10_000,
            streams: StreamLimits::default(),
            traffic: TrafficLimits::default(),
            drain: Duration::from_secs(3),
        }
    }
}
