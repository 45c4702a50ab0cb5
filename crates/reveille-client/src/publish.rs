//! Publishing, once, however often the answer is lost.

use std::time::Duration;

use reveille_types::wire::EXPECTED_CURSOR_HEADER;
use reveille_types::{Cursor, Receipt};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::backoff::Backoff;
use crate::client::ask;
use crate::deadline::Deadline;
use crate::error::ClientError;
use crate::session::Session;

/// The header by which the server recognises a request that comes again.
pub(crate) const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// How long a publish is repeated that failed for a temporary reason.
const REPEAT: Duration = Duration::from_secs(10);

/// On which conditions to publish.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct PublishOptions {
    /// The key under which a repeated publish is recognised. If none, a new one, unless each event has
    /// a `source` and an `id`: then it is those by which the server recognises an event that is
    /// published again, by this process or another.
    pub idempotency_key: Option<String>,
    /// Publish only if the log ends here.
    pub expected: Option<Cursor>,
}

/// The attributes by which the server recognises an event that comes without a key.
#[derive(Deserialize)]
struct Identity {
    source: Option<IgnoredAny>,
    id: Option<IgnoredAny>,
}

fn has_identity(event: &RawValue) -> bool {
    serde_json::from_str::<Identity>(event.get())
        .is_ok_and(|identity| identity.source.is_some() && identity.id.is_some())
}

impl Session {
    /// Publishes events, each a JSON object of an event ([`RawValue`] for text that is JSON already):
    /// all of them or none, in their order. Repeats itself for up to ten seconds when the server cannot
    /// be reached or the answer is lost; the server recognises the repetition.
    ///
    /// # Errors
    /// [`ClientError`]; after one that [is temporary](ClientError::is_temporary) the events may be
    /// stored or not, and publishing them again under the same key settles it.
    ///
    /// # Cancel safety
    /// A dropped future has published all events or none.
    pub async fn publish<E: Serialize>(
        &self,
        events: &[E],
        options: &PublishOptions,
    ) -> Result<Receipt, ClientError> {
        let events: Vec<Box<RawValue>> = events
            .iter()
            .map(to_raw_value)
            .collect::<Result<_, _>>()
            .map_err(ClientError::Json)?;
        let key = options.idempotency_key.clone().or_else(|| {
            let recognised = events.iter().all(|event| has_identity(event));
            (!recognised).then(|| uuid::Uuid::now_v7().to_string())
        });
        let body = match events.as_slice() {
            [one] => one.get().to_owned(),
            many => serde_json::to_string(many).map_err(ClientError::Json)?,
        };
        repeated(async || {
            let mut request = self
                .client
                .post(&self.path("/events"))?
                .header("content-type", "application/json")
                .body(body.clone());
            if let Some(key) = &key {
                request = request.header(IDEMPOTENCY_KEY, key);
            }
            if let Some(expected) = options.expected {
                request = request.header(EXPECTED_CURSOR_HEADER, expected.to_string());
            }
            ask(request).await
        })
        .await
    }
}

/// Does again what failed for a temporary reason, until it succeeds, is refused, or takes too long.
pub(crate) async fn repeated<T>(
    attempt: impl AsyncFn() -> Result<T, ClientError>,
) -> Result<T, ClientError> {
    let deadline = Deadline::within(Some(REPEAT));
    let mut backoff = Backoff::default();
    loop {
        match attempt().await {
            Err(error) if error.is_temporary() => {
                let pause = backoff.after(&error);
                if pause >= deadline.left() {
                    return Err(error);
                }
                deadline.sleep(pause).await;
            }
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_an_identity_when_it_has_source_and_id() {
        for (event, expected) in [
            (r#"{"type":"a","source":"urn:x","id":"1"}"#, true),
            (r#"{"type":"a","source":"urn:x"}"#, false),
            (r#"{"type":"a","id":"1"}"#, false),
            (r#"{"type":"a","source":null,"id":"1"}"#, false),
            ("[]", false),
        ] {
            let event = RawValue::from_string(event.to_owned()).unwrap();
            assert_eq!(has_identity(&event), expected, "{event}");
        }
    }
}
