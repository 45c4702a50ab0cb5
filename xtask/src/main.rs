//! Repository tasks, run as `cargo xtask <task>`.
//!
//! `tidy` holds the rules about the tree that neither the compiler nor clippy knows.

#![expect(
    clippy::print_stderr,
    reason = "a command-line tool talks to its terminal"
)]

mod process;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <task>

tasks:
  tidy  the rules about the tree: dependency arrows, module docs, whitespace, sizes";

/// The exit code for a command line that names no task.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let args: Vec<_> = args.iter().map(|arg| arg.to_str()).collect();
    let root = process::workspace_root();
    let ok = match args.as_slice() {
        [Some("tidy")] => tidy::run(&root),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    if ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
