//! The bus itself.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use reveille_backend::{ArchiveError, Backend, ReplayFrom, Watermark};
use reveille_core::sync::Mutex;
use reveille_queue::{Sessions, Tail};
use reveille_types::sets::PayloadAccess;
use reveille_types::{
    Cursor, Epoch, Event, EventDraft, Filter, Kind, Receipt, Seq, SessionKey, Tenant,
};

use crate::error::BusError;
use crate::frame::{BusFrame, BusItem};
use crate::handlers::Running;
use crate::options::{BusOptions, BusStart, HistoryQuery, SubscribeOptions};
use crate::privacy::{self, PayloadPolicy, Shown, Subscriber};
use crate::publisher::Publisher;
use crate::registry::{BusStats, Registry, SubscriptionId};
use crate::subscription::BusSubscription;
use crate::wakes::Wakes;

/// What a producer learns from publishing on a bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Where the events are in their session.
    pub receipt: Receipt,
    /// The cursor of a reader of all events of the bus that has read up to and including them.
    pub cursor: Cursor,
}

/// What layers above need of a bus.
#[async_trait]
pub trait EventBus: fmt::Debug + Send + Sync {
    /// Appends to a session, which is created if it is not there. Never waits for a subscriber. Within
    /// a handler the events say that the event it is called for has caused them, unless they say
    /// otherwise.
    ///
    /// # Errors
    /// [`BusError`]; nothing was stored then, but for an `error.loop_detected` in place of the events
    /// if it is [`BusError::LoopDetected`].
    async fn publish(
        &self,
        session: SessionKey,
        events: Vec<EventDraft>,
    ) -> Result<Published, BusError>;

    /// Subscribes to all sessions of the tenant. The subscription counts from now on.
    ///
    /// # Errors
    /// [`BusError::Cursor`] when the start cannot be followed, [`BusError::InvalidOption`],
    /// [`BusError::InvalidOverflowPolicy`].
    fn subscribe(&self, options: SubscribeOptions) -> Result<BusSubscription, BusError>;

    /// Retained events that match, oldest first.
    fn history(&self, query: &HistoryQuery) -> Vec<Event>;

    /// How the bus fares.
    fn stats(&self) -> BusStats;
}

/// The bus of one tenant, over its sessions. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Bus(Arc<Inner>);

struct Inner {
    publisher: Publisher,
    order: Arc<Order>,
    /// Dropped with the bus, which is what ends the handlers' tasks.
    handlers: Mutex<HashMap<SubscriptionId, Running>>,
    wakes: Wakes,
    /// Most events that history gives.
    history: usize,
    /// History gives what follows this sequence number.
    cleared: AtomicU64,
    /// What was counted by kind when the statistics were last reset.
    counted: Mutex<Counted>,
}

/// Events by kind, and those that are not counted by kind.
#[derive(Debug, Default)]
struct Counted {
    by_kind: HashMap<Kind, u64>,
    other: u64,
}

/// What subscriptions share with their bus, and what outlives it with them.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) tail: Tail,
    pub(crate) registry: Registry,
    pub(crate) policy: Arc<dyn PayloadPolicy>,
    /// Where what the tail does not retain can be read, if the backend does that.
    pub(crate) store: Option<Arc<dyn Backend>>,
}

impl Order {
    /// The cursor of a reader that has read up to and including this sequence number.
    pub(crate) fn cursor(&self, seq: Seq, filter: &Filter) -> Cursor {
        self.cursor_in(self.tail.epoch(), seq, filter)
    }

    /// As [`cursor`](Self::cursor), in the order of this incarnation.
    pub(crate) fn cursor_in(&self, epoch: Epoch, seq: Seq, filter: &Filter) -> Cursor {
        match filter.fingerprint() {
            None => Cursor::bus(epoch, seq),
            Some(fingerprint) => Cursor::filtered(epoch, seq, fingerprint),
        }
    }
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus")
            .field("tenant", self.tenant())
            .finish_non_exhaustive()
    }
}

impl Bus {
    /// The bus of a tenant over these sessions, which must keep their order.
    ///
    /// # Errors
    /// [`BusError::NoTail`] when they do not, [`BusError::Session`] when the backend fails.
    ///
    /// # Cancel safety
    /// A dropped future changes nothing.
    pub async fn open(sessions: Sessions, tenant: Tenant) -> Result<Self, BusError> {
        Self::open_with(sessions, tenant, BusOptions::default()).await
    }

    /// As [`open`](Self::open), with options.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    ///
    /// # Cancel safety
    /// A dropped future changes nothing.
    pub async fn open_with(
        sessions: Sessions,
        tenant: Tenant,
        options: BusOptions,
    ) -> Result<Self, BusError> {
        let tail = sessions
            .tail_or_begin(&tenant)
            .await?
            .ok_or(BusError::NoTail)?;
        let backend = sessions.backend();
        let reads_order = backend.capabilities().reads_order;
        let store = reads_order.then(|| Arc::clone(backend));
        Ok(Self(Arc::new(Inner {
            publisher: Publisher {
                sessions,
                tenant,
                chains: Arc::default(),
            },
            order: Arc::new(Order {
                tail,
                registry: Registry::default(),
                policy: options.policy,
                store,
            }),
            history: options.history,
            cleared: AtomicU64::new(0),
            counted: Mutex::default(),
            handlers: Mutex::default(),
            wakes: Wakes::default(),
        })))
    }

    /// Whose bus it is.
    #[must_use]
    pub fn tenant(&self) -> &Tenant {
        &self.0.publisher.tenant
    }

    /// The sessions that it reads and publishes into.
    #[must_use]
    pub fn sessions(&self) -> &Sessions {
        &self.0.publisher.sessions
    }

    /// The order that is read.
    #[must_use]
    pub fn tail(&self) -> &Tail {
        &self.0.order.tail
    }

    /// The cursor of a reader that has read up to and including this sequence number.
    #[must_use]
    pub fn cursor(&self, seq: Seq, filter: &Filter) -> Cursor {
        self.0.order.cursor(seq, filter)
    }

    /// Makes history begin behind what the bus shows now. Changes neither what subscribers get nor what
    /// was counted.
    pub fn clear_history(&self) {
        let latest = self.tail().info().latest;
        self.0.cleared.fetch_max(latest.0, Ordering::AcqRel);
    }

    /// Makes all counts begin anew, but for the lag of subscribers, and leaves history as it is.
    pub fn reset_stats(&self) {
        let (by_kind, other) = self.tail().counts();
        let counted = Counted {
            by_kind: by_kind.into_iter().collect(),
            other,
        };
        *self.0.counted.lock() = counted;
        self.0.order.registry.reset();
    }

    /// The event with as much of its payload as was asked for and the policy grants to a reader that
    /// is no subscription.
    #[must_use]
    pub fn view(&self, event: &Event, asked: PayloadAccess) -> (Event, Shown) {
        let subscriber = Subscriber {
            tenant: self.tenant(),
            id: None,
            name: None,
            asked,
        };
        let (event, shown, _) = privacy::shown(&*self.0.order.policy, &subscriber, event.clone());
        (event, shown)
    }

    /// How many subscriptions were made with just this filter.
    #[must_use]
    pub fn count_exact(&self, filter: &Filter) -> usize {
        self.0.order.registry.count_exact(filter)
    }

    /// How many subscriptions an event of this kind may reach.
    #[must_use]
    pub fn count_matching(&self, kind: &Kind) -> usize {
        self.0.order.registry.count_matching(kind)
    }

    /// Waits for an event that matches, at most for `timeout`; `None` when the time is up.
    ///
    /// # Errors
    /// As [`subscribe`](EventBus::subscribe).
    ///
    /// # Cancel safety
    /// A dropped future leaves nothing behind.
    pub async fn wait(
        &self,
        filter: Filter,
        start: BusStart,
        timeout: Duration,
    ) -> Result<Option<BusFrame>, BusError> {
        let mut events = self.subscribe(SubscribeOptions::matching(filter).from(start))?;
        let found = async {
            loop {
                match events.next().await {
                    Some(Ok(BusItem::Event(frame))) => return Ok(Some(frame)),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(error),
                    None => return Ok(None),
                }
            }
        };
        tokio::time::timeout(timeout, found)
            .await
            .unwrap_or(Ok(None))
    }

    pub(crate) fn order(&self) -> &Arc<Order> {
        &self.0.order
    }

    pub(crate) fn publisher(&self) -> &Publisher {
        &self.0.publisher
    }

    pub(crate) fn wakes(&self) -> &Wakes {
        &self.0.wakes
    }

    pub(crate) fn handlers(&self) -> &Mutex<HashMap<SubscriptionId, Running>> {
        &self.0.handlers
    }
}

impl BusSubscription {
    /// Begins a subscription.
    pub(crate) fn begin(bus: &Bus, options: SubscribeOptions) -> Result<Self, BusError> {
        let bound = options.bound()?;
        let info = bus.tail().info();
        let epoch = bus.tail().epoch();
        let fingerprint = options.filter.fingerprint();
        let mut replay = None;
        let after = match (options.start, &options.archive) {
            (BusStart::Latest, _) => info.latest,
            (BusStart::Earliest, None) => info.oldest,
            (BusStart::Earliest, Some(_)) => {
                replay = Some(ReplayFrom::Earliest);
                info.begin
            }
            (BusStart::Archived(_), None) => return Err(BusError::ArchiveRequired),
            (BusStart::Archived(cursor), Some(archive)) => {
                let (expected, got) = (archive.id(), cursor.archive);
                if got != expected {
                    return Err(ArchiveError::ArchiveMismatch { expected, got }.into());
                }
                replay = Some(ReplayFrom::After(cursor));
                info.begin
            }
            (BusStart::After(cursor), Some(_)) if cursor.epoch() != epoch => {
                let seq = cursor.resolve_bus(cursor.epoch(), fingerprint, Seq(0), Seq(u64::MAX))?;
                let epoch = cursor.epoch();
                replay = Some(ReplayFrom::AfterSeq(Watermark { epoch, seq }));
                info.begin
            }
            (BusStart::After(cursor), _) => {
                cursor.resolve_bus(epoch, fingerprint, info.oldest, info.reach)?
            }
        };
        let tenant = bus.tenant().clone();
        Ok(Self::new(
            Arc::clone(bus.order()),
            tenant,
            (after, replay),
            bound,
            options,
        ))
    }
}

#[async_trait]
impl EventBus for Bus {
    async fn publish(
        &self,
        session: SessionKey,
        events: Vec<EventDraft>,
    ) -> Result<Published, BusError> {
        let receipt = self.0.publisher.publish(session, events).await?;
        let last = receipt.results.iter().map(|placed| placed.seq).max();
        Ok(Published {
            cursor: self.cursor(last.unwrap_or_default(), &Filter::all()),
            receipt,
        })
    }

    fn subscribe(&self, options: SubscribeOptions) -> Result<BusSubscription, BusError> {
        BusSubscription::begin(self, options)
    }

    fn history(&self, query: &HistoryQuery) -> Vec<Event> {
        let limit = query.limit.unwrap_or(usize::MAX);
        let tail = &self.0.order.tail;
        let cleared = self.0.cleared.load(Ordering::Acquire);
        let bound = tail.info().latest.0.saturating_sub(self.0.history as u64);
        let mut events = tail.last(&query.filter, limit);
        events.retain(|event| event.place().seq.0 > cleared.max(bound));
        let shown = |event: Event| self.view(&event, query.access).0;
        events.into_iter().map(shown).collect()
    }

    fn stats(&self) -> BusStats {
        let mut retained_by_kind: BTreeMap<Kind, usize> = BTreeMap::new();
        for event in self.0.order.tail.last(&Filter::all(), usize::MAX) {
            *retained_by_kind.entry(event.kind().clone()).or_default() += 1;
        }
        let (tail, registry) = (&self.0.order.tail, &self.0.order.registry);
        let info = tail.info();
        let (by_kind, other) = tail.counts();
        let counted = self.0.counted.lock();
        let since = |(kind, count): (Kind, u64)| {
            let before = counted.by_kind.get(&kind).copied().unwrap_or_default();
            (count > before).then(|| (kind, count - before))
        };
        let by_kind: BTreeMap<Kind, u64> = by_kind.into_iter().filter_map(since).collect();
        let other = other - counted.other;
        BusStats {
            published: by_kind.values().sum::<u64>() + other,
            published_by_kind: by_kind,
            retained_by_kind,
            retained: info.retained,
            retained_at_most: tail.limits().events,
            filters: registry.count_filters(),
            subscriptions: registry.stats(info.latest),
            visits: info.visits,
        }
    }
}
