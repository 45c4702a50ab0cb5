//! `cargo xtask ci`: the steps, in order, and the verdict.
//!
//! A failed step does not stop the later ones, so that one run tells everything; only without the
//! tools that [`preflight`] asks for, or without [`room`], do the later steps make no sense. Each step
//! that is not a test run counts as one check.

use std::fs;
use std::path::Path;
use std::time::Instant;

use crate::process::{cargo, cargo_has, succeeds, tallied};
use crate::tally::{Runner, Tally};
use crate::{clients, deep, preflight, room, tidy};

struct Step {
    name: &'static str,
    run: fn(&Path) -> Tally,
    /// Whether the later steps make no sense once this one has failed.
    vital: bool,
}

const STEPS: &[Step] = &[
    Step {
        name: "preflight",
        run: tools,
        vital: true,
    },
    Step {
        name: "tidy",
        run: tidiness,
        vital: false,
    },
    Step {
        name: "fmt",
        run: formatting,
        vital: false,
    },
    Step {
        name: "lock files",
        run: locks,
        vital: false,
    },
    Step {
        name: "clippy",
        run: lints,
        vital: false,
    },
    Step {
        name: "clippy of the models",
        run: model_lints,
        vital: false,
    },
    Step {
        name: "each crate alone",
        run: alone,
        vital: false,
    },
    Step {
        name: "doc",
        run: docs,
        vital: false,
    },
    Step {
        name: "tests",
        run: tests,
        vital: false,
    },
    Step {
        name: "doc tests",
        run: doc_tests,
        vital: false,
    },
    Step {
        name: "clients",
        run: clients::fast,
        vital: false,
    },
];

/// Workspaces of their own, which nothing here builds.
const OTHERS: [&str; 2] = ["benches", "fuzz"];

/// Runs every step, prints the verdict, and says whether everything passed.
pub(crate) fn run(root: &Path) -> bool {
    let (total, failed) = run_steps(STEPS, root);
    if !failed.is_empty() {
        eprintln!("\nfailed: {}", failed.join(", "));
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    failed.is_empty()
}

/// The sum over the steps that ran, and the names of those that failed.
fn run_steps(steps: &[Step], root: &Path) -> (Tally, Vec<&'static str>) {
    let mut total = Tally::default();
    let mut failed = Vec::new();
    for step in steps {
        eprintln!("\n== {}", step.name);
        let start = Instant::now();
        let tally = (step.run)(root);
        eprintln!(
            "== {}: {} passed, {} failed, {:.1} s",
            step.name,
            tally.passed,
            tally.failed,
            start.elapsed().as_secs_f64()
        );
        total += tally;
        if tally.failed > 0 {
            failed.push(step.name);
            if step.vital {
                break;
            }
        }
    }
    (total, failed)
}

fn tools(root: &Path) -> Tally {
    Tally::of_check(preflight::run(root) && room::is_enough(root))
}

fn tidiness(root: &Path) -> Tally {
    Tally::of_check(tidy::run(root))
}

fn formatting(root: &Path) -> Tally {
    let mut tally = Tally::of_check(succeeds(cargo(root).args(["fmt", "--all", "--check"])));
    for other in OTHERS {
        let other = root.join(other);
        tally += Tally::of_check(succeeds(cargo(&other).args(["fmt", "--check"])));
    }
    tally
}

/// Whether the other workspaces are locked to what this one depends on now. Of this one every build tells.
fn locks(root: &Path) -> Tally {
    let mut tally = Tally::default();
    for other in OTHERS {
        let mut update = cargo(&root.join(other));
        update.args(["update", "--workspace", "--locked"]);
        tally += Tally::of_check(succeeds(&mut update));
    }
    tally
}

fn lints(root: &Path) -> Tally {
    let mut command = cargo(root);
    command.args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ]);
    Tally::of_check(succeeds(&mut command))
}

fn model_lints(root: &Path) -> Tally {
    Tally::of_check(succeeds(&mut deep::lints(root)))
}

/// A crate that people depend on builds without what its neighbours ask of the same dependencies.
fn alone(root: &Path) -> Tally {
    let Ok(crates) = fs::read_dir(root.join("crates")) else {
        return Tally::of_check(false);
    };
    let mut total = Tally::default();
    for name in crates.flatten().map(|entry| entry.file_name()) {
        let mut command = cargo(root);
        command.args(["check", "--quiet", "--locked", "--package"]);
        total += Tally::of_check(succeeds(command.arg(name)));
    }
    total
}

fn docs(root: &Path) -> Tally {
    let mut command = cargo(root);
    command.args(["doc", "--workspace", "--no-deps", "--locked"]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    Tally::of_check(succeeds(&mut command))
}

fn tests(root: &Path) -> Tally {
    let mut command = cargo(root);
    let runner = if cargo_has(root, "nextest") {
        command.args(["nextest", "run", "--profile", "ci", "--workspace"]);
        command.env("NEXTEST_TEST_THREADS", threads().to_string());
        Runner::Nextest
    } else {
        command.args(["test", "--workspace", "--all-targets"]);
        Runner::CargoTest
    };
    command.args(["--locked", "--no-fail-fast"]);
    // It is built with the tests; built alone it would have other features of its dependencies.
    command.env("REVEILLE_PROGRAM", deep::target_dir(root, "debug/reveille"));
    let tally = tallied(&mut command, runner);
    if tally == Tally::default() {
        eprintln!("no test ran");
        return Tally::of_check(false);
    }
    tally
}

/// How much nextest runs at once: most tests count for two, those that wait more than they compute for one.
fn threads() -> usize {
    2 * std::thread::available_parallelism().map_or(1, usize::from)
}

fn doc_tests(root: &Path) -> Tally {
    let mut command = cargo(root);
    command.args(["test", "--workspace", "--doc", "--locked", "--no-fail-fast"]);
    tallied(&mut command, Runner::CargoTest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(_: &Path) -> Tally {
        Tally {
            passed: 2,
            failed: 0,
        }
    }

    fn fails(_: &Path) -> Tally {
        Tally {
            passed: 1,
            failed: 3,
        }
    }

    #[test]
    fn steps_after_a_failed_one_still_run() {
        let steps = [
            Step {
                name: "first",
                run: fails,
                vital: false,
            },
            Step {
                name: "second",
                run: passes,
                vital: false,
            },
        ];
        let (total, failed) = run_steps(&steps, Path::new("."));
        assert_eq!(
            total,
            Tally {
                passed: 3,
                failed: 3
            }
        );
        assert_eq!(failed, ["first"]);
    }

    #[test]
    fn a_failed_vital_step_is_the_last() {
        let steps = [
            Step {
                name: "first",
                run: fails,
                vital: true,
            },
            Step {
                name: "second",
                run: passes,
                vital: false,
            },
        ];
        let (total, failed) = run_steps(&steps, Path::new("."));
        assert_eq!(
            total,
            Tally {
                passed: 1,
                failed: 3
            }
        );
        assert_eq!(failed, ["first"]);
    }
}
