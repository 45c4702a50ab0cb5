//! How events get into the sessions of the tenant.

use std::sync::Arc;

use reveille_queue::{AppendOptions, SessionOptions, Sessions};
use reveille_types::{EventDraft, Receipt, SessionKey, Tenant};

use crate::causes::{self, Chains, Limit};
use crate::error::BusError;

/// Publishes for one tenant. Outlives the bus, but does nothing by itself.
#[derive(Debug, Clone)]
pub(crate) struct Publisher {
    pub(crate) sessions: Sessions,
    pub(crate) tenant: Tenant,
    pub(crate) chains: Arc<Chains>,
}

impl Publisher {
    /// Appends to a session, which is created if it is not there. Within a handler the events continue
    /// the chain of the event that it is called for.
    pub(crate) async fn publish(
        &self,
        session: SessionKey,
        mut events: Vec<EventDraft>,
    ) -> Result<Receipt, BusError> {
        match causes::continue_chain(&self.chains, &mut events) {
            Ok(()) => self.append(session, events).await,
            Err(looped) => {
                if let Some(report) = looped.report {
                    self.append(session, vec![*report]).await?;
                }
                Err(match looped.limit {
                    Limit::Hops(limit) => BusError::LoopDetected { limit },
                    Limit::Rate(limit, per) => BusError::ChainTooFast { limit, per },
                })
            }
        }
    }

    /// Appends to a session as it is.
    pub(crate) async fn append(
        &self,
        session: SessionKey,
        events: Vec<EventDraft>,
    ) -> Result<Receipt, BusError> {
        if session.tenant != self.tenant {
            return Err(BusError::TenantMismatch);
        }
        let options = SessionOptions::default();
        let (log, _) = self.sessions.get_or_create(session, options).await?;
        Ok(log.append(events, AppendOptions::default()).await?)
    }
}
