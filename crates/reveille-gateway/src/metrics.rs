//! What `/metrics` tells. No label has more than a few values: none names a session, a tenant or a
//! person.

use std::sync::atomic::AtomicI64;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use reveille_types::{Gap, GapReason, Receipt};

use crate::gateway::Gateway;

/// One label of a few constant values.
type Counted = Family<[(&'static str, &'static str); 1], Counter>;
type Requests = Family<[(&'static str, String); 3], Counter>;
type Number = Gauge<i64, AtomicI64>;

/// Upper ends of the buckets for the time of requests, in seconds.
const SECONDS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5, 30.0];

/// Everything that is counted.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Requests,
    seconds: Histogram,
    opened: Counter,
    closed: Counted,
    delivered: Counter,
    gaps: Counted,
    overflows: Counted,
    waits: Counted,
    published: Counter,
    publishes: Counted,
    deduplicated: Counter,
    scraped: Scraped,
}

/// What is looked up when somebody asks.
#[derive(Debug, Default)]
struct Scraped {
    streams: Number,
    behind: Number,
    lag: Number,
    sessions_open: Number,
    sessions_ended: Number,
    bytes: Number,
    dropped: Number,
}

/// The method, if it is one of those that requests have: clients make up others.
fn known(method: &str) -> &str {
    match method {
        "GET" | "HEAD" | "PUT" | "POST" | "DELETE" | "OPTIONS" | "PATCH" => method,
        _ => "other",
    }
}

/// A counter registered under its name.
fn counter<M>(registry: &mut Registry, name: &str, help: &str) -> M
where
    M: prometheus_client::registry::Metric + Default + Clone,
{
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("reveille");
        let r = &mut registry;
        let seconds = Histogram::new(SECONDS);
        r.register(
            "request_seconds",
            "Time until the head of an answer, but for waits and takes",
            seconds.clone(),
        );
        let scraped = Scraped {
            streams: counter(r, "streams", "Streams that are open"),
            behind: counter(
                r,
                "streams_behind",
                "Streams that have not been written all there is",
            ),
            lag: counter(
                r,
                "stream_lag_events",
                "Events before the stream that is furthest behind",
            ),
            sessions_open: counter(r, "sessions_open", "Sessions that take events"),
            sessions_ended: counter(
                r,
                "sessions_ended",
                "Sessions that are over and still readable",
            ),
            bytes: counter(r, "session_bytes", "Bytes of the events that sessions hold"),
            dropped: counter(
                r,
                "session_events_dropped",
                "Events that retention has dropped",
            ),
        };
        Self {
            requests: counter(r, "requests", "Requests by route, method and status"),
            opened: counter(r, "streams_opened", "Streams that were opened"),
            closed: counter(r, "streams_closed", "Streams that ended, by reason"),
            delivered: counter(r, "events_delivered", "Events that were written to streams"),
            gaps: counter(r, "gaps", "Gaps that readers were told of, by reason"),
            overflows: counter(r, "overflows", "Readers that were too slow, by policy"),
            waits: counter(r, "waits", "Waits and takes, by outcome"),
            published: counter(r, "events_published", "Events that were stored"),
            publishes: counter(r, "publishes", "Requests to publish, by result"),
            deduplicated: counter(r, "events_deduplicated", "Events that were there already"),
            seconds,
            scraped,
            registry,
        }
    }

    pub(crate) fn request(&self, route: &str, method: &str, status: StatusCode) {
        let labels = [
            ("route", route.to_owned()),
            ("method", known(method).to_owned()),
            ("status", status.as_str().to_owned()),
        ];
        self.requests.get_or_create(&labels).inc();
    }

    pub(crate) fn took(&self, seconds: f64) {
        self.seconds.observe(seconds);
    }

    pub(crate) fn opened(&self) {
        self.opened.inc();
    }

    pub(crate) fn closed(&self, reason: &'static str) {
        self.closed.get_or_create(&[("reason", reason)]).inc();
    }

    pub(crate) fn delivered(&self, events: u64) {
        self.delivered.inc_by(events);
    }

    pub(crate) fn gap(&self, gap: &Gap) {
        let reason = match gap.reason {
            GapReason::Expired => "expired",
            GapReason::Overflow => "overflow",
            GapReason::Ahead => "ahead",
            GapReason::UnknownCursor => "unknown_cursor",
        };
        self.gaps.get_or_create(&[("reason", reason)]).inc();
        if let Some(overflow) = &gap.overflow {
            self.overflow(overflow.policy.as_str());
        }
    }

    pub(crate) fn overflow(&self, policy: &'static str) {
        self.overflows.get_or_create(&[("policy", policy)]).inc();
    }

    pub(crate) fn wait(&self, outcome: &'static str) {
        self.waits.get_or_create(&[("outcome", outcome)]).inc();
    }

    pub(crate) fn published(&self, receipt: &Receipt) {
        let seen = receipt.results.iter().filter(|r| r.deduplicated).count() as u64;
        let result = match seen {
            0 => "stored",
            _ => "deduplicated",
        };
        self.publishes.get_or_create(&[("result", result)]).inc();
        self.deduplicated.inc_by(seen);
        self.published.inc_by(receipt.results.len() as u64 - seen);
    }

    pub(crate) fn refused(&self) {
        self.publishes.get_or_create(&[("result", "refused")]).inc();
    }

    /// Everything as text.
    fn text(&self, gateway: &Gateway) -> Result<String, std::fmt::Error> {
        let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let lags = gateway.connections().lags();
        let sessions = gateway.sessions().info();
        let scraped = &self.scraped;
        scraped.streams.set(number(lags.len()));
        scraped
            .behind
            .set(number(lags.iter().filter(|lag| **lag > 0).count()));
        let most = lags.iter().max().copied().unwrap_or_default();
        scraped.lag.set(i64::try_from(most).unwrap_or(i64::MAX));
        scraped.sessions_open.set(number(sessions.open));
        scraped.sessions_ended.set(number(sessions.ended));
        scraped.bytes.set(number(sessions.bytes));
        scraped
            .dropped
            .set(i64::try_from(sessions.dropped).unwrap_or(i64::MAX));
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// `GET /metrics`.
pub(crate) async fn metrics(State(gateway): State<Gateway>) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match gateway.metrics().text(&gateway) {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
