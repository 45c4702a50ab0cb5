//! Two gateways, and those who speak to them.

use reqwest::{Client, Response};
use reveille_e2e::{Broker, Program, soon};
use serde_json::{Value, json};

/// Two gateways, and the server that they share.
pub(crate) struct Cluster {
    pub(crate) a: Program,
    pub(crate) b: Program,
    pub(crate) broker: Broker,
}

/// A signal's handle and secret.
#[derive(Clone)]
pub(crate) struct Made {
    pub(crate) handle: String,
    pub(crate) secret: String,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    pub(crate) async fn with(more: &[&str]) -> Self {
        let broker = Broker::nats().await;
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--backend", &broker.url];
        let arguments = [&arguments[..], more].concat();
        Self {
            a: Program::start(&arguments).await,
            b: Program::start(&arguments).await,
            broker,
        }
    }
}

/// Somebody who speaks to a gateway.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) url: String,
    pub(crate) key: Option<String>,
}

impl Caller {
    pub(crate) fn of(gateway: &Program) -> Self {
        Self {
            url: gateway.url.clone(),
            key: None,
        }
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> (u16, Value) {
        let request = match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        };
        let answer: Response = soon("an answer", request.send()).await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.bytes().await.unwrap();
        let body = match &body[..] {
            [] => Value::Null,
            body => serde_json::from_slice(body).unwrap(),
        };
        (status, body)
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let url = format!("{}/v1/{path}", self.url);
        self.send(Client::new().post(url).json(body)).await
    }

    pub(crate) async fn create(&self, body: Value) -> Made {
        let (status, body) = self.post("signals", &body).await;
        assert_eq!(status, 201, "{body}");
        Made {
            handle: body["handle"].as_str().unwrap().to_owned(),
            secret: body["secret"].as_str().unwrap().to_owned(),
        }
    }

    pub(crate) async fn named(&self, name: &str) -> Made {
        self.create(json!({"name": name})).await
    }

    /// Has a signal completed, or renewed, with its secret.
    pub(crate) async fn act(&self, made: &Made, how: &str, mut body: Value) -> (u16, Value) {
        body["secret"] = json!(made.secret);
        let path = format!("signals/{}/{how}", made.handle);
        self.post(&path, &body).await
    }

    pub(crate) async fn merge(&self, inputs: &[&Made], mode: Value) -> String {
        let handles: Vec<_> = inputs.iter().map(|made| &made.handle).collect();
        let merge = json!({"inputs": handles, "mode": mode});
        let (status, body) = self.post("signals:merge", &merge).await;
        assert_eq!(status, 201, "{body}");
        body["handle"].as_str().unwrap().to_owned()
    }

    /// Looks at a signal; a query makes it wait.
    pub(crate) async fn get(&self, handle: &str, query: &str) -> (u16, Value) {
        let url = format!("{}/v1/signals/{handle}{query}", self.url);
        self.send(Client::new().get(url)).await
    }

    pub(crate) async fn why(&self, handle: &str) -> Value {
        let (status, why) = self.get(handle, "/why").await;
        assert_eq!(status, 200, "{why}");
        why
    }

    /// Begins to wait for a signal, and returns once the gateway waits.
    pub(crate) async fn waiting(&self, handle: &str) -> tokio::task::JoinHandle<(u16, Value)> {
        let (caller, waited) = (self.clone(), handle.to_owned());
        let waiting = tokio::spawn(async move { caller.get(&waited, "?timeout=300s").await });
        // Another wait here is answered in order, so by then the first one is known to the owner.
        assert_eq!(self.get(handle, "?timeout=300ms").await.0, 204);
        waiting
    }
}
