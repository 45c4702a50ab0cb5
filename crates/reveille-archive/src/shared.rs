//! What the handles of a log share with the writer: where it ends now, and who waits for more.

use std::sync::Arc;

use reveille_backend::{BackendError, LogInfo, Seal};
use reveille_core::sync::{Mutex, MutexGuard};
use reveille_core::{Removed, WaitList, WaiterKey, WakeBatch};
use reveille_types::{Epoch, Position, SessionKey};

use std::task::Waker;

use crate::store::LogId;

/// One incarnation of one log, for as long as somebody has a handle of it.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) id: LogId,
    pub(crate) key: Arc<SessionKey>,
    pub(crate) epoch: Epoch,
    /// What was kept with the log when it was made.
    pub(crate) attributes: Box<str>,
    state: Mutex<State>,
}

/// What was committed last.
#[derive(Debug)]
struct State {
    oldest: Position,
    latest: Position,
    seal: Option<Seal>,
    is_gone: bool,
    waiters: WaitList<()>,
}

/// What a watch finds.
pub(crate) enum Look {
    /// There is more, or it is over.
    Ready(Result<(), BackendError>),
    /// There is not; the waker is registered. What it replaced is to be dropped.
    Wait(Option<Waker>),
}

impl Shared {
    pub(crate) fn new(
        id: LogId,
        key: Arc<SessionKey>,
        info: &LogInfo,
        attributes: Box<str>,
    ) -> Self {
        Self {
            id,
            key,
            epoch: info.epoch,
            attributes,
            state: Mutex::new(State {
                oldest: info.oldest,
                latest: info.latest,
                seal: info.seal.clone(),
                is_gone: false,
                waiters: WaitList::new(),
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// The end of the log, if the incarnation is still there.
    pub(crate) fn latest(&self) -> Result<(Position, Position), BackendError> {
        let state = self.lock();
        match state.is_gone {
            true => Err(BackendError::NotFound),
            false => Ok((state.oldest, state.latest)),
        }
    }

    pub(crate) fn info(&self) -> Result<LogInfo, BackendError> {
        let state = self.lock();
        if state.is_gone {
            return Err(BackendError::NotFound);
        }
        Ok(LogInfo {
            epoch: self.epoch,
            oldest: state.oldest,
            latest: state.latest,
            seal: state.seal.clone(),
        })
    }

    /// Shows what was committed. Wakes all who wait, if there is something to wake for.
    pub(crate) fn publish(
        &self,
        oldest: Position,
        latest: Position,
        seal: Option<&Seal>,
        batch: &mut WakeBatch,
    ) {
        let mut state = self.lock();
        let is_news = latest != state.latest || seal.is_some() != state.seal.is_some();
        state.oldest = oldest;
        state.latest = latest;
        state.seal = seal.cloned();
        if is_news {
            state.waiters.wake_all(batch);
        }
    }

    /// Shows that the incarnation was removed or replaced.
    pub(crate) fn remove(&self, batch: &mut WakeBatch) {
        let mut state = self.lock();
        state.is_gone = true;
        state.waiters.wake_all(batch);
    }

    /// Looks for events past `after`, or registers the waker.
    pub(crate) fn look(
        &self,
        after: Position,
        waiter: &mut Option<WaiterKey>,
        waker: Waker,
    ) -> Look {
        let mut state = self.lock();
        if state.is_gone {
            return Look::Ready(Err(BackendError::NotFound));
        }
        if state.latest > after || state.seal.is_some() {
            return Look::Ready(Ok(()));
        }
        Look::Wait(match waiter {
            Some(key) => state.waiters.set_waker(*key, waker),
            None => {
                *waiter = Some(state.waiters.insert(Some(waker), ()));
                None
            }
        })
    }

    /// Takes a waiter out.
    pub(crate) fn leave(&self, waiter: WaiterKey) -> Option<Removed<()>> {
        self.lock().waiters.remove(waiter)
    }
}
