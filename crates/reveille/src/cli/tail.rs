//! `reveille tail`

use clap::Args;
use reveille_client::{After, FollowOptions, Followed};

use super::{CommandError, Outcome, Server, output};

/// Follow a session until it is over, or all sessions; lost connections are made anew
#[derive(Debug, Args)]
pub(super) struct Tail {
    /// The session: `id`, or `namespace/id`; all sessions in one order if none is given
    session: Option<String>,
    /// Only kinds that match, such as `task.*`; may be repeated
    #[arg(long = "match", visible_alias = "type", value_name = "PATTERN")]
    patterns: Vec<String>,
    /// Where to begin: a cursor, `earliest` or `latest`
    #[arg(long, default_value = "earliest", value_name = "CURSOR")]
    after: After,
    /// Say nothing on standard error
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    server: Server,
}

impl Tail {
    pub(super) async fn run(&self) -> Result<Outcome, CommandError> {
        let mut options = FollowOptions::default();
        options.patterns.clone_from(&self.patterns);
        options.after = self.after;
        let mut follow = match &self.session {
            Some(session) => self.server.session(session)?.follow(options),
            None => self.server.client()?.follow(options),
        };
        while let Some(item) = follow.next().await {
            match item? {
                Followed::Event(event) => output::line(event.json.get())?,
                // A gap is never passed over in silence.
                Followed::Gap(gap) => output::gap(&gap),
                Followed::Open(_) | Followed::CaughtUp => {}
                Followed::Disconnected { error, retry } => self.note(&match error {
                    Some(error) => output::trying_again(&error, retry),
                    None => format!("disconnected; trying again in {} ms", retry.as_millis()),
                }),
                Followed::Ended { reason, .. } => self.note(&match reason {
                    Some(reason) => format!("the session is over: {}", reason.as_str()),
                    None => "the session is over".to_owned(),
                }),
            }
        }
        Ok(Outcome::Done)
    }

    fn note(&self, text: &str) {
        if !self.quiet {
            output::note(text);
        }
    }
}
