//! Room on the disk for what the checks build: a linker that finds none dies without telling why.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::deep::target_dir;

/// What the checks leave in the target directory, in KiB, with something to spare.
const NEEDED: u64 = 8 << 20;
/// What must be free, in KiB, whatever is in the target directory: it may be of another build.
const FREE: u64 = 2 << 20;

/// Whether there is enough of it.
pub(crate) fn is_enough(root: &Path) -> bool {
    let target = target_dir(root, "");
    // Not there on a fresh clone; then it will be on the disk of what is above it.
    let there = target.ancestors().find(|path| path.exists());
    let Some(free) = there.and_then(free) else {
        eprintln!(
            "how much room there is for {} is not known",
            target.display()
        );
        return false;
    };
    let needed = NEEDED.saturating_sub(used(&target)).max(FREE);
    if free < needed {
        eprintln!(
            "the disk of {} has {} MiB and needs {}: make room, or name another with CARGO_TARGET_DIR",
            target.display(),
            free >> 10,
            needed >> 10,
        );
    }
    free >= needed
}

/// What is free on the disk of this directory, in KiB.
fn free(there: &Path) -> Option<u64> {
    let table = printed(Command::new("df").arg("-Pk").arg(there))?;
    table
        .lines()
        .nth(1)?
        .split_whitespace()
        .nth(3)?
        .parse()
        .ok()
}

/// What is in this directory, in KiB, as far as it can be read.
fn used(target: &Path) -> u64 {
    let total = printed(Command::new("du").arg("-sk").arg(target));
    let number = |total: String| total.split_whitespace().next()?.parse().ok();
    total.and_then(number).unwrap_or(0)
}

fn printed(command: &mut Command) -> Option<String> {
    String::from_utf8(command.stderr(Stdio::inherit()).output().ok()?.stdout).ok()
}
