//! Sessions whose events are kept by a store.
//!
//! The window holds what the store retains, so that all ways to read are the same as on an immediate
//! backend. A commit happens in the store, without any lock held; its events are applied here in
//! position order, under the lock, by whoever learns of them first: the append that has the answer, or
//! the feeder, which also sees commits whose answer was lost or whose append was dropped. The feeder
//! tells the store in turn what has left the window and that the session is over, also when it expired.

use std::future::poll_fn;
use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock, Weak};
use std::task::Poll;
use std::time::Duration;

use reveille_backend::{
    AppendError as StoreError, Backend, BackendError, Entry, IdempotencyKey, ReadLimit, Seal, Slot,
    StoredLog, Watch,
};
use reveille_core::WakeBatch;
use reveille_types::{EndReason, Event, Kind, Position, Receipt, Start, end_of_session};

use crate::append::name_stored;
use crate::error::{AppendError, SessionError, StoreFailure};
use crate::group_log::GroupLog;
use crate::lifecycle::CancelRequest;
use crate::log::{SessionLog, Shared, cancelled_before};
use crate::options::AppendOptions;
use crate::outcome::CancelOutcome;
use crate::runtime;
use crate::state::{Cancelled, Duty};
use crate::window::Window;

/// What is read from a store at once.
const READ: ReadLimit = ReadLimit {
    events: 1_000,
    bytes: 4 * 1024 * 1024,
};
/// The key of the event that tells of a cancel: there is one of an incarnation, however many processes ask
/// for it and however often an answer is lost. No producer can give an event this key.
pub(crate) const CANCEL_KEY: &str = "\u{1}cancel";
/// How often an append is tried whose answer is lost.
const ATTEMPTS: usize = 3;
/// How late the last of these may begin.
const ATTEMPTS_WITHIN: Duration = Duration::from_secs(10);
/// How long the feeder waits after the store failed.
const PAUSE: Duration = Duration::from_secs(1);

/// What a session has in a store.
pub(crate) struct Stored {
    pub(crate) log: Arc<dyn StoredLog>,
    pub(crate) backend: Arc<dyn Backend>,
    /// Ends with the session: applies what became committed without an answer here.
    feeder: OnceLock<runtime::AbortHandle>,
    /// Held while a cancel is appended to the store, so that there is one.
    cancelling: runtime::Mutex<()>,
    /// What the groups have done, once there is one.
    pub(crate) groups: OnceLock<GroupLog>,
    /// Held while the log of the groups is opened, so that it is opened once.
    pub(crate) opening_groups: runtime::Mutex<()>,
}

impl Stored {
    pub(crate) fn new(log: Arc<dyn StoredLog>, backend: &Arc<dyn Backend>) -> Self {
        Self {
            log,
            backend: Arc::clone(backend),
            feeder: OnceLock::new(),
            cancelling: runtime::Mutex::default(),
            groups: OnceLock::new(),
            opening_groups: runtime::Mutex::default(),
        }
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        if let Some(feeder) = self.feeder.get() {
            feeder.abort();
        }
    }
}

impl SessionLog {
    /// Loads what the store retains, and begins to follow it. Needs a tokio runtime.
    pub(crate) async fn load(&self, seal: Option<Seal>) -> Result<(), SessionError> {
        let Some(stored) = &self.0.stored else {
            return Ok(());
        };
        while self.catch_up(&*stored.log).await? {}
        if let Some(seal) = seal {
            self.apply_seal(seal);
        }
        let feeding = feed(Arc::downgrade(&self.0), Arc::clone(&stored.log));
        // There is one load of a session, so the place is free.
        let _ = stored.feeder.set(runtime::spawn(feeding));
        Ok(())
    }

    /// Learns what a stored session holds before this place, if another process has named it and this one
    /// has not read so far yet. [`wait`](Self::wait), [`take`](Self::take) and [`skip_to`](Self::skip_to)
    /// do so by themselves. A [page](Self::page) or a [subscription](Self::subscribe) would refuse the place
    /// as ahead.
    ///
    /// # Errors
    /// [`StoreFailure`].
    ///
    /// # Cancel safety
    /// A dropped future changes nothing.
    pub async fn load_to(&self, start: Start) -> Result<(), StoreFailure> {
        if let Some(stored) = &self.0.stored
            && self.is_ahead(start)
        {
            // Larger, and not for those to carry whose place is known.
            Box::pin(async {
                while self.is_ahead(start) && self.catch_up(&*stored.log).await? {}
                Ok(())
            })
            .await
        } else {
            Ok(())
        }
    }

    /// Whether this place is of this log, and beyond what is known here.
    fn is_ahead(&self, start: Start) -> bool {
        let place = match start {
            Start::At(position) => Some(position),
            Start::After(cursor) if cursor.epoch() == self.epoch() => cursor.position(),
            _ => None,
        };
        place.is_some_and(|place| place > self.0.state.lock().window.latest())
    }

    /// Reads what follows the window from the store, and applies it. Whether there was anything.
    pub(crate) async fn catch_up(&self, stored: &dyn StoredLog) -> Result<bool, BackendError> {
        let from = self.0.state.lock().window.latest();
        let page = stored.read(from, READ).await?;
        if page.oldest > from {
            let mut batch = WakeBatch::new();
            self.0.state.lock().skip_to(page.oldest, &mut batch);
            batch.wake_all();
        }
        self.apply_stored(page.events);
        Ok(self.0.state.lock().window.latest() > from)
    }

    fn apply_stored(&self, events: Vec<Event>) {
        let now = self.now();
        let mut batch = WakeBatch::new();
        let cancel = events
            .iter()
            .find(|event| event.kind().as_str() == Kind::CANCEL_REQUESTED)
            .cloned();
        let mut state = self.0.state.lock();
        state.apply_stored(events, &self.0.environment.registry, now, &mut batch);
        let mut cancelled = None;
        if let Some(event) = cancel
            && state.cancelled.is_none()
        {
            let CancelRequest { reason, grace_ms } = event.payload().parse().unwrap_or_default();
            let time = event.envelope().time;
            // What is left of the grace, by the clocks that two processes have in common.
            let since = Duration::try_from(now.wall().duration_since(time)).unwrap_or_default();
            let grace = grace_ms.map(|ms| Duration::from_millis(ms).saturating_sub(since));
            state.cancelled = Some(Box::new(Cancelled {
                reason: reason.as_deref().map(Into::into),
                wall: self.0.token().note(time),
                grace_until: grace.and_then(|grace| now.monotonic.checked_add(grace)),
            }));
            cancelled = Some(reason);
        }
        self.remind(&mut state);
        let tail = state.tail.clone();
        drop(state);
        batch.wake_all();
        if let Some(tail) = tail {
            tail.mind_holes();
        }
        self.0.budget.keep();
        if let Some(reason) = cancelled {
            self.0.token().token().cancel(reason.as_deref());
        }
    }

    /// The store does not have this incarnation any more: somebody else removed or replaced it.
    fn forget_stored(&self) {
        let now = self.now();
        let mut batch = WakeBatch::new();
        let mut state = self.0.state.lock();
        if state.ended.is_some() {
            return;
        }
        state.delete(now, &mut batch);
        let tail = state.tail.clone();
        drop(state);
        if let Some(tail) = tail {
            tail.forget(&self.0.key, self.0.epoch);
        }
    }

    fn apply_seal(&self, seal: Seal) {
        let now = self.now();
        let mut batch = WakeBatch::new();
        let mut state = self.0.state.lock();
        state.seal(seal.reason, seal.message, now, &mut batch);
        self.remind(&mut state);
    }

    /// Appends in the store, then here.
    pub(crate) async fn append_stored(
        &self,
        stored: &dyn StoredLog,
        entries: Vec<Entry>,
        options: AppendOptions,
    ) -> Result<Receipt, AppendError> {
        let now = self.now();
        let (ended, begin) = {
            let mut batch = WakeBatch::new();
            let state = self.lock_due(now, &mut batch);
            let ended = state.ended.as_ref().map(|ended| ended.reason);
            (ended, state.window.latest())
        };
        // A repeated append is answered even after the end: the store looks at its keys.
        if let Some(reason) = ended
            && entries.iter().any(|e| e.key.is_none())
        {
            return Err(AppendError::Ended { reason });
        }
        let mut conditions = reveille_backend::AppendOptions::at(now.monotonic);
        conditions.durability = options.durability;
        conditions.seal = self.sealing(&entries);
        conditions.expected = match ended {
            None => options.expected,
            // Only what is known already may pass: nothing ends at an impossible position.
            Some(_) => Some(Position(u64::MAX)),
        };
        let Settled { slots, retried } = append_settled(stored, &entries, conditions)
            .await
            .map_err(|error| match ended {
                None => self.refused(error),
                Some(reason) => AppendError::Ended { reason },
            })?;
        let mut receipt = self.receipt(&entries, &slots);
        let events = {
            let mut state = self.0.state.lock();
            let placed = entries.into_iter().zip(&slots);
            placed
                .filter_map(|(entry, slot)| state.event(entry, *slot))
                .collect()
        };
        self.apply_stored(events);
        // What an earlier attempt stored is in the store only. The feeder brings it, too, if this fails.
        let is_known = slots.iter().any(|slot| slot.deduplicated);
        if is_known && self.0.state.lock().window.latest() <= receipt.last() {
            let _ = self.catch_up(stored).await;
        }
        if is_known {
            let state = self.0.state.lock();
            if retried {
                claim_own(&mut receipt, &state.window, begin);
            }
            name_stored(&mut receipt, &state.window);
        }
        Ok(receipt)
    }

    /// Why a batch ends the session, if it does: only its last event can.
    fn sealing(&self, entries: &[Entry]) -> Option<EndReason> {
        end_of_session(
            entries.last()?.event.envelope(),
            &self.0.environment.registry,
        )
    }

    /// Seals in the store, then here, behind everything that was committed before.
    pub(crate) async fn close_stored(
        &self,
        stored: &dyn StoredLog,
        seal: Seal,
    ) -> Result<bool, SessionError> {
        let now = self.now();
        let over = {
            let mut batch = WakeBatch::new();
            self.lock_due(now, &mut batch).ended.is_some()
        };
        if over {
            return Ok(false);
        }
        let sealed = stored.seal(seal).await?;
        while self.catch_up(stored).await? {}
        if let Some(seal) = stored.info().await?.seal {
            self.apply_seal(seal);
        }
        Ok(sealed)
    }

    /// Asks the producer to stop. The event that tells of it sets the token when it is applied, so that
    /// it is the same whether the answer comes, is lost, or nobody waits for it any more.
    pub(crate) async fn cancel_stored(
        &self,
        stored: &Stored,
        mut entry: Entry,
        reason: Option<&str>,
        grace: Option<Duration>,
    ) -> Result<CancelOutcome, AppendError> {
        let failed = |error: BackendError| AppendError::Backend(error.into());
        let _one = stored.cancelling.lock().await;
        let stored = &*stored.log;
        while self.catch_up(stored).await.map_err(failed)? {}
        {
            let mut batch = WakeBatch::new();
            if let Some(known) = cancelled_before(&self.lock_due(self.now(), &mut batch))? {
                return Ok(known);
            }
        }
        entry.key = Some(IdempotencyKey {
            key: CANCEL_KEY.into(),
            // The same whatever the reason, so that the first of all cancels is the one.
            fingerprint: 0,
        });
        let options = AppendOptions::default();
        let receipt = self.append_stored(stored, vec![entry], options).await?;
        if receipt.deduplicated() {
            // Another process was first.
            while self.catch_up(stored).await.map_err(failed)? {}
            let mut batch = WakeBatch::new();
            if let Some(known) = cancelled_before(&self.lock_due(self.now(), &mut batch))? {
                return Ok(known);
            }
        }
        let outcome = {
            let mut state = self.0.state.lock();
            self.note_cancel(&mut state, reason, grace, self.now())
        };
        self.0.token().token().cancel(reason);
        Ok(outcome)
    }
}

/// What a store answered.
pub(crate) struct Settled {
    slots: Vec<Slot>,
    /// The answer to an earlier attempt was lost.
    retried: bool,
}

/// What an attempt of this append stored whose answer was lost is its own: it has the id that the event
/// got here, and lies behind what was there before.
fn claim_own(receipt: &mut Receipt, window: &Window, begin: Position) {
    for placed in &mut receipt.results {
        let stored = window.get(placed.position);
        let is_own = stored.is_some_and(|event| event.envelope().id == placed.id);
        if placed.position >= begin && is_own {
            placed.deduplicated = false;
        }
    }
}

/// Appends, and tries again when the answer is lost and the keys say whether it is stored. What is unknown
/// stays so, whatever another attempt fails of.
pub(crate) async fn append_settled(
    stored: &dyn StoredLog,
    entries: &[Entry],
    conditions: reveille_backend::AppendOptions,
) -> Result<Settled, StoreError> {
    let keyed = entries.iter().all(|entry| entry.key.is_some());
    let mut lost = false;
    let begun = runtime::now();
    for attempt in 0..ATTEMPTS {
        // Whoever waits is told within bounds; the keys settle it when he asks again.
        if attempt > 0 && runtime::now() - begun >= ATTEMPTS_WITHIN {
            break;
        }
        match stored.append(entries.to_vec(), conditions).await {
            Err(StoreError::OutcomeUnknown) if keyed => lost = true,
            Err(StoreError::Backend(_)) if lost => {}
            settled => {
                let slots = settled?;
                let retried = lost;
                return Ok(Settled { slots, retried });
            }
        }
    }
    Err(StoreError::OutcomeUnknown)
}

/// Applies what the store commits and tells it what it must know, until the session is over or dropped.
/// A failing store is asked again.
async fn feed(session: Weak<Shared>, stored: Arc<dyn StoredLog>) {
    loop {
        match feed_once(&session, &*stored).await {
            Ok(ControlFlow::Continue(())) => {}
            Ok(ControlFlow::Break(())) => return,
            Err(BackendError::NotFound) => {
                if let Some(shared) = session.upgrade() {
                    SessionLog(shared).forget_stored();
                }
                return;
            }
            Err(_) => runtime::sleep(PAUSE).await,
        }
    }
}

async fn feed_once(
    session: &Weak<Shared>,
    stored: &dyn StoredLog,
) -> Result<ControlFlow<()>, BackendError> {
    let Some(log) = session.upgrade().map(SessionLog) else {
        return Ok(ControlFlow::Break(()));
    };
    let duty = log.0.state.lock().duty();
    match duty {
        Some(Duty::Trim(before)) => {
            stored.trim(before).await?;
            log.0.state.lock().trimmed = before;
            return Ok(ControlFlow::Continue(()));
        }
        Some(Duty::Seal(seal)) => {
            if seal.reason != EndReason::Deleted {
                stored.seal(seal).await?;
                // What was committed before the seal has a place in the tenant's order.
                while log.catch_up(stored).await? {}
            }
            return Ok(ControlFlow::Break(()));
        }
        None => {}
    }
    let latest = log.0.state.lock().window.latest();
    // Armed before the log is read: what is appended from then on is not missed.
    let watch = stored.watch(latest).await?;
    if log.catch_up(stored).await? {
        return Ok(ControlFlow::Continue(()));
    }
    drop(log);
    watch_or_duty(session, watch).await?;
    if let Some(seal) = stored.info().await?.seal
        && let Some(log) = session.upgrade().map(SessionLog)
    {
        // What was appended before the seal comes before the end.
        while log.catch_up(stored).await? {}
        log.apply_seal(seal);
        return Ok(ControlFlow::Break(()));
    }
    Ok(ControlFlow::Continue(()))
}

/// Waits for the store, or until it must be told something.
async fn watch_or_duty(session: &Weak<Shared>, mut watch: Watch) -> Result<(), BackendError> {
    poll_fn(|cx| {
        if let Poll::Ready(seen) = watch.as_mut().poll(cx) {
            return Poll::Ready(seen);
        }
        let Some(shared) = session.upgrade() else {
            return Poll::Ready(Ok(()));
        };
        let waker = cx.waker().clone();
        // A waker is dropped after the lock.
        let _replaced;
        let mut state = shared.state.lock();
        if state.duty().is_some() {
            return Poll::Ready(Ok(()));
        }
        _replaced = state.feeder.replace(waker);
        Poll::Pending
    })
    .await
}

#[cfg(all(test, not(loom), not(shuttle)))]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use async_trait::async_trait;
    use reveille_backend::{AppendOptions, LogInfo, LogPage};

    use super::*;

    /// A store whose answers are lost, each after so long.
    #[derive(Debug)]
    struct Silent(Duration, AtomicU32);

    #[async_trait]
    impl StoredLog for Silent {
        async fn append(&self, _: Vec<Entry>, _: AppendOptions) -> Result<Vec<Slot>, StoreError> {
            self.1.fetch_add(1, Ordering::Relaxed);
            runtime::sleep(self.0).await;
            Err(StoreError::OutcomeUnknown)
        }

        async fn read(&self, _: Position, _: ReadLimit) -> Result<LogPage, BackendError> {
            Err(BackendError::NotFound)
        }

        async fn watch(&self, _: Position) -> Result<Watch, BackendError> {
            Err(BackendError::NotFound)
        }

        async fn seal(&self, _: Seal) -> Result<bool, BackendError> {
            Err(BackendError::NotFound)
        }

        async fn trim(&self, _: Position) -> Result<(), BackendError> {
            Err(BackendError::NotFound)
        }

        async fn info(&self) -> Result<LogInfo, BackendError> {
            Err(BackendError::NotFound)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_append_without_answers_is_told_before_it_has_been_tried_for_long() {
        for (answer_secs, attempts, secs) in [(1, 3, 3), (5, 2, 10), (15, 1, 15)] {
            let store = Silent(Duration::from_secs(answer_secs), AtomicU32::new(0));
            let begun = runtime::now();
            let conditions = AppendOptions::at(begun);
            let told = append_settled(&store, &[], conditions).await;
            assert!(matches!(told, Err(StoreError::OutcomeUnknown)));
            assert_eq!(store.1.into_inner(), attempts);
            assert_eq!(runtime::now() - begun, Duration::from_secs(secs));
        }
    }
}
