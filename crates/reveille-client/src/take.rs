//! Consuming as a group.

use std::time::Duration;

use reveille_types::wire::{TakeAnswer, TakeRequest};

use crate::backoff::Backoff;
use crate::client::{json, send};
use crate::deadline::Deadline;
use crate::error::ClientError;
use crate::session::Session;
use crate::wait::{CHUNK, GRACE};

/// The longest that a server waits within one request.
const LONGEST: Duration = Duration::from_secs(300);

/// How a take came out.
#[derive(Debug)]
pub enum TakeResult {
    /// The server's answer: events with their leases, or the end of the session.
    Answered(Box<TakeAnswer>),
    /// The time was up.
    TimedOut,
}

impl Session {
    /// Takes events as a group, on lease, with one request.
    ///
    /// # Errors
    /// [`ClientError`].
    ///
    /// # Cancel safety
    /// What a dropped future was given by the server is offered again when its lease is over.
    pub async fn take(&self, request: &TakeRequest) -> Result<TakeResult, ClientError> {
        let asked = request.timeout_ms.map_or(LONGEST, Duration::from_millis);
        let sent = self
            .client
            .post(&self.path("/take"))?
            .json(request)
            .timeout(asked.min(LONGEST) + GRACE);
        let answer = send(sent).await?;
        if answer.status() == 204 {
            return Ok(TakeResult::TimedOut);
        }
        Ok(TakeResult::Answered(json(answer).await?))
    }

    /// Takes events as a group, on lease, and waits for them for as long as `timeout`, or for ever
    /// without one, whatever [`TakeRequest::timeout_ms`] says. A server that is away is waited for,
    /// too; why it is away is told to `note`. Events whose answer is lost come back when their lease is
    /// over.
    ///
    /// # Errors
    /// [`ClientError`] when the server refuses.
    ///
    /// # Cancel safety
    /// As [`take`](Self::take).
    pub async fn take_within(
        &self,
        request: &TakeRequest,
        timeout: Option<Duration>,
        mut note: impl FnMut(ClientError),
    ) -> Result<TakeResult, ClientError> {
        let deadline = Deadline::within(timeout);
        let mut request = request.clone();
        let mut backoff = Backoff::default();
        loop {
            let chunk = deadline.left().min(CHUNK);
            request.timeout_ms = Some(u64::try_from(chunk.as_millis()).unwrap_or(u64::MAX));
            match self.take(&request).await {
                Ok(TakeResult::TimedOut) => backoff.reset(),
                Err(error) if error.is_temporary() => {
                    let pause = backoff.after(&error);
                    note(error);
                    deadline.sleep(pause).await;
                }
                answered => return answered,
            }
            if deadline.is_over() {
                return Ok(TakeResult::TimedOut);
            }
        }
    }
}
