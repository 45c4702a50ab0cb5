//! `reveille close`

use clap::Args;
use reveille_types::wire::CloseRequest;

use super::{CommandError, Outcome, Server, output};

/// Seal a session: what is in it is still delivered, then its streams end
#[derive(Debug, Args)]
pub(super) struct Close {
    /// The session: `id`, or `namespace/id`
    session: String,
    /// Why
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    server: Server,
}

impl Close {
    pub(super) async fn run(&self) -> Result<Outcome, CommandError> {
        let request = CloseRequest {
            reason: self.reason.clone(),
        };
        let session = self.server.session(&self.session)?;
        output::json(&session.close(&request).await?)?;
        Ok(Outcome::Done)
    }
}
