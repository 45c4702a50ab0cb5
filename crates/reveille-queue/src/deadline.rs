//! Giving up after a time, as an outcome.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::runtime;

/// Waits for `future`, at most for `timeout`. The future is polled first, so that what is there
/// already wins over a time-out; a time-out of zero polls once and sets no timer.
///
/// # Cancel safety
/// As safe as `future`.
pub(crate) async fn within<F: Future>(timeout: Option<Duration>, future: F) -> Option<F::Output> {
    match timeout {
        None => Some(future.await),
        Some(Duration::ZERO) => {
            let mut future = pin!(future);
            poll_fn(|cx| match future.as_mut().poll(cx) {
                Poll::Ready(output) => Poll::Ready(Some(output)),
                Poll::Pending => Poll::Ready(None),
            })
            .await
        }
        Some(timeout) => runtime::timeout(timeout, future).await.ok(),
    }
}
