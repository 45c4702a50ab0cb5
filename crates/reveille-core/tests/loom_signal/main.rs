//! Every interleaving, within a bound of preemptions, of what two or three threads do to signals.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test --release -p reveille-core --test loom_signal`, or
//! with everything else that takes long: `cargo xtask deep`. The checker treats sequentially
//! consistent steps as acquire and release only, so what passes here rests on nothing stronger.

#![cfg(loom)]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "an unwrap that fails is the failure, and how much was covered is worth a line"
)]

mod awaiting;
mod cancelling;
mod ending;
mod memory;
mod merging;

use std::future::Future;
use std::num::NonZeroU64;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use reveille_core::SignalSystem;

/// Runs every interleaving with at most so many preemptions.
fn model(preemptions: usize, test: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 10_000;
    let count = Arc::new(AtomicUsize::new(0));
    let runs = Arc::clone(&count);
    builder.check(move || {
        runs.fetch_add(1, Ordering::Relaxed);
        test();
    });
    println!(
        "{} interleavings with {preemptions} preemptions",
        count.load(Ordering::Relaxed)
    );
}

fn system<T: Clone + Send + Sync + 'static>() -> SignalSystem<T> {
    SignalSystem::builder()
        .system_id(NonZeroU64::MIN)
        .history(4)
        .build()
}

/// A waker that says whether it was used. Its state is not part of the model.
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A future that is polled by hand, and must be woken after it was pending.
struct Task<F> {
    future: Pin<Box<F>>,
    /// The waker of the last poll, if that was pending.
    waits: Option<Arc<Flag>>,
}

impl<F: Future> Task<F> {
    fn new(future: F) -> Self {
        Self {
            future: Box::pin(future),
            waits: None,
        }
    }

    /// Polls with a waker that it never had before.
    fn poll(&mut self) -> Poll<F::Output> {
        let flag = Arc::new(Flag(AtomicBool::new(false)));
        self.poll_with(&flag)
    }

    fn poll_with(&mut self, flag: &Arc<Flag>) -> Poll<F::Output> {
        let waker = Waker::from(Arc::clone(flag));
        let poll = self.future.as_mut().poll(&mut Context::from_waker(&waker));
        self.waits = poll.is_pending().then(|| Arc::clone(flag));
        poll
    }

    /// The output, after everything that leads to it has happened.
    fn finish(mut self) -> F::Output {
        if let Some(flag) = &self.waits {
            assert!(flag.0.load(Ordering::SeqCst), "a wake-up was lost");
        }
        match self.poll() {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("still pending"),
        }
    }
}

/// A future that was polled once.
fn polled<F: Future>(future: F) -> Task<F> {
    let mut task = Task::new(future);
    let _ = task.poll();
    task
}

fn nothing_waits<T: Clone + Send + Sync + 'static>(system: &SignalSystem<T>) {
    let stats = system.stats();
    assert_eq!((stats.waiters, stats.pending), (0, 0));
}
