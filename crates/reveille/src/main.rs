//! The `reveille` program: the server, and the commands that speak to one.

use std::process::ExitCode;

use clap::Parser;

mod cli;

#[tokio::main]
async fn main() -> ExitCode {
    cli::Cli::parse().run().await
}
