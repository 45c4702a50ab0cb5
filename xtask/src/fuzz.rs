//! `cargo xtask fuzz [--seconds N]`: a minute of fuzzing for everything that reads what strangers write.
//!
//! The targets are in `fuzz/targets`, what they begin with in `fuzz/seeds`; what they find besides is
//! kept in the target directory. They need a nightly compiler and cargo-fuzz, which nothing else here
//! does: cargo-fuzz is installed if need be, and without the compiler the task fails and says how to
//! install it.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::deep::target_dir;
use crate::process::{cargo, cargo_has, succeeds};
use crate::sanitize::has_nightly;
use crate::tally::Tally;

const TARGETS: &[&str] = &[
    "cursor", "pattern", "filter", "event", "binary", "notify", "lines", "record", "wal", "stream",
];

/// How long each target runs if nobody says.
const SECONDS: &str = "60";

/// Runs every target, prints the verdict, and says whether nothing was found; `None` for arguments that
/// it does not know.
pub(crate) fn run(root: &Path, arguments: &[Option<&str>]) -> Option<bool> {
    let seconds = match arguments {
        [] => SECONDS,
        [Some("--seconds"), Some(seconds)] if seconds.parse::<u32>().is_ok() => seconds,
        _ => return None,
    };
    Some(ran(root, seconds))
}

fn ran(root: &Path, seconds: &str) -> bool {
    if !has_nightly() {
        eprintln!("fuzzing needs a nightly compiler; install it with");
        eprintln!("    rustup toolchain install nightly --profile minimal");
        return false;
    }
    if !cargo_has(root, "fuzz") {
        eprintln!("cargo-fuzz is missing; installing it takes a minute");
        // The same with or without what the compiler is held to here.
        let mut install = cargo(root);
        install.args(["install", "cargo-fuzz", "--locked"]);
        if !succeeds(&mut install) {
            eprintln!("install it with");
            eprintln!("    cargo install cargo-fuzz --locked");
            return false;
        }
    }
    let mut total = Tally::default();
    for target in TARGETS {
        eprintln!("\n== fuzz {target}");
        total += Tally::of_check(fuzzed(root, target, seconds));
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    total.failed == 0
}

fn fuzzed(root: &Path, target: &str, seconds: &str) -> bool {
    let fuzz = root.join("fuzz");
    let built = target_dir(root, "fuzz");
    let corpus = built.join("corpus").join(target);
    if let Err(error) = fs::create_dir_all(&corpus) {
        eprintln!("{}: {error}", corpus.display());
        return false;
    }
    let mut command = Command::new("cargo");
    command
        .current_dir(&fuzz)
        .env("CARGO_TARGET_DIR", &built)
        .args(["+nightly", "fuzz", "run", "--fuzz-dir", ".", target])
        .arg(corpus)
        .arg(fuzz.join("seeds").join(target))
        .arg("--")
        .arg(format!("-max_total_time={seconds}"));
    succeeds(&mut command)
}
