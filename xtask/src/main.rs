//! Repository tasks, run as `cargo xtask <task>`.
//!
//! `ci` is the one gate: what continuous integration runs is what a developer runs. `tidy` holds
//! the rules about the tree that neither the compiler nor clippy knows. Reading order:
//! [`ci`] lists the steps, [`preflight`] the tools they need and [`wheel`] the servers, [`tally`] how
//! results are counted, [`process`] how commands are started, [`tidy`] the rules, [`mod@bench`] the measurements. What
//! takes too long for the gate: [`deep`], [`chaos`], [`sanitize`], [`fuzz`] and all of [`clients`].
//!
//! Everything a person reads goes to standard error; standard output carries what the commands
//! print and, last, the verdict of `ci`.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool talks to its terminal"
)]

mod bench;
mod chaos;
mod ci;
mod clients;
mod deep;
mod fuzz;
mod preflight;
mod process;
mod room;
mod sanitize;
mod tally;
mod tidy;
mod wheel;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <task>

tasks:
  chaos [--rounds N]
        the tests that kill, stop and cut off servers and take away disk and power, with
        100 rounds if nobody says
  ci    every check and test, going on after a failure; ends with `N passed, N failed`
  clients
        every client that other people wrote, through a restart and a gap; installs them
        with Chromium and nginx (`ci` runs those that need neither)
  deep  the models of loom, the property tests with many cases, and stress; takes long
  fuzz [--seconds N]
        a minute for each target of fuzz/, if nobody says how long; needs a nightly compiler,
        and installs cargo-fuzz
  preflight
        the tools that `ci` needs; installs those that are missing where it may
  sanitize
        the tests of the crate with unsafe code under sanitizers; needs a nightly compiler
  tidy  the rules about the tree: dependency arrows, module docs, whitespace, sizes
  bench core|queue|bus|backends|gateway [--quick] [--json]
        builds benches/ with its peers (no other task does), measures one layer
        beside them, and writes the section to docs/benchmarks.md; --quick takes fewer
        samples; --json prints one object a line instead, and writes nothing";

/// The exit code for a command line that names no task.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let args: Vec<_> = args.iter().map(|arg| arg.to_str()).collect();
    let root = process::workspace_root();
    let ok = match args.as_slice() {
        [Some("chaos"), rest @ ..] => match chaos::run(&root, rest) {
            Some(ok) => ok,
            None => return usage(),
        },
        [Some("ci")] => ci::run(&root),
        [Some("clients")] => clients::run(&root),
        [Some("deep")] => deep::run(&root),
        [Some("fuzz"), rest @ ..] => match fuzz::run(&root, rest) {
            Some(ok) => ok,
            None => return usage(),
        },
        [Some("preflight")] => preflight::run(&root),
        [Some("sanitize")] => sanitize::run(&root),
        [Some("tidy")] => tidy::run(&root),
        [Some("bench"), rest @ ..] => match bench::run(&root, rest) {
            Some(ok) => ok,
            None => return usage(),
        },
        _ => return usage(),
    };
    if ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(EXIT_USAGE)
}
