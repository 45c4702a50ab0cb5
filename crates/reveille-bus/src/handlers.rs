//! Handlers: called back for each event, in a task of their own.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use async_trait::async_trait;
use futures_util::FutureExt;
use reveille_types::Event;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::bus::Bus;
use crate::error::BusError;
use crate::options::SubscribeOptions;
use crate::registry::SubscriptionId;
use crate::subscription::{BusItem, BusSubscription};

/// What a handler fails with: counted, and nobody else's affair.
pub type HandlerError = Box<dyn std::error::Error + Send + Sync>;

/// Code that is called for each event, one at a time, in the order of the bus. Asynchronous closures
/// are handlers; decided by their type, so that nothing is called wrongly.
#[async_trait]
pub trait Handler: Send + 'static {
    /// Handles an event.
    ///
    /// # Errors
    /// Whatever went wrong: it is counted.
    async fn handle(&mut self, event: Event) -> Result<(), HandlerError>;
}

#[async_trait]
impl<F, Fut> Handler for F
where
    F: FnMut(Event) -> Fut + Send + 'static,
    Fut: Future<Output = Result<(), HandlerError>> + Send,
{
    async fn handle(&mut self, event: Event) -> Result<(), HandlerError> {
        self(event).await
    }
}

/// What a handler is called for: as a subscription, whose gaps it does not see but in its statistics.
pub type HandlerOptions = SubscribeOptions;

/// A running handler.
#[derive(Debug)]
pub(crate) struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Bus {
    /// Calls `handler` for each event that matches. It runs in a task of its own and sees one event at
    /// a time; its failures and panics are counted and reach nobody else. Needs a tokio runtime.
    ///
    /// # Errors
    /// As [`subscribe`](crate::EventBus::subscribe).
    pub fn on(
        &self,
        options: HandlerOptions,
        handler: impl Handler,
    ) -> Result<SubscriptionId, BusError> {
        let subscription = BusSubscription::begin(self, options)?;
        let id = subscription.id();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(run(subscription, handler, stopped));
        self.handlers().lock().insert(id, Running { stop, task });
        Ok(id)
    }

    /// Takes a handler off: once this returns, no new call begins and the running one has ended.
    /// `false` if there is no such handler.
    ///
    /// # Cancel safety
    /// A dropped future has told the handler to stop and does not wait for the running call.
    pub async fn off(&self, id: SubscriptionId) -> bool {
        let running = self.handlers().lock().remove(&id);
        let Some(Running { stop, task }) = running else {
            return false;
        };
        // The receiver is gone if the task has ended already.
        let _ = stop.send(());
        // The task ends by itself; a panic outside of the handler's calls would be a defect here.
        let _ = task.await;
        true
    }
}

async fn run(
    mut events: BusSubscription,
    mut handler: impl Handler,
    mut stopped: oneshot::Receiver<()>,
) {
    loop {
        let item = tokio::select! {
            biased;
            // A dropped sender means that the bus is gone.
            _ = &mut stopped => return,
            item = events.next() => item,
        };
        let Some(Ok(item)) = item else {
            return;
        };
        let BusItem::Event(frame) = item else {
            continue;
        };
        let call = AssertUnwindSafe(handler.handle(frame.event)).catch_unwind();
        if !matches!(call.await, Ok(Ok(()))) {
            events.count_error();
        }
    }
}
