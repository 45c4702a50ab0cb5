//! How far a handler has come: what `emit` waits for.

use std::sync::Arc;

use reveille_core::sync::Mutex;
use reveille_types::Seq;
use tokio::sync::watch;

/// Told by a handler's task.
#[derive(Debug)]
pub(crate) struct Progress {
    done_to: watch::Sender<Seq>,
    failures: Arc<Mutex<Failures>>,
}

/// Failures are kept only while somebody waits for their like.
#[derive(Debug, Default)]
struct Failures {
    waiting: usize,
    seqs: Vec<Seq>,
}

/// Read by whoever waits for a handler.
#[derive(Debug, Clone)]
pub(crate) struct Watching {
    done_to: watch::Receiver<Seq>,
    failures: Arc<Mutex<Failures>>,
}

/// Keeps the failures of a handler as long as it lives.
#[derive(Debug)]
pub(crate) struct Recording(Watching);

impl Progress {
    pub(crate) fn new() -> (Self, Watching) {
        let (sender, receiver) = watch::channel(Seq(0));
        let failures = Arc::default();
        let progress = Self {
            done_to: sender,
            failures: Arc::clone(&failures),
        };
        let watching = Watching {
            done_to: receiver,
            failures,
        };
        (progress, watching)
    }

    /// Nothing up to here is still to be handled.
    pub(crate) fn done_to(&self, seq: Seq) {
        self.done_to.send_if_modified(|done| {
            let is_news = *done < seq;
            *done = seq.max(*done);
            is_news
        });
    }

    /// The event at this place could not be handled. Comes before its place is done.
    pub(crate) fn failed_at(&self, seq: Seq) {
        let mut failures = self.failures.lock();
        if failures.waiting > 0 {
            failures.seqs.push(seq);
        }
    }
}

impl Watching {
    pub(crate) fn record(&self) -> Recording {
        self.failures.lock().waiting += 1;
        Recording(self.clone())
    }
}

impl Recording {
    /// Waits until nothing up to `last` is still to be handled, or never will be. Whether the handler
    /// has come so far.
    pub(crate) async fn done(&mut self, last: Seq) -> bool {
        let done = self.0.done_to.wait_for(|done| *done >= last).await;
        done.is_ok()
    }

    /// Whether one of these places has failed.
    pub(crate) fn has_failed(&self, seqs: &[Seq]) -> bool {
        let failures = self.0.failures.lock();
        seqs.iter().any(|seq| failures.seqs.contains(seq))
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let mut failures = self.0.failures.lock();
        failures.waiting -= 1;
        if failures.waiting == 0 {
            failures.seqs = Vec::new();
        }
    }
}
