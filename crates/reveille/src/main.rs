//! The `reveille` program.

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod demo;
mod serve;

#[derive(Debug, Parser)]
#[command(name = "reveille", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Demo(demo::Demo),
}

#[tokio::main]
async fn main() -> ExitCode {
    let command = Cli::parse()
        .command
        .unwrap_or_else(|| Command::Serve(serve::Serve::default()));
    match command {
        Command::Serve(command) => done(command.run().await, serve::StartError::exit_code),
        Command::Demo(command) => done(command.run().await, demo::DemoError::exit_code),
    }
}

/// Says what went wrong and why, and gives the exit code.
fn done<E: Error>(result: Result<(), E>, exit_code: impl Fn(&E) -> ExitCode) -> ExitCode {
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    let mut text = format!("reveille: {error}");
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(&format!(": {source}"));
        cause = source.source();
    }
    serve::note(&text);
    exit_code(&error)
}
