//! The two kinds of time, which never meet.
//!
//! Every deadline is computed from [`Clock::now`], which only goes forward. [`Clock::wall`] is
//! what people read; it may jump in both directions at any time and decides nothing.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use crate::sync::Mutex;

/// A source of time.
///
/// # Contract
///
/// `now` never goes backwards, whatever happens to the wall clock. Neither method blocks.
///
/// ```
/// use std::time::{Duration, Instant};
/// use jiff::Timestamp;
/// use reveille_core::Clock;
///
/// /// A clock of which people read the time in whole seconds.
/// #[derive(Debug)]
/// struct Seconds;
///
/// impl Clock for Seconds {
///     fn now(&self) -> Instant {
///         Instant::now()
///     }
///
///     fn wall(&self) -> Timestamp {
///         Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default()
///     }
/// }
///
/// assert_eq!(Seconds.wall().subsec_nanosecond(), 0);
/// ```
pub trait Clock: Debug + Send + Sync + 'static {
    /// Monotonic time, the base of every deadline.
    ///
    /// ```
    /// use std::time::Duration;
    /// use reveille_core::{Clock, SystemClock};
    ///
    /// let deadline = SystemClock.now() + Duration::from_secs(60);
    /// assert!(SystemClock.now() < deadline);
    /// ```
    fn now(&self) -> Instant;

    /// Calendar time in UTC, for display only.
    ///
    /// ```
    /// use reveille_core::{Clock, ManualClock};
    ///
    /// assert_eq!(ManualClock::new().wall().to_string(), "1970-01-01T00:00:00Z");
    /// ```
    fn wall(&self) -> Timestamp;
}

/// The clocks of the operating system.
///
/// ```
/// use reveille_core::{Clock, SystemClock};
///
/// let before = SystemClock.now();
/// assert!(SystemClock.now() >= before);
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A clock that moves only when it is told to, for tests.
///
/// ```
/// use std::time::Duration;
/// use jiff::SignedDuration;
/// use reveille_core::{Clock, ManualClock};
///
/// let clock = ManualClock::new();
/// let (now, wall) = (clock.now(), clock.wall());
///
/// clock.advance(Duration::from_secs(5));
/// assert_eq!(clock.now(), now + Duration::from_secs(5));
/// assert_eq!(clock.wall(), wall + SignedDuration::from_secs(5));
///
/// clock.step_wall(SignedDuration::from_hours(-2));
/// assert_eq!(clock.now(), now + Duration::from_secs(5), "deadlines see no wall clock step");
/// ```
#[derive(Debug)]
pub struct ManualClock {
    hands: Mutex<Hands>,
}

#[derive(Debug, Clone, Copy)]
struct Hands {
    now: Instant,
    wall: Timestamp,
}

impl ManualClock {
    /// A clock that stands at the start of 1970 in wall time.
    ///
    /// ```
    /// use reveille_core::{Clock, ManualClock};
    ///
    /// let clock = ManualClock::new();
    /// assert_eq!(clock.wall(), jiff::Timestamp::UNIX_EPOCH);
    /// assert_eq!(clock.now(), clock.now(), "it stands");
    /// ```
    pub fn new() -> Self {
        Self::starting_at(Timestamp::UNIX_EPOCH)
    }

    /// A clock whose wall time stands at `wall`.
    ///
    /// ```
    /// use reveille_core::{Clock, ManualClock};
    ///
    /// let start = jiff::Timestamp::from_second(1_750_000_000).unwrap();
    /// assert_eq!(ManualClock::starting_at(start).wall(), start);
    /// ```
    pub fn starting_at(wall: Timestamp) -> Self {
        let hands = Hands {
            now: Instant::now(),
            wall,
        };
        Self {
            hands: Mutex::new(hands),
        }
    }

    /// Lets `by` pass: both times move forward.
    ///
    /// A time that would leave its range stays where it is.
    ///
    /// ```
    /// use std::time::Duration;
    /// use reveille_core::{Clock, ManualClock};
    ///
    /// let clock = ManualClock::new();
    /// let before = clock.now();
    /// clock.advance(Duration::from_millis(1500));
    /// assert_eq!(clock.now() - before, Duration::from_millis(1500));
    /// assert_eq!(clock.wall().as_millisecond(), 1500);
    /// ```
    pub fn advance(&self, by: Duration) {
        let mut hands = self.hands.lock();
        hands.now = hands.now.checked_add(by).unwrap_or(hands.now);
        hands.wall = hands.wall.checked_add(by).unwrap_or(hands.wall);
    }

    /// Sets the wall clock forward or back, as an administrator or a time server would.
    ///
    /// Monotonic time does not move. A wall time out of its range stays where it is.
    ///
    /// ```
    /// use jiff::SignedDuration;
    /// use reveille_core::{Clock, ManualClock};
    ///
    /// let clock = ManualClock::new();
    /// let before = clock.now();
    /// clock.step_wall(SignedDuration::from_secs(-1));
    /// assert_eq!((clock.now(), clock.wall().as_second()), (before, -1));
    /// ```
    pub fn step_wall(&self, by: SignedDuration) {
        let mut hands = self.hands.lock();
        hands.wall = hands.wall.checked_add(by).unwrap_or(hands.wall);
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        self.hands.lock().now
    }

    fn wall(&self) -> Timestamp {
        self.hands.lock().wall
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn wall_clock_steps_move_no_deadline() {
        let clock = ManualClock::new();
        let deadline = clock.now() + Duration::from_secs(60);
        for hours in [-2, 2] {
            clock.step_wall(SignedDuration::from_hours(hours));
            assert!(clock.now() < deadline);
        }
        clock.advance(Duration::from_secs(60));
        assert!(clock.now() >= deadline);
    }

    #[test]
    fn clock_without_advance_stands_still() {
        let clock = ManualClock::starting_at(Timestamp::MAX);
        let now = clock.now();
        clock.advance(Duration::from_secs(1));
        assert_eq!(
            clock.wall(),
            Timestamp::MAX,
            "a wall time out of range stays"
        );
        assert_eq!(clock.now(), now + Duration::from_secs(1));
        assert_eq!(clock.now(), clock.now());
    }
}
