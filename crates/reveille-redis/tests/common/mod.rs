//! A server of the test's own.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod cluster;

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use reveille_backend::Backend;
use reveille_redis::{RedisBackend, RedisOptions};
use reveille_testkit::{chaos, free_port, program};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// What a server keeps.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Keeps {
    Nothing,
    EverySecond,
    Always,
}

impl Keeps {
    pub(crate) fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Nothing => &["--appendonly", "no"],
            Self::EverySecond => &["--appendonly", "yes", "--appendfsync", "everysec"],
            Self::Always => &["--appendonly", "yes", "--appendfsync", "always"],
        }
    }
}

/// Whose server it is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Make {
    Redis,
    Valkey,
}

impl Make {
    /// Where the server's program is.
    fn program(self) -> PathBuf {
        match self {
            Self::Redis => "redis-server".into(),
            Self::Valkey => program("REVEILLE_VALKEY_SERVER", "valkey", "valkey-server"),
        }
    }
}

/// A running server in a directory of its own. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    make: Make,
    port: u16,
    arguments: Vec<String>,
    dir: TempDir,
}

impl Server {
    pub(crate) fn start(keeps: Keeps) -> Self {
        Self::of(Make::Redis, keeps)
    }

    pub(crate) fn of(make: Make, keeps: Keeps) -> Self {
        Self::with(make, || {
            keeps.arguments().iter().map(ToString::to_string).collect()
        })
    }

    /// One with these arguments, which may name further ports.
    pub(crate) fn with(make: Make, arguments: impl Fn() -> Vec<String>) -> Self {
        let dir = TempDir::new().unwrap();
        // Another test may take the port before the server does: then it is another one.
        for _ in 0..20 {
            let (port, arguments) = (free_port(), arguments());
            let mut child = spawn(make, port, &arguments, dir.path());
            if listens(&mut child, port) {
                return Self {
                    child,
                    make,
                    port,
                    arguments,
                    dir,
                };
            }
        }
        panic!("{make:?} does not start");
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Where it keeps its files.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) async fn backend(&self) -> RedisBackend {
        RedisBackend::connect(&self.url(), options()).await.unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.child.wait().unwrap();
    }

    /// Starts it again on the same port and directory.
    pub(crate) fn start_again(&mut self) {
        self.child = spawn(self.make, self.port, &self.arguments, self.dir.path());
        assert!(listens(&mut self.child, self.port), "the server comes back");
    }

    /// Runs a command of the server's own client.
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        let output = Command::new("redis-cli")
            .args(["-p", &self.port.to_string()])
            .args(arguments)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(make: Make, port: u16, arguments: &[String], dir: &Path) -> Child {
    Command::new(make.program())
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--daemonize", "no"])
        .args(["--repl-diskless-sync-delay", "0"])
        .args(arguments)
        .arg("--dir")
        .arg(dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the server is installed")
}

/// Whether it answers; `false` if it has ended. Whoever else answers at its port is not taken for it.
fn listens(child: &mut Child, port: u16) -> bool {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(10) {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        if answering(port).is_ok_and(|pid| pid == child.id()) {
            return true;
        }
        std::thread::yield_now();
    }
    false
}

/// The process that answers at this port, once it has read its data.
fn answering(port: u16) -> io::Result<u32> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let mut line = move || {
        lines
            .next()
            .unwrap_or(Err(io::ErrorKind::UnexpectedEof.into()))
    };
    stream.write_all(b"PING\r\n")?;
    if line()? != "+PONG" {
        return Err(io::Error::other("it is not ready"));
    }
    stream.write_all(b"INFO server\r\n")?;
    loop {
        if let Some(pid) = line()?.strip_prefix("process_id:") {
            return pid.parse().map_err(io::Error::other);
        }
    }
}

/// Breaks something while producers of one process append, whose appends share calls, and another process reads.
pub(crate) async fn survives<S>(
    broken: &mut S,
    connect: impl AsyncFn(&S) -> RedisBackend,
    faults: usize,
    fault: impl Fn(&mut S),
) {
    let producing: [Arc<dyn Backend>; 1] = [Arc::new(connect(broken).await)];
    let reading = connect(broken).await;
    let faults = chaos::rounds(faults);
    chaos::survives(&producing, &reading, 16, faults, async || fault(broken)).await;
}

/// What an error says, and what its causes say.
pub(crate) fn told(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let said: Vec<String> = causes.map(ToString::to_string).collect();
    said.join(": ")
}

/// Short patience, as tests have it.
pub(crate) fn options() -> RedisOptions {
    let mut options = RedisOptions::default();
    options.connect_timeout = Duration::from_secs(1);
    options.response_timeout = Duration::from_secs(2);
    options.ping_interval = Duration::from_millis(200);
    options
}

/// A sentinel that watches a server as `main`. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Sentinel {
    child: Child,
    port: u16,
    _dir: TempDir,
}

impl Sentinel {
    pub(crate) fn of(server: &Server) -> Self {
        Self::with(server.port, "")
    }

    /// One that watches what is at this port, with more lines in its configuration.
    pub(crate) fn with(watched: u16, more: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let port = free_port();
        let config = dir.path().join("sentinel.conf");
        let text = format!(
            "bind 127.0.0.1\nport {port}\nsentinel monitor main 127.0.0.1 {watched} 1\n{more}\n"
        );
        std::fs::write(&config, text).unwrap();
        let mut child = Command::new("redis-server")
            .arg(&config)
            .arg("--sentinel")
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        assert!(listens(&mut child, port), "the sentinel starts");
        Self {
            child,
            port,
            _dir: dir,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis+sentinel://127.0.0.1:{}/main", self.port)
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
