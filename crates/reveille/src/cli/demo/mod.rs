//! `reveille demo DIR`: real work on real files, seen through Reveille.
//!
//! It serves, and in the same process runs an ingestion pipeline over every file below a directory, as
//! session `ingestion/<id>`: status, progress and an artifact per file, recoverable errors for what
//! cannot be read, cancellable between files, one final event with totals. Whoever watches (curl, a
//! browser, the progress bar here) follows the same event stream.

mod directories;
mod facts;
mod listing;
mod pipeline;
mod progress;

use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use reveille_core::{Clock, IdSource, SystemClock, SystemIds};
use reveille_queue::{SessionError, SessionLog, SessionOptions};
use reveille_types::{Invalid, SessionKey, Tenant};

use super::output::{self, note};
use super::serve::{Serve, StartError, Stop, stop_signal};
use super::{CommandError, Outcome};
use listing::Listing;
use pipeline::Pipeline;

/// Events of a run that are not about a file: its phases, the final event, a cancel request.
const OTHER_EVENTS: usize = 16;

/// Run an ingestion pipeline over the files of a directory, and serve its events
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// The directory whose files are read
    dir: PathBuf,
    /// The session is `ingestion/ID`; a new id if none is given
    #[arg(long)]
    id: Option<String>,
    /// Files that are read at the same time
    #[arg(long, default_value = "4")]
    jobs: NonZeroUsize,
    /// End with the work instead of serving on until Ctrl-C
    #[arg(long)]
    exit: bool,
    #[command(flatten)]
    serve: Serve,
}

/// Why the demo could not run.
#[derive(Debug, thiserror::Error)]
pub(super) enum DemoError {
    #[error("{dir:?} cannot be listed")]
    Dir {
        dir: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("--id cannot be used")]
    Id(#[source] Invalid),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("the work broke off")]
    Work(#[source] tokio::task::JoinError),
}

impl DemoError {
    /// 2 when the command line asks for what cannot be, 1 otherwise.
    pub(super) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Id(_) => ExitCode::from(2),
            Self::Start(error) => error.exit_code(),
            _ => ExitCode::FAILURE,
        }
    }
}

impl Demo {
    /// Does the work and serves.
    pub(super) async fn run(&self) -> Result<Outcome, CommandError> {
        self.work_and_serve().await?;
        Ok(Outcome::Done)
    }

    async fn work_and_serve(&self) -> Result<(), DemoError> {
        let key = self.key()?;
        let dir = self.dir.clone();
        let listing = tokio::task::spawn_blocking(move || Listing::of(&dir))
            .await
            .map_err(DemoError::Work)?
            .map_err(|source| DemoError::Dir {
                dir: self.dir.clone(),
                source,
            })?;
        let stop = stop_signal()?;
        let listening = self.serve.listen().await?;
        let room = 2 * listing.files.len() + listing.failures.len() + OTHER_EVENTS;
        let options = SessionOptions::default().max_events(room);
        let log = listening.gateway.sessions().create(key, options).await?;
        note(&format!(
            "{} files; watch: curl -N {}/events/{}",
            listing.files.len(),
            listening.url,
            log.key().name()
        ));
        note(&format!(
            "cancel: curl -X POST {}/events/{}/cancel",
            listening.url,
            log.key().name()
        ));
        let work = tokio::spawn(work(log, listing, self.jobs));
        if !self.exit {
            listening.serve(stop).await;
            return work_result(work.await);
        }
        let (done, finished) = tokio::sync::oneshot::channel();
        let working = tokio::spawn(async move {
            let result = work.await;
            // The receiver is gone if a signal has ended the server already.
            let _ = done.send(());
            result
        });
        let stop = async {
            tokio::select! {
                stop = stop => stop,
                _ = finished => Stop::Interrupt,
            }
        };
        listening.serve(stop).await;
        work_result(working.await.and_then(|result| result))
    }

    fn key(&self) -> Result<SessionKey, DemoError> {
        let id = match &self.id {
            Some(id) => id.clone(),
            None => {
                let uuid = SystemIds.uuid(SystemClock.wall());
                format!("demo-{}", uuid.simple())
            }
        };
        let name = format!("ingestion/{id}");
        SessionKey::in_tenant(Tenant::default_tenant(), &name).map_err(DemoError::Id)
    }
}

fn work_result(result: Result<(), tokio::task::JoinError>) -> Result<(), DemoError> {
    match result {
        // Ctrl-C before the end of the work: nobody waits for it any more.
        Err(error) if error.is_cancelled() => Ok(()),
        other => other.map_err(DemoError::Work),
    }
}

/// Runs the pipeline, shows its progress, and prints its final event.
async fn work(log: SessionLog, listing: Listing, jobs: NonZeroUsize) {
    let showing = tokio::spawn(progress::show(log.clone(), listing.files.len()));
    let pipeline = Pipeline::new(log, jobs);
    let lost = pipeline.run(listing).await;
    if lost > 0 {
        note(&format!("{lost} events could not be published"));
    }
    if let Ok(Some(event)) = showing.await {
        // Nobody reads: that is the reader's choice.
        let _ = output::line(&String::from_utf8_lossy(event.json()));
    }
}
