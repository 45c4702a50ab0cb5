//! Publishing, and waiting for the handlers.

use std::future::poll_fn;
use std::time::Duration;

use futures_util::future::join_all;
use reveille_types::{EventDraft, Filter, Seq, SessionKey};
use tokio::time::Instant;

use crate::bus::{Bus, EventBus, Published};
use crate::error::BusError;
use crate::progress::Recording;

/// What became of events that were emitted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Emitted {
    /// Where they are.
    pub published: Published,
    /// How many handlers have been through all of them that their filter matches, without a failure.
    pub handled: usize,
    /// How many handlers have been through them and failed, retries included, or ended on the way.
    pub failed: usize,
    /// How many handlers had not been through them when the time was up. They go on.
    pub timed_out: usize,
}

enum Outcome {
    Handled,
    Failed,
    TimedOut,
}

impl Bus {
    /// Publishes, and waits until each handler whose filter matches has been through the events, at
    /// most for `deadline`. Handlers that were put on later do not count. A handler that emits waits
    /// for itself, too, until the time is up: it should publish.
    ///
    /// # Errors
    /// As [`publish`](EventBus::publish); a handler's failure is none.
    ///
    /// # Cancel safety
    /// A dropped future may have published; the handlers go on.
    pub async fn emit(
        &self,
        session: SessionKey,
        events: Vec<EventDraft>,
        deadline: Duration,
    ) -> Result<Emitted, BusError> {
        let until = Instant::now() + deadline;
        let handlers: Vec<(Filter, Recording)> = self
            .handlers()
            .lock()
            .values()
            .map(|running| (running.filter.clone(), running.watching.record()))
            .collect();
        let published = self.publish(session, events).await?;
        let seqs: Vec<Seq> = published.receipt.results.iter().map(|p| p.seq).collect();
        if let Some(last) = seqs.iter().max() {
            // Without time left nobody is waited for, but all are counted.
            let _ = tokio::time::timeout_at(until, self.shown(*last)).await;
        }
        let waits = handlers.into_iter().filter_map(|(filter, recording)| {
            let seqs = self.matching(&filter, &seqs);
            (!seqs.is_empty()).then(|| outcome(recording, seqs, until))
        });
        let mut emitted = Emitted {
            published,
            handled: 0,
            failed: 0,
            timed_out: 0,
        };
        for outcome in join_all(waits).await {
            match outcome {
                Outcome::Handled => emitted.handled += 1,
                Outcome::Failed => emitted.failed += 1,
                Outcome::TimedOut => emitted.timed_out += 1,
            }
        }
        Ok(emitted)
    }

    /// Waits until the tail shows this place: sessions that published at the same time may be about to
    /// show lower ones.
    async fn shown(&self, seq: Seq) {
        let mut watch = self.tail().watch(Filter::all());
        let before = Seq(seq.0.saturating_sub(1));
        poll_fn(|cx| watch.poll_read(cx, before, 1, 0).map(drop)).await;
    }

    /// Those of the places whose events match and are still retained.
    fn matching(&self, filter: &Filter, seqs: &[Seq]) -> Vec<Seq> {
        let matches = |seq: &Seq| {
            let event = self.tail().get(*seq);
            event.is_some_and(|event| filter.matches(&event))
        };
        seqs.iter().copied().filter(matches).collect()
    }
}

async fn outcome(mut handler: Recording, seqs: Vec<Seq>, until: Instant) -> Outcome {
    let last = seqs.iter().copied().max().unwrap_or_default();
    match tokio::time::timeout_at(until, handler.done(last)).await {
        Err(_) => Outcome::TimedOut,
        Ok(true) if !handler.has_failed(&seqs) => Outcome::Handled,
        Ok(_) => Outcome::Failed,
    }
}
