//! `reveille sessions`

use clap::Args;
use reveille_client::ListRequest;
use reveille_types::wire::SessionState;

use super::{CommandError, Outcome, Server, output};

/// List sessions, one a line
#[derive(Debug, Args)]
pub(super) struct Sessions {
    /// Only of this namespace
    #[arg(long)]
    namespace: Option<String>,
    /// Only in this state: `open` or `ended`
    #[arg(long, value_parser = ["open", "ended"])]
    state: Option<String>,
    /// Most sessions to list
    #[arg(long)]
    limit: Option<usize>,
    #[command(flatten)]
    server: Server,
}

impl Sessions {
    pub(super) async fn run(&self) -> Result<Outcome, CommandError> {
        let client = self.server.client()?;
        let mut request = ListRequest::default();
        request.namespace.clone_from(&self.namespace);
        request.state = self.state.as_deref().map(|state| match state {
            "ended" => SessionState::Ended,
            _ => SessionState::Open,
        });
        let mut left = self.limit.unwrap_or(usize::MAX);
        loop {
            let page = client.sessions(&request).await?;
            for session in page.sessions.iter().take(left) {
                output::json(session)?;
            }
            left = left.saturating_sub(page.sessions.len());
            request.page = page.next_page;
            if left == 0 || request.page.is_none() {
                return Ok(Outcome::Done);
            }
        }
    }
}
