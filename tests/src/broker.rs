//! Servers that gateways share, as child processes of a test.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reveille_nats::{NatsBackend, NatsOptions};
use reveille_redis::{RedisBackend, RedisOptions};
use reveille_testkit::{free_port, program};
use tempfile::TempDir;

/// How long a server may take to start.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A running server with a store of its own. Dropped, it is killed.
#[derive(Debug)]
pub struct Broker {
    child: Child,
    command: Command,
    /// What `--backend` takes.
    pub url: String,
    _dir: TempDir,
}

impl Broker {
    /// A `redis-server` that keeps what it is given.
    ///
    /// # Panics
    /// When it does not start.
    ///
    /// # Cancel safety
    /// A dropped future has started nothing.
    pub async fn redis() -> Self {
        let redis = Self::start("redis", |dir, port| redis(dir, port, &[]));
        redis.answering(connects_to_redis).await
    }

    /// A cluster of one `redis-server` that has all slots.
    ///
    /// # Panics
    /// When it does not start.
    ///
    /// # Cancel safety
    /// A dropped future has started nothing.
    pub async fn redis_cluster() -> Self {
        let cluster = Self::start("redis+cluster", |dir, port| {
            let others = free_port().to_string();
            let more = ["--cluster-enabled", "yes", "--cluster-port", &others];
            redis(dir, port, &more)
        });
        cluster
            .answering(async |url| {
                let port = url.rsplit(':').next().unwrap_or_default();
                let mut slots = Command::new("redis-cli");
                slots.args(["-p", port, "CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
                // It is refused until the server listens, and once it has them.
                let _ = slots.stdout(Stdio::null()).stderr(Stdio::null()).status();
                connects_to_redis(url).await
            })
            .await
    }

    /// A `nats-server` that keeps what it is given: the one that the environment names, else the one
    /// beside the tests, else the one on the search path.
    ///
    /// # Panics
    /// When it does not start.
    ///
    /// # Cancel safety
    /// A dropped future has started nothing.
    pub async fn nats() -> Self {
        Self::nats_with(&[])
            .answering(async |url| {
                let mut options = NatsOptions::default();
                options.patience = Duration::from_secs(1);
                NatsBackend::connect(url, options).await.is_ok()
            })
            .await
    }

    /// The same with more arguments, without waiting for it.
    pub(crate) fn nats_with(more: &[&str]) -> Self {
        Self::start("nats", |dir, port| {
            let mut command = Command::new(program("REVEILLE_NATS_SERVER", "nats", "nats-server"));
            command
                .args(["--addr", "127.0.0.1", "--port", &port.to_string()])
                .args(["--jetstream", "--store_dir"])
                .arg(dir)
                .args(more);
            command
        })
    }

    /// Kills the server. What it keeps stays.
    ///
    /// # Panics
    /// When it cannot be waited for.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        self.child.wait().expect("it is our child");
    }

    /// Starts the server again where it was, and does not wait for it.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start_again(&mut self) {
        self.kill();
        self.child = self.command.spawn().expect("the server is installed");
    }

    fn start(scheme: &str, command: impl Fn(&Path, u16) -> Command) -> Self {
        let dir = TempDir::new().expect("a directory can be made");
        let port = free_port();
        let mut command = command(dir.path(), port);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("the server is installed");
        Self {
            child,
            command,
            url: format!("{scheme}://127.0.0.1:{port}"),
            _dir: dir,
        }
    }

    async fn answering(mut self, answers: impl AsyncFn(&str) -> bool) -> Self {
        let begin = Instant::now();
        while !answers(&self.url).await {
            let ended = self.child.try_wait().expect("it is our child");
            assert!(ended.is_none(), "{} ended: {ended:?}", self.url);
            assert!(begin.elapsed() < PATIENCE, "{} does not answer", self.url);
            tokio::task::yield_now().await;
        }
        self
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn redis(dir: &Path, port: u16, more: &[&str]) -> Command {
    let mut command = Command::new("redis-server");
    command
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--daemonize", "no", "--appendonly", "yes"])
        .args(more)
        .arg("--dir")
        .arg(dir);
    command
}

async fn connects_to_redis(url: &str) -> bool {
    let connected = RedisBackend::connect(url, RedisOptions::default()).await;
    connected.is_ok()
}
