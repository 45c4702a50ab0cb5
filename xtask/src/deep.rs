//! `cargo xtask deep`: what takes too long for every change, and proves more than tests do.
//!
//! The models of loom go through every interleaving of a few threads, each model in a process of
//! its own under a time-out, and shuttle draws interleavings of more threads at random. The
//! property tests get many cases, and the stress tests, told by `REVEILLE_DEEP` in the
//! environment, many rounds; both in release builds. Valgrind, which sees what is read before it
//! is written and what the sanitizers do not reach, runs the stress tests of the unsafe code. The
//! steps are counted as in [`ci`](crate::ci).

use std::env;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use cargo_metadata::Message;

use crate::preflight::{Tool, provide};
use crate::process::{cargo, tallied};
use crate::tally::{Runner, Tally};

/// The models: a package, and its test binary.
const MODELS: &[(&str, &str)] = &[
    ("reveille-core", "loom_signal"),
    ("reveille-queue", "loom_session"),
    ("reveille-queue", "loom_tail"),
];

/// How long one model may take. The slowest takes a quarter of it on two slow cores.
const MODEL_TIME_MAX: Duration = Duration::from_secs(300);

/// What shuttle runs: a package, its test binary, and how many schedules each test draws.
const SCHEDULES: &[(&str, &str, &str)] = &[("reveille-core", "shuttle_signal", "250000")];

/// Packages whose property tests take their number of cases from the environment, and that number.
const PROPERTIES: &[(&str, &str)] = &[
    ("reveille-core", "20000"),
    ("reveille-types", "20000"),
    ("reveille-client", "20000"),
    ("reveille-queue", "50000"),
    ("reveille-bus", "500000"),
    ("reveille-testkit", "20000"),
];

/// What [`STRESS`] runs under.
const VALGRIND: &[Tool] = &[Tool {
    program: "valgrind",
    packages: &["valgrind"],
}];

/// Properties that are to hold in more cases yet: a package, the test binary, and how many.
const MORE_CASES: &[(&str, &str, &str)] = &[("reveille-core", "signal_reliability", "200000")];

/// The package and the test binary that valgrind runs.
const STRESS: (&str, &str) = ("reveille-core", "signal_threads");

/// Runs everything, prints the verdict, and says whether everything passed.
pub(crate) fn run(root: &Path) -> bool {
    let mut total = Tally::default();
    for (package, binary) in MODELS {
        total += step(&format!("models {package} {binary}"), || {
            models(root, package, binary)
        });
    }
    for (package, binary, schedules) in SCHEDULES {
        total += step(&format!("schedules {package} {binary}"), || {
            let mut command = optimised(root);
            command.env("RUSTFLAGS", "--cfg shuttle");
            command.env("CARGO_TARGET_DIR", target_dir(root, "shuttle"));
            command.env("REVEILLE_SCHEDULES", schedules);
            command.args(["test", "--release", "--locked", "--no-fail-fast"]);
            command.args(["--package", package, "--test", binary]);
            tallied(&mut command, Runner::CargoTest)
        });
    }
    for (package, cases) in PROPERTIES {
        total += step(&format!("properties and stress {package}"), || {
            let mut command = optimised(root);
            command.args(["test", "--release", "--locked", "--lib", "--tests"]);
            command.args(["--no-fail-fast", "--package", package]);
            command.env("PROPTEST_CASES", cases);
            command.env("REVEILLE_DEEP", "1");
            tallied(&mut command, Runner::CargoTest)
        });
    }
    for (package, binary, cases) in MORE_CASES {
        total += step(&format!("properties {package} {binary}"), || {
            let mut command = optimised(root);
            command.args(["test", "--release", "--locked", "--no-fail-fast"]);
            command.args(["--package", package, "--test", binary]);
            command.env("PROPTEST_CASES", cases);
            tallied(&mut command, Runner::CargoTest)
        });
    }
    let (package, binary) = STRESS;
    total += step(&format!("valgrind {package} {binary}"), || {
        valgrind(root, package, binary)
    });
    println!("{} passed, {} failed", total.passed, total.failed);
    total.failed == 0
}

/// Runs the tests of one binary under valgrind, which is installed if need be.
fn valgrind(root: &Path, package: &str, binary: &str) -> Tally {
    if !provide(VALGRIND) {
        return Tally::of_check(false);
    }
    let mut command = optimised(root);
    command.args(["test", "--release", "--locked", "--no-run"]);
    command.args(["--message-format", "json-render-diagnostics"]);
    command.args(["--package", package, "--test", binary]);
    let Some(program) = built(&mut command, binary) else {
        eprintln!("{binary} was not built");
        return Tally::of_check(false);
    };
    let mut command = Command::new("valgrind");
    command.args(["--quiet", "--fair-sched=yes", "--error-exitcode=1"]);
    // What is still reachable, or may be, belongs to the test harness.
    command.args(["--leak-check=full", "--show-leak-kinds=definite"]);
    command.arg("--errors-for-leak-kinds=definite");
    command.arg(program).arg("--test-threads=1");
    command.stdin(Stdio::null());
    tallied(&mut command, Runner::CargoTest)
}

fn step(name: &str, run: impl FnOnce() -> Tally) -> Tally {
    eprintln!("\n== {name}");
    let start = Instant::now();
    let tally = run();
    eprintln!(
        "== {name}: {} passed, {} failed, {:.1} s",
        tally.passed,
        tally.failed,
        start.elapsed().as_secs_f64()
    );
    tally
}

/// Where a build with other flags goes, so that the usual one stays as it is.
pub(crate) fn target_dir(root: &Path, name: &str) -> PathBuf {
    env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root.join("target"), PathBuf::from)
        .join(name)
}

/// A cargo command for release builds that are made to be run once: without what takes long to build.
pub(crate) fn optimised(root: &Path) -> Command {
    let mut command = cargo(root);
    command.env("CARGO_PROFILE_RELEASE_LTO", "off");
    command.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
    command
}

/// A cargo command for code that is built with loom.
fn cargo_of_models(root: &Path) -> Command {
    let mut command = optimised(root);
    command.env("RUSTFLAGS", "--cfg loom");
    command.env("CARGO_TARGET_DIR", target_dir(root, "loom"));
    command
}

/// The lints of the models, which the usual build does not see.
pub(crate) fn lints(root: &Path) -> Command {
    let mut command = cargo_of_models(root);
    command.args(["clippy", "--locked"]);
    for (package, binary) in MODELS {
        command.args(["--package", package, "--test", binary]);
    }
    command.args(["--", "-D", "warnings"]);
    command
}

/// Builds the models of one binary and runs each.
fn models(root: &Path, package: &str, binary: &str) -> Tally {
    let mut command = cargo_of_models(root);
    command.args(["test", "--release", "--locked", "--no-run"]);
    command.args(["--message-format", "json-render-diagnostics"]);
    command.args(["--package", package, "--test", binary]);
    let Some(program) = built(&mut command, binary) else {
        eprintln!("{binary} was not built");
        return Tally::of_check(false);
    };
    let mut tally = Tally::default();
    for name in names(&program) {
        let start = Instant::now();
        let mut command = Command::new(&program);
        command.args(["--exact", &name, "--nocapture"]);
        let verdict = match ends_well(&mut command, MODEL_TIME_MAX) {
            Some(true) => "ok",
            Some(false) => "FAILED",
            None => "TIMED OUT",
        };
        tally += Tally::of_check(verdict == "ok");
        let seconds = start.elapsed().as_secs_f64();
        eprintln!("{name} ... {verdict}, {seconds:.1} s");
    }
    if tally == Tally::default() {
        eprintln!("no model ran");
        return Tally::of_check(false);
    }
    tally
}

/// Runs a build and gives the program of this name that it made.
fn built(command: &mut Command, name: &str) -> Option<PathBuf> {
    let mut child = command.stdout(Stdio::piped()).spawn().ok()?;
    let output = BufReader::new(child.stdout.take()?);
    let mut program = None;
    for message in Message::parse_stream(output) {
        if let Ok(Message::CompilerArtifact(artifact)) = message
            && artifact.target.name == name
        {
            program = artifact.executable;
        }
    }
    let ok = child.wait().is_ok_and(|status| status.success());
    program.filter(|_| ok).map(PathBuf::from)
}

/// The names of the tests in a test program.
fn names(program: &Path) -> Vec<String> {
    let Ok(output) = Command::new(program).arg("--list").output() else {
        return Vec::new();
    };
    listed(&String::from_utf8_lossy(&output.stdout))
}

fn listed(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .map(str::to_owned)
        .collect()
}

/// Whether the command succeeds; `None` if it has to be ended because it takes too long.
fn ends_well(command: &mut Command, time_max: Duration) -> Option<bool> {
    let Ok(mut child) = command.stdin(Stdio::null()).spawn() else {
        return Some(false);
    };
    let start = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status.success()),
            Ok(None) if start.elapsed() < time_max => thread::sleep(Duration::from_millis(20)),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
            Err(_) => return Some(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tests_are_listed() {
        let text = "a::b: test\nc: benchmark\n\n1 test, 1 benchmark\n";
        assert_eq!(listed(text), ["a::b"]);
    }

    #[test]
    fn a_program_that_takes_too_long_is_ended() {
        let mut sleep = Command::new("sleep");
        assert_eq!(ends_well(sleep.arg("60"), Duration::ZERO), None);
        let mut fails = Command::new("false");
        assert_eq!(ends_well(&mut fails, Duration::from_secs(60)), Some(false));
        let mut absent = Command::new("/nonexistent/program");
        assert_eq!(ends_well(&mut absent, Duration::ZERO), Some(false));
    }
}
