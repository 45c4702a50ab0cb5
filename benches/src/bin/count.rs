//! Counts the allocations and bytes of a subject and prints the figures.

use std::alloc::System;
use std::io;
use std::process::ExitCode;

use reveille_bench::{Args, Report, signals};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[expect(
    clippy::print_stderr,
    reason = "a command-line tool tells what went wrong"
)]
fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("reveille-bench-count: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let args = Args::from_env()?;
    let mut out = io::stdout().lock();
    let mut report = Report::new(&mut out);
    let done = match args.subject.as_str() {
        "core" => signals::count(&args, &mut report),
        other => return Err(format!("no subject is called {other}")),
    };
    done.map_err(|error| error.to_string())
}
