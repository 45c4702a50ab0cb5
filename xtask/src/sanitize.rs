//! `cargo xtask sanitize`: the tests of the one crate with unsafe code under sanitizers.
//!
//! They need a nightly compiler, which nothing else here does. Without one the task fails and says
//! how to install it. The standard library is not instrumented, so the thread sanitizer misses
//! what orders accesses inside of it: `cfg(reveille_tsan)` has our locks not wait in there, and
//! `tsan.supp` names the other places.

use std::env::consts::ARCH;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::deep::target_dir;
use crate::process::tallied;
use crate::tally::{Runner, Tally};

const PACKAGE: &str = "reveille-core";

struct Sanitizer {
    name: &'static str,
    flags: &'static str,
    /// Which tests.
    tests: &'static [&'static str],
    /// The variable for its options.
    options: &'static str,
}

const SANITIZERS: &[Sanitizer] = &[
    Sanitizer {
        name: "address",
        flags: "-Zsanitizer=address",
        tests: &["--lib", "--tests"],
        options: "ASAN_OPTIONS",
    },
    Sanitizer {
        name: "thread",
        flags: "-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer --cfg reveille_tsan",
        // Plain threads only.
        tests: &["--test", "signal_threads"],
        options: "TSAN_OPTIONS",
    },
];

/// Runs both sanitizers, prints the verdict, and says whether everything passed.
pub(crate) fn run(root: &Path) -> bool {
    if !has_nightly() {
        eprintln!("the sanitizers need a nightly compiler; install it with");
        eprintln!("    rustup toolchain install nightly --profile minimal");
        return false;
    }
    let mut total = Tally::default();
    for sanitizer in SANITIZERS {
        eprintln!("\n== {} sanitizer", sanitizer.name);
        total += run_with(root, sanitizer);
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    total.failed == 0
}

pub(crate) fn has_nightly() -> bool {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo", "--version"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn run_with(root: &Path, sanitizer: &Sanitizer) -> Tally {
    let mut command = Command::new("rustup");
    command.current_dir(root).stdin(Stdio::null());
    command.args(["run", "nightly", "cargo", "test", "--locked"]);
    // With a target, build scripts stay as they are.
    command.args(["--target", &format!("{ARCH}-unknown-linux-gnu")]);
    command.args(["--no-fail-fast", "--package", PACKAGE]);
    command.args(sanitizer.tests);
    command.env("RUSTFLAGS", sanitizer.flags);
    let directory = format!("sanitize-{}", sanitizer.name);
    command.env("CARGO_TARGET_DIR", target_dir(root, &directory));
    let suppressions = root.join("xtask/tsan.supp");
    command.env(
        sanitizer.options,
        match sanitizer.options {
            "TSAN_OPTIONS" => format!("suppressions={} history_size=7", suppressions.display()),
            _ => "detect_leaks=1".to_owned(),
        },
    );
    tallied(&mut command, Runner::CargoTest)
}
