//! The table of sessions that can be found.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use foldhash::quality::RandomState;
use reveille_types::{SessionKey, Tenant};

use crate::log::SessionLog;

/// Every session that can be found. `per_tenant` counts the keys of each tenant, none of them zero.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) sessions: HashMap<Arc<SessionKey>, SessionLog, RandomState>,
    pub(crate) per_tenant: HashMap<Tenant, usize>,
}

impl Table {
    /// Hands back the session that was under its key.
    pub(crate) fn insert(&mut self, log: SessionLog) -> Option<SessionLog> {
        match self.sessions.entry(Arc::clone(log.key())) {
            Entry::Occupied(mut present) => Some(present.insert(log)),
            Entry::Vacant(free) => {
                *self
                    .per_tenant
                    .entry(free.key().tenant.clone())
                    .or_default() += 1;
                free.insert(log);
                None
            }
        }
    }

    pub(crate) fn remove(&mut self, key: &SessionKey) -> Option<SessionLog> {
        let log = self.sessions.remove(key)?;
        if let Entry::Occupied(mut count) = self.per_tenant.entry(key.tenant.clone()) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        Some(log)
    }

    /// Removes this very incarnation, not a newer one under the same key.
    pub(crate) fn remove_this(&mut self, log: &SessionLog) -> bool {
        let same = |present: &SessionLog| Arc::ptr_eq(&present.0, &log.0);
        self.sessions.get(&**log.key()).is_some_and(same) && self.remove(log.key()).is_some()
    }
}
