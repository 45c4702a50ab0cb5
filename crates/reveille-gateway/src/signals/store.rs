//! The signals of one tenant: a system of their own, and the secrets that complete them.
//!
//! A secret is kept as a digest only, for as long as the system can tell how its signal ended. The
//! bounds of the system count signals; what a merge costs is counted here, by its inputs.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use reveille_core::{
    MergeMode, Poison, SignalError, SignalHandle, SignalStats, SignalStatus, SignalSystem,
};
use reveille_types::wire::{SignalMergeMode, SignalPending, SignalWhy};
use reveille_types::{Payload, Tenant};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::leases::Leases;
use crate::config::SignalLimits;
use crate::problem::Refusal;

/// How many random bytes a secret has.
const SECRET_BYTES: usize = 20;
/// Fewer secrets than this are never looked through for ones to forget.
const SWEEP_MIN: usize = 1024;
/// The reason of signals whose producers were not heard of in time.
const LEASE_RAN_OUT: &str = "lease ran out";

/// How a signal ended: with its value, which may be none, or not well.
pub(super) type End = Result<Payload, Poison>;

/// The signals of all tenants.
#[derive(Debug)]
pub(crate) struct Signals {
    limits: SignalLimits,
    tenants: Mutex<HashMap<Tenant, Arc<TenantSignals>>>,
}

impl Signals {
    pub(crate) fn new(limits: SignalLimits) -> Self {
        Self {
            limits,
            tenants: Mutex::default(),
        }
    }

    /// The signals of a tenant.
    pub(super) fn of(&self, tenant: Tenant) -> Arc<TenantSignals> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let signals = tenants
            .entry(tenant)
            .or_insert_with(|| Arc::new(TenantSignals::new(self.limits.clone())));
        Arc::clone(signals)
    }
}

/// The signals of one tenant.
pub(super) struct TenantSignals {
    system: SignalSystem<Payload>,
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

fn mode_on_wire(mode: MergeMode) -> SignalMergeMode {
    match mode {
        MergeMode::FailFast => SignalMergeMode::FailFast,
        MergeMode::AnyOf => SignalMergeMode::Any,
        MergeMode::NOf(n) => SignalMergeMode::N(n.try_into().unwrap_or(NonZeroU32::MAX)),
        _ => SignalMergeMode::AllSettled,
    }
}

struct Held {
    digest: [u8; 32],
    name: Option<Arc<str>>,
    owner: Arc<str>,
    since: Timestamp,
    lease: Option<Lease>,
}

impl TenantSignals {
    fn new(limits: SignalLimits) -> Self {
        Self {
            system: SignalSystem::builder()
                .max_signals(limits.pending)
                .history(limits.history)
                .build(),
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
    }

    pub(super) fn limits(&self) -> &SignalLimits {
        &self.limits
    }

    /// Makes a signal, and the secret that completes it.
    pub(super) fn create(self: &Arc<Self>, new: New) -> Result<(SignalHandle, String), Refusal> {
        let mut random = [0; SECRET_BYTES];
        getrandom::fill(&mut random)
            .map_err(|_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal"))?;
        let secret = HEXLOWER.encode(&random);
        let digest = digest(&secret);
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

    /// Begins the lease of a signal anew, and tells how long it is.
    pub(super) fn renew(
        &self,
        handle: SignalHandle,
        secret: &str,
        length: Option<Duration>,
    ) -> Result<u64, Refusal> {
        self.permit(handle, secret)?;
        match self.system.poll(handle)? {
            SignalStatus::Pending => {}
            _ => return Err(SignalError::AlreadyTriggered.into()),
        }
        let mut book = self.book();
        let lease = book.held.get_mut(&handle).and_then(|h| h.lease.as_mut());
        let lease = lease.ok_or_else(|| Refusal::new(StatusCode::CONFLICT, "no_lease"))?;
        *lease = Lease::begin(length.unwrap_or(lease.length));
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

    /// What blocks a signal.
    pub(super) fn why(&self, handle: SignalHandle) -> Result<SignalWhy, Refusal> {
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

    /// Makes a signal that its inputs complete.
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

    /// Completes a signal as `how` does, if `secret` is its own, and tells how it ended.
    pub(super) async fn complete(
        &self,
        handle: SignalHandle,
        secret: &str,
        how: impl FnOnce(&SignalSystem<Payload>) -> Result<(), SignalError>,
    ) -> Result<End, Refusal> {
        self.permit(handle, secret)?;
        // Registered first: however soon the outcome is forgotten, it is told here.
        let awaiter = self.system.awaiter(handle)?;
        how(&self.system)?;
        Ok(awaiter.await)
    }

    fn permit(&self, handle: SignalHandle, secret: &str) -> Result<(), Refusal> {
        let expected = self.book().held.get(&handle).map(|held| held.digest);
        // Looked at afterwards: a digest is forgotten only after the outcome is.
        self.system.poll(handle)?;
        let Some(expected) = expected else {
            return Err(SignalError::Derived.into());
        };
        if bool::from(digest(secret).ct_eq(&expected)) {
            return Ok(());
        }
        Err(Refusal::new(StatusCode::FORBIDDEN, "not_permitted")
            .detail("this is not the secret of the signal")
            .field("secret"))
    }

    /// How a signal ended, if it has.
    pub(super) async fn ended(&self, handle: SignalHandle) -> Result<Option<End>, Refusal> {
        match self.system.poll(handle)? {
            SignalStatus::Pending => Ok(None),
            // It is complete, so this is ready at once.
            _ => self.end(handle).await.map(Some),
        }
    }

    /// Waits for the end of a signal.
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
                Ok(end.map(|()| Payload::none()))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Counts one more who waits, until it is dropped.
    fn room_to_wait(&self) -> Result<SemaphorePermit<'_>, Refusal> {
        self.waiting
            .try_acquire()
            .map_err(|_| Refusal::too_many("too_many_waiters", self.limits.waiters))
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

/// A secret is random and long, so a plain digest cannot be turned back.
fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_secret_is_forgotten_with_the_outcome_of_its_signal() {
        let limits = SignalLimits {
            history: 10,
            ..SignalLimits::default()
        };
        let signals = Arc::new(TenantSignals::new(limits));
        let (pending, _) = signals.create(New::default()).unwrap();
        for _ in 0..5 * SWEEP_MIN {
            let (handle, secret) = signals.create(New::default()).unwrap();
            let trigger = |system: &SignalSystem<Payload>| system.trigger(handle, Payload::none());
            signals
                .complete(handle, &secret, trigger)
                .await
                .unwrap()
                .unwrap();
        }
        let book = signals.book();
        assert!(book.held.len() <= SWEEP_MIN, "{}", book.held.len());
        assert!(book.held.contains_key(&pending));
    }

    #[tokio::test]
    async fn another_tenant_does_not_know_a_handle() {
        let signals = Signals::new(SignalLimits::default());
        let (handle, secret) = signals
            .of(Tenant::default_tenant())
            .create(New::default())
            .unwrap();
        let other = signals.of(Tenant::parse("other").unwrap());
        let asked = other.ended(handle).await.unwrap_err();
        let completed = other
            .complete(handle, &secret, |_| Ok(()))
            .await
            .unwrap_err();
        let merged = other.merge(&[handle], MergeMode::AllSettled).unwrap_err();
        let never = other.ended(handle.with_generation(9)).await.unwrap_err();
        for refusal in [asked, completed, merged] {
            assert_eq!(format!("{refusal:?}"), format!("{never:?}"));
        }
    }
}
