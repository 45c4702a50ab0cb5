//! A server with bounds of the test's own, and who is known to it.

use std::sync::Arc;

use reqwest::{Client, RequestBuilder, Response};
use reveille_e2e::{Server, add_key, soon};
use reveille_gateway::{Action, AuthConfig, GatewayConfig, Grant, Secret, StaticAuthorizer};
use reveille_memory::MemoryBackend;
use reveille_queue::{QueueLimits, Sessions, TailLimits};
use serde_json::Value;

/// A server with two tenants; `ours` and `other` are keys of the first.
pub(crate) struct Known {
    pub(crate) server: Server,
    pub(crate) client: Client,
    pub(crate) ours: Secret,
    pub(crate) other: Secret,
    pub(crate) rival: Secret,
}

pub(crate) async fn known(config: GatewayConfig, limits: QueueLimits) -> Known {
    let mut auth = AuthConfig::default();
    let mut key = |id: &str, tenant: &str| {
        add_key(&mut auth, id, tenant, vec![Grant::everything(Action::ALL)])
    };
    let (ours, other) = (key("ours", "acme"), key("other", "acme"));
    let rival = key("rival", "rival");
    let sessions = Sessions::builder(MemoryBackend::new())
        .tail(TailLimits::default())
        .limits(limits)
        .build();
    let known = Arc::new(StaticAuthorizer::new(auth).unwrap());
    Known {
        client: Client::new(),
        server: Server::over(sessions, config, Some(known)).await,
        ours,
        other,
        rival,
    }
}

/// With sessions that are created on first use.
pub(crate) fn config() -> GatewayConfig {
    let mut config = GatewayConfig::default();
    config.auto_create = Some(true);
    config
}

impl Known {
    pub(crate) fn get(&self, key: &Secret, path: &str) -> RequestBuilder {
        let asked = self.client.get(self.server.at(path));
        asked.bearer_auth(key.expose())
    }

    pub(crate) fn post(&self, key: &Secret, path: &str, body: &Value) -> RequestBuilder {
        let sent = self.client.post(self.server.at(path));
        sent.bearer_auth(key.expose()).json(body)
    }

    pub(crate) async fn send(&self, key: &Secret, path: &str, body: &Value) -> Response {
        self.post(key, path, body).send().await.unwrap()
    }

    pub(crate) async fn stream(&self, key: &Secret, path: &str) -> Response {
        let asked = self.get(key, path).header("accept", "text/event-stream");
        asked.send().await.unwrap()
    }

    /// What is told of a session.
    pub(crate) async fn info(&self, key: &Secret, session: &str) -> Value {
        let path = format!("/v1/sessions/{session}");
        let info = self.get(key, &path).send().await.unwrap();
        info.json().await.unwrap()
    }

    /// Waits until so many wait in a session.
    pub(crate) async fn waiters(&self, session: &str, count: u64) {
        soon("waiters", async {
            while self.info(&self.ours, session).await["waiters"] != count {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

pub(crate) const EVENTS: &str = "/v1/sessions/s/events";

/// The problem of an answer that says what the limit is, and when to come back if that helps.
pub(crate) async fn refused(answer: Response, status: u16, code: &str) -> Value {
    // First of all: what is not refused may be a stream without end.
    assert_eq!(answer.status(), status, "{code}");
    let comes_back = answer.headers().contains_key("retry-after");
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["code"], code, "{problem}");
    assert_eq!(comes_back, matches!(status, 429 | 503), "{problem}");
    problem
}
