//! `reveille wait`

use std::time::Duration;

use clap::Args;
use reveille_client::{After, WaitNote, WaitRequest, WaitResult};

use super::{CommandError, Outcome, Server, duration, output};

/// Block until an event matches, without consuming it
#[derive(Debug, Args)]
pub(super) struct Wait {
    /// The session: `id`, or `namespace/id`
    session: String,
    /// Kinds to wait for, such as `task.completed` or `task.*`; may be repeated
    #[arg(long = "type", visible_alias = "match", value_name = "PATTERN")]
    patterns: Vec<String>,
    /// Wait until each pattern has been matched, not any of them
    #[arg(long)]
    all: bool,
    /// Where to begin: a cursor, `earliest` or `latest`
    #[arg(long, default_value = "earliest", value_name = "CURSOR")]
    after: After,
    /// Give up after this time, such as 250ms, 25s or 5m; never if not given
    #[arg(long, value_name = "TIME", value_parser = duration)]
    timeout: Option<Duration>,
    /// Say nothing on standard error but what is missing
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    server: Server,
}

impl Wait {
    pub(super) async fn run(&self) -> Result<Outcome, CommandError> {
        let mut request = WaitRequest::default();
        request.patterns.clone_from(&self.patterns);
        request.all = self.all;
        request.after = self.after;
        request.timeout = self.timeout;
        let session = self.server.session(&self.session)?;
        match session.wait(&request, |note| self.tell(note)).await? {
            WaitResult::Matched { events, .. } => {
                for event in events {
                    output::line(event.get())?;
                }
                Ok(Outcome::Done)
            }
            WaitResult::TimedOut { .. } => {
                self.note("timed out");
                Ok(Outcome::TimedOut)
            }
            WaitResult::Ended { reason } => {
                self.note(&format!("the session is over: {}", reason.as_str()));
                Ok(Outcome::EndedWithoutMatch)
            }
        }
    }

    fn tell(&self, note: WaitNote) {
        match note {
            WaitNote::Gap(gap) => output::gap(&gap),
            WaitNote::LostPlace => output::note(
                "gap: events may be missing (the server was started anew); going on from the oldest there is",
            ),
            WaitNote::Away { error, retry } => self.note(&output::trying_again(&error, retry)),
        }
    }

    fn note(&self, text: &str) {
        if !self.quiet {
            output::note(text);
        }
    }
}
