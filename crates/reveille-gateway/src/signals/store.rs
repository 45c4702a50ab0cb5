//! The signals of one tenant: a system of their own, and the secrets that complete them.
//!
//! A secret is kept as a digest only, for as long as the system can tell how its signal ended. The
//! bounds of the system count signals; what a merge costs is counted here, by its inputs.

use std::collections::HashMap;
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::http::StatusCode;
use jiff::Timestamp;
use reveille_core::{
    MergeMode, SignalError, SignalHandle, SignalMember, SignalNetwork, SignalStats, SignalStatus,
    SignalSystem,
};
use reveille_types::Tenant;
use reveille_types::wire::{SignalInfo, SignalPending, SignalWhy};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::desk::Desk;
use super::leases::Leases;
use super::proof::{SecretDigest, secret};
use super::question::{Done, How};
use super::value::SignalValue;
use super::view::{End, info, mode_on_wire};
use crate::config::SignalLimits;
use crate::problem::Refusal;

/// Fewer secrets than this are never looked through for ones to forget.
const SWEEP_MIN: usize = 1024;
/// The reason of signals whose producers were not heard of in time.
const LEASE_RAN_OUT: &str = "lease ran out";

/// The signals of one tenant.
pub(super) struct TenantSignals {
    system: SignalSystem<SignalValue>,
    /// What reaches the signals of other gateways, if anything does.
    member: Option<Arc<dyn SignalMember<SignalValue>>>,
    limits: SignalLimits,
    /// A permit for each request that may wait.
    waiting: Semaphore,
    leases: Leases,
    book: Mutex<Book>,
}

/// What is known of signals besides how they end.
struct Book {
    /// Of every signal that was created and whose outcome is not forgotten.
    held: HashMap<SignalHandle, Held>,
    /// So many of them make it worth while to look for forgotten ones.
    sweep_at: usize,
    /// How many inputs each merge has; those that are complete are swept out when room is needed.
    merges: HashMap<SignalHandle, usize>,
    /// The sum of these, and of merges that are being made.
    inputs: usize,
}

/// A signal to be made.
#[derive(Debug, Default)]
pub(super) struct New {
    pub(super) name: Option<Arc<str>>,
    /// Who makes it, and so owes it.
    pub(super) owner: Arc<str>,
    pub(super) lease: Option<Duration>,
}

#[derive(Debug, Clone, Copy)]
struct Lease {
    length: Duration,
    until: Instant,
}

impl Lease {
    fn begin(length: Duration) -> Self {
        Self {
            length,
            until: Instant::now() + length,
        }
    }
}

struct Held {
    digest: SecretDigest,
    name: Option<Arc<str>>,
    owner: Arc<str>,
    since: Timestamp,
    lease: Option<Lease>,
}

impl TenantSignals {
    /// The signals of a tenant, joined to those at other gateways if there is a network.
    pub(super) fn new(
        limits: SignalLimits,
        tenant: &Tenant,
        network: Option<&dyn SignalNetwork<SignalValue>>,
    ) -> Arc<Self> {
        let signals = SignalSystem::builder()
            .max_signals(limits.pending)
            .history(limits.history);
        Arc::new_cyclic(|this| {
            let member = network.map(|network| {
                let desk = Arc::new(Desk::of(this.clone()));
                network.join(tenant.as_str(), signals.clone(), desk)
            });
            let joined = member.as_ref().map(|member| member.system().clone());
            Self {
                system: joined.unwrap_or_else(|| signals.build()),
                member,
                waiting: Semaphore::new(limits.waiters.min(Semaphore::MAX_PERMITS)),
                limits,
                leases: Leases::default(),
                book: Mutex::new(Book {
                    held: HashMap::new(),
                    sweep_at: SWEEP_MIN,
                    merges: HashMap::new(),
                    inputs: 0,
                }),
            }
        })
    }

    pub(super) fn system(&self) -> &SignalSystem<SignalValue> {
        &self.system
    }

    pub(super) fn member(&self) -> Option<&Arc<dyn SignalMember<SignalValue>>> {
        self.member.as_ref()
    }

    /// Whether the handle names a system of another gateway, which can be asked.
    pub(super) fn is_afar(&self, handle: SignalHandle) -> bool {
        self.member.is_some() && handle.system_id() != self.system.system_id().get()
    }

    pub(super) fn limits(&self) -> &SignalLimits {
        &self.limits
    }

    /// Makes a signal, and the secret that completes it.
    pub(super) fn create(self: &Arc<Self>, new: New) -> Result<(SignalHandle, String), Refusal> {
        let secret =
            secret().map_err(|_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal"))?;
        let digest = SecretDigest::of(&secret);
        let mut book = self.book();
        let handle = self.system.create()?.into_handle();
        let held = Held {
            digest,
            name: new.name,
            owner: new.owner,
            since: Timestamp::now(),
            lease: new.lease.map(Lease::begin),
        };
        let until = held.lease.map(|lease| lease.until);
        book.held.insert(handle, held);
        if book.held.len() >= book.sweep_at {
            book.held
                .retain(|handle, _| self.system.poll(*handle).is_ok());
            book.sweep_at = SWEEP_MIN.max(2 * book.held.len());
        }
        drop(book);
        if let Some(until) = until {
            self.leases.watch(self, handle, until);
        }
        Ok((handle, secret))
    }

    /// Does with a signal of this gateway what is ordered, if `is_permitted` says so of what is kept of
    /// its secret.
    pub(super) fn carry_out(
        &self,
        handle: SignalHandle,
        how: How,
        is_permitted: impl FnOnce(&SecretDigest) -> bool,
    ) -> Result<Done, Refusal> {
        self.permit(handle, is_permitted)?;
        let system = &self.system;
        // Registered first: however soon the outcome is forgotten, it is told here.
        let awaiter = system.awaiter(handle)?;
        match how {
            How::Trigger { value } => system.trigger(handle, value)?,
            How::Poison { reason } => system.poison(handle, reason)?,
            How::Cancel { reason } => system.cancel(handle, reason)?,
            How::Renew { lease_ms } => return self.renew(handle, lease_ms).map(Done::Renewed),
        }
        Ok(Done::Ended(self.info(handle, at_once(awaiter).as_ref())))
    }

    fn permit(
        &self,
        handle: SignalHandle,
        is_permitted: impl FnOnce(&SecretDigest) -> bool,
    ) -> Result<(), Refusal> {
        let expected = self.book().held.get(&handle).map(|held| held.digest);
        // Looked at afterwards: a digest is forgotten only after the outcome is.
        self.system.poll(handle)?;
        let Some(expected) = expected else {
            return Err(SignalError::Derived.into());
        };
        if is_permitted(&expected) {
            return Ok(());
        }
        Err(Refusal::new(StatusCode::FORBIDDEN, "not_permitted")
            .detail("this is not the secret of the signal")
            .field("secret"))
    }

    /// Begins the lease of a signal anew, and tells how long it is.
    fn renew(&self, handle: SignalHandle, length_ms: Option<u64>) -> Result<u64, Refusal> {
        match self.system.poll(handle)? {
            SignalStatus::Pending => {}
            _ => return Err(SignalError::AlreadyTriggered.into()),
        }
        let mut book = self.book();
        let lease = book.held.get_mut(&handle).and_then(|h| h.lease.as_mut());
        let lease = lease.ok_or_else(|| Refusal::new(StatusCode::CONFLICT, "no_lease"))?;
        *lease = Lease::begin(length_ms.map_or(lease.length, Duration::from_millis));
        Ok(u64::try_from(lease.length.as_millis()).unwrap_or(u64::MAX))
    }

    /// When the lease of a signal ends; nothing if it has none.
    pub(super) fn lease_end(&self, handle: SignalHandle) -> Option<Instant> {
        Some(self.book().held.get(&handle)?.lease?.until)
    }

    /// Poisons a signal whose producer has not been heard of.
    pub(super) fn expire(&self, handle: SignalHandle) {
        // It may have been completed meanwhile, which counts.
        let _ = self.system.poison(handle, LEASE_RAN_OUT);
    }

    /// What blocks a signal, as far as this gateway knows.
    pub(super) fn explain(&self, handle: SignalHandle) -> Result<SignalWhy, Refusal> {
        let explanation = self.system.explain(handle)?;
        let book = self.book();
        let pending = explanation.pending.iter().map(|pending| {
            let held = book.held.get(&pending.handle);
            SignalPending {
                handle: pending.handle.to_string(),
                name: held.and_then(|h| h.name.as_deref().map(str::to_owned)),
                owed_by: held.map(|h| h.owner.to_string()),
                since: held.map(|h| h.since),
                mode: pending.mode.map(mode_on_wire),
                waits_for: pending.waits_for.iter().map(ToString::to_string).collect(),
            }
        });
        Ok(SignalWhy {
            pending: pending.collect(),
            truncated: explanation.truncated,
        })
    }

    /// Makes a signal that its inputs complete, wherever they are.
    pub(super) fn merge(
        &self,
        inputs: &[SignalHandle],
        mode: MergeMode,
    ) -> Result<SignalHandle, Refusal> {
        self.reserve(inputs.len())?;
        let merged = self.system.merge_with(inputs, mode);
        let mut book = self.book();
        match merged {
            Ok(handle) if self.is_pending(handle) => {
                book.merges.insert(handle, inputs.len());
            }
            // Refused or complete: it costs nothing.
            _ => book.inputs -= inputs.len(),
        }
        Ok(merged?)
    }

    /// Makes room for a merge of so many inputs.
    fn reserve(&self, inputs: usize) -> Result<(), Refusal> {
        let limit = self.limits.merge_inputs_pending;
        let mut book = self.book();
        let Book {
            merges,
            inputs: sum,
            ..
        } = &mut *book;
        if *sum + inputs > limit {
            merges.retain(|handle, inputs| {
                let pending = self.is_pending(*handle);
                if !pending {
                    *sum -= *inputs;
                }
                pending
            });
        }
        if *sum + inputs > limit {
            return Err(Refusal::too_many("too_many_merge_inputs", limit));
        }
        *sum += inputs;
        Ok(())
    }

    /// How a signal of this gateway ended, if it has.
    pub(super) fn ended(&self, handle: SignalHandle) -> Result<Option<End>, Refusal> {
        if self.system.poll(handle)? == SignalStatus::Pending {
            return Ok(None);
        }
        // It is complete, so these are ready at once.
        match self.system.awaiter(handle) {
            Ok(awaiter) => Ok(at_once(awaiter)),
            Err(SignalError::Derived) => {
                let end = at_once(self.system.completion(handle)?);
                Ok(end.map(|end| end.map(|()| SignalValue::default())))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for the end of a signal of this gateway.
    pub(super) async fn end(&self, handle: SignalHandle) -> Result<End, Refusal> {
        // What is complete is told at once, and needs no room.
        let _room = match self.system.poll(handle)? {
            SignalStatus::Pending => Some(self.room_to_wait()?),
            _ => None,
        };
        match self.system.awaiter(handle) {
            Ok(awaiter) => Ok(awaiter.await),
            Err(SignalError::Derived) => {
                let end = self.system.completion(handle)?.await;
                Ok(end.map(|()| SignalValue::default()))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Counts one more who waits, until it is dropped.
    pub(super) fn room_to_wait(&self) -> Result<SemaphorePermit<'_>, Refusal> {
        self.waiting
            .try_acquire()
            .map_err(|_| Refusal::too_many("too_many_waiters", self.limits.waiters))
    }

    /// What is told of a signal that ended like this, or has not. What signals of other gateways are
    /// called is not known here.
    pub(super) fn info(&self, handle: SignalHandle, end: Option<&End>) -> SignalInfo {
        info(handle, end, |handle| self.name(handle))
    }

    /// The name of a signal, if it has one and its outcome is not forgotten.
    pub(super) fn name(&self, handle: SignalHandle) -> Option<String> {
        let name = self.book().held.get(&handle)?.name.clone();
        name.as_deref().map(str::to_owned)
    }

    pub(super) fn leases(&self) -> &Leases {
        &self.leases
    }

    pub(super) fn stats(&self) -> SignalStats {
        self.system.stats()
    }

    fn is_pending(&self, handle: SignalHandle) -> bool {
        self.system.poll(handle) == Ok(SignalStatus::Pending)
    }

    /// No code of others runs under this lock, and nothing under it panics.
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for TenantSignals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantSignals")
            .field("system", &self.system)
            .finish_non_exhaustive()
    }
}

/// What a future gives that is ready.
fn at_once<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_forgotten_with_the_outcome_of_its_signal() {
        let limits = SignalLimits {
            history: 10,
            ..SignalLimits::default()
        };
        let signals = TenantSignals::new(limits, &Tenant::default_tenant(), None);
        let (pending, _) = signals.create(New::default()).unwrap();
        for _ in 0..5 * SWEEP_MIN {
            let (handle, secret) = signals.create(New::default()).unwrap();
            let value = SignalValue::default();
            let trigger = How::Trigger { value };
            let done = signals.carry_out(handle, trigger, |kept| kept.is_of(&secret));
            assert!(matches!(done, Ok(Done::Ended(_))));
        }
        let book = signals.book();
        assert!(book.held.len() <= SWEEP_MIN, "{}", book.held.len());
        assert!(book.held.contains_key(&pending));
    }
}
