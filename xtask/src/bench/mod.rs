//! `cargo xtask bench <section>`: Reveille beside its peers, measured in the same run.
//!
//! The programs that measure are the package in `benches/`, a workspace of its own, because its
//! peers are heavy. Here their output becomes a section of `docs/benchmarks.md`: [`rows`] reads
//! the output and compares, [`figures`] holds what is to be reached, [`document`] writes.

mod document;
mod figures;
mod rows;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use crate::preflight::{self, Tool, provide, provide_file};
use crate::process::cargo;
use document::Setting;

/// Where the tables go, below the root.
const DOCUMENT: &str = "docs/benchmarks.md";

/// One section of the document.
struct Section {
    name: &'static str,
    /// The programs of `benches/` whose rows it has.
    programs: &'static [&'static str],
    /// The peers' packages, whose versions it tells.
    peers: &'static [&'static str],
    /// Peers that are programs of the system.
    tools: &'static [Tool],
    /// Whether it starts the brokers that the tests start.
    brokers: bool,
    /// Whether the server itself is measured, as it is released.
    server: bool,
}

/// nginx, and the file that makes nchan of it.
const NCHAN: &[Tool] = &[Tool {
    program: "nginx",
    packages: &["libnginx-mod-nchan", "nginx"],
}];
const NCHAN_MODULE: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";
/// The environment variable that tells a benchmark where the server is.
const SERVER: &str = "REVEILLE_PROGRAM";

const SECTIONS: &[Section] = &[
    Section {
        name: "core",
        programs: &["core_time", "core_alloc"],
        peers: &[
            "velo",
            "tokio",
            "event-listener",
            "futures-channel",
            "futures-util",
        ],
        tools: &[],
        brokers: false,
        server: false,
    },
    Section {
        name: "queue",
        programs: &["queue_time", "queue_alloc"],
        peers: &["tokio"],
        tools: &[],
        brokers: false,
        server: false,
    },
    Section {
        name: "bus",
        programs: &["bus_time"],
        peers: &["tokio", "async-broadcast", "flume", "kanal"],
        tools: &[],
        brokers: false,
        server: false,
    },
    Section {
        name: "backends",
        programs: &["archive_time", "brokers_time"],
        peers: &["rusqlite", "async-nats", "redis"],
        tools: &[],
        brokers: true,
        server: false,
    },
    Section {
        name: "gateway",
        programs: &["gateway_time"],
        peers: &["tokio"],
        tools: NCHAN,
        brokers: false,
        server: true,
    },
];

/// How a section is run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Options {
    /// One object a line on standard output, and no change to the document.
    json: bool,
    /// Fewer samples.
    quick: bool,
}

/// The section and the options that arguments name; nothing if they do not.
fn parse(args: &[Option<&str>]) -> Option<(&'static Section, Options)> {
    let (name, rest) = args.split_first()?;
    let section = SECTIONS
        .iter()
        .find(|section| Some(section.name) == *name)?;
    let mut options = Options::default();
    for arg in rest {
        match arg {
            Some("--json") => options.json = true,
            Some("--quick") => options.quick = true,
            _ => return None,
        }
    }
    Some((section, options))
}

/// Measures what the arguments name and says whether that worked; nothing if they name nothing.
/// A figure that is not reached is no failure: it is told in the table.
pub(crate) fn run(root: &Path, args: &[Option<&str>]) -> Option<bool> {
    let (section, options) = parse(args)?;
    let done = measure(root, section, options);
    if let Err(error) = &done {
        eprintln!("bench: {error}");
    }
    Some(done.is_ok())
}

fn measure(root: &Path, section: &Section, options: Options) -> Result<(), String> {
    if section.brokers && !preflight::run(root) {
        return Err("brokers are missing".into());
    }
    if !provide(section.tools) || (section.server && !provide_file(NCHAN_MODULE, NCHAN)) {
        return Err("tools are missing".into());
    }
    let server = section.server.then(|| server(root)).transpose()?;
    let benches = root.join("benches");
    let build = cargo(&benches)
        .args(["build", "--release", "--locked", "--bins"])
        .status();
    if !build.is_ok_and(|status| status.success()) {
        return Err("the benchmarks do not build".into());
    }
    let mut output = String::new();
    for program in section.programs {
        eprintln!("bench: {program}");
        output += &run_program(&benches, program, server.as_deref(), options)?;
    }
    let rows = rows::parse(&output)?;
    if options.json {
        for row in &rows {
            println!("{}", row.json());
        }
        return Ok(());
    }
    let text = document::section(section.name, &rows, &setting(root, section, options)?);
    print!("{text}");
    let path = root.join(DOCUMENT);
    let old = fs::read_to_string(&path).unwrap_or_default();
    fs::write(&path, document::replaced(&old, section.name, &text))
        .map_err(|error| format!("{DOCUMENT}: {error}"))
}

/// Builds the server, and says where it is.
fn server(root: &Path) -> Result<PathBuf, String> {
    let mut build = cargo(root);
    build.args(["build", "--release", "--locked", "--package", "reveille"]);
    build.args(["--message-format", "json"]);
    let output = output_of(build.stderr(Stdio::inherit()), "the server")?;
    let executable = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(PathBuf::from(message["executable"].as_str()?))
    };
    let found = output.lines().rev().find_map(executable);
    found.ok_or_else(|| "cargo does not say where the server is".into())
}

fn run_program(
    benches: &Path,
    program: &str,
    server: Option<&Path>,
    options: Options,
) -> Result<String, String> {
    let mut command = cargo(benches);
    command.args(["run", "--quiet", "--release", "--locked", "--bin", program]);
    if options.quick {
        command.args(["--", "--quick"]);
    }
    if let Some(server) = server {
        command.env(SERVER, server);
    }
    output_of(command.stderr(Stdio::inherit()), program)
}

/// What a command prints, if it succeeds.
fn output_of(command: &mut Command, name: &str) -> Result<String, String> {
    let output = command
        .output()
        .map_err(|error| format!("{name}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{name}: {}", output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// When, with what and on what it is measured.
fn setting(root: &Path, section: &Section, options: Options) -> Result<Setting, String> {
    let date = output_of(Command::new("date").args(["-u", "+%F"]), "date")?;
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let rustc = output_of(Command::new(rustc).arg("-V").current_dir(root), "rustc")?;
    let lock = fs::read_to_string(root.join("benches/Cargo.lock"))
        .map_err(|error| format!("benches/Cargo.lock: {error}"))?;
    Ok(Setting {
        date: date.trim().into(),
        rustc: rustc.trim().into(),
        cpus: thread::available_parallelism().map_or(0, usize::from),
        peers: peers(&lock, section)?,
        quick: options.quick,
    })
}

/// The peers with their versions.
fn peers(lock: &str, section: &Section) -> Result<Vec<String>, String> {
    let mut peers = document::versions(lock, section.peers);
    for tool in section.tools.iter().flat_map(|tool| tool.packages) {
        let version = ["-W", "-f", "${Package} ${Version}", tool];
        peers.push(output_of(Command::new("dpkg-query").args(version), tool)?);
    }
    Ok(peers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_named_before_its_options() {
        let (section, options) = parse(&[Some("core"), Some("--json"), Some("--quick")]).unwrap();
        assert_eq!(section.name, "core");
        let both = Options {
            json: true,
            quick: true,
        };
        assert_eq!(options, both);
        let wrong: [&[Option<&str>]; 5] = [
            &[],
            &[None],
            &[Some("core"), None],
            &[Some("core"), Some("--slow")],
            &[Some("--json"), Some("core")],
        ];
        for args in wrong {
            assert!(parse(args).is_none(), "{args:?}");
        }
    }

    #[test]
    fn every_section_has_its_programs() {
        let root = crate::process::workspace_root();
        for program in SECTIONS.iter().flat_map(|section| section.programs) {
            let path = root.join(format!("benches/src/bin/{program}.rs"));
            assert!(path.is_file(), "{program}");
        }
    }
}
