//! The future that resolves when a log has grown.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use reveille_backend::BackendError;
use reveille_core::WaiterKey;
use reveille_types::Position;

use crate::shared::{Look, Shared};

/// Armed without having been polled: it looks at the end of the log whenever it is.
#[derive(Debug)]
pub(crate) struct Watching {
    log: Arc<Shared>,
    after: Position,
    waiter: Option<WaiterKey>,
}

impl Watching {
    pub(crate) fn new(log: Arc<Shared>, after: Position) -> Self {
        Self {
            log,
            after,
            waiter: None,
        }
    }
}

impl Future for Watching {
    type Output = Result<(), BackendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let waker = cx.waker().clone();
        match this.log.look(this.after, &mut this.waiter, waker) {
            Look::Ready(ready) => Poll::Ready(ready),
            Look::Wait(_replaced) => Poll::Pending,
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let removed = self.waiter.and_then(|waiter| self.log.leave(waiter));
        drop(removed);
    }
}
