//! A `nats-server` of the test's own, on a free port of loopback, in a directory of its own.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use async_nats::jetstream::{self, stream::Stream};
use futures_util::TryStreamExt;
use reveille_testkit::free_port;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Where the server's program is.
pub(crate) fn program() -> PathBuf {
    reveille_testkit::program("REVEILLE_NATS_SERVER", "nats", "nats-server")
}

/// A running `nats-server` with JetStream. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    port: u16,
    dir: TempDir,
}

impl Server {
    /// One server with file storage.
    pub(crate) fn start() -> Self {
        Self::with("")
    }

    /// One server; `jetstream` stands in its block of that name.
    pub(crate) fn with(jetstream: &str) -> Self {
        let mut last = None;
        for _ in 0..20 {
            let port = free_port();
            let dir = TempDir::new().unwrap();
            match Self::at(port, dir, jetstream, "") {
                Ok(server) => return server,
                Err(dir) => last = Some(dir),
            }
        }
        let log = last.map(|dir: TempDir| fs::read_to_string(dir.path().join("log")));
        panic!("nats-server does not start: {log:?}");
    }

    /// One server that takes nobody without this in its block of that name.
    pub(crate) fn with_authorization(authorization: &str) -> Self {
        Self::with_more(&format!("authorization {{ {authorization} }}\n"))
    }

    /// One server with this at the end of its configuration.
    pub(crate) fn with_more(more: &str) -> Self {
        for _ in 0..20 {
            if let Ok(server) = Self::at(free_port(), TempDir::new().unwrap(), "", more) {
                return server;
            }
        }
        panic!("nats-server does not start");
    }

    /// A server at this port; `more` stands at the end of its configuration. The directory if it ends.
    pub(crate) fn at(
        port: u16,
        dir: TempDir,
        jetstream: &str,
        more: &str,
    ) -> Result<Self, TempDir> {
        let mut text = String::new();
        let store = dir.path().join("store");
        let _ = writeln!(text, "listen: 127.0.0.1:{port}");
        let _ = writeln!(
            text,
            "jetstream {{ store_dir: {store:?}, max_file: 2G, {jetstream} }}"
        );
        text.push_str(more);
        fs::write(dir.path().join("conf"), text).unwrap();
        let mut child = spawn(dir.path());
        if listens(&mut child, port) {
            return Ok(Self { child, port, dir });
        }
        let _ = child.kill();
        let _ = child.wait();
        Err(dir)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// How many clients are connected, by the sockets of the server.
    pub(crate) fn connections(&self) -> usize {
        let text = fs::read_to_string(format!("/proc/{}/net/tcp", self.child.id())).unwrap();
        let local = format!("0100007F:{:04X}", self.port);
        // The second field is the server's end, the fourth its state: 1 is established.
        let is_open = |line: &&str| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            fields.get(1) == Some(&&*local) && fields.get(3) == Some(&"01")
        };
        text.lines().filter(is_open).count()
    }

    async fn streams(&self) -> Vec<Stream> {
        let client = async_nats::connect(self.url()).await.unwrap();
        let context = jetstream::new(client);
        let names: Vec<String> = context.stream_names().try_collect().await.unwrap();
        let mut streams = Vec::new();
        for name in names {
            streams.push(context.get_stream(name).await.unwrap());
        }
        streams
    }

    async fn stream(&self, of: &str) -> Stream {
        let streams = self.streams().await;
        let is_it = |stream: &Stream| stream.cached_info().config.name.contains(of);
        streams.into_iter().find(is_it).unwrap()
    }

    /// How many messages the stream has whose name holds this.
    pub(crate) async fn messages(&self, of: &str) -> u64 {
        self.stream(of).await.cached_info().state.messages
    }

    /// The headers of this crate in the stream whose name holds this, of all messages.
    pub(crate) async fn headers(&self, of: &str) -> Vec<String> {
        let stream = self.stream(of).await;
        let mut headers = Vec::new();
        for seq in 1..=stream.cached_info().state.last_sequence {
            let message = stream.get_raw_message(seq).await.unwrap();
            headers.push(message.headers.get("Reveille").unwrap().to_string());
        }
        headers
    }

    /// Sends a message of somebody else into the stream whose name holds this.
    pub(crate) async fn send_stranger(&self, of: &str) {
        let subjects = self.stream(of).await.cached_info().config.subjects.clone();
        let subject = subjects[0].replace('>', "stranger");
        let context = jetstream::new(async_nats::connect(self.url()).await.unwrap());
        let sent = context.publish(subject, "nonsense".into()).await.unwrap();
        sent.await.unwrap();
    }

    pub(crate) async fn delete_message(&self, of: &str, seq: u64) {
        self.stream(of).await.delete_message(seq).await.unwrap();
    }

    pub(crate) async fn purge(&self, of: &str) {
        self.stream(of).await.purge().await.unwrap();
    }

    pub(crate) async fn delete_streams(&self) {
        let context = jetstream::new(async_nats::connect(self.url()).await.unwrap());
        for stream in self.streams().await {
            let name = &stream.cached_info().config.name;
            context.delete_stream(name).await.unwrap();
        }
    }

    /// How many consumers all streams have together.
    pub(crate) async fn consumers(&self) -> usize {
        let streams = self.streams().await;
        let count = |stream: &Stream| stream.cached_info().state.consumer_count;
        streams.iter().map(count).sum()
    }

    /// Sends it a signal. Once this returns, a stopped one does nothing.
    pub(crate) fn signal(&self, signal: Signal) {
        signal_process(&self.child, signal);
    }

    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.child.wait().unwrap();
    }

    /// Starts it again on the same port and directory.
    pub(crate) fn start_again(&mut self) {
        self.child = spawn(self.dir.path());
        let log = self.dir.path().join("log");
        assert!(
            listens(&mut self.child, self.port),
            "the server comes back: {:?}",
            fs::read_to_string(log)
        );
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal. A stopped process has stopped once this returns, all of its threads.
pub(crate) fn signal_process(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
    if signal != Signal::STOP {
        return;
    }
    let threads = format!("/proc/{}/task", child.id());
    let is_stopped = |thread: std::io::Result<fs::DirEntry>| {
        let stat = fs::read_to_string(thread.unwrap().path().join("stat")).unwrap();
        let (_name, rest) = stat.rsplit_once(')').unwrap();
        rest.starts_with(" T")
    };
    while !fs::read_dir(&threads).unwrap().all(is_stopped) {
        std::thread::yield_now();
    }
}

fn spawn(dir: &Path) -> Child {
    let log = fs::File::create(dir.join("log")).unwrap();
    let program = program();
    Command::new(&program)
        .arg("-c")
        .arg(dir.join("conf"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()))
}

/// Whether it answers; `false` if it has ended.
fn listens(child: &mut Child, port: u16) -> bool {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(20) {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        let greets = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok_and(|stream| {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line).is_ok() && line.starts_with("INFO ")
        });
        if greets {
            return true;
        }
        std::thread::yield_now();
    }
    false
}
