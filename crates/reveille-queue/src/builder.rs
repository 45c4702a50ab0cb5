//! How sessions are set up.

use std::sync::Arc;
use std::time::Duration;

use reveille_backend::Backend;
use reveille_core::{Clock, IdSource, SystemIds};
use reveille_types::KindRegistry;

use crate::budget::Budget;
use crate::environment::{Environment, Tails, TokioClock};
use crate::options::QueueLimits;
use crate::sessions::Sessions;
use crate::tail::TailLimits;

/// Idle time to live of sessions that say nothing about it.
const DEFAULT_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// How often the store is looked through for sessions that are over.
const SWEEP_STORED: Duration = Duration::from_secs(5 * 60);

/// Sets up [`Sessions`].
#[derive(Debug)]
pub struct SessionsBuilder {
    backend: Arc<dyn Backend>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    registry: KindRegistry,
    limits: QueueLimits,
    default_ttl: Duration,
    tail: Option<TailLimits>,
    sweep_stored: Duration,
}

impl SessionsBuilder {
    pub(crate) fn on(backend: Arc<dyn Backend>) -> Self {
        Self {
            backend,
            clock: Arc::new(TokioClock),
            ids: Arc::new(SystemIds),
            registry: KindRegistry::standard(),
            limits: QueueLimits::default(),
            default_ttl: DEFAULT_TTL,
            tail: None,
            sweep_stored: SWEEP_STORED,
        }
    }

    /// With this clock. The default follows tokio's timers.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// With ids from here.
    #[must_use]
    pub fn ids(mut self, ids: Arc<dyn IdSource>) -> Self {
        self.ids = ids;
        self
    }

    /// Knowing these kinds.
    #[must_use]
    pub fn registry(mut self, registry: KindRegistry) -> Self {
        self.registry = registry;
        self
    }

    /// With these bounds.
    #[must_use]
    pub fn limits(mut self, limits: QueueLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Keeping all events of each tenant in one order, up to these bounds: what a bus reads. Not kept
    /// if not set.
    #[must_use]
    pub fn tail(mut self, limits: TailLimits) -> Self {
        self.tail = Some(limits);
        self
    }

    /// Sessions that say nothing else expire after this much silence (24 hours if not set), and stay
    /// readable for the same time after their end.
    #[must_use]
    pub fn default_ttl(mut self, ttl: Duration) -> Self {
        self.default_ttl = ttl;
        self
    }

    /// Whoever [drives](Sessions::drive) the sessions [looks through the store](Sessions::sweep_stored) so
    /// often: every five minutes if not set, never if it is zero.
    #[must_use]
    pub fn sweep_stored(mut self, every: Duration) -> Self {
        self.sweep_stored = every;
        self
    }

    /// Puts it together.
    #[must_use]
    pub fn build(self) -> Sessions {
        let capabilities = self.backend.capabilities();
        let environment = Environment {
            clock: self.clock,
            ids: self.ids,
            registry: self.registry,
            limits: self.limits,
            budget: Arc::new(Budget::new(&self.limits)),
            durability: capabilities.durability,
            backend: capabilities.name,
            tails: self.tail.map(Tails::new),
        };
        Sessions::new(
            self.backend,
            environment,
            self.default_ttl,
            self.sweep_stored,
        )
    }
}
