//! Starting commands: where the workspace is, which cargo, what the children may read and paint.

use std::env;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use crate::tally::{Count, Runner, Tally};

/// The root of the workspace this program belongs to.
pub(crate) fn workspace_root() -> PathBuf {
    // The variable at run time follows a checkout that has moved since the build.
    let manifest_dir =
        env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let mut root = PathBuf::from(manifest_dir);
    root.pop();
    root
}

/// A cargo command in the workspace: no standard input, no colour unless a person is watching.
pub(crate) fn cargo(root: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).stdin(Stdio::null());
    if !io::stderr().is_terminal() {
        command.env("CARGO_TERM_COLOR", "never");
    }
    command
}

/// Whether `cargo <subcommand> --version` works.
pub(crate) fn cargo_has(root: &Path, subcommand: &str) -> bool {
    let mut command = cargo(root);
    command
        .args([subcommand, "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Runs a command to its end and says whether it succeeded; tells why if it could not start.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    match command.status() {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("{}: {error}", command.get_program().display());
            false
        }
    }
}

/// Runs a test command, passes its output through line by line and counts the results in it.
///
/// A command that fails without reporting a failed test (it did not compile, or crashed) counts
/// as one failure.
pub(crate) fn tallied(command: &mut Command, runner: Runner) -> Tally {
    tallied_into(command, runner, &mut io::stdout(), &mut io::stderr())
}

fn tallied_into(
    command: &mut Command,
    runner: Runner,
    to_stdout: &mut impl Write,
    to_stderr: &mut (impl Write + Send),
) -> Tally {
    // Escape sequences would hide the figures from the count.
    command
        .env("CARGO_TERM_COLOR", "never")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            eprintln!("{}: {error}", command.get_program().display());
            return Tally::of_check(false);
        }
    };
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (on_stdout, on_stderr) = thread::scope(|scope| {
        let reader = scope.spawn(|| pass_through(stderr, to_stderr, runner));
        let on_stdout = pass_through(stdout, to_stdout, runner);
        (on_stdout, reader.join().unwrap_or_default())
    });
    let ok = child.wait().is_ok_and(|status| status.success());
    let mut tally = on_stdout;
    tally += on_stderr;
    if !ok && tally.failed == 0 {
        tally.failed = 1;
    }
    tally
}

/// Copies a stream to its end and counts the results in it.
fn pass_through(from: Option<impl Read>, to: &mut impl Write, runner: Runner) -> Tally {
    let mut count = Count::new(runner);
    let Some(from) = from else {
        return count.tally();
    };
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    // An unreadable stream ends like a finished one: the exit status tells the failure.
    while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        // A closed terminal must not stop the reading, or the child would block on a full pipe.
        let _ = to.write_all(&line);
        count.line(&String::from_utf8_lossy(&line));
        line.clear();
    }
    let _ = to.flush();
    count.tally()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    /// Keeps the commands' output to itself: on the terminal it would be counted a second time.
    fn tally_of(command: &mut Command, runner: Runner) -> Tally {
        tallied_into(command, runner, &mut io::sink(), &mut io::sink())
    }

    #[test]
    fn a_failing_command_without_a_failed_test_counts_as_one_failure() {
        assert_eq!(
            tally_of(&mut shell("exit 101"), Runner::CargoTest),
            Tally::of_check(false)
        );
    }

    #[test]
    fn a_command_that_cannot_start_counts_as_one_failure() {
        let mut command = Command::new("/nonexistent/program");
        assert_eq!(
            tally_of(&mut command, Runner::Nextest),
            Tally::of_check(false)
        );
        assert!(!succeeds(&mut command));
    }

    #[test]
    fn results_are_copied_and_counted() {
        let line = "test result: FAILED. 4 passed; 1 failed; 0 ignored; 0 measured\n";
        let mut copy = Vec::new();
        let tally = pass_through(Some(line.as_bytes()), &mut copy, Runner::CargoTest);
        assert_eq!(
            tally,
            Tally {
                passed: 4,
                failed: 1
            }
        );
        assert_eq!(copy, line.as_bytes());
    }

    #[test]
    fn both_streams_are_counted() {
        let summary = "     Summary [   0.1s] 3 tests run: 2 passed, 1 failed, 0 skipped";
        let script = format!("echo '{summary}' >&2; exit 100");
        assert_eq!(
            tally_of(&mut shell(&script), Runner::Nextest),
            Tally {
                passed: 2,
                failed: 1
            }
        );
        let script = "echo 'test result: ok. 5 passed; 0 failed; 0 ignored'";
        assert_eq!(
            tally_of(&mut shell(script), Runner::CargoTest),
            Tally {
                passed: 5,
                failed: 0
            }
        );
    }

    #[test]
    fn the_workspace_root_holds_this_crate() {
        assert!(workspace_root().join("xtask/Cargo.toml").is_file());
    }
}
