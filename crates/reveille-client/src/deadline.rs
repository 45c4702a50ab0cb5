//! Until when a call goes on.

use std::time::Duration;

use tokio::time::Instant;

/// Until when a call goes on; for ever if it has no end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// So long from now. A time that no clock reaches is for ever.
    pub(crate) fn within(timeout: Option<Duration>) -> Self {
        Self(timeout.and_then(|timeout| Instant::now().checked_add(timeout)))
    }

    pub(crate) fn left(self) -> Duration {
        self.0.map_or(Duration::MAX, |at| {
            at.saturating_duration_since(Instant::now())
        })
    }

    pub(crate) fn is_over(self) -> bool {
        self.left().is_zero()
    }

    /// Sleeps, but not beyond the deadline.
    ///
    /// # Cancel safety
    /// A dropped future has slept for a shorter time.
    pub(crate) async fn sleep(self, pause: Duration) {
        tokio::time::sleep(pause.min(self.left())).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pause_ends_with_the_deadline() {
        let deadline = Deadline::within(Some(Duration::from_secs(1)));
        let began = Instant::now();
        deadline.sleep(Duration::from_secs(60)).await;
        // Timers tick in milliseconds.
        assert!(began.elapsed() <= Duration::from_millis(1_001));
        assert!(deadline.is_over());
    }

    #[tokio::test]
    async fn what_no_clock_reaches_is_for_ever() {
        for timeout in [None, Some(Duration::MAX)] {
            assert_eq!(Deadline::within(timeout).left(), Duration::MAX);
        }
    }
}
