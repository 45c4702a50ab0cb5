//! Putting what a bus shows into an archive.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use reveille_backend::{Archive, ArchiveBatch, ArchiveError, Watermark};
use reveille_queue::TailPage;
use reveille_types::{Filter, PositionRanges, Seq, Tenant};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::bus::{Bus, Order};

/// Most events that are archived at once.
const BATCH_EVENTS: usize = 1_024;
/// Most bytes that are archived at once, one event aside.
const BATCH_BYTES: usize = 1024 * 1024;
/// How long to wait before an archive that failed is tried again, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// An archive that is being kept up with a bus. Dropping it ends that.
#[derive(Debug)]
pub struct Archiving {
    order: Arc<Order>,
    archived: watch::Receiver<Seq>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Bus {
    /// Puts everything that this incarnation of the bus shows into the archive, in order, from where
    /// the archive ends. No publisher waits for it; what retention takes before it got into the
    /// archive is recorded there as missing. An archive that fails is tried again. Needs a tokio
    /// runtime.
    #[must_use]
    pub fn archive_into(&self, archive: Arc<dyn Archive>) -> Archiving {
        let (told, archived) = watch::channel(self.tail().info().begin);
        let (stop, stopped) = oneshot::channel();
        let writer = Writer {
            archive,
            tenant: self.tenant().clone(),
            order: Arc::clone(self.order()),
            told,
        };
        let task = tokio::spawn(async move {
            tokio::select! {
                biased;
                // A dropped sender means that nobody wants it any more.
                _ = stopped => {}
                () = writer.run() => {}
            }
        });
        Archiving {
            order: Arc::clone(self.order()),
            archived,
            stop,
            task,
        }
    }
}

impl Archiving {
    /// Everything up to here is in the archive, or known to be gone.
    #[must_use]
    pub fn archived_to(&self) -> Seq {
        *self.archived.borrow()
    }

    /// Waits until everything that the bus shows now is in the archive. Whether it is: not if the task
    /// ended with its runtime.
    ///
    /// # Cancel safety
    /// A dropped future changes nothing.
    pub async fn caught_up(&mut self) -> bool {
        let latest = self.order.tail.info().latest;
        let archived = self.archived.wait_for(|seq| *seq >= latest).await;
        archived.is_ok()
    }

    /// Ends it; what is being written may get into the archive or not.
    ///
    /// # Cancel safety
    /// A dropped future has told it to end.
    pub async fn stop(self) {
        // The receiver is gone if the task has ended already.
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

struct Writer {
    archive: Arc<dyn Archive>,
    tenant: Tenant,
    order: Arc<Order>,
    told: watch::Sender<Seq>,
}

impl Writer {
    async fn run(self) {
        let (mut pause, longest) = PAUSE;
        loop {
            // Ends only with an error; another writer may have been here meanwhile.
            if let Err((error, has_progressed)) = self.write().await
                && !matches!(error, ArchiveError::OutOfOrder { .. })
            {
                pause = if has_progressed { PAUSE.0 } else { pause };
                tokio::time::sleep(pause).await;
                pause = pause.saturating_mul(2).min(longest);
            }
        }
    }

    /// Writes until the archive fails; whether it has taken something before.
    async fn write(&self) -> Result<(), (ArchiveError, bool)> {
        let tail = &self.order.tail;
        let watermark = self.archive.watermark(&self.tenant).await;
        let watermark = watermark.map_err(|error| (error, false))?;
        let begin = tail.info().begin;
        let mut at = match watermark {
            Some(mark) if mark.epoch == tail.epoch() => mark.seq,
            other => self
                .begin(other, begin)
                .await
                .map_err(|error| (error, false))?,
        };
        self.told.send_replace(at);
        let mut has_progressed = false;
        let mut watch = tail.watch(Filter::all());
        loop {
            let page = poll_fn(|cx| watch.poll_read(cx, at, BATCH_EVENTS, BATCH_BYTES)).await;
            let through = page.read_to;
            let page = Arc::unwrap_or_clone(page);
            let appended = self.archive.append(self.batch(at, page)).await;
            appended.map_err(|error| (error, has_progressed))?;
            has_progressed = true;
            at = through;
            self.told.send_replace(at);
        }
    }

    /// Begins the order of this incarnation where the last one ended, with what lies in between as
    /// missing.
    async fn begin(&self, last: Option<Watermark>, begin: Seq) -> Result<Seq, ArchiveError> {
        let after = last.map_or(Seq(0), |mark| mark.seq).min(begin);
        if after < begin {
            let missing = [(after.0 + 1, begin.0)].into_iter().collect();
            let page = TailPage {
                events: Vec::new(),
                missing,
                read_to: begin,
            };
            self.archive.append(self.batch(after, page)).await?;
        }
        Ok(begin)
    }

    fn batch(&self, after: Seq, page: TailPage) -> ArchiveBatch {
        let missing: PositionRanges = page.missing;
        ArchiveBatch {
            tenant: self.tenant.clone(),
            epoch: self.order.tail.epoch(),
            after,
            through: page.read_to,
            events: page.events,
            missing,
        }
    }
}
