//! `reveille signal`: one-shot completions between processes.

use std::num::NonZeroU32;
use std::time::Duration;

use clap::{Args, Subcommand};
use reveille_client::Signals;
use reveille_types::wire::{PoisonInfo, SignalInfo, SignalMergeMode, SignalState};
use serde_json::value::RawValue;

use super::{CommandError, Outcome, Server, duration, output, with_causes};

/// Make, complete, merge and await signals: one-shot completions between processes
#[derive(Debug, Args)]
pub(super) struct Signal {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a signal: the handle is for those who wait, the secret for the one who completes it
    Create {
        /// What it is, for people
        #[arg(long)]
        name: Option<String>,
        /// Print `HANDLE SECRET` instead of JSON
        #[arg(long)]
        plain: bool,
    },
    /// Complete a signal with success
    Trigger {
        #[command(flatten)]
        right: Right,
        /// What everybody who waits gets, as JSON
        #[arg(long, value_name = "JSON")]
        value: Option<String>,
    },
    /// Complete a signal with a failure
    Poison {
        #[command(flatten)]
        right: Right,
        /// What went wrong
        #[arg(long)]
        reason: String,
    },
    /// Complete a signal as cancelled
    Cancel {
        #[command(flatten)]
        right: Right,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
    /// Make a signal that others complete: when all have been triggered, unless told otherwise
    Merge {
        /// The signals that complete it
        #[arg(required = true, value_name = "HANDLE")]
        inputs: Vec<String>,
        #[command(flatten)]
        mode: Mode,
        /// Print `HANDLE` instead of JSON
        #[arg(long)]
        plain: bool,
    },
    /// Block until a signal is complete: exit code 0 if triggered, 1 if poisoned or cancelled
    Wait {
        /// The signal
        handle: String,
        /// Give up after this time, such as 250ms, 25s or 5m; never if not given
        #[arg(long, value_name = "TIME", value_parser = duration)]
        timeout: Option<Duration>,
    },
}

/// The right to complete a signal.
#[derive(Debug, Args)]
struct Right {
    /// The signal
    handle: String,
    /// Its secret; better in the environment, where other users do not see it
    #[arg(long, env = "REVEILLE_SIGNAL_SECRET", hide_env_values = true)]
    secret: String,
}

/// When a merged signal is complete.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct Mode {
    /// With the first input that is triggered
    #[arg(long)]
    any: bool,
    /// When N inputs are triggered
    #[arg(long, value_name = "N")]
    n: Option<NonZeroU32>,
    /// Fail as soon as one input has
    #[arg(long)]
    fail_fast: bool,
}

impl Mode {
    fn of_merge(&self) -> SignalMergeMode {
        match self.n {
            Some(n) => SignalMergeMode::N(n),
            None if self.any => SignalMergeMode::Any,
            None if self.fail_fast => SignalMergeMode::FailFast,
            None => SignalMergeMode::AllSettled,
        }
    }
}

impl Signal {
    pub(super) async fn run(&self) -> Result<Outcome, CommandError> {
        let signals = self.server.client()?.signals();
        match &self.action {
            Action::Create { name, plain } => {
                let created = signals.create(name.as_deref()).await?;
                match plain {
                    true => output::line(&format!("{} {}", created.handle, created.secret))?,
                    false => output::json(&created)?,
                }
            }
            Action::Trigger { right, value } => {
                let value = value.as_deref().map(json_value).transpose()?;
                let done = signals.trigger(&right.handle, &right.secret, value);
                output::json(&done.await?)?;
            }
            Action::Poison { right, reason } => {
                let done = signals.poison(&right.handle, &right.secret, reason);
                output::json(&done.await?)?;
            }
            Action::Cancel { right, reason } => {
                let done = signals.cancel(&right.handle, &right.secret, reason.as_deref());
                output::json(&done.await?)?;
            }
            Action::Merge {
                inputs,
                mode,
                plain,
            } => {
                let merged = signals.merge(inputs, mode.of_merge()).await?;
                match plain {
                    true => output::line(&merged.handle)?,
                    false => output::json(&merged)?,
                }
            }
            Action::Wait { handle, timeout } => return wait(&signals, handle, *timeout).await,
        }
        Ok(Outcome::Done)
    }
}

async fn wait(
    signals: &Signals,
    handle: &str,
    timeout: Option<Duration>,
) -> Result<Outcome, CommandError> {
    let away = |error| output::note(&format!("{}; trying again", with_causes(&error)));
    let Some(info) = signals.wait(handle, timeout, away).await? else {
        output::note("timed out");
        return Ok(Outcome::TimedOut);
    };
    output::json(&info)?;
    let Some(poison) = &info.poison else {
        return Ok(Outcome::Done);
    };
    tell(&info, poison);
    Ok(Outcome::Failed)
}

/// Says on standard error why a signal failed, a cause a line.
fn tell(info: &SignalInfo, poison: &PoisonInfo) {
    let how = match info.status {
        SignalState::Cancelled => "cancelled",
        _ => "poisoned",
    };
    output::note(&format!("{how}:"));
    for cause in &poison.causes {
        let name = cause.name.as_deref().unwrap_or("signal");
        // Quoted, because it is text of others: it may hold line ends and control characters.
        output::note(&format!(
            "  {name:?} ({}) {}: {:?}",
            cause.handle, cause.kind, cause.reason
        ));
    }
    if poison.more > 0 {
        output::note(&format!("  and {} more", poison.more));
    }
}

fn json_value(text: &str) -> Result<Box<RawValue>, CommandError> {
    RawValue::from_string(text.trim().to_owned()).map_err(|source| CommandError::Json {
        what: "--value".to_owned(),
        source,
    })
}
