//! What all sessions of one manager share.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use jiff::Timestamp;
use reveille_core::sync::Mutex;
use reveille_core::{Clock, IdSource};
use reveille_types::{Durability, Epoch, KindRegistry, Seq, Tenant};

use crate::budget::Budget;
use crate::options::QueueLimits;
use crate::runtime;
use crate::state::Now;
use crate::tail::{Tail, TailLimits};

/// Clock, ids, known kinds, bounds, and what the backend says of itself.
#[derive(Debug)]
pub(crate) struct Environment {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdSource>,
    pub(crate) registry: KindRegistry,
    pub(crate) limits: QueueLimits,
    pub(crate) budget: Arc<Budget>,
    pub(crate) durability: Durability,
    /// The backend's name.
    pub(crate) backend: &'static str,
    /// The order of each tenant's events, if it is kept.
    pub(crate) tails: Option<Tails>,
}

/// The tails of all tenants.
#[derive(Debug)]
pub(crate) struct Tails {
    limits: TailLimits,
    by_tenant: Mutex<HashMap<Tenant, Tail>>,
}

impl Tails {
    pub(crate) fn new(limits: TailLimits) -> Self {
        Self {
            limits,
            by_tenant: Mutex::default(),
        }
    }

    pub(crate) fn get(&self, tenant: &Tenant) -> Option<Tail> {
        self.by_tenant.lock().get(tenant).cloned()
    }

    /// The tenant's tail, which begins after `seq` if it is not there yet.
    pub(crate) fn get_or_begin(&self, tenant: &Tenant, epoch: Epoch, seq: Seq) -> Tail {
        let mut tails = self.by_tenant.lock();
        tails
            .entry(tenant.clone())
            .or_insert_with(|| Tail::new(epoch, seq, self.limits))
            .clone()
    }
}

impl Environment {
    pub(crate) fn now(&self) -> Now {
        Now {
            monotonic: self.clock.now(),
            wall: whole_millis(self.clock.wall()),
        }
    }
}

/// Times on the wire have milliseconds; so have times in memory, and both compare equal.
fn whole_millis(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}

/// The clock of tokio's timers: they and all deadlines of the queue move together, also when a test
/// pauses them. Works without a runtime, too.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokioClock;

impl Clock for TokioClock {
    fn now(&self) -> Instant {
        runtime::now()
    }

    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// The clock of a session's cancel token, so that token and session tell the same time of a cancel: the
/// one that the session notes.
#[derive(Debug)]
pub(crate) struct TokenClock {
    clock: Arc<dyn Clock>,
    cancelled_at: OnceLock<Timestamp>,
}

impl TokenClock {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            cancelled_at: OnceLock::new(),
        }
    }

    /// The time of the cancel: this one, unless another was noted before.
    pub(crate) fn note(&self, time: Timestamp) -> Timestamp {
        *self.cancelled_at.get_or_init(|| time)
    }
}

impl Clock for TokenClock {
    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn wall(&self) -> Timestamp {
        let noted = self.cancelled_at.get().copied();
        noted.unwrap_or_else(|| self.clock.wall())
    }
}
