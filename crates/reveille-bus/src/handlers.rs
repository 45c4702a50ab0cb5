//! Handlers: called back for each event, in a task of their own.

use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use reveille_types::{Event, EventDraft, Filter, Invalid, Payload, Seq};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::bus::Bus;
use crate::causes;
use crate::error::BusError;
use crate::frame::BusItem;
use crate::options::HandlerOptions;
use crate::progress::{Progress, Watching};
use crate::publisher::Publisher;
use crate::registry::{Counters, SubscriptionId};
use crate::subscription::BusSubscription;

/// What a handler fails with: counted, and nobody else's affair.
pub type HandlerError = Box<dyn std::error::Error + Send + Sync>;

/// Code that is called for each event: one at a time, in the order of the bus, unless
/// [more at once](HandlerOptions::concurrency) is asked for. Asynchronous closures are handlers; decided
/// by their type, so that nothing is called wrongly.
///
/// ```compile_fail
/// # async fn on(bus: reveille_bus::Bus) {
/// // Whoever forgets the `async` does not get a handler that never runs, but an error.
/// bus.on(reveille_bus::SubscribeOptions::default(), |_event| Ok(()));
/// # }
/// ```
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Handles an event. What it publishes on the bus meanwhile says that this event caused it.
    ///
    /// # Errors
    /// Whatever went wrong: it is counted, and the call is made again if the options say so.
    async fn handle(&self, event: Event) -> Result<(), HandlerError>;
}

#[async_trait]
impl<F, Fut> Handler for F
where
    F: Fn(Event) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), HandlerError>> + Send,
{
    async fn handle(&self, event: Event) -> Result<(), HandlerError> {
        self(event).await
    }
}

/// A running handler.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) filter: Filter,
    pub(crate) watching: Watching,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Bus {
    /// Calls `handler` for each event that matches. It runs in a task of its own and sees one event at
    /// a time, or as many as its options say; its failures and panics are counted and reach nobody else.
    /// What its policy gives up when it lags it does not see but in its statistics. Needs a tokio
    /// runtime.
    ///
    /// ```
    /// # async fn on(bus: reveille_bus::Bus) -> Result<(), reveille_bus::BusError> {
    /// use reveille_bus::SubscribeOptions;
    ///
    /// let id = bus.on(SubscribeOptions::default(), |event: reveille_types::Event| async move {
    ///     println!("{}", event.kind());
    ///     Ok(())
    /// })?;
    /// bus.off(id).await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`subscribe`](crate::EventBus::subscribe).
    pub fn on(
        &self,
        options: impl Into<HandlerOptions>,
        handler: impl Handler,
    ) -> Result<SubscriptionId, BusError> {
        let options = options.into();
        if options.concurrency == 0 {
            let none = Invalid::form("concurrency", "is 0");
            return Err(BusError::InvalidOption(none));
        }
        let filter = options.events.filter.clone();
        let events = BusSubscription::begin(self, options.events.clone())?;
        let id = events.id();
        let (progress, watching) = Progress::new();
        let (stop, stopped) = watch::channel(false);
        let calls = Calls {
            handler,
            options,
            publisher: self.publisher().clone(),
            progress,
            errors: Arc::clone(events.counters()),
            stopped,
        };
        let task = tokio::spawn(async move { calls.run(events).await });
        let running = Running {
            filter,
            watching,
            stop,
            task,
        };
        self.handlers().lock().insert(id, running);
        Ok(id)
    }

    /// Takes a handler off: once this returns, no new call begins and those that ran have ended.
    /// `false` if there is no such handler.
    ///
    /// # Cancel safety
    /// A dropped future has told the handler to stop and does not wait for running calls.
    pub async fn off(&self, id: SubscriptionId) -> bool {
        let running = self.handlers().lock().remove(&id);
        let Some(Running { stop, task, .. }) = running else {
            return false;
        };
        stop.send_replace(true);
        // The task ends by itself; a panic outside of the handler's calls would be a defect here.
        let _ = task.await;
        true
    }
}

/// What all calls of a handler share.
struct Calls<H> {
    handler: H,
    options: HandlerOptions,
    publisher: Publisher,
    progress: Progress,
    errors: Arc<Counters>,
    /// The handler was taken off; its sender is gone with the bus.
    stopped: watch::Receiver<bool>,
}

impl<H: Handler> Calls<H> {
    /// Begins calls while there is room, and ends with the last of them.
    async fn run(&self, mut events: BusSubscription) {
        let mut stopped = self.stopped.clone();
        let mut running = FuturesUnordered::new();
        let mut under_way = BTreeSet::new();
        loop {
            let has_room = running.len() < self.options.concurrency;
            tokio::select! {
                biased;
                _ = stopped.wait_for(|is_stopped| *is_stopped) => break,
                Some(seq) = running.next() => {
                    under_way.remove(&seq);
                }
                item = self.next(&mut events, &under_way), if has_room => match item {
                    Some(BusItem::Event(frame)) => {
                        under_way.insert(frame.event.place().seq);
                        running.push(self.call(frame.event));
                    }
                    Some(_) => {}
                    None => break,
                },
            }
            self.done(&events, &under_way);
        }
        while let Some(seq) = running.next().await {
            under_way.remove(&seq);
            self.done(&events, &under_way);
        }
    }

    /// Tells what is done with: everything before the first event of which it is not known.
    fn done(&self, events: &BusSubscription, under_way: &BTreeSet<Seq>) {
        let read_to = events.cursor().place();
        let before = |seq: &Seq| seq.0.saturating_sub(1);
        self.progress
            .done_to(Seq(under_way.first().map_or(read_to, before)));
    }

    async fn next(
        &self,
        events: &mut BusSubscription,
        under_way: &BTreeSet<Seq>,
    ) -> Option<BusItem> {
        let next = poll_fn(|cx| {
            let polled = events.poll_item(cx);
            if polled.is_pending() {
                // Also what its predicate did not want is done with.
                self.done(events, under_way);
            }
            polled
        });
        next.await.and_then(Result::ok)
    }

    /// Calls the handler until it succeeds, has failed too often, or was taken off.
    async fn call(&self, event: Event) -> Seq {
        let seq = event.place().seq;
        let mut stopped = self.stopped.clone();
        let mut pause = self.options.pause;
        for calls in 1.. {
            let call = AssertUnwindSafe(self.handler.handle(event.clone())).catch_unwind();
            let limits = (self.options.hops, self.options.rate);
            let call = within(self.options.deadline, call);
            let error = match causes::answering(&event, limits, call).await {
                Some(Ok(Ok(()))) => break,
                Some(Ok(Err(error))) => error.to_string(),
                Some(Err(_)) => "the handler panicked".to_owned(),
                None => "the handler took too long".to_owned(),
            };
            Counters::add(&self.errors.errors, 1);
            if calls > self.options.retries {
                self.give_up(&event, calls, &error).await;
                break;
            }
            tokio::select! {
                biased;
                _ = stopped.wait_for(|is_stopped| *is_stopped) => {
                    self.progress.failed_at(seq);
                    break;
                }
                () = tokio::time::sleep(pause) => pause = pause.saturating_mul(2),
            }
        }
        seq
    }

    async fn give_up(&self, event: &Event, calls: u32, error: &str) {
        if let Some(session) = &self.options.dead_letters
            // A letter about a letter would never end.
            && **event.session() != *session
            && let Some(letter) = dead_letter(event, calls, error)
        {
            let posted = self.publisher.append(session.clone(), vec![letter]).await;
            if posted.is_err() {
                Counters::add(&self.errors.errors, 1);
            }
        }
        self.progress.failed_at(event.place().seq);
    }
}

/// What a call gives, if it does so in time.
async fn within<F: Future>(deadline: Option<Duration>, call: F) -> Option<F::Output> {
    match deadline {
        Some(deadline) => tokio::time::timeout(deadline, call).await.ok(),
        None => Some(call.await),
    }
}

/// Most bytes of an event that is repeated in a letter; of a larger one the letter has the place.
const LETTER_BYTES: usize = 128 * 1024;
/// What tells of an event that a handler could not handle.
const HANDLER_FAILED: &str = "error.handler_failed";

fn dead_letter(event: &Event, calls: u32, error: &str) -> Option<EventDraft> {
    #[derive(Serialize)]
    struct Letter<'a> {
        error: &'a str,
        calls: u32,
        session: String,
        cursor: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        event: Option<&'a RawValue>,
    }
    let json = Some(event.json()).filter(|json| json.len() <= LETTER_BYTES);
    let letter = Letter {
        error: &error[..error.floor_char_boundary(1_024)],
        calls,
        session: event.session().name(),
        cursor: event.cursor().to_string(),
        event: json.and_then(|json| serde_json::from_slice(json).ok()),
    };
    let mut draft = EventDraft::parse(HANDLER_FAILED).ok()?;
    draft.payload = Payload::json(&letter).ok()?;
    // What it repeats is as private as it was.
    draft.privacy = event.envelope().privacy;
    // An id keeps the rules of a label.
    draft.caused_by = reveille_types::Label::parse(event.id().as_str()).ok();
    Some(draft)
}
