//! How many bytes sessions may hold: those of one tenant, and all.
//!
//! Over a budget, events go, oldest first, and readers are told the gap. The sessions with the most
//! bytes pay: all are cut down to one common size, so that a small session loses nothing while a larger
//! one is there. Over the budget of the process, tenants are cut in the same way.
//!
//! Sessions report their bytes when they are unlocked, and are cut by whoever appends, after its own
//! lock: no session is locked while another one is.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};

use reveille_core::WakeBatch;
use reveille_core::sync::Mutex;
use reveille_core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use reveille_types::Tenant;

use crate::log::Shared;
use crate::options::QueueLimits;

/// Cutting makes room for this part of a budget, so that not every append must cut.
const SLACK: usize = 16;

/// The budget of the process, and the tenants under it.
pub(crate) struct Budget {
    limit: usize,
    tenant_limit: usize,
    bytes: AtomicUsize,
    /// Events that retention has dropped, by any bound.
    dropped: AtomicU64,
    tenants: Mutex<HashMap<Tenant, Weak<TenantBudget>>>,
    /// Held while tenants are cut, so that one cuts at a time. No other lock is held when it is taken.
    cutting: Mutex<()>,
}

/// The budget of one tenant.
pub(crate) struct TenantBudget {
    tenant: Tenant,
    process: Arc<Budget>,
    bytes: AtomicUsize,
    /// The sessions, by address.
    sessions: Mutex<HashMap<usize, Weak<Shared>>>,
    cutting: Mutex<()>,
}

/// What one session holds, as far as its tenant and the process know.
pub(crate) struct Account {
    tenant: Arc<TenantBudget>,
    bytes: usize,
    dropped: u64,
}

impl Budget {
    pub(crate) fn new(limits: &QueueLimits) -> Self {
        Self {
            limit: limits.bytes,
            tenant_limit: limits.bytes_per_tenant,
            bytes: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            tenants: Mutex::default(),
            cutting: Mutex::default(),
        }
    }

    /// The budget of this tenant.
    pub(crate) fn of(self: &Arc<Self>, tenant: &Tenant) -> Arc<TenantBudget> {
        let mut tenants = self.tenants.lock();
        if let Some(known) = tenants.get(tenant).and_then(Weak::upgrade) {
            return known;
        }
        let new = Arc::new(TenantBudget {
            tenant: tenant.clone(),
            process: Arc::clone(self),
            bytes: AtomicUsize::new(0),
            sessions: Mutex::default(),
            cutting: Mutex::default(),
        });
        tenants.insert(tenant.clone(), Arc::downgrade(&new));
        new
    }

    /// The bytes of all sessions.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Events that retention has dropped in all sessions so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The bytes of a tenant's sessions.
    pub(crate) fn bytes_of(&self, tenant: &Tenant) -> usize {
        let budget = self.tenants.lock().get(tenant).and_then(Weak::upgrade);
        budget.map_or(0, |budget| budget.bytes.load(Ordering::Relaxed))
    }

    fn cut(&self) {
        let _one = self.cutting.lock();
        if self.bytes() <= self.limit {
            return;
        }
        let tenants: Vec<_> = self.tenants.lock().values().cloned().collect();
        let tenants: Vec<_> = tenants.iter().filter_map(Weak::upgrade).collect();
        let sizes = tenants.iter().map(|t| t.bytes.load(Ordering::Relaxed));
        let size = common_size(sizes.collect(), with_slack(self.limit));
        for tenant in tenants {
            tenant.cut_to(size);
        }
    }
}

impl TenantBudget {
    fn cut_to(&self, limit: usize) {
        let _one = self.cutting.lock();
        if self.bytes.load(Ordering::Relaxed) <= limit {
            return;
        }
        let sessions: Vec<_> = self.sessions.lock().values().cloned().collect();
        let sessions: Vec<_> = sessions.iter().filter_map(Weak::upgrade).collect();
        let sizes = sessions.iter().map(|session| session.state.lock().bytes());
        let size = common_size(sizes.collect(), limit);
        for session in sessions {
            // Wakes after the lock.
            let mut batch = WakeBatch::new();
            session.state.lock().cut_to(size, &mut batch);
        }
    }
}

impl Drop for TenantBudget {
    fn drop(&mut self) {
        let mut tenants = self.process.tenants.lock();
        // There may be a new one in its place already.
        if tenants
            .get(&self.tenant)
            .is_some_and(|t| t.strong_count() == 0)
        {
            tenants.remove(&self.tenant);
        }
    }
}

impl TenantBudget {
    /// Counts a session among those that pay.
    pub(crate) fn enter(&self, session: &Arc<Shared>) {
        let mut sessions = self.sessions.lock();
        sessions.insert(Arc::as_ptr(session).addr(), Arc::downgrade(session));
    }

    /// The session is no more.
    pub(crate) fn leave(&self, session: &Shared) {
        let mut sessions = self.sessions.lock();
        sessions.remove(&std::ptr::from_ref(session).addr());
    }

    /// Makes room if too much is held. No session may be locked by the caller.
    pub(crate) fn keep(&self) {
        let process = &self.process;
        if self.bytes.load(Ordering::Relaxed) > process.tenant_limit {
            self.cut_to(with_slack(process.tenant_limit));
        }
        if process.bytes() > process.limit {
            process.cut();
        }
    }
}

impl Account {
    pub(crate) fn new(tenant: Arc<TenantBudget>) -> Self {
        Self {
            tenant,
            bytes: 0,
            dropped: 0,
        }
    }

    /// Notes what the session holds now, and what it has dropped in all.
    pub(crate) fn report(&mut self, bytes: usize, dropped: u64) {
        let process = &self.tenant.process;
        if bytes != self.bytes {
            // Wraps around zero, as the sum of all differences does not.
            let change = bytes.wrapping_sub(self.bytes);
            self.tenant.bytes.fetch_add(change, Ordering::Relaxed);
            process.bytes.fetch_add(change, Ordering::Relaxed);
            self.bytes = bytes;
        }
        if dropped != self.dropped {
            let change = dropped.wrapping_sub(self.dropped);
            process.dropped.fetch_add(change, Ordering::Relaxed);
            self.dropped = dropped;
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.report(0, self.dropped);
    }
}

fn with_slack(limit: usize) -> usize {
    limit - limit / SLACK
}

/// The size to which all must be cut so that they fit together: the largest pay.
fn common_size(mut sizes: Vec<usize>, limit: usize) -> usize {
    sizes.sort_unstable();
    let mut left = limit;
    for (n, size) in sizes.iter().enumerate() {
        let share = left / (sizes.len() - n);
        if *size > share {
            return share;
        }
        left -= size;
    }
    usize::MAX
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget")
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for TenantBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantBudget")
            .field("tenant", &self.tenant)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Cut to the common size, all fit; and what fits is not cut.
        #[test]
        fn common_size_uses_the_limit_and_spares_the_small(
            sizes in prop::collection::vec(0..1000usize, 0..20),
            limit in 0..5000usize,
        ) {
            let size = common_size(sizes.clone(), limit);
            let cut: usize = sizes.iter().map(|s| *s.min(&size)).sum();
            prop_assert!(cut <= limit);
            match size {
                usize::MAX => prop_assert!(sizes.iter().sum::<usize>() <= limit),
                // Not a byte for each is wasted.
                _ => prop_assert!(limit - cut < sizes.len()),
            }
        }
    }
}
