//! One session of a server.

use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reveille_types::wire::{
    CURSOR_HEADER, CancelAnswer, CancelRequest, CloseRequest, CreateRequest,
    EXPECTED_CURSOR_HEADER, EventPage, SessionInfo, SettleAnswer, SettleRequest, TakeAnswer,
    TakeRequest,
};
use reveille_types::{Cursor, Receipt};
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::client::{Client, json, send};
use crate::error::ClientError;

/// What a path segment keeps as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// How long a publish is repeated whose answer was lost.
const PUBLISH_RETRY: Duration = Duration::from_secs(10);

/// One session of a server. Cheap to clone. Nothing is sent before a method is called.
#[derive(Debug, Clone)]
pub struct Session {
    pub(crate) client: Client,
    /// The path of the session, percent-encoded.
    path: String,
}

/// On which conditions to publish.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct PublishOptions {
    /// The key under which a repeated publish is recognised; a new one if none.
    pub idempotency_key: Option<String>,
    /// Publish only if the log ends here.
    pub expected: Option<Cursor>,
}

/// How a take came out.
#[derive(Debug)]
pub enum TakeResult {
    /// The server's answer: events with their leases, or the end of the session.
    Answered(Box<TakeAnswer>),
    /// The time was up.
    TimedOut,
}

impl Session {
    pub(crate) fn new(client: Client, name: &str) -> Self {
        let segment = utf8_percent_encode(name, SEGMENT);
        Self {
            client,
            path: format!("v1/sessions/{segment}"),
        }
    }

    pub(crate) fn path(&self, below: &str) -> String {
        format!("{}{below}", self.path)
    }

    /// Publishes events, each a JSON text: all of them or none, in their order. Repeats itself for up
    /// to ten seconds when the server cannot be reached or the answer is lost; the server recognises
    /// the repetition.
    ///
    /// # Errors
    /// [`ClientError`]; after [`Unreachable`](ClientError::Unreachable) the events may be stored or
    /// not, and the same key settles it.
    ///
    /// # Cancel safety
    /// A dropped future has published all events or none.
    pub async fn publish(
        &self,
        events: &[Box<RawValue>],
        options: &PublishOptions,
    ) -> Result<Receipt, ClientError> {
        let key = options
            .idempotency_key
            .clone()
            .unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
        let body = match events {
            [one] => one.get().to_owned(),
            many => serde_json::to_string(many).map_err(ClientError::protocol)?,
        };
        let deadline = Instant::now() + PUBLISH_RETRY;
        let mut backoff = Backoff::default();
        loop {
            let mut request = self
                .client
                .post(&self.path("/events"))?
                .header("content-type", "application/json")
                .header("idempotency-key", &key)
                .body(body.clone());
            if let Some(expected) = options.expected {
                request = request.header(EXPECTED_CURSOR_HEADER, expected.to_string());
            }
            let published = match send(request).await {
                Ok(answer) => json(answer).await,
                Err(error) => Err(error),
            };
            match published {
                Err(error) if error.is_temporary() => {
                    let pause = backoff.next();
                    if Instant::now() + pause > deadline {
                        return Err(error);
                    }
                    tokio::time::sleep(pause).await;
                }
                published => return published,
            }
        }
    }

    /// Reads a page of at most `limit` events after a cursor (or `earliest`, or `latest`).
    ///
    /// # Errors
    /// [`ClientError`].
    ///
    /// # Cancel safety
    /// A dropped future changes nothing.
    pub async fn page(&self, after: &str, limit: u32) -> Result<EventPage, ClientError> {
        let request = self
            .client
            .get(&self.path("/events"))?
            .header("accept", "application/json")
            .query(&[("after", after), ("limit", &limit.to_string())]);
        json(send(request).await?).await
    }

    /// Takes events as a group, on lease.
    ///
    /// # Errors
    /// [`ClientError`].
    ///
    /// # Cancel safety
    /// What a dropped future was given by the server is offered again when its lease is over.
    pub async fn take(&self, request: &TakeRequest) -> Result<TakeResult, ClientError> {
        let answer = send(self.client.post(&self.path("/take"))?.json(request)).await?;
        if answer.status() == 204 {
            return Ok(TakeResult::TimedOut);
        }
        Ok(TakeResult::Answered(json(answer).await?))
    }

    /// Settles leases: their events are done.
    ///
    /// # Errors
    /// [`ClientError`]; the code `fenced` says that a lease is not held any more.
    ///
    /// # Cancel safety
    /// A dropped future has settled them or has not.
    pub async fn ack(&self, request: &SettleRequest) -> Result<SettleAnswer, ClientError> {
        json(send(self.client.post(&self.path("/ack"))?.json(request)).await?).await
    }

    /// Gives leased events back: they are offered again at once.
    ///
    /// # Errors
    /// As [`ack`](Self::ack).
    ///
    /// # Cancel safety
    /// A dropped future has given them back or has not.
    pub async fn nack(&self, request: &SettleRequest) -> Result<SettleAnswer, ClientError> {
        json(send(self.client.post(&self.path("/nack"))?.json(request)).await?).await
    }

    /// Asks the producer to stop.
    ///
    /// # Errors
    /// [`ClientError`].
    ///
    /// # Cancel safety
    /// A dropped future has asked or has not.
    pub async fn cancel(&self, request: &CancelRequest) -> Result<CancelAnswer, ClientError> {
        json(send(self.client.post(&self.path("/cancel"))?.json(request)).await?).await
    }

    /// Seals the session.
    ///
    /// # Errors
    /// [`ClientError`].
    ///
    /// # Cancel safety
    /// A dropped future has sealed it or has not.
    pub async fn close(&self, request: &CloseRequest) -> Result<SessionInfo, ClientError> {
        json(send(self.client.post(&self.path("/close"))?.json(request)).await?).await
    }

    /// Creates the session.
    ///
    /// # Errors
    /// [`ClientError`].
    ///
    /// # Cancel safety
    /// A dropped future has created it or has not.
    pub async fn create(&self, request: &CreateRequest) -> Result<SessionInfo, ClientError> {
        json(send(self.client.put(&self.path)?.json(request)).await?).await
    }

    /// What is known of the session.
    ///
    /// # Errors
    /// [`ClientError`].
    ///
    /// # Cancel safety
    /// A dropped future changes nothing.
    pub async fn info(&self) -> Result<SessionInfo, ClientError> {
        json(send(self.client.get(&self.path)?).await?).await
    }

    /// Removes the session.
    ///
    /// # Errors
    /// [`ClientError`].
    ///
    /// # Cancel safety
    /// A dropped future has removed it or has not.
    pub async fn remove(&self) -> Result<(), ClientError> {
        send(self.client.delete(&self.path)?).await.map(drop)
    }
}

/// The cursor that an answer without a body carries.
pub(crate) fn cursor_of(answer: &reqwest::Response) -> Result<Cursor, ClientError> {
    answer
        .headers()
        .get(CURSOR_HEADER)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| ClientError::protocol("an answer without a cursor"))
}
