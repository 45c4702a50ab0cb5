//! What hears that logs change: one ordered reader of each stream that is used here, of headers alone.
//!
//! A reader goes on behind the last message that it has heard, however often its connection breaks, and
//! whoever waits looks once more after each break. Its consumer is in memory and belongs to its
//! subscription: the servers let go of it seconds after that is gone, however it went.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Subscriber;
use futures_util::StreamExt;
use reveille_backend::{BackendError, Wakes};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::message::{HEADER, header};
use crate::store::Store;

/// How long after a break the next consumer is made.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the servers keep a consumer that nobody listens to.
const ABANDONED: Duration = Duration::from_secs(5);
/// How many signs of life may be missing.
const MISSING: u32 = 3;
/// The value of the header of a record that changes nothing for whoever waits.
pub(crate) const QUIET: &str = "quiet";
/// And of one that does.
pub(crate) const LOUD: &str = "loud";

/// Hears a stream for ever. `ready` is told when it has begun.
pub(crate) async fn hear(
    store: Arc<Store>,
    wakes: Wakes,
    stream: String,
    ready: oneshot::Sender<()>,
) {
    let mut ready = Some(ready);
    let mut heard = None;
    let mut told = false;
    let mut broken = store.link.broken();
    loop {
        broken.mark_unchanged();
        match Reader::begin(&store, &stream, heard).await {
            Ok(mut reader) => {
                told = false;
                wakes.tell_all();
                if let Some(ready) = ready.take() {
                    let _ = ready.send(());
                }
                tokio::select! {
                    () = reader.listen(&store, &wakes, &stream) => {}
                    changed = broken.changed() => {
                        if changed.is_err() {
                            return;
                        }
                    }
                }
                heard = Some(reader.heard);
            }
            Err(error) if !told => {
                told = true;
                tracing::warn!(%stream, %error, "the changes of logs in NATS cannot be heard");
            }
            Err(_) => {}
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// One consumer.
struct Reader {
    messages: Subscriber,
    /// The sequence of the last message in the stream that was heard.
    heard: u64,
    /// And how many messages this consumer has given.
    count: u64,
}

impl Reader {
    /// What follows the last message that was heard, or from now on.
    async fn begin(store: &Store, stream: &str, heard: Option<u64>) -> Result<Self, BackendError> {
        let info = store.info(stream).await?;
        let last = info.ok_or(BackendError::NotFound)?.state.last_seq;
        // A stream that has lost its end has no more than it has.
        let heard = heard.unwrap_or(last).min(last);
        let inbox = store.link.client().new_inbox();
        let subscribing = store.link.client().subscribe(inbox.clone());
        let messages = subscribing.await.map_err(crate::error::unavailable)?;
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let request = json!({
            "stream_name": stream,
            "config": {
                "deliver_subject": inbox,
                "deliver_policy": "by_start_sequence",
                "opt_start_seq": heard + 1,
                "ack_policy": "none",
                "max_deliver": 1,
                "replay_policy": "instant",
                "headers_only": true,
                "mem_storage": true,
                "num_replicas": 1,
                "idle_heartbeat": nanos(store.link.options().ping_interval),
                "inactive_threshold": nanos(ABANDONED),
            },
        });
        let making = store.link.api::<Value>("CONSUMER.CREATE", stream, &request);
        making.await?;
        Ok(Self {
            messages,
            heard,
            count: 0,
        })
    }

    /// Tells what it hears, until something is missing.
    async fn listen(&mut self, store: &Store, wakes: &Wakes, stream: &str) {
        let silence = store.link.options().ping_interval * MISSING;
        loop {
            let next = tokio::time::timeout(silence, self.messages.next()).await;
            let Ok(Some(message)) = next else {
                return;
            };
            if message.status.is_some() {
                // A sign of life, which says how many messages there were.
                let count = header(&message, "Nats-Last-Consumer");
                if count.and_then(|count| count.parse().ok()) != Some(self.count) {
                    return;
                }
                continue;
            }
            match message.reply.as_deref().and_then(sequences) {
                Some((heard, count)) if count == self.count + 1 => {
                    (self.heard, self.count) = (heard, count);
                }
                _ => return,
            }
            wakes.tell(stream, Some(self.heard));
            let header = header(&message, HEADER).unwrap_or(LOUD);
            if header != QUIET
                && let Some(name) = store.names.log_of(&message.subject)
            {
                wakes.tell(name, end(header));
            }
        }
    }
}

/// The sequences in the stream and of the consumer, of a reply subject:
/// `$JS.ACK.STREAM.CONSUMER.DELIVERED.SEQUENCE.COUNT.TIME.PENDING`, with the domain and the account
/// before the stream, and a token at the end, on servers that tell those.
fn sequences(reply: &str) -> Option<(u64, u64)> {
    let fields: Vec<&str> = reply.split('.').collect();
    let at = if fields.len() > 9 { 7 } else { 5 };
    Some((
        fields.get(at)?.parse().ok()?,
        fields.get(at + 1)?.parse().ok()?,
    ))
}

/// Where the log ends by the header of a message; nothing if there is more to tell.
fn end(header: &str) -> Option<u64> {
    let mut fields = header.split(' ');
    let position: u64 = fields.next()?.parse().ok()?;
    let is_event = fields.nth(1) == Some("event");
    let seals = fields.nth(3).is_none_or(|seals| seals != "-");
    (is_event && !seals).then_some(position + 1)
}

#[cfg(test)]
mod tests {
    use super::{end, sequences};

    #[test]
    fn sequences_are_read_from_both_forms_of_a_reply() {
        assert_eq!(sequences("$JS.ACK.s.c.1.7.3.99.0"), Some((7, 3)));
        assert_eq!(
            sequences("$JS.ACK._.hash.s.c.1.7.3.99.0.token"),
            Some((7, 3))
        );
        assert_eq!(sequences("_INBOX.x"), None);
    }

    #[test]
    fn only_an_event_that_does_not_seal_tells_just_the_end() {
        assert_eq!(end("7 a.1 event - - - -"), Some(8));
        for more in [
            "7 a.1 event - - - completed",
            "7 a.1 seal closed -",
            "loud",
            "",
        ] {
            assert_eq!(end(more), None, "{more}");
        }
    }
}
