//! Giving up after a time, as an outcome.

use std::future::Future;
use std::time::Duration;

/// Waits for `future`, at most for `timeout`. The future is polled first, so that what is there
/// already wins over a time-out of zero.
///
/// # Cancel safety
/// As safe as `future`.
pub(crate) async fn within<F: Future>(timeout: Option<Duration>, future: F) -> Option<F::Output> {
    match timeout {
        None => Some(future.await),
        Some(timeout) => tokio::time::timeout(timeout, future).await.ok(),
    }
}
