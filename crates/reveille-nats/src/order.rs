//! The order of a tenant over all its logs: that of the messages in its stream.

use std::collections::HashMap;
use std::sync::Arc;

use async_nats::Message;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use reveille_backend::types::{Epoch, Event, Position, Seq, SessionKey, Tenant};
use reveille_backend::{BackendError, OrderPage, ReadLimit};
use tokio::time::Instant;

use crate::backend::Shared;
use crate::error::unavailable;
use crate::message::{Stored, header, sequence};
use crate::names::parse_log_name;
use crate::store::{PAGE, Start};

/// Fewer bytes are not asked for at once.
const LEAST_BYTES: usize = 1 << 16;
/// How many logs are looked up at the same time.
const LOOKED_UP: usize = 32;

/// An incarnation whose events are still there.
struct Log {
    key: Arc<SessionKey>,
    epoch: Epoch,
    oldest: Position,
}

/// Reads what follows `after`. The stream ends where its leader says that it does: nothing is stored
/// before that any more. Messages come from any server, and one that is behind has them from the first up
/// to some last one.
pub(crate) async fn read(
    shared: &Shared,
    tenant: &Tenant,
    after: Seq,
    limit: ReadLimit,
) -> Result<OrderPage, BackendError> {
    let store = &shared.store;
    let (stream, subjects) = (store.names.events(tenant), store.names.events_of(tenant));
    let nothing = |through| Ok(OrderPage::first_of(Vec::new(), through, limit));
    let most = limit.events.clamp(1, PAGE);
    let mut retry = store.link.retry();
    loop {
        let info = store.info(&stream).await?;
        let end = info.map_or(Seq(0), |info| Seq(info.state.last_seq));
        if end <= after {
            return nothing(after);
        }
        let last = store.last(&stream, &subjects, Instant::now()).await?;
        let last = last.map_or(Seq(0), |last| Seq(last.message.seq));
        if last <= after {
            return nothing(end);
        }
        let start = Start::Seq(after.next().0);
        let bytes = limit.bytes.max(LEAST_BYTES);
        let messages = store.messages(&stream, &subjects, start, most, bytes, Instant::now());
        let messages = messages.await?;
        let Some(read_to) = messages.last() else {
            if retry.again().await {
                continue;
            }
            return Err(unavailable("the servers are behind their leader"));
        };
        let read_to = Seq(sequence(read_to)?);
        // Behind the last message of all there is nothing but holes.
        let through = if read_to >= last {
            read_to.max(end)
        } else {
            read_to
        };
        let logs = logs(shared, tenant, &messages).await?;
        let mut events = Vec::new();
        for message in &messages {
            let log = subject(message).and_then(|subject| logs.get(subject)?.as_ref());
            // What is damaged is told to those who read its log. Here it does not stop all others.
            match log.map(|log| event(message, log)).transpose() {
                Ok(event) => events.extend(event.flatten()),
                Err(error) => tracing::warn!(%error, "an event is missing in the order of NATS"),
            }
        }
        return Ok(OrderPage::first_of(events, through, limit));
    }
}

/// The event that a message is, unless it was trimmed or is none.
fn event(message: &Message, log: &Log) -> Result<Option<Event>, BackendError> {
    let stored = Stored::of_answer(message)?;
    match stored.position < log.oldest {
        true => Ok(None),
        false => stored.event(&log.key, log.epoch),
    }
}

fn subject(message: &Message) -> Option<&str> {
    header(message, "Nats-Subject")
}

/// The incarnations of these messages, by their subjects; nothing for those that are over.
async fn logs<'a>(
    shared: &Shared,
    tenant: &Tenant,
    messages: &'a [Message],
) -> Result<HashMap<&'a str, Option<Log>>, BackendError> {
    let mut subjects: Vec<&str> = messages.iter().filter_map(subject).collect();
    subjects.sort_unstable();
    subjects.dedup();
    let mut finding = Vec::with_capacity(subjects.len());
    for subject in subjects {
        finding.push(log(shared, tenant, subject));
    }
    stream::iter(finding)
        .buffer_unordered(LOOKED_UP)
        .try_collect()
        .await
}

async fn log<'a>(
    shared: &Shared,
    tenant: &Tenant,
    subject: &'a str,
) -> Result<(&'a str, Option<Log>), BackendError> {
    let names = &shared.store.names;
    let name = names.log_of(subject);
    // Whatever somebody else has sent there is no event.
    let Some(key) = name.and_then(|name| parse_log_name(tenant, name)) else {
        return Ok((subject, None));
    };
    let record = match shared.record(&key, Instant::now()).await {
        Ok(Some((record, _))) => record,
        Ok(None) | Err(BackendError::Corrupt { .. }) => return Ok((subject, None)),
        Err(error) => return Err(error),
    };
    let is_over = record.gone || names.place_of(subject) != Some(&record.place);
    let log = match record.epoch.parse() {
        Ok(epoch) if !is_over => Some(Log {
            epoch,
            oldest: Position(record.oldest),
            key: Arc::new(key),
        }),
        _ => None,
    };
    Ok((subject, log))
}
