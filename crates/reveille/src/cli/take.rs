//! `reveille take`

use std::time::Duration;

use clap::Args;
use reveille_client::TakeResult;
use reveille_types::Pattern;
use reveille_types::wire::{SettleRequest, TakeRequest, WaitOutcomeKind};

use super::{CommandError, Outcome, Server, duration, millis, output};

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
            timeout_ms: Some(millis(self.timeout)),
            max: Some(self.max),
        };
        let answer = match session.take(&request).await? {
            TakeResult::TimedOut => {
                output::note("timed out");
                return Ok(Outcome::TimedOut);
            }
            TakeResult::Answered(answer) => answer,
        };
        if let Some(gap) = &answer.gap {
            output::gap(gap);
        }
        if answer.outcome == WaitOutcomeKind::Ended {
            output::note("the session is over");
            return Ok(Outcome::EndedWithoutMatch);
        }
        for event in &answer.events {
            output::line(event.get())?;
        }
        // Only what has been written is acknowledged: otherwise it comes back.
        let leases: Vec<String> = answer.leases.into_iter().map(|l| l.lease).collect();
        if self.keep {
            leases.iter().for_each(|lease| output::note(lease));
        } else {
            let settle = SettleRequest {
                group: self.group.clone(),
                leases,
            };
            session.ack(&settle).await?;
        }
        Ok(Outcome::Done)
    }
}
