//! How long to wait before the next try.

use std::time::Duration;

use crate::error::ClientError;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// Pauses that double up to five seconds, each cut by up to a half at random, so that clients that
/// lost a server together do not come back together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The next pause; at least as long as the server asked for.
    pub(crate) fn after(&mut self, error: &ClientError) -> Duration {
        self.next().max(error.retry_after().unwrap_or_default())
    }

    pub(crate) fn next(&mut self) -> Duration {
        let doubled = FIRST.saturating_mul(2_u32.saturating_pow(self.failures));
        self.failures = self.failures.saturating_add(1);
        let longest = doubled.min(LONGEST);
        // The last byte of a version 7 UUID is random.
        let random = f64::from(uuid::Uuid::now_v7().as_bytes()[15]) / 255.0;
        longest.mul_f64(1.0 - random / 2.0)
    }

    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound_and_begin_anew() {
        let mut backoff = Backoff::default();
        for doubled in [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000] {
            let pause = backoff.next().as_millis();
            assert!(
                (doubled / 2..=doubled).contains(&pause),
                "{pause} of {doubled}"
            );
        }
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }
}
