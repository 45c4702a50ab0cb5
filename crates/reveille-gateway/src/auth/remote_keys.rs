//! Public keys that an issuer publishes, fetched from the URL of its configuration.
//!
//! Tokens choose among the keys that are there, and a token whose key is not makes them be fetched anew:
//! once in a while, however many such tokens come. What cannot be fetched leaves the keys as they are.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::header;
use jsonwebtoken::{Algorithm, DecodingKey};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};

use super::authorizer::AuthError;
use super::key_set::{JWKS_BYTES, KeySet};

/// How long the answer may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// When keys are fetched.
#[derive(Debug, Clone, Copy)]
struct Times {
    /// Not more often than this, whatever happens.
    pause: Duration,
    /// Keys older than this are fetched again while they are used.
    fresh: Duration,
    /// Keys older than this do not count any more.
    grace: Duration,
}

const TIMES: Times = Times {
    pause: Duration::from_secs(30),
    fresh: Duration::from_secs(10 * 60),
    grace: Duration::from_secs(24 * 3600),
};

/// The keys behind a URL.
#[derive(Debug)]
pub(super) struct RemoteKeys {
    issuer: String,
    given: String,
    url: Url,
    client: Client,
    times: Times,
    current: Mutex<Current>,
    /// Held while keys are fetched.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Current {
    keys: KeySet,
    /// When the keys came; none before the first.
    since: Option<Instant>,
    /// When they were asked for last.
    asked: Option<Instant>,
}

/// Why keys could not be fetched.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("the request failed")]
    Request(#[source] reqwest::Error),
    #[error("the status is {0}")]
    Status(reqwest::StatusCode),
    #[error("the document is larger than {JWKS_BYTES} bytes")]
    TooLarge,
    #[error("the document is no key set")]
    NoKeySet,
}

impl RemoteKeys {
    pub(super) fn new(issuer: &str, given: &str) -> Result<Self, &'static str> {
        let url = Url::parse(given).map_err(|_| "jwks_url is no URL")?;
        let host = url.host_str().unwrap_or_default();
        let host = host.trim_matches(['[', ']']);
        let is_local = host == "localhost"
            || host
                .parse()
                .is_ok_and(|address: IpAddr| address.is_loopback());
        match url.scheme() {
            "https" => {}
            // Whoever could write what is read here could sign tokens.
            "http" if is_local => {}
            _ => return Err("jwks_url is neither https nor http on this machine"),
        }
        let client = Client::builder()
            .redirect(Policy::none())
            .timeout(DEADLINE)
            .build()
            .map_err(|_| "jwks_url cannot be fetched: there is no TLS")?;
        Ok(Self {
            issuer: issuer.to_owned(),
            given: given.to_owned(),
            url,
            client,
            times: TIMES,
            current: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
        })
    }

    /// Whether it is this URL.
    pub(super) fn is_at(&self, url: &str) -> bool {
        self.given == url
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The keys with which a token of this id may be signed.
    pub(super) async fn find(
        self: &Arc<Self>,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Vec<DecodingKey>, AuthError> {
        if let Some(found) = self.known(id, algorithm)
            && !found.is_empty()
        {
            if self.age().is_none_or(|age| age >= self.times.fresh) && self.may_fetch() {
                tokio::spawn(Arc::clone(self).fetch());
            }
            return Ok(found);
        }
        // Somebody may be about to get it.
        if self.may_fetch() || self.fetching.try_lock().is_err() {
            // A task of its own: who goes away must not keep the keys from others until the next time.
            let _ = tokio::spawn(Arc::clone(self).fetch()).await;
        }
        self.known(id, algorithm).ok_or(AuthError::Unavailable)
    }

    /// Those of the keys that are there; none if no keys are that count.
    fn known(&self, id: Option<&str>, algorithm: Algorithm) -> Option<Vec<DecodingKey>> {
        let current = self.current();
        let age = current.since?.elapsed();
        (age < self.times.grace).then(|| current.keys.find(id, algorithm))
    }

    fn age(&self) -> Option<Duration> {
        self.current().since.map(|since| since.elapsed())
    }

    fn may_fetch(&self) -> bool {
        let asked = self.current().asked;
        asked.is_none_or(|asked| asked.elapsed() >= self.times.pause)
    }

    /// Fetches the keys, if it is time, one at a time.
    async fn fetch(self: Arc<Self>) {
        let _one = self.fetching.lock().await;
        if !self.may_fetch() {
            return;
        }
        self.current().asked = Some(Instant::now());
        match self.get().await {
            Ok(keys) => {
                let mut current = self.current();
                current.keys = keys;
                current.since = Some(Instant::now());
            }
            Err(problem) => {
                let source = std::error::Error::source(&problem).map(ToString::to_string);
                tracing::warn!(
                    issuer = self.issuer,
                    %problem,
                    source,
                    "the keys of an issuer cannot be fetched: the old ones stay"
                );
            }
        }
    }

    async fn get(&self) -> Result<KeySet, Problem> {
        let failed = |error: reqwest::Error| Problem::Request(error.without_url());
        let request = self.client.get(self.url.clone());
        let request = request.header(header::ACCEPT, "application/jwk-set+json, application/json");
        let mut response = request.send().await.map_err(failed)?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(Problem::Status(response.status()));
        }
        let mut json = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if json.len() + chunk.len() > JWKS_BYTES {
                return Err(Problem::TooLarge);
            }
            json.extend_from_slice(&chunk);
        }
        KeySet::parse(&json).ok_or(Problem::NoKeySet)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// One key, named `k`.
    const KEYS: &str = r#"{"keys":[{"kty":"future"},{"kty":"OKP","crv":"Ed25519","kid":"k","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

    type Answer = Arc<Mutex<(u16, String)>>;

    /// A server that counts how often it is asked, and answers what it is told to.
    async fn issuer(times: Times) -> (Arc<RemoteKeys>, Arc<AtomicUsize>, Answer) {
        let count = Arc::new(AtomicUsize::new(0));
        let answer: Answer = Arc::new(Mutex::new((200, KEYS.to_owned())));
        let (counted, told) = (Arc::clone(&count), Arc::clone(&answer));
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", socket.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = socket.accept().await {
                let mut asked = [0; 4096];
                let _ = connection.read(&mut asked).await;
                counted.fetch_add(1, Ordering::SeqCst);
                let (status, body) = told.lock().unwrap().clone();
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 {status} x\r\nlocation: /keys\r\ncontent-length: {length}\r\n\
                     connection: close\r\n\r\n"
                );
                let _ = connection
                    .write_all(format!("{head}{body}").as_bytes())
                    .await;
            }
        });
        let mut keys = RemoteKeys::new("issuer", &url).unwrap();
        keys.times = times;
        (Arc::new(keys), count, answer)
    }

    async fn finds(keys: &Arc<RemoteKeys>, id: &str) -> Result<bool, AuthError> {
        let found = keys.find(Some(id), Algorithm::EdDSA).await?;
        Ok(!found.is_empty())
    }

    #[tokio::test]
    async fn s13_however_many_unknown_ids_come_keys_are_fetched_once() {
        let (keys, count, _) = issuer(TIMES).await;
        let all = (0..50).map(|n| {
            let keys = Arc::clone(&keys);
            tokio::spawn(async move { finds(&keys, &format!("unknown-{n}")).await })
        });
        for one in all.collect::<Vec<_>>() {
            assert_eq!(one.await.unwrap(), Ok(false));
        }
        assert_eq!(finds(&keys, "k").await, Ok(true));
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn s13_old_keys_stay_while_new_ones_cannot_be_fetched() {
        let times = Times {
            pause: Duration::ZERO,
            ..TIMES
        };
        let (keys, count, answer) = issuer(times).await;
        assert_eq!(finds(&keys, "k").await, Ok(true));
        let large = format!(r#"{{"keys":[],"x":"{}"}}"#, "x".repeat(JWKS_BYTES));
        for (status, body) in [
            (500, KEYS.to_owned()),
            // A redirect is not followed, not even to the same place.
            (302, KEYS.to_owned()),
            (200, "no key set".to_owned()),
            (200, large),
        ] {
            let before = count.load(Ordering::SeqCst);
            *answer.lock().unwrap() = (status, body);
            assert_eq!(finds(&keys, "unknown").await, Ok(false));
            assert_eq!(count.load(Ordering::SeqCst), before + 1);
            assert_eq!(finds(&keys, "k").await, Ok(true));
        }
        *answer.lock().unwrap() = (200, r#"{"keys":[]}"#.to_owned());
        assert_eq!(finds(&keys, "unknown").await, Ok(false));
        assert_eq!(finds(&keys, "k").await, Ok(false), "it was taken back");
    }

    #[tokio::test]
    async fn s13_without_any_keys_nobody_can_tell() {
        let (keys, count, answer) = issuer(TIMES).await;
        *answer.lock().unwrap() = (404, String::new());
        assert_eq!(finds(&keys, "k").await, Err(AuthError::Unavailable));
        assert_eq!(finds(&keys, "k").await, Err(AuthError::Unavailable));
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn s13_keys_are_fetched_again_while_they_are_used_and_end_with_their_grace() {
        let times = Times {
            pause: Duration::ZERO,
            fresh: Duration::ZERO,
            grace: Duration::from_secs(3600),
        };
        let (mut keys, count, answer) = issuer(times).await;
        assert_eq!(finds(&keys, "k").await, Ok(true));
        let asked = count.load(Ordering::SeqCst);
        assert_eq!(finds(&keys, "k").await, Ok(true));
        tokio::time::timeout(Duration::from_secs(10), async {
            while count.load(Ordering::SeqCst) == asked {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
        *answer.lock().unwrap() = (404, String::new());
        // Nobody else has it once the task is over.
        while Arc::get_mut(&mut keys).is_none() {
            tokio::task::yield_now().await;
        }
        Arc::get_mut(&mut keys).unwrap().times.grace = Duration::ZERO;
        assert_eq!(finds(&keys, "k").await, Err(AuthError::Unavailable));
    }

    #[test]
    fn s13_a_url_that_others_could_answer_is_refused() {
        for good in [
            "https://issuer.example/keys",
            "http://127.0.0.1:1/keys",
            "http://[::1]:1/keys",
            "http://localhost/keys",
        ] {
            assert!(RemoteKeys::new("i", good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "keys",
            "http://issuer.example/keys",
            "http://localhost.example/keys",
            "file:///etc/passwd",
        ] {
            assert!(RemoteKeys::new("i", bad).is_err(), "{bad}");
        }
    }
}
