//! The tools that the checks need, looked for before anything else runs.
//!
//! A missing tool is installed where that is possible without asking (root and `apt-get`), and
//! otherwise named together with its package; a check is never skipped for want of a tool. A new
//! step adds its tools to [`TOOLS`].

use std::env;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::process::{cargo_has, succeeds};
use crate::wheel;

/// A program on the search path and the Debian packages that bring it.
pub(crate) struct Tool {
    pub(crate) program: &'static str,
    pub(crate) packages: &'static [&'static str],
}

const TOOLS: &[Tool] = &[
    Tool {
        program: "cc",
        packages: &["gcc", "libc6-dev"],
    },
    Tool {
        program: "curl",
        packages: &["curl"],
    },
    Tool {
        program: "df",
        packages: &["coreutils"],
    },
    Tool {
        program: "find",
        packages: &["findutils"],
    },
    Tool {
        program: "git",
        packages: &["git"],
    },
    Tool {
        program: "redis-cli",
        packages: &["redis-tools"],
    },
    Tool {
        program: "redis-server",
        packages: &["redis-server"],
    },
    Tool {
        program: "sha256sum",
        packages: &["coreutils"],
    },
    Tool {
        program: "wc",
        packages: &["coreutils"],
    },
];

/// A component of the toolchain and the cargo subcommand that it brings.
struct Component {
    name: &'static str,
    subcommand: &'static str,
}

const COMPONENTS: &[Component] = &[
    Component {
        name: "rustfmt",
        subcommand: "fmt",
    },
    Component {
        name: "clippy",
        subcommand: "clippy",
    },
];

/// Makes sure that every tool is there; tells what to install where it cannot do so itself.
pub(crate) fn run(root: &Path) -> bool {
    let tools = provide(TOOLS);
    let servers = wheel::provided(root);
    let missing: Vec<_> = COMPONENTS
        .iter()
        .filter(|component| !cargo_has(root, component.subcommand))
        .map(|component| component.name)
        .collect();
    if !missing.is_empty() {
        eprintln!(
            "the toolchain lacks components; run: rustup component add {}",
            missing.join(" ")
        );
    }
    tools && servers && missing.is_empty()
}

/// Installs what is missing of these, if it may; tells what to install if not. Whether all are there.
pub(crate) fn provide(tools: &'static [Tool]) -> bool {
    provide_where(tools, on_path)
}

/// As [`provide`], with another way to see whether a tool is there.
pub(crate) fn provide_where(tools: &'static [Tool], present: impl Fn(&str) -> bool) -> bool {
    let absent = missing(tools, &present);
    if absent.is_empty() {
        return true;
    }
    let packages = packages(&absent);
    if is_root() && on_path("apt-get") {
        eprintln!(
            "missing: {}; installing: {}",
            programs(&absent),
            packages.join(" ")
        );
        // The outcome that matters is whether the tools are there afterwards.
        let _ = succeeds(apt_get().arg("update"))
            && succeeds(
                apt_get()
                    .args(["install", "-y", "--no-install-recommends"])
                    .args(&packages),
            );
    }
    let absent = missing(tools, &present);
    if !absent.is_empty() {
        eprintln!(
            "missing: {}; install the packages (Debian's names): {}",
            programs(&absent),
            self::packages(&absent).join(" ")
        );
    }
    absent.is_empty()
}

/// As [`provide`], for a file that the packages of these tools bring.
pub(crate) fn provide_file(path: &str, tools: &'static [Tool]) -> bool {
    if Path::new(path).exists() {
        return true;
    }
    let packages = packages(&tools.iter().collect::<Vec<_>>());
    if is_root() && on_path("apt-get") {
        eprintln!("missing: {path}; installing: {}", packages.join(" "));
        let _ = succeeds(apt_get().arg("update"))
            && succeeds(
                apt_get()
                    .args(["install", "-y", "--no-install-recommends"])
                    .args(&packages),
            );
    }
    let there = Path::new(path).exists();
    if !there {
        let packages = packages.join(" ");
        eprintln!("missing: {path}; install the packages (Debian's names): {packages}");
    }
    there
}

fn missing(tools: &'static [Tool], present: impl Fn(&str) -> bool) -> Vec<&'static Tool> {
    tools.iter().filter(|tool| !present(tool.program)).collect()
}

/// The packages of the tools, each once.
fn packages(tools: &[&Tool]) -> Vec<&'static str> {
    let mut packages: Vec<_> = tools
        .iter()
        .flat_map(|tool| tool.packages)
        .copied()
        .collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

fn programs(tools: &[&Tool]) -> String {
    tools
        .iter()
        .map(|tool| tool.program)
        .collect::<Vec<_>>()
        .join(", ")
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null());
    command
}

fn on_path(program: &str) -> bool {
    env::var_os("PATH").is_some_and(|path| {
        env::split_paths(&path).any(|folder| {
            fs::metadata(folder.join(program))
                .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
        })
    })
}

/// Whether this process runs as root. Where there is no `/proc` there is no `apt-get` either.
fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tool_is_named_with_its_packages() {
        let absent = missing(TOOLS, |program| program != "cc" && program != "git");
        assert_eq!(programs(&absent), "cc, git");
        assert_eq!(packages(&absent), ["gcc", "git", "libc6-dev"]);
    }

    #[test]
    fn a_package_of_two_tools_is_named_once() {
        let absent = missing(TOOLS, |program| program != "wc" && program != "sha256sum");
        assert_eq!(packages(&absent), ["coreutils"]);
    }

    #[test]
    fn every_tool_has_a_package() {
        for tool in TOOLS {
            assert!(!tool.packages.is_empty(), "{}", tool.program);
        }
    }

    #[test]
    fn the_search_path_tells_present_from_absent() {
        assert!(on_path("sh"));
        assert!(!on_path("no-such-program-anywhere"));
    }
}
