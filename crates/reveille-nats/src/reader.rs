//! What hears that logs change: one ordered reader of each stream that is used here, of headers alone.
//!
//! A reader goes on behind the last message that it has heard, however often its connection breaks, and
//! whoever waits looks once more after each break. It leaves nothing on the servers: its consumer goes
//! with the connection.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use futures_util::StreamExt;
use reveille_backend::BackendError;
use tokio::sync::oneshot;

use crate::error::unavailable;
use crate::message::HEADER;
use crate::store::Store;
use crate::wake::Wakes;

/// How long after a break the next consumer is made.
const PAUSE: Duration = Duration::from_millis(100);
/// The value of the header of a record that changes nothing for whoever waits.
pub(crate) const QUIET: &str = "quiet";
/// And of one that does.
pub(crate) const LOUD: &str = "loud";

/// Hears a stream for ever. `ready` is told when it has begun.
pub(crate) async fn hear(
    store: Arc<Store>,
    wakes: Arc<Wakes>,
    stream: String,
    ready: oneshot::Sender<()>,
) {
    let mut ready = Some(ready);
    let mut heard = None;
    let mut told = false;
    let mut broken = store.link.broken();
    loop {
        broken.mark_unchanged();
        match begin(&store, &stream, heard).await {
            Ok((mut messages, last)) => {
                heard = Some(last);
                told = false;
                wakes.tell_all();
                if let Some(ready) = ready.take() {
                    let _ = ready.send(());
                }
                tokio::select! {
                    () = listen(&mut messages, &store, &wakes, &mut heard) => {}
                    changed = broken.changed() => {
                        if changed.is_err() {
                            return;
                        }
                    }
                }
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

/// A consumer of what follows the last message that was heard, or from now on; and what it follows.
async fn begin(
    store: &Store,
    stream: &str,
    heard: Option<u64>,
) -> Result<(pull::Ordered, u64), BackendError> {
    let info = store.info(stream).await?;
    let last = info.ok_or(BackendError::NotFound)?.state.last_seq;
    // A stream that was made anew has no more than it has.
    let after = heard.unwrap_or(last).min(last);
    let config = pull::OrderedConfig {
        deliver_policy: DeliverPolicy::ByStartSequence {
            start_sequence: after + 1,
        },
        headers_only: true,
        ..Default::default()
    };
    let context = jetstream::new(store.link.client().clone());
    let consumer = context.create_consumer_on_stream(config, stream);
    let patience = store.link.options().response_timeout;
    let consumer = tokio::time::timeout(patience, consumer).await;
    let consumer = consumer
        .map_err(|_| unavailable("no consumer is made"))?
        .map_err(unavailable)?;
    let messages = tokio::time::timeout(patience, consumer.messages()).await;
    let messages = messages
        .map_err(|_| unavailable("no consumer is made"))?
        .map_err(unavailable)?;
    Ok((messages, after))
}

async fn listen(
    messages: &mut pull::Ordered,
    store: &Store,
    wakes: &Wakes,
    heard: &mut Option<u64>,
) {
    while let Some(Ok(message)) = messages.next().await {
        let Ok(info) = message.info() else {
            return;
        };
        *heard = Some(info.stream_sequence);
        let header = message.headers.as_ref().and_then(|h| h.get(HEADER));
        let header = header.map_or(LOUD, |header| header.as_str());
        if header != QUIET
            && let Some(name) = store.names.log_of(&message.subject)
        {
            wakes.tell(name, end(header));
        }
    }
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
    use super::end;

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
