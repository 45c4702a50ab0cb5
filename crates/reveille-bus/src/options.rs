//! What callers ask for.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reveille_backend::{Archive, ArchiveCursor};
use reveille_types::sets::{OverflowPolicy, PayloadAccess};
use reveille_types::{Cursor, Event, Filter, FilterSpec, Invalid, SessionKey};

use crate::error::BusError;
use crate::overflow::LagBound;
use crate::privacy::{ByPrivacy, PayloadPolicy};

/// How a bus is.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BusOptions {
    /// Who sees payloads: [`ByPrivacy`] if nothing is said.
    pub policy: Arc<dyn PayloadPolicy>,
    /// How many of the newest events history gives, at most; all that are retained if nothing is said,
    /// none if it is 0.
    pub history: usize,
}

impl Default for BusOptions {
    fn default() -> Self {
        Self {
            policy: Arc::new(ByPrivacy),
            history: usize::MAX,
        }
    }
}

impl BusOptions {
    /// With this policy.
    #[must_use]
    pub fn policy(mut self, policy: impl PayloadPolicy + 'static) -> Self {
        self.policy = Arc::new(policy);
        self
    }

    /// With a history of so many events.
    #[must_use]
    pub fn history(mut self, events: usize) -> Self {
        self.history = events;
        self
    }
}

/// Where a subscriber begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BusStart {
    /// With the oldest event that is retained, or archived if there is an archive. What retention
    /// dropped before is no gap.
    Earliest,
    /// With the next event to come.
    #[default]
    Latest,
    /// After this cursor, also if an earlier process gave it: on a backend that
    /// [reads the order](reveille_backend::Capabilities::reads_order) of a tenant what it has stored
    /// since comes first, on others that keep the order it is a gap.
    After(Cursor),
    /// After this place of the archive.
    Archived(ArchiveCursor),
}

/// A predicate over an event: code of the caller's, which runs in the subscriber's own poll.
pub(crate) type Predicate = Arc<dyn Fn(&Event) -> bool + Send + Sync>;

/// What to subscribe to.
#[derive(Clone)]
#[non_exhaustive]
pub struct SubscribeOptions {
    /// Which events.
    pub filter: Filter,
    /// Where to begin.
    pub start: BusStart,
    /// How many matching events the subscriber may lag behind, once it has caught up, before its policy
    /// gives some up.
    pub capacity: usize,
    /// How many of these places are for final events alone; less than the capacity.
    pub reserve: usize,
    /// Which events are given up: see [`LagBound`].
    pub policy: OverflowPolicy,
    /// How much of payloads to show, if policy allows: nothing if nothing is said.
    pub access: PayloadAccess,
    /// Who subscribes, for the policy and in statistics.
    pub name: Option<Arc<str>>,
    pub(crate) predicate: Option<Predicate>,
    pub(crate) archive: Option<Arc<dyn Archive>>,
}

impl Default for SubscribeOptions {
    fn default() -> Self {
        Self::matching(Filter::all())
    }
}

impl SubscribeOptions {
    /// Events that match, from now on, with the default [`LagBound`].
    #[must_use]
    pub fn matching(filter: Filter) -> Self {
        let bound = LagBound::default();
        Self {
            filter,
            start: BusStart::Latest,
            capacity: bound.capacity(),
            reserve: bound.reserve(),
            policy: bound.policy(),
            access: PayloadAccess::EnvelopeOnly,
            name: None,
            predicate: None,
            archive: None,
        }
    }

    /// Beginning here.
    #[must_use]
    pub fn from(mut self, start: BusStart) -> Self {
        self.start = start;
        self
    }

    /// Lagging at most this many matching events behind.
    #[must_use]
    pub fn capacity(mut self, events: usize) -> Self {
        self.capacity = events;
        self
    }

    /// Keeping this many of the places for final events.
    #[must_use]
    pub fn reserve(mut self, events: usize) -> Self {
        self.reserve = events;
        self
    }

    /// Giving up events by this policy.
    #[must_use]
    pub fn policy(mut self, policy: OverflowPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Lagging as this bound says.
    #[must_use]
    pub fn bounded(self, bound: LagBound) -> Self {
        self.capacity(bound.capacity())
            .reserve(bound.reserve())
            .policy(bound.policy())
    }

    /// Showing so much of payloads, if policy allows.
    #[must_use]
    pub fn access(mut self, access: PayloadAccess) -> Self {
        self.access = access;
        self
    }

    /// Showing payloads as a whole, if policy allows.
    #[must_use]
    pub fn payloads(self) -> Self {
        self.access(PayloadAccess::FullPayloadIfPolicyAllows)
    }

    /// Under this name.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Only events for which this answers `true`, besides what the filter asks for. It runs in the
    /// subscriber's own poll; a panic in it skips the event, is counted, and reaches nobody else. It
    /// does not count for the lag.
    #[must_use]
    pub fn predicate(mut self, wanted: impl Fn(&Event) -> bool + Send + Sync + 'static) -> Self {
        self.predicate = Some(Arc::new(wanted));
        self
    }

    /// Reading from this archive what is no longer retained, and what was shown before this
    /// incarnation of the bus; then the bus itself, without a gap or a repetition.
    #[must_use]
    pub fn archive(mut self, archive: Arc<dyn Archive>) -> Self {
        self.archive = Some(archive);
        self
    }

    pub(crate) fn bound(&self) -> Result<LagBound, BusError> {
        // Nobody who publishes waits for a subscriber.
        if self.policy == OverflowPolicy::BackpressureCaller {
            let policy = self.policy;
            return Err(BusError::InvalidOverflowPolicy { policy });
        }
        LagBound::new(self.capacity, self.reserve, self.policy).map_err(BusError::InvalidOption)
    }
}

impl fmt::Debug for SubscribeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubscribeOptions")
            .field("filter", &self.filter)
            .field("start", &self.start)
            .field("capacity", &self.capacity)
            .field("reserve", &self.reserve)
            .field("policy", &self.policy)
            .field("access", &self.access)
            .field("name", &self.name)
            .field("predicate", &self.predicate.is_some())
            .field("archive", &self.archive)
            .finish()
    }
}

/// What a handler is called for, and what happens when it fails.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HandlerOptions {
    /// Which events, as for a subscription.
    pub events: SubscribeOptions,
    /// How many calls may run at once; 1 if nothing is said, which keeps the order. More begin in the
    /// order of the bus and end in any.
    pub concurrency: usize,
    /// How often a call that failed is made again; 0 if nothing is said. It keeps its place among the
    /// calls that run meanwhile: if it is the only one, the events after it wait.
    pub retries: u32,
    /// How long to wait before the first repetition, twice as long before the second, and so on; 100 ms
    /// if nothing is said.
    pub pause: Duration,
    /// How long one call may take; for ever if nothing is said. A call that takes longer is dropped and
    /// has failed.
    pub deadline: Option<Duration>,
    /// The session to which an `error.handler_failed` goes when the last repetition has failed.
    pub dead_letters: Option<SessionKey>,
    /// Through how many handlers a chain of events may come, each published in answer to the one
    /// before; 16 if nothing is said. Longer ones are refused with
    /// [`LoopDetected`](crate::BusError::LoopDetected).
    pub hops: u32,
    /// How many events the handlers may publish in answer to one event, to the answers to it, and so
    /// on, in how much time; 1 000 a second if nothing is said. More are refused with
    /// [`ChainTooFast`](crate::BusError::ChainTooFast).
    pub rate: (u32, Duration),
}

impl From<SubscribeOptions> for HandlerOptions {
    fn from(events: SubscribeOptions) -> Self {
        Self {
            events,
            concurrency: 1,
            retries: 0,
            pause: Duration::from_millis(100),
            deadline: None,
            dead_letters: None,
            hops: 16,
            rate: (1_000, Duration::from_secs(1)),
        }
    }
}

impl HandlerOptions {
    /// Called for these events.
    #[must_use]
    pub fn new(events: SubscribeOptions) -> Self {
        events.into()
    }

    /// Running at most this many calls at once; at least 1.
    #[must_use]
    pub fn concurrency(mut self, calls: usize) -> Self {
        self.concurrency = calls;
        self
    }

    /// Making a call that failed again, so often, after this pause and then twice as long each time.
    #[must_use]
    pub fn retries(mut self, times: u32, pause: Duration) -> Self {
        self.retries = times;
        self.pause = pause;
        self
    }

    /// Dropping a call that takes longer, which has failed then.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Telling this session of events that could not be handled.
    #[must_use]
    pub fn dead_letters(mut self, session: SessionKey) -> Self {
        self.dead_letters = Some(session);
        self
    }

    /// Continuing a chain with at most this many events in this time.
    #[must_use]
    pub fn rate(mut self, events: u32, time: Duration) -> Self {
        self.rate = (events, time);
        self
    }

    /// Continuing chains of at most this many handlers.
    #[must_use]
    pub fn hops(mut self, limit: u32) -> Self {
        self.hops = limit;
        self
    }
}

/// Which events of the past to give.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HistoryQuery {
    /// Which events.
    pub filter: Filter,
    /// The last so many of them; all that are retained if none. Zero gives none.
    pub limit: Option<usize>,
    /// How much of payloads to show, if policy allows: nothing if nothing is said.
    pub access: PayloadAccess,
}

impl Default for HistoryQuery {
    fn default() -> Self {
        Self::matching(Filter::all())
    }
}

impl HistoryQuery {
    /// Events that match.
    #[must_use]
    pub fn matching(filter: Filter) -> Self {
        Self {
            filter,
            limit: None,
            access: PayloadAccess::EnvelopeOnly,
        }
    }

    /// Events that match this pattern, and of this source if there is one: its last so many.
    ///
    /// # Errors
    /// [`Invalid`] when it is no pattern.
    pub fn of(pattern: &str, source: Option<&str>, limit: Option<usize>) -> Result<Self, Invalid> {
        let filter = Filter::compile(&FilterSpec {
            kinds: Some(vec![pattern.parse()?]),
            source: source.map(|source| vec![source.to_owned()]),
            ..FilterSpec::default()
        })?;
        Ok(Self {
            limit,
            ..Self::matching(filter)
        })
    }

    /// Showing payloads as a whole, if policy allows.
    #[must_use]
    pub fn payloads(mut self) -> Self {
        self.access = PayloadAccess::FullPayloadIfPolicyAllows;
        self
    }

    /// The last so many of them.
    #[must_use]
    pub fn limit(mut self, events: usize) -> Self {
        self.limit = Some(events);
        self
    }
}
