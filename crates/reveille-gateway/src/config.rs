//! What can be set on a gateway.

use std::time::Duration;

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
    /// Whether the first publish, wait, take or stream creates the session.
    pub auto_create: bool,
    /// Most bytes of a request's body.
    pub body_bytes: usize,
    /// How long a request's body may take to arrive.
    pub body_deadline: Duration,
    /// Origins that may send events as web hooks, as they name themselves in the handshake.
    pub webhook_origins: Vec<String>,
    /// Events on a page if the request does not say.
    pub page_default: usize,
    /// Most events on a page.
    pub page_max: usize,
    /// How many signals there may be, and how much of them is kept.
    pub signals: SignalLimits,
    /// How long open requests may take to end once the server is told to stop.
    pub drain: Duration,
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
            auto_create: true,
            body_bytes: 4 * 1024 * 1024,
            body_deadline: Duration::from_secs(30),
            webhook_origins: Vec::new(),
            page_default: 100,
            page_max: 1_000,
            signals: SignalLimits::default(),
            drain: Duration::from_secs(3),
        }
    }
}
