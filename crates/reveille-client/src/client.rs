//! One server.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{RequestBuilder, Response, Url};
use reveille_types::wire::{Problem, SessionList, SessionState};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::ClientError;
use crate::session::Session;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take that the server does not hold back on purpose.
pub(crate) const ANSWER: Duration = Duration::from_secs(30);
/// How long an unused connection is kept: less than servers keep theirs, because a request on a
/// connection that is being closed is lost.
const IDLE: Duration = Duration::from_secs(5);
/// How soon a connection is found dead whose other end is gone without a word.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Speaks to one server. Cheap to clone; clones share their connections.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
}

/// Which sessions to list.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct ListRequest {
    /// Only of this namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Only in this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<SessionState>,
    /// Most sessions on a page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// What follows this page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<String>,
}

impl Client {
    /// A client of the server at this URL, such as `http://127.0.0.1:7600`. It speaks to that server
    /// directly: it follows no redirects and heeds no proxy settings of the environment.
    ///
    /// # Errors
    /// [`ClientError::Url`] when it is no http URL.
    pub fn new(url: &str) -> Result<Self, ClientError> {
        Self::build(url, HeaderMap::new())
    }

    /// A client that shows this token, or API key, with each request.
    ///
    /// # Errors
    /// [`ClientError::Url`] when it is no http URL; [`ClientError::Token`] when the token cannot stand in
    /// a header.
    pub fn with_token(url: &str, token: &str) -> Result<Self, ClientError> {
        let value = HeaderValue::try_from(format!("Bearer {token}"));
        let mut value = value.map_err(|_| ClientError::Token)?;
        value.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, value);
        Self::build(url, headers)
    }

    fn build(url: &str, headers: HeaderMap) -> Result<Self, ClientError> {
        let wrong = || ClientError::Url {
            url: url.to_owned(),
        };
        let mut base: Url = url.parse().map_err(|_| wrong())?;
        if !matches!(base.scheme(), "http" | "https") || base.host().is_none() {
            return Err(wrong());
        }
        if !base.path().ends_with('/') {
            let path = format!("{}/", base.path());
            base.set_path(&path);
        }
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .pool_idle_timeout(IDLE)
            .tcp_keepalive(KEEPALIVE)
            .default_headers(headers)
            .redirect(Policy::none())
            .no_proxy()
            .build()
            .map_err(ClientError::Request)?;
        Ok(Self { http, base })
    }

    /// A session by its name: `id`, or `namespace/id`.
    #[must_use]
    pub fn session(&self, name: &str) -> Session {
        Session::new(self.clone(), name)
    }

    /// Lists sessions, a page at a time.
    ///
    /// # Errors
    /// [`ClientError`].
    ///
    /// # Cancel safety
    /// A dropped future changes nothing.
    pub async fn sessions(&self, request: &ListRequest) -> Result<SessionList, ClientError> {
        ask(self.get("v1/sessions")?.query(request)).await
    }

    /// Asks whether the server is there.
    ///
    /// # Errors
    /// [`ClientError`] when it is not.
    ///
    /// # Cancel safety
    /// A dropped future changes nothing.
    pub async fn healthz(&self) -> Result<(), ClientError> {
        send(self.get("healthz")?.timeout(ANSWER)).await.map(drop)
    }

    pub(crate) fn url(&self, path: &str) -> Result<Url, ClientError> {
        self.base.join(path).map_err(|_| ClientError::Url {
            url: format!("{}{path}", self.base),
        })
    }

    pub(crate) fn get(&self, path: &str) -> Result<RequestBuilder, ClientError> {
        Ok(self.http.get(self.url(path)?))
    }

    pub(crate) fn put(&self, path: &str) -> Result<RequestBuilder, ClientError> {
        Ok(self.http.put(self.url(path)?))
    }

    pub(crate) fn post(&self, path: &str) -> Result<RequestBuilder, ClientError> {
        Ok(self.http.post(self.url(path)?))
    }

    pub(crate) fn delete(&self, path: &str) -> Result<RequestBuilder, ClientError> {
        Ok(self.http.delete(self.url(path)?))
    }
}

/// Sends a request that the server answers at once, and reads the answer.
pub(crate) async fn ask<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, ClientError> {
    json(send(request.timeout(ANSWER)).await?).await
}

/// Sends a request; a refusal becomes an error.
pub(crate) async fn send(request: RequestBuilder) -> Result<Response, ClientError> {
    let answer = request.send().await?;
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let retry_after = answer
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map(Duration::from_secs);
    // A body that breaks off is no problem document: the status says enough.
    let body = answer.bytes().await.unwrap_or_default();
    match serde_json::from_slice::<Problem>(&body) {
        Ok(problem) => Err(ClientError::Refused(Box::new(problem))),
        Err(_) => Err(ClientError::Status {
            status: status.as_u16(),
            retry_after,
        }),
    }
}

/// Reads an answer in JSON.
pub(crate) async fn json<T: DeserializeOwned>(answer: Response) -> Result<T, ClientError> {
    let body = answer.bytes().await?;
    serde_json::from_slice(&body).map_err(ClientError::protocol)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_http_urls_are_servers() {
        for url in [
            "http://127.0.0.1:7600",
            "http://localhost/prefix",
            "http://[::1]:1/",
            "https://example.com",
        ] {
            assert!(Client::new(url).is_ok(), "{url}");
        }
        for url in ["", "127.0.0.1:7600", "ftp://x", "http://"] {
            assert!(Client::new(url).is_err(), "{url}");
        }
        let client = Client::new("http://localhost/prefix").unwrap();
        let url = client.url("v1/sessions").unwrap();
        assert_eq!(url.as_str(), "http://localhost/prefix/v1/sessions");
    }
}
