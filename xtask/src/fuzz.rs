//! `cargo xtask fuzz`: a minute of fuzzing for everything that reads what strangers write.
//!
//! The targets are in `fuzz/targets`, what they begin with in `fuzz/seeds`; what they find besides is
//! kept in the target directory. They need a nightly compiler and cargo-fuzz, which nothing else here
//! does: without them the task fails and says how to install them.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::deep::target_dir;
use crate::process::{cargo_has, succeeds};
use crate::sanitize::has_nightly;
use crate::tally::Tally;

const TARGETS: &[&str] = &["cursor", "filter", "event", "stream"];

/// How long each target runs.
const SECONDS: u32 = 60;

/// Runs every target, prints the verdict, and says whether nothing was found.
pub(crate) fn run(root: &Path) -> bool {
    if !has_nightly() || !cargo_has(root, "fuzz") {
        eprintln!("fuzzing needs a nightly compiler and cargo-fuzz; install them with");
        eprintln!("    rustup toolchain install nightly --profile minimal");
        eprintln!("    cargo install cargo-fuzz --locked");
        return false;
    }
    let mut total = Tally::default();
    for target in TARGETS {
        eprintln!("\n== fuzz {target}");
        total += Tally::of_check(fuzzed(root, target));
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    total.failed == 0
}

fn fuzzed(root: &Path, target: &str) -> bool {
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
        .arg(format!("-max_total_time={SECONDS}"));
    succeeds(&mut command)
}
