//! The `reveille` program.

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
        Command::Serve(command) => done(command.run().await),
        Command::Demo(command) => done(command.run().await),
    }
}
fn done<E: std::error::Error>(r: Result<(), E>) -> ExitCode {
    match r {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            serve::note(&format!("reveille: {error}"));
            ExitCode::FAILURE
        }
    }
}
