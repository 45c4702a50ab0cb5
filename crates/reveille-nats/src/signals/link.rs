//! The connection to the broker: made anew when it is lost, and never waited for by the node.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, Event, Request, RequestErrorKind, ServerAddr};
use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::error::JoinError;
use super::options::SignalNodeOptions;
use super::stats::{Counters, count};
use crate::access::authenticated;

/// How many messages may wait to be sent, and how many bytes they may have.
const OUTBOX_MAX: (usize, usize) = (4096, 32 << 20);
/// How many messages may wait to be taken up; more are lost, and said again.
pub(super) const INBOX_MAX: usize = 4096;
/// How many bytes a message must be allowed to have.
const MESSAGE_BYTES_MIN: usize = 192 * 1024;
/// How many messages the client may hold besides.
const CLIENT_MAX: usize = 64;

/// How the connection is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct LinkState {
    pub(super) is_connected: bool,
    /// How often it was made.
    pub(super) connects: u64,
}

/// Connects to the broker, and tells how the connection is.
pub(super) async fn connect(
    address: &str,
    options: &SignalNodeOptions,
) -> Result<(Client, watch::Receiver<LinkState>), JoinError> {
    let (link, changes) = watch::channel(LinkState::default());
    // Well before the leases of others run out.
    let (shortest, longest) = (Duration::from_millis(10), options.lease / 8);
    let connected_now = move |event: &Event| match event {
        Event::Connected => link.send_modify(|link| {
            link.is_connected = true;
            link.connects += 1;
        }),
        Event::Disconnected | Event::Closed => link.send_modify(|link| link.is_connected = false),
        _ => {}
    };
    let connected_now = Arc::new(connected_now);
    let addresses = address.split(',').map(str::parse);
    let addresses = addresses.collect::<Result<Vec<ServerAddr>, _>>();
    let addresses = addresses.map_err(JoinError::broker)?;
    let connecting = authenticated(&addresses, options.files())
        .await
        .map_err(JoinError::broker)?
        .name("reveille signals")
        .connection_timeout(options.connect_timeout)
        .ping_interval(options.ping_interval)
        .subscription_capacity(INBOX_MAX)
        .client_capacity(CLIENT_MAX)
        .reconnect_delay_callback(move |attempts| {
            let doubled = shortest * (1 << attempts.min(10));
            doubled.min(longest)
        })
        .event_callback(move |event| {
            let connected_now = Arc::clone(&connected_now);
            async move {
                tracing::debug!(%event, "connection of signals");
                connected_now(&event);
            }
        })
        .connect(addresses);
    // One that takes a connection and says nothing is none.
    let client = timeout(options.broker_patience, connecting).await;
    let client = client.map_err(JoinError::broker)?;
    let client = client.map_err(JoinError::broker)?;
    let actual = client.max_payload();
    if actual < MESSAGE_BYTES_MIN {
        let needed = MESSAGE_BYTES_MIN;
        return Err(JoinError::MessagesTooShort { actual, needed });
    }
    Ok((client, changes))
}

/// Messages to be sent in their order, by a task of its own, so that nobody waits for the broker.
#[derive(Debug)]
pub(super) struct Outbox {
    client: Client,
    queue: mpsc::Sender<(String, Bytes)>,
    /// The bytes of what is in the queue.
    queued: Arc<AtomicUsize>,
    counters: Arc<Counters>,
}

impl Outbox {
    /// The queue, and the task that sends what is in it until it is dropped.
    pub(super) fn new(client: Client, counters: Arc<Counters>) -> (Self, impl Future<Output = ()>) {
        let (queue, mut waiting) = mpsc::channel::<(String, Bytes)>(OUTBOX_MAX.0);
        let queued = Arc::new(AtomicUsize::new(0));
        let (sending, sent) = (client.clone(), Arc::clone(&queued));
        let send = async move {
            while let Some((subject, text)) = waiting.recv().await {
                let bytes = text.len();
                // It is said again where that matters.
                let _ = sending.publish(subject, text).await;
                sent.fetch_sub(bytes, Ordering::Relaxed);
            }
            let _ = sending.flush().await;
        };
        let outbox = Self {
            client,
            queue,
            queued,
            counters,
        };
        (outbox, send)
    }

    /// Whether nobody listens on this subject: says a message to whoever does, who may be silent.
    pub(super) fn probe(
        &self,
        subject: String,
        text: Bytes,
        patience: Duration,
    ) -> impl Future<Output = bool> + Send + 'static {
        let client = self.client.clone();
        async move {
            if client.connection_state() != State::Connected {
                return false;
            }
            let request = Request::new().payload(text).timeout(Some(patience));
            let answered = client.send_request(subject, request).await;
            answered.is_err_and(|error| error.kind() == RequestErrorKind::NoResponders)
        }
    }

    /// Sends a message, unless the broker is not there or too slow: then it is said again later.
    pub(super) fn send(&self, subject: String, text: Bytes) {
        let is_connected = self.client.connection_state() == State::Connected;
        let bytes = text.len();
        let has_room = self.queued.fetch_add(bytes, Ordering::Relaxed) <= OUTBOX_MAX.1;
        if !is_connected || !has_room || self.queue.try_send((subject, text)).is_err() {
            self.queued.fetch_sub(bytes, Ordering::Relaxed);
            count(&self.counters.unsent);
        }
    }
}
