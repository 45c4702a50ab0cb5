//! The `reveille` program as a child process.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::OnceLock;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

use crate::soon;

/// The program: the one that the environment names, else built if need be.
fn binary() -> &'static PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(built) = std::env::var_os("REVEILLE_PROGRAM") {
            return built.into();
        }
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let built = std::process::Command::new(cargo)
            .args(["build", "--quiet", "--locked", "--package", "reveille"])
            .args(["--bin", "reveille", "--message-format", "json"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stderr(Stdio::inherit())
            .output()
            .expect("cargo runs");
        assert!(built.status.success(), "reveille builds");
        let messages = String::from_utf8_lossy(&built.stdout);
        messages
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .filter(|message| message["target"]["name"] == "reveille")
            .find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)))
            .expect("cargo says where the program is")
    })
}

/// A command that runs `reveille` with these arguments, without input, and is killed if it is dropped.
#[must_use]
pub fn reveille(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command
        .args(arguments)
        .env_remove("REVEILLE_URL")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// A running `reveille` that listens.
#[derive(Debug)]
pub struct Program {
    child: Child,
    notes: Lines<BufReader<ChildStderr>>,
    /// Where it listens.
    pub url: String,
}

impl Program {
    /// Starts a server on a free port.
    ///
    /// # Cancel safety
    /// A dropped future ends the process.
    pub async fn serve() -> Self {
        Self::start(&["serve", "--listen", "127.0.0.1:0"]).await
    }

    /// Starts `reveille` with arguments that make it listen.
    ///
    /// # Panics
    /// When its first line on standard error does not say where it listens.
    ///
    /// # Cancel safety
    /// A dropped future ends the process.
    pub async fn start(arguments: &[&str]) -> Self {
        let mut child = reveille(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("reveille starts");
        let stderr = child.stderr.take().expect("standard error is piped");
        let mut notes = BufReader::new(stderr).lines();
        let first = soon("the first line", notes.next_line())
            .await
            .expect("standard error is text")
            .expect("reveille says where it listens");
        let url = first
            .strip_prefix("reveille listening on ")
            .unwrap_or_else(|| panic!("unexpected first line: {first}"))
            .to_owned();
        Self { child, notes, url }
    }

    /// KiB of memory that it holds.
    ///
    /// # Panics
    /// When the process is gone.
    #[must_use]
    pub fn memory_kib(&self) -> u64 {
        let id = self.child.id().expect("the process runs");
        let status = std::fs::read_to_string(format!("/proc/{id}/status"));
        let status = status.expect("the process runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.trim().split(' ').next());
        let number = number.and_then(|number| number.parse().ok());
        number.expect("the system says what a process holds")
    }

    /// Seconds of CPU that it has used.
    ///
    /// # Panics
    /// When the process is gone.
    #[must_use]
    pub fn cpu_seconds(&self) -> f64 {
        let id = self.child.id().expect("the process runs");
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat"));
        let stat = stat.expect("the process runs");
        // Behind the name, which may hold anything; in hundredths of a second on all Linux.
        let (_, fields) = stat.rsplit_once(") ").expect("the line has a name");
        let mut ticks = fields.split(' ').skip(11).take(2);
        let ticks = ticks.by_ref().filter_map(|ticks| ticks.parse::<f64>().ok());
        ticks.sum::<f64>() / 100.0
    }

    /// The next line on standard error.
    ///
    /// # Panics
    /// When there is none.
    ///
    /// # Cancel safety
    /// A dropped future has read nothing.
    pub async fn note(&mut self) -> String {
        soon("a line", self.notes.next_line())
            .await
            .expect("standard error is text")
            .expect("there is one more line")
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = self.child.id().expect("the process runs");
        let pid = i32::try_from(pid).expect("a process id fits");
        let pid = rustix::process::Pid::from_raw(pid).expect("a process id is positive");
        rustix::process::kill_process(pid, signal).expect("the process is ours");
    }

    /// Waits for the end of the process.
    ///
    /// # Panics
    /// When it does not end, or a task of it panicked.
    ///
    /// # Cancel safety
    /// A dropped future ends the process.
    pub async fn ended(self) -> Output {
        // The rest of standard error is read, so that the process cannot block on it.
        let mut notes = self.notes;
        let reading = tokio::spawn(async move {
            let mut panics = Vec::new();
            while let Ok(Some(note)) = notes.next_line().await {
                if note.contains("panicked at") {
                    panics.push(note);
                }
            }
            panics
        });
        let output = soon("the end of reveille", self.child.wait_with_output())
            .await
            .expect("the process can be waited for");
        let panics = soon("the end of standard error", reading).await;
        assert_eq!(panics.expect("nothing panics"), [""; 0]);
        output
    }
}

/// A script of the README, as it stands there.
///
/// # Panics
/// When there is none of this name.
#[must_use]
pub fn readme_script(name: &str) -> &'static str {
    let readme = include_str!("../../README.md");
    let begin = format!("<!-- script: {name} -->\n```sh\n");
    let (_, rest) = readme
        .split_once(&begin)
        .expect("the README has the script");
    let (script, _) = rest.split_once("```\n").expect("the script has an end");
    script
}
