//! The command line: one file a command.
//!
//! Machine output is one JSON text a line on standard output, words for people go to standard error.
//! Exit codes: 0 done, 1 error (or the signal was poisoned or cancelled), 2 usage, 3 the session ended
//! without a match, 124 timed out.

mod backend;
mod bench;
mod calm;
mod cancel;
mod close;
mod config;
mod demo;
mod key;
mod known;
mod output;
mod publish;
mod serve;
mod sessions;
mod settings;
mod signal;
mod tail;
mod take;
mod transfer;
mod wait;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use reveille_client::{Client, ClientError, Session};

use output::{OutputError, note, with_causes};

/// Wake the right task at the right moment
#[derive(Debug, Parser)]
#[command(
    name = "reveille",
    version,
    about,
    after_help = "Without a command it serves on 127.0.0.1:7600.\nExit codes: 0 done, 1 error or signal failed, 2 usage, 3 session ended without a match, 124 timed out."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Publish(publish::Publish),
    Tail(tail::Tail),
    Wait(wait::Wait),
    Take(take::Take),
    Cancel(cancel::Cancel),
    Close(close::Close),
    Sessions(sessions::Sessions),
    Signal(signal::Signal),
    Export(transfer::Export),
    Import(transfer::Import),
    Demo(demo::Demo),
    Bench(bench::Bench),
    Config(config::Config),
    Key(key::Key),
}

/// Which server to speak to.
#[derive(Debug, Args)]
struct Server {
    /// The server
    #[arg(
        long,
        global = true,
        env = "REVEILLE_URL",
        default_value = "http://127.0.0.1:7600",
        value_name = "URL"
    )]
    url: String,
    /// The API key or token, where the server wants one
    #[arg(
        long,
        global = true,
        env = "REVEILLE_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    token: Option<String>,
}

impl Server {
    fn client(&self) -> Result<Client, ClientError> {
        match &self.token {
            Some(token) => Client::with_token(&self.url, token),
            None => Client::new(&self.url),
        }
    }

    fn session(&self, name: &str) -> Result<Session, ClientError> {
        Ok(self.client()?.session(name))
    }
}

/// How a command ended, when it did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    EndedWithoutMatch,
    /// A signal was poisoned or cancelled, which has been told.
    Failed,
    TimedOut,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Output(#[from] OutputError),
    #[error("{what} cannot be read")]
    Input {
        what: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{what} is not JSON")]
    Json {
        what: String,
        #[source]
        source: serde_json::Error,
    },
    #[error(transparent)]
    Start(#[from] serve::StartError),
    #[error(transparent)]
    Transfer(#[from] transfer::TransferError),
    #[error(transparent)]
    Settings(#[from] settings::SettingsError),
    #[error(transparent)]
    Demo(#[from] demo::DemoError),
    #[error(transparent)]
    Bench(#[from] bench::BenchError),
}

impl CommandError {
    fn exit_code(&self) -> ExitCode {
        match self {
            // Whoever read has read enough.
            Self::Output(OutputError::Closed) => ExitCode::SUCCESS,
            Self::Client(ClientError::Url { .. })
            | Self::Json { .. }
            | Self::Settings(_)
            | Self::Bench(bench::BenchError::Url { .. }) => ExitCode::from(2),
            Self::Start(error) => error.exit_code(),
            Self::Demo(error) => error.exit_code(),
            _ => ExitCode::FAILURE,
        }
    }
}

impl Cli {
    /// Runs the command.
    pub(crate) async fn run(self) -> ExitCode {
        let command = self
            .command
            .unwrap_or_else(|| Command::Serve(serve::Serve::default()));
        let result = match command {
            Command::Serve(command) => command.run().await,
            Command::Publish(command) => command.run().await,
            Command::Tail(command) => command.run().await,
            Command::Wait(command) => command.run().await,
            Command::Take(command) => command.run().await,
            Command::Cancel(command) => command.run().await,
            Command::Close(command) => command.run().await,
            Command::Sessions(command) => command.run().await,
            Command::Signal(command) => command.run().await,
            Command::Export(command) => command.run().await,
            Command::Import(command) => command.run().await,
            Command::Demo(command) => command.run().await,
            Command::Bench(command) => command.run().await,
            Command::Config(command) => command.run(),
            Command::Key(command) => command.run(),
        };
        match result {
            Ok(Outcome::Done) => ExitCode::SUCCESS,
            Ok(Outcome::EndedWithoutMatch) => ExitCode::from(3),
            Ok(Outcome::Failed) => ExitCode::FAILURE,
            Ok(Outcome::TimedOut) => ExitCode::from(124),
            Err(error) => {
                if !matches!(error, CommandError::Output(OutputError::Closed)) {
                    note(&format!("reveille: {}", with_causes(&error)));
                }
                error.exit_code()
            }
        }
    }
}

/// Reads `250ms`, `25s`, `5m` or `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a number and a unit, such as 250ms, 25s, 5m or 1h".to_owned();
    let unit = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let count: u64 = text[..unit].parse().map_err(|_| wrong())?;
    let millis = match &text[unit..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    Ok(Duration::from_millis(count.saturating_mul(millis)))
}

/// A duration as the wire has it.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_have_a_number_and_a_unit() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("25s"), Ok(Duration::from_secs(25)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3_600)));
        for wrong in ["", "5", "s", "-1s", "1.5s", "5 s", "5d", "5µs"] {
            assert!(duration(wrong).is_err(), "{wrong:?}");
        }
    }
}
