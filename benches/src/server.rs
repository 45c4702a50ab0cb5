//! Servers as processes of their own, on a CPU of their own: what they cost, and what they hold.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use reveille_load::Target;
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tempfile::TempDir;

/// The environment variable that names the `reveille` program.
pub const PROGRAM: &str = "REVEILLE_PROGRAM";

/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(20);

/// The servers that are measured, Reveille first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `reveille serve` as it is without configuration.
    Reveille,
    /// nginx with nchan, one worker.
    Nchan,
    /// The least that a server can be.
    Raw,
}

/// All of them.
pub const KINDS: [Kind; 3] = [Kind::Reveille, Kind::Nchan, Kind::Raw];

/// A server that runs until it is dropped.
pub struct Server {
    kind: Kind,
    child: Child,
    address: SocketAddr,
    /// Its configuration, if it has one.
    _files: Option<TempDir>,
}

impl Kind {
    /// The name in rows.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Reveille => "reveille",
            Self::Nchan => "nchan",
            Self::Raw => "raw server",
        }
    }
}

impl Server {
    /// Starts a server on the first CPU, if there are two. Whoever starts it stays on the others.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(kind: Kind) -> io::Result<Self> {
        let all = sched_getaffinity(None)?;
        on_first(true)?;
        let started = match kind {
            Kind::Reveille => Self::listening(kind, &mut reveille()?),
            Kind::Raw => Self::listening(kind, &mut Command::new(beside("gateway_raw")?)),
            Kind::Nchan => Self::nchan(),
        };
        sched_setaffinity(None, &all)?;
        on_first(false)?;
        started
    }

    /// One that says on standard error where it listens.
    fn listening(kind: Kind, command: &mut Command) -> io::Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut notes = BufReader::new(child.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?);
        let mut first = String::new();
        notes.read_line(&mut first)?;
        let address = first.trim().rsplit([' ', '/']).next().unwrap_or_default();
        let address = address
            .parse()
            .map_err(|_| io::Error::other(first.clone()))?;
        // Nobody reads the rest, but it must not block.
        thread::spawn(move || io::copy(&mut notes, &mut io::sink()));
        Ok(Self {
            kind,
            child,
            address,
            _files: None,
        })
    }

    fn nchan() -> io::Result<Self> {
        let files = TempDir::new()?;
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let path = files.path();
        fs::write(path.join("nginx.conf"), configuration(address, path))?;
        let child = Command::new("nginx")
            .arg("-p")
            .arg(path)
            .args(["-e", "error.log", "-c", "nginx.conf"])
            .stdin(Stdio::null())
            .spawn()?;
        let server = Self {
            kind: Kind::Nchan,
            child,
            address,
            _files: Some(files),
        };
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            if begun.elapsed() > PATIENCE {
                return Err(io::Error::other("nginx does not listen"));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    /// How it is spoken to.
    #[must_use]
    pub fn target(&self) -> Target {
        match self.kind {
            Kind::Reveille => Target::gateway(self.address, &self.address.to_string(), None),
            Kind::Nchan => Target::plain(self.address, "/sub?id={}", "/pub?id={}"),
            Kind::Raw => Target::plain(self.address, "/{}", "/{}"),
        }
    }

    /// Seconds of CPU that it has used, in its own code and in the kernel.
    ///
    /// # Errors
    /// When it is gone.
    pub fn cpu_seconds(&self) -> io::Result<f64> {
        let mut nanos = 0.0;
        for process in self.processes()? {
            for task in fs::read_dir(format!("/proc/{process}/task"))? {
                let text = fs::read_to_string(task?.path().join("schedstat"))?;
                let on_cpu = text.split(' ').next().unwrap_or_default();
                nanos += on_cpu.parse::<f64>().map_err(io::Error::other)?;
            }
        }
        Ok(nanos / 1e9)
    }

    /// KiB of memory that it holds.
    ///
    /// # Errors
    /// When it is gone.
    pub fn memory_kib(&self) -> io::Result<f64> {
        let mut all = 0.0;
        for process in self.processes()? {
            let text = fs::read_to_string(format!("/proc/{process}/status"))?;
            let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let value = line.and_then(|line| line.trim().strip_suffix("kB"));
            let value = value.ok_or_else(|| io::Error::other("no VmRSS"))?;
            all += value.trim().parse::<f64>().map_err(io::Error::other)?;
        }
        Ok(all)
    }

    /// The process, and those that it has started.
    fn processes(&self) -> io::Result<Vec<u32>> {
        let main = self.child.id();
        let mut all = vec![main];
        if self.kind != Kind::Nchan {
            return Ok(all);
        }
        let children = fs::read_to_string(format!("/proc/{main}/task/{main}/children"))?;
        all.extend(
            children
                .split_whitespace()
                .filter_map(|id| id.parse::<u32>().ok()),
        );
        Ok(all)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // nginx ends its workers, which `kill` would not; the others have nothing to lose.
        if self.kind == Kind::Nchan
            && let Some(id) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
        {
            let _ = kill_process(id, Signal::TERM);
        } else {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// Keeps this process, and what it starts, on the first of its CPUs or on the others.
fn on_first(first: bool) -> io::Result<()> {
    let mine = sched_getaffinity(None)?;
    let cpus: Vec<usize> = (0..CpuSet::MAX_CPU)
        .filter(|cpu| mine.is_set(*cpu))
        .collect();
    let Some((one, others)) = cpus.split_first().filter(|(_, others)| !others.is_empty()) else {
        return Ok(());
    };
    let mut set = CpuSet::new();
    match first {
        true => set.set(*one),
        false => others.iter().for_each(|cpu| set.set(*cpu)),
    }
    Ok(sched_setaffinity(None, &set)?)
}

fn reveille() -> io::Result<Command> {
    let program = std::env::var_os(PROGRAM).map(PathBuf::from);
    let program = program.map_or_else(|| beside("reveille"), Ok)?;
    let mut command = Command::new(program);
    command.args(["serve", "--listen", "127.0.0.1:0"]);
    Ok(command)
}

/// A program in the directory of this one.
fn beside(name: &str) -> io::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name(name))
}

fn configuration(address: SocketAddr, path: &Path) -> String {
    let path = path.display();
    // Without a limit on the requests of a connection, which would end publishers'.
    format!(
        "\
load_module /usr/lib/nginx/modules/ngx_nchan_module.so;
user root;
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {path}/nginx.pid;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  client_body_temp_path {path}/body;
  proxy_temp_path {path}/proxy;
  fastcgi_temp_path {path}/fastcgi;
  uwsgi_temp_path {path}/uwsgi;
  scgi_temp_path {path}/scgi;
  nchan_shared_memory_size 256M;
  server {{
    listen {address} backlog=4096;
    location = /pub {{ nchan_publisher; nchan_channel_id $arg_id; nchan_message_buffer_length 100; }}
    location = /sub {{ nchan_subscriber eventsource; nchan_channel_id $arg_id; }}
  }}
}}
"
    )
}
