//! `reveille cancel`

use std::time::Duration;

use clap::Args;
use reveille_types::wire::CancelRequest;

use super::{CommandError, Outcome, Server, duration, millis, output};

/// Ask the producer of a session to stop
#[derive(Debug, Args)]
pub(super) struct Cancel {
    /// The session: `id`, or `namespace/id`
    session: String,
    /// Why
    #[arg(long)]
    reason: Option<String>,
    /// Seal the session as cancelled unless its producer has ended it by then
    #[arg(long, value_name = "TIME", value_parser = duration)]
    grace: Option<Duration>,
    #[command(flatten)]
    server: Server,
}

impl Cancel {
    pub(super) async fn run(&self) -> Result<Outcome, CommandError> {
        let request = CancelRequest {
            reason: self.reason.clone(),
            grace_ms: self.grace.map(millis),
        };
        let session = self.server.session(&self.session)?;
        output::json(&session.cancel(&request).await?)?;
        Ok(Outcome::Done)
    }
}
