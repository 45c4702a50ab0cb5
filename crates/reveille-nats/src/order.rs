//! The order of a tenant over all its logs: that of the messages in its stream.

use std::collections::HashMap;
use std::sync::Arc;

use async_nats::Message;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use reveille_backend::types::{Epoch, Position, Seq, SessionKey, Tenant};
use reveille_backend::{BackendError, OrderPage, ReadLimit};

use crate::backend::Shared;
use crate::error::{corrupt, unavailable};
use crate::message::{Stored, header};
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
        let last = store.last(&stream, &subjects).await?;
        let last = last.map_or(Seq(0), |last| Seq(last.message.seq));
        if last <= after {
            return nothing(end);
        }
        let start = Start::Seq(after.next().0);
        let bytes = limit.bytes.max(LEAST_BYTES);
        let messages = store.messages(&stream, &subjects, start, most, bytes);
        let messages = messages.await?;
        let stored: Vec<Stored> = messages
            .iter()
            .map(Stored::of_answer)
            .collect::<Result<_, _>>()?;
        let Some(read_to) = stored.last().map(|stored| Seq(stored.seq)) else {
            if retry.again().await {
                continue;
            }
            return Err(unavailable("the servers are behind their leader"));
        };
        // Behind the last message of all there is nothing but holes.
        let through = if read_to >= last {
            read_to.max(end)
        } else {
            read_to
        };
        let logs = logs(shared, tenant, &messages).await?;
        let mut events = Vec::new();
        for (message, stored) in messages.iter().zip(&stored) {
            if let Some(Some(log)) = subject(message).and_then(|subject| logs.get(subject))
                && stored.position >= log.oldest
            {
                events.extend(stored.event(&log.key, log.epoch)?);
            }
        }
        return Ok(OrderPage::first_of(events, through, limit));
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
    let key = name.and_then(|name| parse_log_name(tenant, name));
    let key = key.ok_or_else(|| corrupt(format!("subject {subject}")))?;
    let Some((record, _)) = shared.record(&key).await? else {
        return Ok((subject, None));
    };
    if record.gone || names.place_of(subject) != Some(&record.place) {
        return Ok((subject, None));
    }
    let epoch = record.epoch.parse();
    let log = Log {
        epoch: epoch.map_err(|_| corrupt(format!("record of {key}")))?,
        oldest: Position(record.oldest),
        key: Arc::new(key),
    };
    Ok((subject, Some(log)))
}
