//! The signals of all tenants of a gateway.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use reveille_core::SignalNetwork;
use reveille_types::Tenant;
use tokio::task::JoinSet;

use super::store::TenantSignals;
use super::value::SignalValue;
use crate::config::SignalLimits;

/// The signals of all tenants.
#[derive(Debug)]
pub(crate) struct Signals {
    limits: SignalLimits,
    /// What reaches the signals of other gateways, if anything does.
    network: OnceLock<Arc<dyn SignalNetwork<SignalValue>>>,
    tenants: Mutex<HashMap<Tenant, Arc<TenantSignals>>>,
}

impl Signals {
    pub(crate) fn new(limits: SignalLimits) -> Self {
        Self {
            limits,
            network: OnceLock::new(),
            tenants: Mutex::default(),
        }
    }

    /// Has this network reach the signals of other gateways. The first one counts, for tenants of which
    /// nobody has made a signal yet.
    pub(crate) fn join(&self, network: Arc<dyn SignalNetwork<SignalValue>>) {
        let _ = self.network.set(network);
    }

    /// The signals of a tenant.
    pub(super) fn of(&self, tenant: Tenant) -> Arc<TenantSignals> {
        let mut tenants = self.tenants();
        if let Some(signals) = tenants.get(&tenant) {
            return Arc::clone(signals);
        }
        let network = self.network.get().map(|network| &**network);
        let signals = TenantSignals::new(self.limits.clone(), &tenant, network);
        tenants.insert(tenant, Arc::clone(&signals));
        signals
    }

    /// Says farewell to other gateways.
    pub(crate) async fn leave(&self) {
        let all: Vec<_> = self.tenants().values().map(Arc::clone).collect();
        let mut leaving = JoinSet::new();
        for member in all.iter().filter_map(|signals| signals.member()) {
            let member = Arc::clone(member);
            leaving.spawn(async move { member.leave().await });
        }
        leaving.join_all().await;
    }

    fn tenants(&self) -> MutexGuard<'_, HashMap<Tenant, Arc<TenantSignals>>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use reveille_core::MergeMode;

    use super::*;
    use crate::signals::question::How;
    use crate::signals::store::New;

    #[test]
    fn another_tenant_does_not_know_a_handle() {
        let signals = Signals::new(SignalLimits::default());
        let (handle, secret) = signals
            .of(Tenant::default_tenant())
            .create(New::default())
            .unwrap();
        let other = signals.of(Tenant::parse("other").unwrap());
        let asked = other.ended(handle).unwrap_err();
        let value = SignalValue::default();
        let completed = other
            .carry_out(handle, How::Trigger { value }, |kept| kept.is_of(&secret))
            .unwrap_err();
        let merged = other.merge(&[handle], MergeMode::AllSettled).unwrap_err();
        let never = other.ended(handle.with_generation(9)).unwrap_err();
        for refusal in [asked, completed, merged] {
            assert_eq!(format!("{refusal:?}"), format!("{never:?}"));
        }
    }
}
