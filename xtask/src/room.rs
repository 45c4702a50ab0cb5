//! Room on the disk for what the checks build: a linker that finds none dies without telling why.

use std::path::Path;
use std::process::Command;

use crate::deep::target_dir;

/// What the checks leave in the target directory, in KiB, with something to spare.
const NEEDED: u64 = 8 << 20;

/// Whether there is enough of it.
pub(crate) fn is_enough(root: &Path) -> bool {
    let target = target_dir(root, "");
    // Not there on a fresh clone; then it will be on the disk of what is above it.
    let there = target.ancestors().find(|path| path.exists());
    let Some((free, used)) = there.and_then(|there| Some((free(there)?, used(&target)))) else {
        eprintln!(
            "how much room there is for {} is not known",
            target.display()
        );
        return false;
    };
    let is_enough = free + used >= NEEDED;
    if !is_enough {
        eprintln!(
            "{} takes up to {} MiB, of which it has {} and its disk {}: make room, or name another \
             with CARGO_TARGET_DIR",
            target.display(),
            NEEDED >> 10,
            used >> 10,
            free >> 10,
        );
    }
    is_enough
}

/// What is free on the disk of this directory, in KiB.
fn free(there: &Path) -> Option<u64> {
    let table = captured(Command::new("df").arg("-Pk").arg(there))?;
    table
        .lines()
        .nth(1)?
        .split_whitespace()
        .nth(3)?
        .parse()
        .ok()
}

/// What is in this directory, in KiB.
fn used(target: &Path) -> u64 {
    let total = captured(Command::new("du").arg("-sk").arg(target));
    let number = |total: String| total.split_whitespace().next()?.parse().ok();
    total.and_then(number).unwrap_or(0)
}

/// What a command prints, if it succeeds.
fn captured(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    let printed = || String::from_utf8(output.stdout).ok();
    output.status.success().then(printed)?
}
