//! `cargo xtask chaos`: what the fault tests of `ci` do a few times, done many times.
//!
//! Servers are killed, stopped and cut off, disks fill up, power is lost at every sync, and afterwards
//! a checker compares what publishers were told with what readers see. The tests print their seeds;
//! `REVEILLE_SEED` repeats one.

use std::path::Path;

use crate::deep::optimised;
use crate::preflight;
use crate::process::tallied;
use crate::tally::{Runner, Tally};

/// How many rounds there are if nobody says.
const ROUNDS: u32 = 100;

/// The test binaries that break things: a package, and its binaries.
const BREAKING: &[(&str, &[&str])] = &[
    (
        "reveille-archive",
        &["kill", "power", "damage", "full_disk"],
    ),
    ("reveille-redis", &["faults", "cluster"]),
    ("reveille-nats", &["faults", "cluster", "signals"]),
    (
        "reveille-e2e",
        &[
            "faults",
            "bus_restart",
            "two_gateways",
            "signals_two_gateways",
            "store_faults",
            "gateway_killed",
            "broker_gone",
        ],
    ),
];

/// Runs them all with so many rounds, prints the verdict, and says whether nothing was lost. None if the
/// arguments are not understood.
pub(crate) fn run(root: &Path, arguments: &[Option<&str>]) -> Option<bool> {
    let rounds = match arguments {
        [] => ROUNDS,
        [Some("--rounds"), Some(rounds)] => rounds.parse().ok().filter(|n| *n > 0)?,
        _ => return None,
    };
    if !preflight::run(root) {
        return Some(false);
    }
    let mut total = Tally::default();
    for (package, binaries) in BREAKING {
        for binary in *binaries {
            eprintln!("\n== {package} {binary}, {rounds} rounds");
            let mut command = optimised(root);
            command
                .args(["test", "--release", "--locked", "--no-fail-fast"])
                .args(["--package", package, "--test", binary])
                .args(["--", "--nocapture", "--test-threads=2"])
                .env("REVEILLE_ROUNDS", rounds.to_string());
            total += tallied(&mut command, Runner::CargoTest);
        }
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    Some(total.failed == 0)
}
