//! `cargo xtask clients`: installs the clients that other people wrote, and runs the tests that use
//! them.
//!
//! Their versions are pinned by the lock files in `tests/clients`. They go to `target/clients`, so that
//! the tree stays as it is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::deep::target_dir;
use crate::preflight::{Tool, provide};
use crate::process::{cargo, succeeds, tallied};
use crate::tally::{Runner, Tally};

/// What the clients of a shell, npm and PyPI need.
const FAST: &[Tool] = &[
    Tool {
        program: "curl",
        packages: &["curl"],
    },
    Tool {
        program: "node",
        packages: &["nodejs"],
    },
    Tool {
        program: "npm",
        packages: &["npm"],
    },
    Tool {
        program: "python3",
        packages: &["python3", "python3-venv"],
    },
];

/// What the others need besides.
const SLOW: &[Tool] = &[
    Tool {
        program: "chromium",
        packages: &["chromium"],
    },
    Tool {
        program: "nginx",
        packages: &["nginx-light"],
    },
];

/// Runs all clients, prints the verdict, and says whether everything passed.
pub(crate) fn run(root: &Path) -> bool {
    let tally = match provide(SLOW) {
        true => tested(root, None),
        false => Tally::of_check(false),
    };
    println!("{} passed, {} failed", tally.passed, tally.failed);
    tally.failed == 0
}

/// Runs the clients that need neither a browser nor a proxy.
pub(crate) fn fast(root: &Path) -> Tally {
    tested(root, Some("fast_"))
}

fn tested(root: &Path, only: Option<&str>) -> Tally {
    let home = target_dir(root, "clients");
    if !(provide(FAST) && installed(root, &home)) {
        eprintln!("the clients could not be installed");
        return Tally::of_check(false);
    }
    let mut command = cargo(root);
    command.args(["test", "--package", "reveille-e2e", "--test", "clients"]);
    command.args(["--locked", "--no-fail-fast", "--", "--ignored"]);
    command.args(only).env("REVEILLE_CLIENTS", &home);
    let tally = tallied(&mut command, Runner::CargoTest);
    match tally == Tally::default() {
        true => Tally::of_check(false),
        false => tally,
    }
}

/// Copies the clients to their home and installs what they need.
fn installed(root: &Path, home: &Path) -> bool {
    if let Err(error) = copied(&root.join("tests/clients"), home) {
        eprintln!("{}: {error}", home.display());
        return false;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund", "--loglevel", "error"]);
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "venv"]);
    let mut pip = Command::new(home.join("venv/bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check"]);
    pip.args(["--requirement", "requirements.txt"]);
    [npm, venv, pip]
        .iter_mut()
        .all(|command| succeeds(command.current_dir(home)))
}

fn copied(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), PathBuf::from(to).join(entry.file_name()))?;
    }
    Ok(())
}
