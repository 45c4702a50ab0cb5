//! Whether the store answers, for all streams that read from it.
//!
//! A store that processes share is asked how it is while there are streams, once for all of them. When
//! it has not said for long that it is well, it is lost: its streams end, and no others begin until it is
//! back, because elsewhere there may be a gateway that reaches it.

use std::sync::Arc;
use std::time::Duration;

use reveille_core::sync::Mutex;
use reveille_core::{CancelToken, Cancelled, SystemClock};
use tokio::time::{Instant, sleep, timeout};

use crate::gateway::{Gateway, WeakGateway};
use crate::problem::Refusal;

/// How long there is between an answer of the store and the next question, at most.
const PAUSE: Duration = Duration::from_secs(3);
/// The same at least, however soon a store is given up.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

/// What is known of the store.
#[derive(Debug)]
pub(crate) struct StoreWatch(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Cancelled when the store is lost; another one once it is back.
    lost: CancelToken,
    /// Whether there is a task that asks.
    asking: bool,
}

impl Default for StoreWatch {
    fn default() -> Self {
        Self(Mutex::new(State {
            lost: token(),
            asking: false,
        }))
    }
}

fn token() -> CancelToken {
    CancelToken::new(Arc::new(SystemClock))
}

impl StoreWatch {
    /// What resolves when the store is lost, for a stream that is among the connections already; none if
    /// the store is never lost. A stream is refused while the store is lost.
    pub(crate) fn watch(&self, gateway: &Gateway) -> Result<Option<Cancelled>, Refusal> {
        let patience = gateway.config().backend_lost_after;
        if patience.is_zero() || !gateway.sessions().backend().capabilities().shared {
            return Ok(None);
        }
        let mut state = self.0.lock();
        if state.lost.is_cancelled() {
            let refusal = Refusal::unavailable("backend_unavailable");
            return Err(refusal.retry_after(pause(patience)));
        }
        if !state.asking {
            state.asking = true;
            tokio::spawn(ask(gateway.downgrade(), patience));
        }
        Ok(Some(state.lost.cancelled()))
    }

    /// Whether nobody needs an answer. Then the task ends that asks: the next stream starts another.
    fn is_over(&self, gateway: &Gateway) -> bool {
        let mut state = self.0.lock();
        // Streams are counted before they look here, so that none is left without the task.
        state.asking = state.lost.is_cancelled() || gateway.connections().len() > 0;
        !state.asking
    }

    fn is_lost(&self) -> bool {
        self.0.lock().lost.is_cancelled()
    }

    fn lose(&self) {
        // Not under the lock: it wakes the streams.
        let lost = self.0.lock().lost.clone();
        lost.cancel(Some("backend_lost"));
    }

    fn find(&self) {
        self.0.lock().lost = token();
    }
}

fn pause(patience: Duration) -> Duration {
    PAUSE.min(patience / 4).max(SHORTEST_PAUSE)
}

/// Asks the store how it is, as long as there are streams or it is lost.
async fn ask(weak: WeakGateway, patience: Duration) {
    // When the first question was put since which none was answered well.
    let mut silent: Option<Instant> = None;
    loop {
        let Some(gateway) = weak.upgrade() else {
            return;
        };
        if gateway.store_watch().is_over(&gateway) {
            return;
        }
        let backend = Arc::clone(gateway.sessions().backend());
        let is_lost = gateway.store_watch().is_lost();
        // The answer may take long, and the gateway may end meanwhile.
        drop(gateway);
        let asked = Instant::now();
        let left = match silent {
            Some(since) if !is_lost => (since + patience).saturating_duration_since(asked),
            _ => patience,
        };
        let is_well = match timeout(left.max(SHORTEST_PAUSE), backend.health()).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::debug!(%error, "the store is not well");
                false
            }
            Err(_) => false,
        };
        let Some(gateway) = weak.upgrade() else {
            return;
        };
        if is_well {
            silent = None;
            if is_lost {
                tracing::info!("the store is back: streams may begin");
                gateway.store_watch().find();
            }
        } else if silent.get_or_insert(asked).elapsed() >= patience && !is_lost {
            tracing::warn!(?patience, "the store is lost: its streams end");
            gateway.store_watch().lose();
        }
        drop(gateway);
        sleep(pause(patience)).await;
    }
}
