//! `cargo xtask bench <subject>`: Reveille beside its peers, as tables.
//!
//! The two programs of the package `reveille-bench` measure; here their samples become rows
//! ([`samples`]), are held against the figures to reach ([`figures`]), and are written as tables
//! or as JSON ([`table`]) and into the document ([`document`]). A further subject is one row of
//! the table of subjects, and a module in `benches/`. A figure that is not reached is told in
//! the table alone: times depend on the machine, so nothing fails by them.

mod document;
mod figures;
mod samples;
mod table;

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use cargo_metadata::MetadataCommand;

use self::figures::Subject;
use self::table::Setting;
use crate::process::{cargo, succeeds};

/// The package that measures, and its programs.
const PACKAGE: &str = "reveille-bench";
const PROGRAMS: [&str; 2] = ["reveille-bench-time", "reveille-bench-count"];

/// Where the tables are kept.
const DOCUMENT: &str = "docs/benchmarks.md";

/// What is asked for.
pub(crate) struct Request {
    subject: &'static Subject,
    quick: bool,
    json: bool,
}

impl Request {
    /// Reads the command line after `bench`; nothing if it is no such command line.
    pub(crate) fn parse(args: &[Option<&str>]) -> Option<Self> {
        let (name, flags) = args.split_first()?;
        let mut request = Self {
            subject: figures::subject((*name)?)?,
            quick: false,
            json: false,
        };
        for flag in flags {
            match *flag {
                Some("--quick") => request.quick = true,
                Some("--json") => request.json = true,
                _ => return None,
            }
        }
        Some(request)
    }
}

/// Builds, measures, and prints or writes what came out. Whether that worked, not whether the
/// figures were reached.
pub(crate) fn run(root: &Path, request: &Request) -> bool {
    match try_run(root, request) {
        Ok(()) => true,
        Err(error) => {
            eprintln!("bench: {error}");
            false
        }
    }
}

fn try_run(root: &Path, request: &Request) -> Result<(), String> {
    let mut build = cargo(root);
    build.args(["build", "--release", "--locked", "--package", PACKAGE]);
    if !succeeds(&mut build) {
        return Err("the benchmarks do not build".into());
    }
    let mut lines = Vec::new();
    for program in PROGRAMS {
        lines.extend(measure(root, program, request)?);
    }
    let rows = samples::rows(&lines)?;
    let subject = request.subject;
    if let Some(figure) = subject.missing(&rows) {
        return Err(format!("nothing was measured for the row {figure}"));
    }
    if request.json {
        print!("{}", table::json(&rows));
        return Ok(());
    }
    let section = table::section(subject, &setting(root)?, &rows);
    print!("{section}");
    if request.quick {
        eprintln!("bench: {DOCUMENT} is as it was, since a quick run is not exact");
        return Ok(());
    }
    write(&root.join(DOCUMENT), subject, &section)
}

/// Runs a program, tells which rows it is done with, and gives its lines.
fn measure(root: &Path, program: &str, request: &Request) -> Result<Vec<String>, String> {
    let told = |error: io::Error| format!("{program}: {error}");
    let mut command = cargo(root);
    command.args(["run", "--quiet", "--release", "--locked"]);
    command.args(["--package", PACKAGE, "--bin", program, "--"]);
    command.arg(request.subject.name);
    if request.quick {
        command.arg("--quick");
    }
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(told)?;
    let mut lines: Vec<String> = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line.map_err(told)?;
            eprintln!("{}", line.replace('\t', "  "));
            lines.push(line);
        }
    }
    let status = child.wait().map_err(told)?;
    if status.success() {
        Ok(lines)
    } else {
        Err(format!("{program}: {status}"))
    }
}

fn write(path: &Path, subject: &Subject, section: &str) -> Result<(), String> {
    let told = |error: io::Error| format!("{}: {error}", path.display());
    let before = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(told(error)),
    };
    let after = document::with_section(&before, subject.name, section)?;
    fs::write(path, after).map_err(told)
}

/// When, where and with what it was measured.
fn setting(root: &Path) -> Result<Setting, String> {
    Ok(Setting {
        date: first_line(Command::new("date").args(["-u", "+%Y-%m-%d"]))?,
        compiler: first_line(Command::new("rustc").arg("-V").current_dir(root))?,
        processors: thread::available_parallelism().map_or(1, Into::into),
        crates: peers(root)?,
    })
}

fn first_line(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().display().to_string();
    let output = command
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.lines().next() {
        Some(line) if output.status.success() => Ok(line.to_owned()),
        _ => Err(format!("{program}: {}", output.status)),
    }
}

/// The crates from outside that the benchmarks use, with their versions.
fn peers(root: &Path) -> Result<Vec<String>, String> {
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .other_options(["--locked".to_owned()])
        .exec()
        .map_err(|error| format!("cargo metadata: {error}"))?;
    let outside = metadata
        .packages
        .iter()
        .filter(|package| package.source.is_some());
    let used = metadata
        .packages
        .iter()
        .find(|package| package.name.as_str() == PACKAGE)
        .and_then(|bench| {
            let nodes = &metadata.resolve.as_ref()?.nodes;
            nodes.iter().find(|node| node.id == bench.id)
        })
        .map(|node| node.dependencies.as_slice())
        .ok_or_else(|| format!("cargo metadata: no package {PACKAGE}"))?;
    let mut crates: Vec<_> = outside
        .filter(|package| used.contains(&package.id))
        .map(|package| format!("{} {}", package.name, package.version))
        .collect();
    crates.sort();
    Ok(crates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_a_known_subject_and_known_flags() {
        let request = Request::parse(&[Some("core"), Some("--json"), Some("--quick")]).unwrap();
        assert!(request.subject.name == "core" && request.json && request.quick);
        assert!(!Request::parse(&[Some("core")]).unwrap().quick);
        for args in [&[][..], &[Some("none")], &[Some("core"), Some("--fast")]] {
            assert!(Request::parse(args).is_none(), "{args:?}");
        }
    }

    #[test]
    fn the_peers_are_read_from_the_lock_file() {
        let crates = peers(&crate::process::workspace_root()).unwrap();
        assert!(
            crates.iter().any(|peer| peer.starts_with("velo 0.")),
            "{crates:?}"
        );
        assert!(
            crates.iter().all(|peer| !peer.starts_with("reveille")),
            "{crates:?}"
        );
    }
}
