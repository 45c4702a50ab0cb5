//! JetStream as the logs need it: the last message of a subject, pages of one, compare and append.

use std::collections::BTreeMap;

use async_nats::header::{
    HeaderMap, HeaderName, NATS_BATCH_COMMIT, NATS_BATCH_ID, NATS_BATCH_SEQUENCE,
    NATS_EXPECTED_LAST_SUBJECT_SEQUENCE,
};
use async_nats::{Message, Subject};
use bytes::Bytes;
use reveille_backend::BackendError;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::error::{Failure, Refusal, Silence, corrupt, unavailable};
use crate::link::Link;
use crate::message::{HEADER, RawMessage, Stored};
use crate::names::Names;

/// Most messages in a page, and in a batch.
pub(crate) const PAGE: usize = 1_000;
/// Most bytes in a page: what a subscription takes at once.
const PAGE_BYTES: usize = 8 * 1024 * 1024;

/// The streams of one store.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) link: Link,
    pub(crate) names: Names,
}

/// One message to be appended.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) header: String,
    pub(crate) payload: Bytes,
}

/// What has become of an append.
#[derive(Debug)]
pub(crate) enum Appended {
    /// It is stored; this is the sequence of its last message.
    At(u64),
    /// The subject does not end where it was expected to. Nothing was stored.
    Conflict,
    /// Nothing was stored, and it is no use to try again.
    Refused(Refusal),
    /// Nothing was stored, and it may be later.
    NotNow(Failure),
    /// It may be stored, or may still be.
    Lost,
}

#[derive(serde::Deserialize)]
struct Acknowledged {
    seq: Option<u64>,
    error: Option<Refusal>,
}

/// What is known of a stream.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct StreamInfo {
    /// When it was made: another stream of this name has another time.
    pub(crate) created: String,
    pub(crate) config: StreamConfig,
    pub(crate) state: StreamState,
}

#[derive(Debug, serde::Deserialize)]
pub(crate) struct StreamConfig {
    pub(crate) storage: String,
    pub(crate) num_replicas: usize,
    #[serde(default)]
    pub(crate) persist_mode: Option<String>,
}

#[derive(Debug, serde::Deserialize)]
pub(crate) struct StreamState {
    pub(crate) last_seq: u64,
    #[serde(default)]
    pub(crate) subjects: BTreeMap<String, u64>,
}

/// Where a page begins.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Start {
    Seq(u64),
    /// So many seconds ago.
    Ago(u64),
}

impl Store {
    /// What is known of a stream, if there is one.
    pub(crate) async fn info(&self, stream: &str) -> Result<Option<StreamInfo>, BackendError> {
        found(self.link.api("STREAM.INFO", stream, &Value::Null).await)
    }

    /// The subjects of a stream that match.
    pub(crate) async fn subjects(
        &self,
        stream: &str,
        filter: &str,
    ) -> Result<Vec<String>, BackendError> {
        let mut subjects = Vec::new();
        loop {
            let request = json!({ "subjects_filter": filter, "offset": subjects.len() });
            let asking = self.link.api::<StreamInfo>("STREAM.INFO", stream, &request);
            let Some(info) = found(asking.await)? else {
                return Ok(subjects);
            };
            let before = subjects.len();
            subjects.extend(info.state.subjects.into_keys());
            // A page holds 100 000.
            if subjects.len() == before || subjects.len() - before < 100_000 {
                return Ok(subjects);
            }
        }
    }

    /// The last message of a subject, by the word of the stream's leader, for what has waited since then.
    pub(crate) async fn last(
        &self,
        stream: &str,
        subject: &str,
        since: Instant,
    ) -> Result<Option<RawMessage>, BackendError> {
        let request = json!({ "last_by_subj": subject });
        let asking = self
            .link
            .api_since::<RawMessage>("STREAM.MSG.GET", stream, &request, since);
        found(asking.await)
    }

    /// Messages of a subject from `start` on, as far as they fit on a page, for what has waited since
    /// then. A server that is behind the leader may not have the last ones.
    pub(crate) async fn page(
        &self,
        stream: &str,
        subject: &str,
        start: Start,
        most: usize,
        bytes: usize,
        since: Instant,
    ) -> Result<Vec<Stored>, BackendError> {
        let messages = self.messages(stream, subject, start, most, bytes, since);
        messages.await?.iter().map(Stored::of_answer).collect()
    }

    /// As [`page`](Self::page), of a subject that may have wildcards: the messages as they came.
    pub(crate) async fn messages(
        &self,
        stream: &str,
        subject: &str,
        start: Start,
        most: usize,
        bytes: usize,
        since: Instant,
    ) -> Result<Vec<Message>, BackendError> {
        let mut request = json!({
            "next_by_subj": subject,
            "batch": most.clamp(1, PAGE),
            "max_bytes": bytes.clamp(1, PAGE_BYTES),
        });
        match start {
            Start::Seq(seq) => request["seq"] = seq.max(1).into(),
            Start::Ago(seconds) => {
                let time = std::time::SystemTime::now() - std::time::Duration::from_secs(seconds);
                request["start_time"] = rfc3339(time).into();
            }
        }
        let address = format!("$JS.API.DIRECT.GET.{stream}");
        let mut retry = self.link.retry_since(since);
        loop {
            match self.link.many(&address, &request).await {
                Ok(messages) => return Ok(messages),
                Err(silence) if !retry.again().await => return Err(unavailable(silence)),
                Err(_) => {}
            }
        }
    }

    /// Appends to a subject if its last message is the one with this sequence (0: if it has none).
    /// Several are appended in one step, which the name and the number of the attempt name.
    pub(crate) async fn append(
        &self,
        subject: &Subject,
        expected: u64,
        messages: Vec<Outgoing>,
        (append, attempt): (&str, u32),
    ) -> Appended {
        let count = messages.len();
        for (n, message) in messages.into_iter().enumerate() {
            let mut headers = HeaderMap::new();
            headers.insert(const { HeaderName::from_static(HEADER) }, message.header);
            if n == 0 {
                headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, expected.to_string());
            }
            if count > 1 {
                headers.insert(NATS_BATCH_ID, format!("{append}.{attempt}"));
                headers.insert(NATS_BATCH_SEQUENCE, (n + 1).to_string());
            }
            if n + 1 < count {
                let client = self.link.client();
                let sending =
                    client.publish_with_headers(subject.clone(), headers, message.payload);
                // Without its end, no batch is stored.
                if sending.await.is_err() {
                    return Appended::NotNow(Silence::Nobody.into());
                }
                continue;
            }
            if count > 1 {
                headers.insert(NATS_BATCH_COMMIT, "1");
            }
            let asking = self
                .link
                .ask(subject.clone(), Some(headers), message.payload);
            return match asking.await {
                Ok(answer) => acknowledged(&answer.payload),
                Err(Silence::Lost) => Appended::Lost,
                Err(nobody) => Appended::NotNow(nobody.into()),
            };
        }
        Appended::Conflict
    }

    /// Deletes the messages of a subject with a lower sequence than this; all if there is none.
    pub(crate) async fn purge(
        &self,
        stream: &str,
        subject: &str,
        before: Option<u64>,
    ) -> Result<(), BackendError> {
        let mut request = json!({ "filter": subject });
        if let Some(before) = before {
            request["seq"] = before.into();
        }
        let asking = self.link.api::<Value>("STREAM.PURGE", stream, &request);
        found(asking.await).map(drop)
    }

    /// Deletes one message, if it is still there.
    pub(crate) async fn delete(&self, stream: &str, seq: u64) -> Result<(), BackendError> {
        let request = json!({ "seq": seq, "no_erase": true });
        let asking = self
            .link
            .api::<Value>("STREAM.MSG.DELETE", stream, &request);
        match asking.await {
            // Deleted, perhaps by an attempt whose answer was lost; or not there.
            Ok(_) => Ok(()),
            Err(Failure::Refusal(refusal)) if matches!(refusal.err_code, 10_043 | 10_057) => Ok(()),
            Err(failure) => found::<()>(Err(failure)).map(drop),
        }
    }

    /// Makes a stream unless there is one.
    pub(crate) async fn ensure(
        &self,
        name: &str,
        config: &Value,
    ) -> Result<StreamInfo, BackendError> {
        loop {
            if let Some(info) = self.info(name).await? {
                return Ok(info);
            }
            let making = self.link.api::<StreamInfo>("STREAM.CREATE", name, config);
            match making.await {
                Ok(info) => return Ok(info),
                // Somebody else was first, with another configuration.
                Err(Failure::Refusal(refusal)) if refusal.err_code == 10_058 => {}
                Err(failure) => return Err(failure.into()),
            }
        }
    }
}

fn acknowledged(payload: &[u8]) -> Appended {
    let Ok(Acknowledged { seq, error }) = serde_json::from_slice(payload) else {
        return Appended::Lost;
    };
    match (error, seq) {
        (Some(refusal), _) if refusal.is_conflict() => Appended::Conflict,
        (Some(refusal), _) if refusal.is_temporary() => Appended::NotNow(refusal.into()),
        (Some(refusal), _) => Appended::Refused(refusal),
        (None, Some(seq)) => Appended::At(seq),
        (None, None) => Appended::Lost,
    }
}

/// What was found; nothing if there is no such message, or no such stream.
fn found<T>(answer: Result<T, Failure>) -> Result<Option<T>, BackendError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(Failure::Refusal(refusal)) if refusal.is_no_message() || refusal.is_no_stream() => {
            Ok(None)
        }
        Err(Failure::Nonsense(why)) => Err(corrupt(why)),
        Err(failure) => Err(failure.into()),
    }
}

/// A time as JetStream reads it.
fn rfc3339(time: std::time::SystemTime) -> String {
    jiff::Timestamp::try_from(time).map_or_else(|_| String::new(), |time| time.to_string())
}
