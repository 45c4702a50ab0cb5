//! The pipeline: several files at a time, one voice that tells of them.
//!
//! Readers take files from a shared list and hand what they found to one collector, which alone
//! publishes. So progress counts up in the log, and totals need no lock.

use std::collections::VecDeque;
use std::fs::File;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use reveille_core::CancelToken;
use reveille_queue::{AppendOptions, SessionLog};
use reveille_types::{EventDraft, Finality, Payload};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::directories::Directories;
use super::facts::Facts;
use super::listing::{Failure, Listing};

/// An ingestion run that publishes into its session.
#[derive(Debug)]
pub(super) struct Pipeline {
    log: SessionLog,
    jobs: NonZeroUsize,
    totals: Totals,
    total: usize,
    lost: u64,
}

/// What a run has found.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Totals {
    files: u64,
    bytes: u64,
    text_files: u64,
    lines: u64,
    words: u64,
    errors: u64,
}

/// What a reader hands to the collector.
type Found = Result<(PathBuf, Facts), Failure>;

impl Pipeline {
    pub(super) fn new(log: SessionLog, jobs: NonZeroUsize) -> Self {
        Self {
            log,
            jobs,
            totals: Totals::default(),
            total: 0,
            lost: 0,
        }
    }

    /// Reads every file of the listing, unless the session is cancelled meanwhile. Whatever happens,
    /// the last event published is a final one. Answers how many events could not be published:
    /// publishing never fails the work.
    pub(super) async fn run(mut self, listing: Listing) -> u64 {
        let began = Instant::now();
        self.total = listing.files.len();
        let phase = json!({
            "state": "working",
            "phase": "reading",
            "message": format!("reading {} files", self.total),
            "total": self.total,
        });
        self.publish([("task.status.working", phase)]).await;
        for failure in &listing.failures {
            self.fail(failure).await;
        }
        let mut directories = Directories::of(&listing.files).ok();
        let mut found = self.start_readers(listing);
        while let Some(found) = found.recv().await {
            let path = match found {
                Ok((path, facts)) => {
                    self.tell(&path, &facts).await;
                    path
                }
                Err(failure) => {
                    self.fail(&failure).await;
                    failure.path
                }
            };
            if let Some(directories) = &mut directories {
                directories.file_done(&path);
            }
        }
        if let Some(directories) = directories {
            self.tell_directories(directories).await;
        }
        self.finish(began).await;
        self.lost
    }

    /// The channel ends when all readers have.
    fn start_readers(&self, listing: Listing) -> mpsc::Receiver<Found> {
        let (tell, found) = mpsc::channel(self.jobs.get());
        let root: Arc<Path> = listing.root.into();
        let files = Arc::new(Mutex::new(VecDeque::from(listing.files)));
        for _ in 0..self.jobs.get() {
            let (root, files, tell) = (Arc::clone(&root), Arc::clone(&files), tell.clone());
            let token = self.log.cancel_token().clone();
            tokio::task::spawn_blocking(move || read_files(&root, &files, &token, &tell));
        }
        found
    }

    async fn tell(&mut self, path: &Path, facts: &Facts) {
        self.totals.files += 1;
        self.totals.bytes += facts.size;
        if let Some(text) = facts.text {
            self.totals.text_files += 1;
            self.totals.lines += text.lines;
            self.totals.words += text.words;
        }
        let path = path.to_string_lossy();
        let artifact = json!({
            "artifact_type": "file",
            "artifact_id": path,
            "data": Described { path: &path, facts },
            "is_partial": false,
        });
        let progress = self.progress(&path);
        self.publish([("task.artifact", artifact), ("task.progress", progress)])
            .await;
    }

    async fn tell_directories(&mut self, directories: Directories) {
        if self.log.cancel_token().is_cancelled() {
            directories.cancel();
        }
        let Some(count) = directories.all_done().await else {
            return;
        };
        let phase = json!({
            "state": "working",
            "phase": "directories_done",
            "message": format!("{count} directories are done"),
            "directories": count,
        });
        self.publish([("task.status.working", phase)]).await;
    }

    async fn fail(&mut self, failure: &Failure) {
        self.totals.errors += 1;
        let error = json!({
            "error_type": "unreadable",
            "error_message": failure.message,
            "context": {"path": failure.path.to_string_lossy()},
            "recoverable": true,
        });
        self.publish([("task.error", error)]).await;
    }

    fn progress(&self, step: &str) -> Value {
        let (current, total) = (self.totals.files, self.total);
        let percentage = current as f64 / (total.max(1) as f64) * 100.0;
        json!({
            "current": current,
            "total": total,
            "percentage": percentage.min(100.0),
            "step": step,
        })
    }

    async fn finish(&mut self, began: Instant) {
        let totals = self.totals;
        let counts = format!(
            "{} of {} files read, {} errors",
            totals.files, self.total, totals.errors
        );
        if let Some(cancelled) = self.log.cancel_token().cancellation() {
            let status = json!({
                "state": "cancelled",
                "message": format!("cancelled: {counts}"),
                "reason": cancelled.reason.as_deref(),
                "totals": totals,
            });
            return self.publish([("task.status.cancelled", status)]).await;
        }
        let result = json!({
            "result": totals,
            "summary": match totals.errors {
                0 => format!("completed: {counts}"),
                _ => format!("completed with errors: {counts}"),
            },
            "execution_time_seconds": began.elapsed().as_secs_f64(),
        });
        self.publish([("task.result", result)]).await;
    }

    async fn publish<const N: usize>(&mut self, events: [(&str, Value); N]) {
        let drafts: Result<Vec<EventDraft>, _> = events
            .iter()
            .map(|(kind, data)| {
                let mut draft = EventDraft::parse(kind)?.with_payload(Payload::json(data)?);
                if *kind == "task.error" {
                    // What cannot be read costs one file, never the run.
                    draft.finality = Some(Finality::None);
                }
                Ok::<_, reveille_types::Invalid>(draft)
            })
            .collect();
        let published = match drafts {
            Ok(drafts) => self
                .log
                .append(drafts, AppendOptions::default())
                .await
                .is_ok(),
            Err(_) => false,
        };
        if !published {
            self.lost += N as u64;
        }
    }
}

/// A file in an artifact.
#[derive(Serialize)]
struct Described<'a> {
    path: &'a str,
    #[serde(flatten)]
    facts: &'a Facts,
}

/// Reads files from the shared list until it is empty, the session is cancelled, or nobody listens.
fn read_files(
    root: &Path,
    files: &Mutex<VecDeque<PathBuf>>,
    token: &CancelToken,
    tell: &mpsc::Sender<Found>,
) {
    while !token.is_cancelled() {
        let next = files
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front();
        let Some(path) = next else {
            return;
        };
        let found = match File::open(root.join(&path)).and_then(Facts::of) {
            Ok(facts) => Ok((path, facts)),
            Err(error) => Err(Failure {
                path,
                message: error.to_string(),
            }),
        };
        if tell.blocking_send(found).is_err() {
            return;
        }
    }
}
