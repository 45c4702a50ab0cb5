//! Whether a future may be dropped at any point.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use crate::conformance::patience;

/// A future that is not done after so many polls never will be.
const POLLS_MAX: usize = 10_000;

/// Runs `op` to its end, then again and again, each time on a fresh `setup`, and drops it before its first
/// poll, after its first, after its second, and so on. Whenever it has been dropped or is done, `check`
/// sees what is left, with the output if it was done: waiters that are gone, a log that has the whole batch
/// or nothing of it, a next call that works. Answers how many polls it takes.
///
/// The future is polled as an executor does it: when it has been woken, never besides. `between` runs
/// after each poll that was pending, with the number of polls so far: it makes happen what `op` waits for.
/// The future is dropped both before and after it has run for the last time.
///
/// ```
/// use reveille_queue::{AppendOptions, SessionOptions, Sessions, TakeOptions};
/// use reveille_testkit::{MemoryStore, dropped_at_each_poll, run};
/// use reveille_types::{EventDraft, SessionKey, Tenant};
///
/// # fn main() {
/// run(async {
///     let setup = async || {
///         let sessions = Sessions::builder(MemoryStore::new()).build();
///         let key = SessionKey::in_tenant(Tenant::default_tenant(), "s").unwrap();
///         sessions.create(key, SessionOptions::default()).await.unwrap()
///     };
///     dropped_at_each_poll(
///         setup,
///         async |log| log.take(TakeOptions::new()).await.unwrap(),
///         async |log, _polls| {
///             let draft = EventDraft::parse("a").unwrap();
///             log.append([draft], AppendOptions::default()).await.unwrap();
///         },
///         async |log, _taken| assert_eq!(log.info().waiters, 0),
///     )
///     .await;
/// });
/// # }
/// ```
///
/// # Panics
/// When `check` does, or when the future is pending and nothing wakes it. Needs a tokio runtime with time.
///
/// # Cancel safety
/// A dropped future has dropped `op`.
pub async fn dropped_at_each_poll<C, T>(
    setup: impl AsyncFn() -> C,
    op: impl AsyncFn(&C) -> T,
    between: impl AsyncFn(&C, usize),
    check: impl AsyncFn(&C, Option<T>),
) -> usize {
    // How often it is polled may differ from run to run, so the runs end when one of them came to its
    // end before it was to be dropped.
    for limit in 0..POLLS_MAX {
        // What it waits for may have happened by the time it is dropped, or not.
        for has_happened in [false, true] {
            let context = setup().await;
            let output = polled(op(&context), limit, async |polls| {
                if polls < limit || has_happened {
                    between(&context, polls).await;
                }
            });
            let output = output.await;
            let is_done = output.is_some();
            check(&context, output).await;
            if is_done {
                return limit;
            }
        }
    }
    panic!("the future is pending for ever");
}

/// Polls a future at most so often, and drops it.
async fn polled<T>(
    future: impl Future<Output = T>,
    limit: usize,
    between: impl AsyncFn(usize),
) -> Option<T> {
    let mut future = pin!(future);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    for polls in 1..=limit {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(output);
        }
        between(polls).await;
        if polls == limit {
            break;
        }
        let waking = tokio::time::timeout(patience(), Waking(&woken));
        assert!(
            waking.await.is_ok(),
            "the future is pending after {polls} polls, and nothing wakes it"
        );
    }
    None
}

/// Whether the future was woken, and who is to be told.
#[derive(Debug, Default)]
struct Woken {
    is_woken: AtomicBool,
    driver: Mutex<Option<Waker>>,
}

impl Woken {
    fn driver(&self) -> std::sync::MutexGuard<'_, Option<Waker>> {
        self.driver.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.is_woken.store(true, Ordering::Release);
        let driver = self.driver().take();
        if let Some(driver) = driver {
            driver.wake();
        }
    }
}

/// Waits until the future is woken.
struct Waking<'a>(&'a Woken);

impl Future for Waking<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        *self.0.driver() = Some(cx.waker().clone());
        match self.0.is_woken.swap(false, Ordering::Acquire) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

/// Runs a scenario on a runtime of one thread, and on one of several: what is dropped between two polls may
/// have been woken by another thread by then. A wake-up counts as lost after 20 s.
///
/// # Panics
/// When the scenario does.
pub fn on_each_runtime(scenario: impl AsyncFn()) {
    let one = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    one.block_on(scenario());
    one.shutdown_timeout(Duration::ZERO);
    crate::run(scenario());
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use tokio::task::yield_now;

    use super::*;

    /// Adds one, is pending, and adds one.
    async fn two_halves(count: &Cell<u32>) {
        count.set(count.get() + 1);
        yield_now().await;
        count.set(count.get() + 1);
    }

    #[test]
    fn each_point_is_seen_once_and_the_end_at_last() {
        on_each_runtime(async || {
            let seen = Cell::new(Vec::new());
            let polls = dropped_at_each_poll(
                async || Cell::new(0),
                async |count| two_halves(count).await,
                async |_, _| (),
                async |count, done| {
                    let mut so_far = seen.take();
                    so_far.push((count.get(), done.is_some()));
                    seen.set(so_far);
                },
            )
            .await;
            let points = [(0, false), (0, false), (1, false), (1, false), (2, true)];
            assert_eq!(seen.take(), points);
            assert_eq!(polls, 2);
        });
    }

    #[test]
    fn half_an_effect_is_found() {
        let found = catch_unwind(AssertUnwindSafe(|| {
            on_each_runtime(async || {
                dropped_at_each_poll(
                    async || Cell::new(0),
                    async |count| two_halves(count).await,
                    async |_, _| (),
                    async |count, _| assert_ne!(count.get(), 1, "half of it"),
                )
                .await;
            });
        }));
        assert!(found.is_err());
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "nothing wakes it")]
    async fn a_lost_wake_up_is_found() {
        dropped_at_each_poll(
            async || (),
            async |()| poll_fn(|_| Poll::<()>::Pending).await,
            async |(), _| (),
            async |(), _| (),
        )
        .await;
    }
}
