//! Signals of a server: one-shot completions that any process triggers and any process awaits.

use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::RequestBuilder;
use reveille_types::wire::{
    MergeRequest, PoisonRequest, SignalCancelRequest, SignalCreated, SignalInfo, SignalMergeMode,
    SignalMerged, SignalRequest, SignalState, TriggerRequest,
};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::client::{Client, json, send};
use crate::error::ClientError;

/// The longest that one request waits: below what proxies on the way cut off.
const CHUNK: Duration = Duration::from_secs(25);
/// How long an answer may take, beyond what the server holds it back on purpose.
const GRACE: Duration = Duration::from_secs(10);

/// The signals of a server. Cheap to clone.
///
/// They live as long as the server's process: afterwards every call about one is refused with the
/// code `unknown_signal`, a [`wait`](Self::wait) that is under way included.
#[derive(Debug, Clone)]
pub struct Signals {
    client: Client,
}

impl Client {
    /// The signals of this server.
    #[must_use]
    pub fn signals(&self) -> Signals {
        Signals {
            client: self.clone(),
        }
    }
}

impl Signals {
    /// Makes a signal. Whoever has the handle can wait for it, whoever has the secret complete it.
    ///
    /// # Errors
    /// [`ClientError`].
    ///
    /// # Cancel safety
    /// A dropped future may have made a signal that nobody knows.
    pub async fn create(&self, name: Option<&str>) -> Result<SignalCreated, ClientError> {
        let request = SignalRequest {
            name: name.map(str::to_owned),
            ..SignalRequest::default()
        };
        ask(self.client.post("v1/signals")?.json(&request)).await
    }

    /// Completes a signal with success, and wakes everybody who waits for it.
    ///
    /// # Errors
    /// [`ClientError`]; the codes `already_triggered`, `already_poisoned` and `already_cancelled` say
    /// that it was complete, `not_permitted` that the secret is another, `derived_signal` that it is
    /// a merge. After [`Unreachable`](ClientError::Unreachable) it may be complete or not.
    ///
    /// # Cancel safety
    /// A dropped future has completed it or has not.
    pub async fn trigger(
        &self,
        handle: &str,
        secret: &str,
        value: Option<Box<RawValue>>,
    ) -> Result<SignalInfo, ClientError> {
        let request = TriggerRequest {
            secret: secret.to_owned(),
            value,
        };
        let sent = self.client.post(&path(handle, "/trigger"))?.json(&request);
        ask(sent).await
    }

    /// Completes a signal with a failure. If it is poisoned already, the first reason stays and that
    /// is no error.
    ///
    /// # Errors
    /// As [`trigger`](Self::trigger).
    ///
    /// # Cancel safety
    /// A dropped future has completed it or has not.
    pub async fn poison(
        &self,
        handle: &str,
        secret: &str,
        reason: &str,
    ) -> Result<SignalInfo, ClientError> {
        let request = PoisonRequest {
            secret: secret.to_owned(),
            reason: reason.to_owned(),
        };
        let sent = self.client.post(&path(handle, "/poison"))?.json(&request);
        ask(sent).await
    }

    /// Completes a signal as cancelled. If it is cancelled already, the first reason stays and that
    /// is no error.
    ///
    /// # Errors
    /// As [`trigger`](Self::trigger).
    ///
    /// # Cancel safety
    /// A dropped future has completed it or has not.
    pub async fn cancel(
        &self,
        handle: &str,
        secret: &str,
        reason: Option<&str>,
    ) -> Result<SignalInfo, ClientError> {
        let request = SignalCancelRequest {
            secret: secret.to_owned(),
            reason: reason.map(str::to_owned),
        };
        let sent = self.client.post(&path(handle, "/cancel"))?.json(&request);
        ask(sent).await
    }

    /// Makes a signal that `inputs` complete, by their handles, as `mode` says.
    ///
    /// # Errors
    /// [`ClientError`]; the code `outcome_forgotten` says that an input was complete for so long that
    /// the server does not know how it ended.
    ///
    /// # Cancel safety
    /// A dropped future may have made a signal that nobody knows.
    pub async fn merge(
        &self,
        inputs: &[String],
        mode: SignalMergeMode,
    ) -> Result<SignalMerged, ClientError> {
        let request = MergeRequest {
            inputs: inputs.to_vec(),
            mode,
        };
        ask(self.client.post("v1/signals:merge")?.json(&request)).await
    }

    /// Where a signal stands now.
    ///
    /// # Errors
    /// [`ClientError`].
    ///
    /// # Cancel safety
    /// A dropped future changes nothing.
    pub async fn status(&self, handle: &str) -> Result<SignalInfo, ClientError> {
        ask(self.client.get(&path(handle, ""))?).await
    }

    /// Waits until a signal is complete, or gives `None` when the time is up; without one it waits
    /// for ever. A server that cannot be reached is waited for, too, and `away` is told why each time.
    ///
    /// # Errors
    /// [`ClientError`] when the server refuses. A server that was started anew does so with the code
    /// `unknown_signal`: nobody can complete the signal any more.
    ///
    /// # Cancel safety
    /// A dropped future leaves nothing behind.
    pub async fn wait(
        &self,
        handle: &str,
        timeout: Option<Duration>,
        mut away: impl FnMut(ClientError),
    ) -> Result<Option<SignalInfo>, ClientError> {
        // Beyond what a clock can tell is never.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let left = || deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let mut backoff = Backoff::default();
        loop {
            let chunk = left().map_or(CHUNK, |left| left.min(CHUNK));
            match self.wait_once(handle, chunk).await {
                Ok(Some(info)) => return Ok(Some(info)),
                Ok(None) => backoff.reset(),
                Err(error) if error.is_temporary() => {
                    away(error);
                    let pause = backoff.next();
                    tokio::time::sleep(left().map_or(pause, |left| left.min(pause))).await;
                }
                Err(error) => return Err(error),
            }
            if left().is_some_and(|left| left.is_zero()) {
                return Ok(None);
            }
        }
    }

    async fn wait_once(
        &self,
        handle: &str,
        timeout: Duration,
    ) -> Result<Option<SignalInfo>, ClientError> {
        let sent = self
            .client
            .get(&path(handle, ""))?
            .query(&[("timeout", format!("{}ms", timeout.as_millis()))])
            .timeout(timeout + GRACE);
        let answer = send(sent).await?;
        if answer.status() == 204 {
            return Ok(None);
        }
        let info: SignalInfo = json(answer).await?;
        if info.status == SignalState::Pending {
            return Err(ClientError::protocol("a wait that ended before its signal"));
        }
        Ok(Some(info))
    }
}

/// Sends a request that the server answers at once, and reads the answer.
async fn ask<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, ClientError> {
    json(send(request.timeout(GRACE)).await?).await
}

/// The path of a signal. A handle is plain digits; what is none is for the server to refuse.
fn path(handle: &str, below: &str) -> String {
    let segment = utf8_percent_encode(handle, NON_ALPHANUMERIC);
    format!("v1/signals/{segment}{below}")
}
