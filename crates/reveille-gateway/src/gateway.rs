//! The gateway: sessions seen through HTTP.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware;
use axum::routing::get;
use reveille_bus::Bus;
use reveille_core::sync::Mutex;
use reveille_core::{CancelToken, SignalNetwork, SystemClock};
use reveille_queue::{SessionLog, SessionOptions, Sessions};
use reveille_types::{Filter, FilterSpec, Pattern, SessionKey, Tenant};
use tower_http::catch_panic::CatchPanicLayer;

use crate::admission::Admission;
use crate::auth::{Authorizer, Tickets, Watches};
use crate::config::GatewayConfig;
use crate::connections::Connections;
use crate::metrics::{Metrics, metrics};
use crate::observe::observe;
use crate::params::bad_value;
use crate::problem::Refusal;
use crate::signals::{SignalValue, Signals};
use crate::store_watch::StoreWatch;
use crate::{browser, guard, status};

/// Sessions seen through HTTP. Cheap to clone; all clones are the same.
#[derive(Debug, Clone)]
pub struct Gateway(Arc<Inner>);

/// A gateway, for tasks that do not keep it.
#[derive(Debug)]
pub(crate) struct WeakGateway(Weak<Inner>);

impl WeakGateway {
    pub(crate) fn upgrade(&self) -> Option<Gateway> {
        self.0.upgrade().map(Gateway)
    }
}

#[derive(Debug)]
struct Inner {
    sessions: Sessions,
    signals: Signals,
    config: GatewayConfig,
    authorizer: Option<Arc<dyn Authorizer>>,
    tickets: Tickets,
    connections: Connections,
    store_watch: StoreWatch,
    watches: Watches,
    admission: Admission,
    metrics: Metrics,
    draining: CancelToken,
    /// Over how long streams end, once the server is told to stop.
    drain_over: Mutex<Option<Duration>>,
    /// The bus of each tenant that has asked for it.
    buses: Mutex<HashMap<Tenant, Bus>>,
}

impl Gateway {
    /// A gateway to these sessions for everybody on this machine: it serves loopback addresses only.
    #[must_use]
    pub fn new(sessions: Sessions, config: GatewayConfig) -> Self {
        Self::with(sessions, config, None)
    }

    /// A gateway to these sessions for those whom `authorizer` knows.
    #[must_use]
    pub fn with_authorizer(
        sessions: Sessions,
        config: GatewayConfig,
        authorizer: Arc<dyn Authorizer>,
    ) -> Self {
        Self::with(sessions, config, Some(authorizer))
    }

    fn with(
        sessions: Sessions,
        config: GatewayConfig,
        authorizer: Option<Arc<dyn Authorizer>>,
    ) -> Self {
        Self(Arc::new(Inner {
            sessions,
            signals: Signals::new(config.signals.clone()),
            tickets: Tickets::new(config.tickets_per_tenant),
            admission: Admission::new(&config, authorizer.is_some()),
            config,
            authorizer,
            connections: Connections::default(),
            store_watch: StoreWatch::default(),
            watches: Watches::default(),
            metrics: Metrics::new(),
            draining: CancelToken::new(Arc::new(SystemClock)),
            drain_over: Mutex::default(),
            buses: Mutex::default(),
        }))
    }

    /// The same, whose signals are one with those of all gateways on this network: each reaches those
    /// that the others made, within a tenant. To be called before it serves.
    #[must_use]
    pub fn with_signal_network(self, network: Arc<dyn SignalNetwork<SignalValue>>) -> Self {
        self.0.signals.join(network);
        self
    }

    /// The sessions behind the gateway.
    #[must_use]
    pub fn sessions(&self) -> &Sessions {
        &self.0.sessions
    }

    /// How the gateway is set up.
    #[must_use]
    pub fn config(&self) -> &GatewayConfig {
        &self.0.config
    }

    /// Ends all streams with a `reveille.reconnect` frame, one by one over the time, and all waits with
    /// 503 at once, so that nothing open keeps the server from stopping. The first call counts.
    /// [`serve`](crate::serve) calls it with the time of the configuration.
    pub fn drain(&self, over: Duration) {
        self.0.drain_over.lock().get_or_insert(over);
        self.0.draining.cancel(Some("drain"));
    }

    /// Over how long streams end.
    pub(crate) fn drain_over(&self) -> Duration {
        self.0.drain_over.lock().unwrap_or(self.0.config.drain)
    }

    /// Who says whose a credential is; nobody if there is no authentication.
    pub(crate) fn authorizer(&self) -> Option<&Arc<dyn Authorizer>> {
        self.0.authorizer.as_ref()
    }

    pub(crate) fn tickets(&self) -> &Tickets {
        &self.0.tickets
    }

    pub(crate) fn connections(&self) -> &Connections {
        &self.0.connections
    }

    pub(crate) fn store_watch(&self) -> &StoreWatch {
        &self.0.store_watch
    }

    pub(crate) fn downgrade(&self) -> WeakGateway {
        WeakGateway(Arc::downgrade(&self.0))
    }

    pub(crate) fn watches(&self) -> &Watches {
        &self.0.watches
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    pub(crate) fn admission(&self) -> &Admission {
        &self.0.admission
    }

    pub(crate) fn signals(&self) -> &Signals {
        &self.0.signals
    }

    pub(crate) fn draining(&self) -> &CancelToken {
        &self.0.draining
    }

    /// The routes, to be served or mounted.
    pub fn router(&self) -> Router {
        let routed = self
            .routed()
            .fallback(not_found)
            .method_not_allowed_fallback(method_not_allowed)
            .layer(CatchPanicLayer::custom(panicked));
        if self.is_plain() {
            // One layer in place of three: each costs every request.
            return routed
                .layer(middleware::from_fn_with_state(self.clone(), guard::around))
                .with_state(self.clone());
        }
        let routed = routed
            .layer(middleware::from_fn_with_state(self.clone(), observe))
            .with_state(self.clone());
        browser::with_cors(routed, self.config())
            .layer(middleware::from_fn_with_state(self.clone(), guard::check))
            .layer(middleware::from_fn(browser::secure))
    }

    /// Whether pages of no other origin read answers, so that less stands around a request.
    pub(crate) fn is_plain(&self) -> bool {
        self.config().origins.is_empty()
    }

    /// What operators ask for, without credentials: `/metrics`, `/healthz` and `/readyz`. It is to be
    /// served where only they can reach it.
    pub fn admin_router(&self) -> Router {
        Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(status::healthz))
            .route("/readyz", get(status::readyz))
            .fallback(not_found)
            .layer(middleware::from_fn_with_state(
                self.clone(),
                guard::only_local,
            ))
            .layer(middleware::from_fn(browser::secure))
            .with_state(self.clone())
    }

    /// The bus of the tenant.
    pub(crate) async fn bus(&self, tenant: &Tenant) -> Result<Bus, Refusal> {
        if let Some(bus) = self.0.buses.lock().get(tenant) {
            return Ok(bus.clone());
        }
        let bus = Bus::open(self.sessions().clone(), tenant.clone()).await?;
        let mut buses = self.0.buses.lock();
        Ok(buses.entry(tenant.clone()).or_insert(bus).clone())
    }

    /// The session, created if it may be.
    pub(crate) async fn session_or_new(&self, key: SessionKey) -> Result<SessionLog, Refusal> {
        let anybody = self.authorizer().is_none();
        if !self.config().auto_create.unwrap_or(anybody) {
            return self.session(&key).await;
        }
        let options = SessionOptions::default();
        let (log, _) = self.sessions().get_or_create(key, options).await?;
        Ok(log)
    }

    /// The filter that is asked for. A strict one refuses kinds that are not known, because a reader
    /// would wait for them for ever.
    pub(crate) fn filter(&self, spec: FilterSpec, strict: bool) -> Result<Filter, Refusal> {
        match strict {
            true => Ok(self.sessions().strict_filter(spec)?),
            false => Filter::compile(&spec).map_err(|e| bad_value(&e)),
        }
    }

    /// The events whose kinds match any of the patterns; all without one.
    pub(crate) fn kinds(&self, patterns: Vec<Pattern>, strict: bool) -> Result<Filter, Refusal> {
        let spec = FilterSpec {
            kinds: Some(patterns).filter(|patterns| !patterns.is_empty()),
            ..FilterSpec::default()
        };
        self.filter(spec, strict)
    }

    /// The session, which must be there.
    pub(crate) async fn session(&self, key: &SessionKey) -> Result<SessionLog, Refusal> {
        Ok(self.sessions().find(key).await?)
    }
}

async fn not_found() -> Refusal {
    no_such_path()
}

pub(crate) fn no_such_path() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "no_such_path")
}

pub(crate) async fn method_not_allowed() -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed")
}

pub(crate) fn panicked(_: Box<dyn std::any::Any + Send>) -> axum::response::Response {
    axum::response::IntoResponse::into_response(Refusal::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
    ))
}
