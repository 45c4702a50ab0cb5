//! The gateway: sessions seen through HTTP.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware;
use axum::routing::{get, post, put};
use reveille_bus::Bus;
use reveille_core::sync::Mutex;
use reveille_core::{CancelToken, SystemClock};
use reveille_queue::{SessionLog, SessionOptions, Sessions};
use reveille_types::{SessionKey, Tenant};
use tower_http::catch_panic::CatchPanicLayer;

use crate::config::GatewayConfig;
use crate::problem::Refusal;
use crate::signals::{self, Signals};
use crate::{bus_events, consume, guard, manage, publish, read, task_paths, wait};

/// Sessions seen through HTTP. Cheap to clone; all clones are the same.
#[derive(Debug, Clone)]
pub struct Gateway(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    sessions: Sessions,
    signals: Signals,
    config: GatewayConfig,
    draining: CancelToken,
    /// The bus of each tenant that has asked for it.
    buses: Mutex<HashMap<Tenant, Bus>>,
}

impl Gateway {
    /// A gateway to these sessions.
    #[must_use]
    pub fn new(sessions: Sessions, config: GatewayConfig) -> Self {
        Self(Arc::new(Inner {
            sessions,
            signals: Signals::new(config.signals.clone()),
            config,
            draining: CancelToken::new(Arc::new(SystemClock)),
            buses: Mutex::default(),
        }))
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

    /// Ends all streams with a `reveille.reconnect` frame and all waits with 503, so that nothing open
    /// keeps the server from stopping. [`serve`](crate::serve) calls it.
    pub fn drain(&self) {
        self.0.draining.cancel(Some("drain"));
    }

    pub(crate) fn signals(&self) -> &Signals {
        &self.0.signals
    }

    pub(crate) fn draining(&self) -> &CancelToken {
        &self.0.draining
    }

    /// Whose requests these are. Without authentication all are the default tenant's.
    pub(crate) fn tenant(&self) -> Tenant {
        Tenant::default_tenant()
    }

    /// The routes, to be served or mounted.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/healthz", get(manage::healthz))
            .route("/v1/events", get(bus_events::get))
            .route("/v1/events:query", post(bus_events::query))
            .route("/v1/sessions", get(manage::list))
            .route(
                "/v1/sessions/{session}",
                put(manage::create).get(manage::info).delete(manage::remove),
            )
            .route(
                "/v1/sessions/{session}/events",
                get(read::events)
                    .post(publish::events)
                    .options(publish::handshake),
            )
            .route("/v1/sessions/{session}/wait", get(wait::wait))
            .route("/v1/sessions/{session}/take", post(consume::take))
            .route("/v1/sessions/{session}/ack", post(consume::ack))
            .route("/v1/sessions/{session}/nack", post(consume::nack))
            .route("/v1/sessions/{session}/cancel", post(manage::cancel))
            .route("/v1/sessions/{session}/close", post(manage::close))
            .merge(signals::routes())
            .merge(task_paths::routes())
            .fallback(not_found)
            .method_not_allowed_fallback(method_not_allowed)
            .layer(middleware::from_fn(guard::loopback_only))
            .layer(CatchPanicLayer::custom(panicked))
            .with_state(self.clone())
    }

    /// The bus of the tenant.
    pub(crate) async fn bus(&self) -> Result<Bus, Refusal> {
        let tenant = self.tenant();
        if let Some(bus) = self.0.buses.lock().get(&tenant) {
            return Ok(bus.clone());
        }
        let bus = Bus::open(self.sessions().clone(), tenant.clone()).await?;
        Ok(self.0.buses.lock().entry(tenant).or_insert(bus).clone())
    }

    /// The session, created if it may be.
    pub(crate) async fn session_or_new(&self, key: SessionKey) -> Result<SessionLog, Refusal> {
        if !self.config().auto_create {
            return self.session(&key).await;
        }
        let options = SessionOptions::default();
        let (log, _) = self.sessions().get_or_create(key, options).await?;
        Ok(log)
    }

    /// The session, which must be there.
    pub(crate) async fn session(&self, key: &SessionKey) -> Result<SessionLog, Refusal> {
        Ok(self.sessions().find(key).await?)
    }
}

async fn not_found() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "no_such_path")
}

async fn method_not_allowed() -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed")
}

fn panicked(_: Box<dyn std::any::Any + Send>) -> axum::response::Response {
    axum::response::IntoResponse::into_response(Refusal::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
    ))
}
