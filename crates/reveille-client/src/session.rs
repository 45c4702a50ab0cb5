//! One session of a server.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reveille_types::wire::{
    CancelAnswer, CancelRequest, CloseRequest, CreateRequest, EventPage, SessionInfo, SettleAnswer,
    SettleRequest,
};

use crate::after::After;
use crate::client::{ANSWER, Client, ask, send};
use crate::error::ClientError;

/// What a path segment keeps as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// One session of a server. Cheap to clone. Nothing is sent before a method is called.
#[derive(Debug, Clone)]
pub struct Session {
    pub(crate) client: Client,
    /// The path of the session, percent-encoded.
    path: String,
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

    /// Reads a page of at most `limit` events.
    ///
    /// # Errors
    /// [`ClientError`].
    ///
    /// # Cancel safety
    /// A dropped future changes nothing.
    pub async fn page(&self, after: After, limit: u32) -> Result<EventPage, ClientError> {
        let request = self
            .client
            .get(&self.path("/events"))?
            .header("accept", "application/json")
            .query(&[("after", after.to_string()), ("limit", limit.to_string())]);
        ask(request).await
    }

    /// Settles leases: their events are done.
    ///
    /// # Errors
    /// [`ClientError`]; the code `fenced` says that a lease is not held any more.
    ///
    /// # Cancel safety
    /// A dropped future has settled them or has not.
    pub async fn ack(&self, request: &SettleRequest) -> Result<SettleAnswer, ClientError> {
        ask(self.client.post(&self.path("/ack"))?.json(request)).await
    }

    /// Gives leased events back: they are offered again at once.
    ///
    /// # Errors
    /// As [`ack`](Self::ack).
    ///
    /// # Cancel safety
    /// A dropped future has given them back or has not.
    pub async fn nack(&self, request: &SettleRequest) -> Result<SettleAnswer, ClientError> {
        ask(self.client.post(&self.path("/nack"))?.json(request)).await
    }

    /// Asks the producer to stop.
    ///
    /// # Errors
    /// [`ClientError`].
    ///
    /// # Cancel safety
    /// A dropped future has asked or has not.
    pub async fn cancel(&self, request: &CancelRequest) -> Result<CancelAnswer, ClientError> {
        ask(self.client.post(&self.path("/cancel"))?.json(request)).await
    }

    /// Seals the session.
    ///
    /// # Errors
    /// [`ClientError`].
    ///
    /// # Cancel safety
    /// A dropped future has sealed it or has not.
    pub async fn close(&self, request: &CloseRequest) -> Result<SessionInfo, ClientError> {
        ask(self.client.post(&self.path("/close"))?.json(request)).await
    }

    /// Creates the session.
    ///
    /// # Errors
    /// [`ClientError`].
    ///
    /// # Cancel safety
    /// A dropped future has created it or has not.
    pub async fn create(&self, request: &CreateRequest) -> Result<SessionInfo, ClientError> {
        ask(self.client.put(&self.path)?.json(request)).await
    }

    /// What is known of the session.
    ///
    /// # Errors
    /// [`ClientError`].
    ///
    /// # Cancel safety
    /// A dropped future changes nothing.
    pub async fn info(&self) -> Result<SessionInfo, ClientError> {
        ask(self.client.get(&self.path)?).await
    }

    /// Removes the session.
    ///
    /// # Errors
    /// [`ClientError`].
    ///
    /// # Cancel safety
    /// A dropped future has removed it or has not.
    pub async fn remove(&self) -> Result<(), ClientError> {
        send(self.client.delete(&self.path)?.timeout(ANSWER))
            .await
            .map(drop)
    }
}
