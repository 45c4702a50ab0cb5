//! Wake conditions: somebody is to go on when an event comes, however long that takes and whoever
//! publishes it.
//!
//! A wake is a wait on the bus in a task of its own: registering and looking at what is there is one
//! step, so that no event is missed.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reveille_core::sync::Mutex;
use reveille_types::sets::WakeStatus;
use reveille_types::{EventDraft, Filter, Payload, SessionKey};
use serde::Serialize;
use tokio::sync::watch;

use crate::bus::{Bus, EventBus};
use crate::error::BusError;
use crate::frame::{BusFrame, BusItem};
use crate::options::{BusStart, SubscribeOptions};
use crate::publisher::Publisher;
use crate::subscription::BusSubscription;

/// Most wakes that are kept under a key after they are over.
const KEPT: usize = 10_000;
/// The namespace of kinds of which no event triggers a wake.
const WAKE: &str = "wake";

/// For which event to wait.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WakeCondition {
    /// Which event, and where to begin to look: with what is retained if nothing else is said, so that
    /// one that is there already triggers at once. Events of kinds `wake.*` never trigger.
    pub events: SubscribeOptions,
    /// How long; for ever if none. Zero looks at what is there and does not wait.
    pub timeout: Option<Duration>,
    /// Whoever registers under the same key gets the same wake.
    pub key: Option<Box<str>>,
    /// The session in which to record what becomes of it, as events `wake.registered`,
    /// `wake.triggered` and so on.
    pub record: Option<SessionKey>,
}

impl WakeCondition {
    /// An event that matches.
    #[must_use]
    pub fn matching(filter: Filter) -> Self {
        Self::on(SubscribeOptions::matching(filter).from(BusStart::Earliest))
    }

    /// An event of those that a subscription would get.
    #[must_use]
    pub fn on(events: SubscribeOptions) -> Self {
        Self {
            events,
            timeout: None,
            key: None,
            record: None,
        }
    }

    /// Waiting at most so long.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Under this key.
    #[must_use]
    pub fn key(mut self, key: &str) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Recording in this session what becomes of it.
    #[must_use]
    pub fn record(mut self, session: SessionKey) -> Self {
        self.record = Some(session);
        self
    }
}

/// What became of a wake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WakeOutcome {
    /// The event came.
    Triggered(Box<BusFrame>),
    /// The time was up first.
    TimedOut,
    /// It was cancelled.
    Cancelled,
    /// The event can no longer come: the runtime is gone, or the archive of the subscription failed.
    Failed,
}

impl WakeOutcome {
    /// The outcome as a word.
    #[must_use]
    pub fn status(&self) -> WakeStatus {
        match self {
            Self::Triggered(_) => WakeStatus::Triggered,
            Self::TimedOut => WakeStatus::TimedOut,
            Self::Cancelled => WakeStatus::Cancelled,
            Self::Failed => WakeStatus::Failed,
        }
    }
}

/// A registered wake. All clones are the same; it goes on when all are dropped.
#[derive(Clone)]
pub struct Wake {
    outcome: watch::Receiver<Option<WakeOutcome>>,
    cancel: Arc<watch::Sender<bool>>,
}

impl fmt::Debug for Wake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wake")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

impl Wake {
    /// How far it has come.
    #[must_use]
    pub fn status(&self) -> WakeStatus {
        let outcome = self.outcome.borrow();
        outcome
            .as_ref()
            .map_or(WakeStatus::Registered, WakeOutcome::status)
    }

    /// Waits for what becomes of it.
    ///
    /// # Cancel safety
    /// A dropped future changes nothing.
    pub async fn outcome(&self) -> WakeOutcome {
        let mut outcome = self.outcome.clone();
        let outcome = outcome.wait_for(Option::is_some).await;
        // A dropped sender means that its task is gone.
        outcome.map_or(WakeOutcome::Failed, |outcome| {
            outcome.clone().unwrap_or(WakeOutcome::Failed)
        })
    }

    /// Cancels it. `false` if it is over already. What is awaited goes on.
    ///
    /// # Cancel safety
    /// A dropped future has cancelled it.
    pub async fn cancel(&self) -> bool {
        self.cancel.send_replace(true);
        self.outcome().await == WakeOutcome::Cancelled
    }

    fn is_over(&self) -> bool {
        self.status() != WakeStatus::Registered
    }
}

/// The wakes that have a key.
#[derive(Debug, Default)]
pub(crate) struct Wakes(Mutex<Keyed>);

#[derive(Debug, Default)]
struct Keyed {
    wakes: HashMap<Box<str>, Wake>,
    /// Their keys, the oldest first.
    order: VecDeque<Box<str>>,
}

impl Wakes {
    /// The wake under this key, or the one that is made.
    fn get_or_add(&self, key: &str, make: impl FnOnce() -> Wake) -> Wake {
        let all = &mut *self.0.lock();
        if let Some(wake) = all.wakes.get(key) {
            return wake.clone();
        }
        let is_over = |key: &str| all.wakes.get(key).is_none_or(Wake::is_over);
        if all.order.len() >= KEPT
            && let Some(over) = all.order.iter().position(|key| is_over(key))
            && let Some(key) = all.order.remove(over)
        {
            all.wakes.remove(&key);
        }
        let wake = make();
        all.wakes.insert(key.into(), wake.clone());
        all.order.push_back(key.into());
        wake
    }
}

impl Bus {
    /// Registers a wake: somebody waits for an event. Under a key that is in use the wake that has it
    /// is given back, and nothing is recorded again. Needs a tokio runtime.
    ///
    /// ```
    /// # async fn lead(bus: reveille_bus::Bus) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use reveille_bus::{WakeCondition, WakeOutcome};
    /// use reveille_types::Filter;
    ///
    /// let done = WakeCondition::matching(Filter::matching("worker.complete")?)
    ///     .timeout(Duration::from_secs(60))
    ///     .key("lead-1");
    /// match bus.suspend_until(done)?.outcome().await {
    ///     WakeOutcome::Triggered(frame) => println!("{}", frame.event.id()),
    ///     outcome => println!("{}", outcome.status()),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`subscribe`](EventBus::subscribe).
    pub fn suspend_until(&self, condition: WakeCondition) -> Result<Wake, BusError> {
        let events = self.subscribe(condition.events.clone())?;
        let key = condition.key.clone();
        let publisher = self.publisher().clone();
        let (told, outcome) = watch::channel(None);
        let (cancel, cancelled) = watch::channel(false);
        let wake = Wake {
            outcome,
            cancel: Arc::new(cancel),
        };
        let make = || {
            let waiting = Waiting {
                condition,
                publisher,
                told,
                cancelled,
            };
            tokio::spawn(waiting.run(events));
            wake
        };
        Ok(match key {
            None => make(),
            Some(key) => self.wakes().get_or_add(&key, make),
        })
    }
}

struct Waiting {
    condition: WakeCondition,
    publisher: Publisher,
    told: watch::Sender<Option<WakeOutcome>>,
    cancelled: watch::Receiver<bool>,
}

impl Waiting {
    async fn run(mut self, events: BusSubscription) {
        self.record(WakeStatus::Registered, None).await;
        let outcome = self.wait(events).await;
        let frame = match &outcome {
            WakeOutcome::Triggered(frame) => Some(frame),
            _ => None,
        };
        self.record(outcome.status(), frame.map(|frame| &**frame))
            .await;
        self.told.send_replace(Some(outcome));
    }

    async fn wait(&mut self, mut events: BusSubscription) -> WakeOutcome {
        let timeout = self.condition.timeout;
        let time_is_up = async {
            match timeout {
                Some(timeout) => tokio::time::sleep(timeout).await,
                None => std::future::pending().await,
            }
        };
        let cancelled = async {
            if self
                .cancelled
                .wait_for(|cancelled| *cancelled)
                .await
                .is_err()
            {
                // Nobody is left who could.
                std::future::pending::<()>().await;
            }
        };
        let is_now_or_never = timeout.is_some_and(|timeout| timeout.is_zero());
        tokio::select! {
            biased;
            found = found(&mut events, is_now_or_never) => found,
            () = cancelled => WakeOutcome::Cancelled,
            () = time_is_up => WakeOutcome::TimedOut,
        }
    }

    /// A record that cannot be stored changes nothing for whoever waits.
    async fn record(&self, status: WakeStatus, frame: Option<&BusFrame>) {
        #[derive(Serialize)]
        struct Record<'a> {
            status: WakeStatus,
            #[serde(skip_serializing_if = "Option::is_none")]
            key: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            timeout_ms: Option<u128>,
            #[serde(skip_serializing_if = "Option::is_none")]
            event: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            cursor: Option<String>,
        }
        let Some(session) = &self.condition.record else {
            return;
        };
        let record = Record {
            status,
            key: self.condition.key.as_deref(),
            timeout_ms: self.condition.timeout.map(|timeout| timeout.as_millis()),
            event: frame.map(|frame| frame.event.id().as_str()),
            cursor: frame.map(|frame| frame.cursor.to_string()),
        };
        let draft = EventDraft::parse(&format!("{WAKE}.{status}"));
        let (Ok(mut draft), Ok(payload)) = (draft, Payload::json(&record)) else {
            return;
        };
        draft.payload = payload;
        let _ = self.publisher.append(session.clone(), vec![draft]).await;
    }
}

/// The first event that may trigger. If it is now or never, up to where history is done.
async fn found(events: &mut BusSubscription, is_now_or_never: bool) -> WakeOutcome {
    loop {
        match events.next().await {
            Some(Ok(BusItem::Event(frame))) => {
                if frame.event.kind().segments().next() != Some(WAKE) {
                    return WakeOutcome::Triggered(Box::new(frame));
                }
            }
            Some(Ok(BusItem::CaughtUp(_))) if is_now_or_never => return WakeOutcome::TimedOut,
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return WakeOutcome::Failed,
        }
    }
}
