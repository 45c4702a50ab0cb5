//! The connection to the broker: made anew when it is lost, and never waited for by the node.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ConnectOptions, Event};
use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use super::error::JoinError;
use super::options::SignalNodeOptions;
use super::stats::{Counters, count};

/// How many messages may wait to be sent.
const OUTBOX_MAX: usize = 4096;

/// How often the connection was made.
pub(super) type Connects = u64;

/// Connects to the broker, and tells how often that was done, and that it was undone.
pub(super) async fn connect(
    address: &str,
    options: &SignalNodeOptions,
    counters: &Arc<Counters>,
) -> Result<(Client, watch::Receiver<Connects>), JoinError> {
    let (connects, connected) = watch::channel(0);
    let counted = Arc::clone(counters);
    // Well before the leases of others run out.
    let (shortest, longest) = (Duration::from_millis(10), options.lease / 8);
    let connected_now = move |event: &Event| match event {
        Event::Connected => {
            if counted.is_connected.swap(true, Ordering::Relaxed) || *connects.borrow() > 0 {
                count(&counted.reconnects);
            }
            connects.send_modify(|connects| *connects += 1);
        }
        Event::Disconnected | Event::Closed => {
            counted.is_connected.store(false, Ordering::Relaxed);
            connects.send_modify(|_| {});
        }
        _ => {}
    };
    let connected_now = Arc::new(connected_now);
    let addresses: Vec<_> = address.split(',').map(str::trim).collect();
    let client = ConnectOptions::new()
        .name("reveille signals")
        .connection_timeout(options.connect_timeout)
        .ping_interval(options.ping_interval)
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
        .connect(addresses)
        .await
        .map_err(JoinError::broker)?;
    Ok((client, connected))
}

/// Messages to be sent in their order, by a task of its own, so that nobody waits for the broker.
#[derive(Debug)]
pub(super) struct Outbox {
    client: Client,
    queue: mpsc::Sender<(String, Bytes)>,
    counters: Arc<Counters>,
}

impl Outbox {
    /// The queue, and the task that sends what is in it until it is dropped.
    pub(super) fn new(client: Client, counters: Arc<Counters>) -> (Self, impl Future<Output = ()>) {
        let (queue, mut queued) = mpsc::channel::<(String, Bytes)>(OUTBOX_MAX);
        let sending = client.clone();
        let send = async move {
            while let Some((subject, text)) = queued.recv().await {
                // It is said again where that matters.
                let _ = sending.publish(subject, text).await;
            }
            let _ = sending.flush().await;
        };
        let outbox = Self {
            client,
            queue,
            counters,
        };
        (outbox, send)
    }

    /// Sends a message, unless the broker is not there or too slow: then it is said again later.
    pub(super) fn send(&self, subject: String, text: Bytes) {
        let is_connected = self.client.connection_state() == State::Connected;
        if !is_connected || self.queue.try_send((subject, text)).is_err() {
            count(&self.counters.unsent);
        }
    }
}
