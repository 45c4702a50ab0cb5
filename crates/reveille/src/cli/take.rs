//! `reveille take`

use std::time::Duration;

use clap::Args;
use reveille_client::{Session, TakeResult};
use reveille_types::Pattern;
use reveille_types::wire::{SettleRequest, TakeAnswer, TakeRequest, WaitOutcomeKind};

use super::output::{self, with_causes};
use super::{CommandError, Outcome, Server, duration, millis};

/// Consume events as a group: each goes to one taker, and comes back unless it is acknowledged
#[derive(Debug, Args)]
pub(super) struct Take {
    /// The session: `id`, or `namespace/id`
    session: String,
    /// The group that consumes
    #[arg(long)]
    group: Option<String>,
    /// Kinds to take, such as `task.*`; may be repeated
    #[arg(long = "type", visible_alias = "match", value_name = "PATTERN")]
    patterns: Vec<Pattern>,
    /// Most events to take
    #[arg(long, default_value_t = 1)]
    max: u32,
    /// How long the events stay with this taker before they are offered again
    #[arg(long, value_name = "TIME", value_parser = duration)]
    lease: Option<Duration>,
    /// Give up after this time
    #[arg(long, value_name = "TIME", default_value = "25s", value_parser = duration)]
    timeout: Duration,
    /// Do not acknowledge; the leases are printed on standard error
    #[arg(long)]
    keep: bool,
    /// Say nothing on standard error but what is missing, and leases
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    server: Server,
}

impl Take {
    pub(super) async fn run(&self) -> Result<Outcome, CommandError> {
        let session = self.server.session(&self.session)?;
        let request = TakeRequest {
            group: self.group.clone(),
            matching: self.patterns.clone(),
            lease_ms: self.lease.map(millis),
            max: Some(self.max),
            ..TakeRequest::default()
        };
        let away = |error| self.note(&format!("{}; trying again", with_causes(&error)));
        let answer = session
            .take_within(&request, Some(self.timeout), away)
            .await?;
        let TakeResult::Answered(answer) = answer else {
            self.note("timed out");
            return Ok(Outcome::TimedOut);
        };
        if let Some(gap) = &answer.gap {
            output::gap(gap);
        }
        if answer.outcome == WaitOutcomeKind::Ended {
            self.note("the session is over");
            return Ok(Outcome::EndedWithoutMatch);
        }
        self.hand_over(&session, *answer).await
    }

    /// Prints the events. Only what has been written is acknowledged; the rest is offered again at
    /// once.
    async fn hand_over(
        &self,
        session: &Session,
        answer: TakeAnswer,
    ) -> Result<Outcome, CommandError> {
        let mut leases: Vec<String> = answer.leases.into_iter().map(|l| l.lease).collect();
        let mut written = 0;
        let mut printed = Ok(());
        for event in &answer.events {
            printed = output::line(event.get());
            if printed.is_err() {
                break;
            }
            written += 1;
        }
        let unwritten = leases.split_off(written.min(leases.len()));
        if self.keep {
            leases.iter().for_each(|lease| output::note(lease));
        } else if !leases.is_empty() {
            session.ack(&self.settle(leases)).await?;
        }
        if !unwritten.is_empty() {
            session.nack(&self.settle(unwritten)).await?;
        }
        printed?;
        Ok(Outcome::Done)
    }

    fn settle(&self, leases: Vec<String>) -> SettleRequest {
        SettleRequest {
            group: self.group.clone(),
            leases,
        }
    }

    fn note(&self, text: &str) {
        if !self.quiet {
            output::note(text);
        }
    }
}
