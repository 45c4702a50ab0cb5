//! What all sessions of one manager share.

use std::collections::HashMap;
use std::sync::Arc;
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
    pub(crate) fn now(&self) -> Now<'_> {
        Now::read(&*self.clock)
    }
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
