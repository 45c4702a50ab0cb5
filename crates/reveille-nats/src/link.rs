//! The connection, and how the servers are asked: again and again, with pauses, while nobody answers.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::header::HeaderMap;
use async_nats::{Client, Event, Message, ServerAddr, StatusCode, Subject};
use bytes::Bytes;
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::access::authenticated;
use crate::answers::Answers;
use crate::error::{ConnectError, Failure, Refusal, Silence, unavailable};
use crate::options::NatsOptions;

/// The first version whose streams take a batch in one step, and always say so: 2.12.1 leaves some that
/// come together without an answer.
const VERSION: [u64; 3] = [2, 12, 2];
/// The shortest and the longest pause between two attempts.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// The way to the servers.
#[derive(Debug)]
pub(crate) struct Link {
    client: Client,
    answers: Answers,
    options: NatsOptions,
    /// Counts how often the connection broke, or did not take all that was sent to it.
    broken: watch::Receiver<u64>,
}

impl Link {
    pub(crate) async fn connect(url: &str, options: NatsOptions) -> Result<Self, ConnectError> {
        let addresses = url
            .split(',')
            .map(str::parse::<ServerAddr>)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| ConnectError::Url)?;
        let (count, broken) = watch::channel(0);
        let connecting = authenticated(&addresses, options.files())
            .await?
            .connection_timeout(options.connect_timeout)
            .request_timeout(Some(options.response_timeout))
            .ping_interval(options.ping_interval)
            .client_capacity(8_192)
            .reconnect_delay_callback(|attempt| {
                let step = Duration::from_millis(50);
                step.saturating_mul(u32::try_from(attempt).unwrap_or(u32::MAX))
                    .min(PAUSE.1)
            })
            .event_callback(move |event| {
                if matches!(event, Event::Disconnected | Event::SlowConsumer(_)) {
                    count.send_modify(|count| *count += 1);
                }
                async {}
            })
            .connect(addresses);
        let client = match tokio::time::timeout(options.patience, connecting).await {
            Ok(Ok(client)) => client,
            Ok(Err(error)) => return Err(ConnectError::Server(unavailable(error))),
            Err(_) => {
                let error = unavailable("the server does not answer");
                return Err(ConnectError::Server(error));
            }
        };
        let info = client.server_info();
        if !is_new_enough(&info.version) {
            return Err(ConnectError::Version {
                version: info.version.into(),
            });
        }
        if !info.jetstream {
            return Err(ConnectError::NoJetStream);
        }
        let answers = Answers::begin(&client, options.response_timeout, broken.clone())
            .await
            .map_err(|error| ConnectError::Server(unavailable(error)))?;
        Ok(Self {
            client,
            answers,
            options,
            broken,
        })
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn options(&self) -> &NatsOptions {
        &self.options
    }

    /// Changes whenever the connection breaks.
    pub(crate) fn broken(&self) -> watch::Receiver<u64> {
        self.broken.clone()
    }

    /// Asks once.
    pub(crate) async fn ask(
        &self,
        subject: impl Into<Subject>,
        headers: Option<HeaderMap>,
        payload: Bytes,
    ) -> Result<Message, Silence> {
        let (reply, answer) = self.answers.expect();
        // What is sent without a connection is kept by the client and sent when there is one.
        if self.client.connection_state() != State::Connected {
            return Err(Silence::Nobody);
        }
        let subject = subject.into();
        let client = &self.client;
        let sent = match headers {
            Some(headers) => {
                let sending =
                    client.publish_with_reply_and_headers(subject, reply, headers, payload);
                sending.await
            }
            None => client.publish_with_reply(subject, reply, payload).await,
        };
        sent.map_err(|_| Silence::Nobody)?;
        match answer.message().await {
            Some(message) if message.status == Some(StatusCode::NO_RESPONDERS) => {
                Err(Silence::Nobody)
            }
            Some(message) => Ok(message),
            None => Err(Silence::Lost),
        }
    }

    /// Asks JetStream about a stream for what may be asked for twice, until there is an answer.
    pub(crate) async fn api<T: DeserializeOwned>(
        &self,
        call: &str,
        stream: &str,
        request: &Value,
    ) -> Result<T, Failure> {
        self.api_since(call, stream, request, Instant::now()).await
    }

    /// The same for what has waited since then.
    pub(crate) async fn api_since<T: DeserializeOwned>(
        &self,
        call: &str,
        stream: &str,
        request: &Value,
        since: Instant,
    ) -> Result<T, Failure> {
        let mut retry = self.retry_since(since);
        loop {
            let subject = format!("$JS.API.{call}.{stream}");
            let failure = match self.ask(subject, None, bytes(request)).await {
                Ok(answer) => match read(&answer.payload) {
                    Err(Failure::Refusal(refusal)) if refusal.is_temporary() => refusal.into(),
                    done => return done,
                },
                Err(silence) => silence.into(),
            };
            if !retry.again().await {
                return Err(failure);
            }
        }
    }

    /// Asks for several messages, which come until one without a payload says that these are all.
    pub(crate) async fn many(
        &self,
        subject: &str,
        request: &Value,
    ) -> Result<Vec<Message>, Silence> {
        let mut broken = self.broken();
        broken.mark_unchanged();
        if self.client.connection_state() != State::Connected {
            return Err(Silence::Nobody);
        }
        let inbox = self.client.new_inbox();
        let subscribing = self.client.subscribe(inbox.clone());
        let mut answers = subscribing.await.map_err(|_| Silence::Nobody)?;
        let asking = self
            .client
            .publish_with_reply(subject.to_owned(), inbox, bytes(request));
        asking.await.map_err(|_| Silence::Nobody)?;
        let mut messages = Vec::new();
        loop {
            let answer = tokio::select! {
                answer = tokio::time::timeout(self.options.response_timeout, answers.next()) => answer,
                _ = broken.changed() => return Err(Silence::Lost),
            };
            match answer {
                // The end, or nothing found.
                Ok(Some(last)) if matches!(status(&last), Some(204 | 404)) => return Ok(messages),
                Ok(Some(refused)) if status(&refused).is_some() => return Err(Silence::Nobody),
                Ok(Some(message)) => messages.push(message),
                Ok(None) | Err(_) => return Err(Silence::Lost),
            }
        }
    }

    /// Attempts that go on as long as the patience lasts.
    pub(crate) fn retry(&self) -> Retry {
        self.retry_since(Instant::now())
    }

    /// The same for what has waited since then. There is one attempt in any case.
    pub(crate) fn retry_since(&self, since: Instant) -> Retry {
        Retry {
            deadline: since + self.options.patience,
            pause: PAUSE.0,
        }
    }
}

/// The status of an answer that is not a message.
fn status(message: &Message) -> Option<u16> {
    message.status.map(|status| status.as_u16())
}

fn bytes(request: &Value) -> Bytes {
    match request {
        Value::Null => Bytes::new(),
        request => request.to_string().into(),
    }
}

/// What a server answered, unless it refused.
pub(crate) fn read<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Failure> {
    #[derive(serde::Deserialize)]
    struct Refused {
        error: Option<Refusal>,
    }
    let nonsense = |error: serde_json::Error| Failure::Nonsense(error.to_string());
    let refused: Refused = serde_json::from_slice(payload).map_err(nonsense)?;
    match refused.error {
        Some(refusal) => Err(refusal.into()),
        None => serde_json::from_slice(payload).map_err(nonsense),
    }
}

/// Attempts with growing pauses, each of another length for everybody.
#[derive(Debug)]
pub(crate) struct Retry {
    deadline: Instant,
    pause: Duration,
}

impl Retry {
    /// When the patience ends.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Pauses; or does not, and says that it has been long enough.
    pub(crate) async fn again(&mut self) -> bool {
        if Instant::now() + self.pause > self.deadline {
            return false;
        }
        let percent = u32::try_from(RandomState::new().hash_one(()) % 50).unwrap_or_default();
        tokio::time::sleep(self.pause + self.pause * percent / 100).await;
        self.pause = (self.pause * 2).min(PAUSE.1);
        true
    }
}

/// Whether a version like `2.15.1-RC.1` will do.
fn is_new_enough(version: &str) -> bool {
    let numbers = version.split('-').next().unwrap_or_default();
    let numbers: Result<Vec<u64>, _> = numbers.split('.').map(str::parse).collect();
    numbers.is_ok_and(|numbers| numbers[..] >= VERSION[..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        for (version, expected) in [
            ("2.9.10", false),
            ("2.11.99", false),
            ("2.12.1", false),
            ("2.12.2", true),
            ("2.14.0", true),
            ("2.15.1-RC.1", true),
            ("3.0.0", true),
            ("2", false),
            ("", false),
            ("two", false),
        ] {
            assert_eq!(is_new_enough(version), expected, "{version}");
        }
    }

    #[test]
    fn an_error_in_an_answer_is_a_refusal() {
        let text =
            br#"{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 3"}}"#;
        match read::<Value>(text) {
            Err(Failure::Refusal(refusal)) => assert!(refusal.is_conflict()),
            other => panic!("{other:?}"),
        }
        assert!(read::<Value>(br#"{"seq":1}"#).is_ok());
        assert!(matches!(read::<Value>(b"-ERR"), Err(Failure::Nonsense(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_end_with_the_patience_and_are_few() {
        let begin = Instant::now();
        let mut retry = Retry {
            deadline: begin + Duration::from_secs(10),
            pause: PAUSE.0,
        };
        let mut attempts = 1;
        while retry.again().await {
            attempts += 1;
            assert!(begin.elapsed() <= Duration::from_secs(11));
        }
        assert!((8..=20).contains(&attempts), "{attempts} attempts in 10 s");
    }
}
