//! The gateway in this process, on a real socket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use reveille_archive::{ArchiveBackend, ArchiveOptions};
use reveille_backend::Backend;
use reveille_gateway::{Authorizer, Gateway, GatewayConfig, ListenOptions, bind, serve};
use reveille_memory::MemoryBackend;
use reveille_nats::{NatsBackend, NatsOptions};
use reveille_queue::{Sessions, TailLimits};
use reveille_redis::{RedisBackend, RedisOptions};
use reveille_testkit::{panics, watch_for_panics};
use reveille_types::Tenant;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::append_file::AppendFile;
use crate::broker::Broker;
use crate::soon;

/// A gateway in this process. It ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub url: String,
    /// What is behind it.
    pub sessions: Sessions,
    gateway: Gateway,
    config: GatewayConfig,
    authorizer: Option<Arc<dyn Authorizer>>,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
    /// Where the sessions are, if it is the test's own. Last, so that it ends last.
    broker: Option<Broker>,
}

impl Server {
    /// Starts a gateway with the default configuration on a free port.
    ///
    /// # Cancel safety
    /// A dropped future has started nothing.
    pub async fn start() -> Self {
        Self::with(GatewayConfig::default()).await
    }

    /// Starts a gateway on a free port.
    ///
    /// # Panics
    /// When no port is free.
    ///
    /// # Cancel safety
    /// A dropped future has started nothing.
    pub async fn with(config: GatewayConfig) -> Self {
        Self::on(own_address(), sessions(MemoryBackend::new()), config, None).await
    }

    /// Starts a gateway on a free port for those whom `authorizer` knows.
    ///
    /// # Panics
    /// When no port is free.
    ///
    /// # Cancel safety
    /// A dropped future has started nothing.
    pub async fn for_known(config: GatewayConfig, authorizer: Arc<dyn Authorizer>) -> Self {
        let sessions = sessions(MemoryBackend::new());
        Self::on(own_address(), sessions, config, Some(authorizer)).await
    }

    /// Starts a gateway on a free port, over a [stranger's backend](crate::append_file).
    ///
    /// # Panics
    /// When no file can be made.
    ///
    /// # Cancel safety
    /// A dropped future has started nothing.
    pub async fn on_append_file() -> Self {
        // The file lives as long as it is open, its directory need not.
        let dir = tempfile::TempDir::new().expect("a directory can be made");
        let file = AppendFile::open(&dir.path().join("log"));
        Self::on_backend(file.expect("a file can be made"), None).await
    }

    /// Starts a gateway on a free port, over an archive.
    ///
    /// # Panics
    /// When no archive can be made.
    ///
    /// # Cancel safety
    /// A dropped future has started nothing.
    pub async fn on_archive() -> Self {
        // The files live as long as they are open, their directory need not.
        let dir = tempfile::TempDir::new().expect("a directory can be made");
        let archive = ArchiveBackend::open(dir.path(), ArchiveOptions::default());
        Self::on_backend(archive.expect("an archive can be made"), None).await
    }

    /// Starts a gateway on a free port, over a Redis of its own.
    ///
    /// # Panics
    /// When there is no Redis.
    ///
    /// # Cancel safety
    /// A dropped future has started nothing.
    pub async fn on_redis() -> Self {
        let broker = Broker::redis().await;
        let backend = RedisBackend::connect(&broker.url, RedisOptions::default()).await;
        Self::on_backend(backend.expect("the broker answers"), Some(broker)).await
    }

    /// Starts a gateway on a free port, over a NATS of its own.
    ///
    /// # Panics
    /// When there is no nats-server.
    ///
    /// # Cancel safety
    /// A dropped future has started nothing.
    pub async fn on_nats() -> Self {
        let broker = Broker::nats().await;
        let backend = NatsBackend::connect(&broker.url, NatsOptions::default()).await;
        Self::on_backend(backend.expect("the broker answers"), Some(broker)).await
    }

    async fn on_backend(backend: impl Backend + 'static, broker: Option<Broker>) -> Self {
        let config = GatewayConfig::default();
        let mut server = Self::on(own_address(), sessions(backend), config, None).await;
        server.broker = broker;
        server
    }

    /// Starts a gateway on a free port, to sessions of the test's own.
    ///
    /// # Panics
    /// When no port is free.
    ///
    /// # Cancel safety
    /// A dropped future has started nothing.
    pub async fn over(
        sessions: Sessions,
        config: GatewayConfig,
        authorizer: Option<Arc<dyn Authorizer>>,
    ) -> Self {
        tokio::spawn(sessions.drive());
        Self::on(own_address(), sessions, config, authorizer).await
    }

    async fn on(
        address: SocketAddr,
        sessions: Sessions,
        config: GatewayConfig,
        authorizer: Option<Arc<dyn Authorizer>>,
    ) -> Self {
        watch_for_panics();
        let gateway = match authorizer.clone() {
            None => Gateway::new(sessions.clone(), config.clone()),
            Some(known) => Gateway::with_authorizer(sessions.clone(), config.clone(), known),
        };
        let listening = bind(address, &gateway, ListenOptions::default()).await;
        let listener = listening.expect("the port is free");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(serve(listener, gateway.clone(), async {
            // A dropped sender stops the server, too.
            let _ = stopped.await;
        }));
        Self {
            url,
            sessions,
            gateway,
            config,
            authorizer,
            broker: None,
            stop: Some(stop),
            serving,
        }
    }

    /// Stops the server and waits until it has ended everything that was open.
    ///
    /// # Panics
    /// When it does not end.
    ///
    /// # Cancel safety
    /// A dropped future has told it to stop.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        soon("the end of the server", &mut self.serving)
            .await
            .expect("the server does not panic");
    }

    /// Stops the server and starts another one at the same address, with the same sessions.
    ///
    /// # Panics
    /// When the server does not end.
    ///
    /// # Cancel safety
    /// A dropped future has told it to stop.
    pub async fn restart(mut self) -> Self {
        let (sessions, config) = (self.sessions.clone(), self.config.clone());
        let authorizer = self.authorizer.clone();
        let address = self.url.trim_start_matches("http://");
        let address = address.parse().expect("the URL has an address");
        let broker = self.broker.take();
        self.stop().await;
        let mut server = Self::on(address, sessions, config, authorizer).await;
        server.broker = broker;
        server
    }

    /// Waits until so many requests wait for signals.
    ///
    /// # Panics
    /// When it does not happen.
    ///
    /// # Cancel safety
    /// A dropped future changes nothing.
    pub async fn signal_waiters(&self, count: usize) {
        let waiters = || self.gateway.signal_stats(Tenant::default_tenant()).waiters;
        soon("waiters for signals", async {
            while waiters() != count {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// The URL of a path.
    #[must_use]
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }
}

fn sessions(backend: impl Backend + 'static) -> Sessions {
    let builder = Sessions::builder(backend).tail(TailLimits::default());
    let sessions = builder.build();
    tokio::spawn(sessions.drive());
    sessions
}

/// no panic reaches a task, in no test that has a server.
impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if !std::thread::panicking() {
            assert_eq!(panics(), [""; 0], "a task of a server panicked");
        }
    }
}

/// A loopback address that no other server has and from which nobody connects, with any port: whoever
/// stops listening there finds the port free again.
fn own_address() -> SocketAddr {
    static SERVERS: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    let server = SERVERS.fetch_add(1, Ordering::Relaxed);
    SocketAddr::from(([127, server, high, low], 0))
}

/// Publishes to a session and gives the receipt.
///
/// # Panics
/// When the answer is not 201.
///
/// # Cancel safety
/// A dropped future has published or has not.
pub async fn publish(url: &str, session: &str, events: &Value) -> Value {
    let answer = reqwest::Client::new()
        .post(format!("{url}/v1/sessions/{session}/events"))
        .json(events)
        .send()
        .await
        .expect("the server answers");
    let status = answer.status();
    let body: Value = answer.json().await.expect("the answer is JSON");
    assert_eq!(status, 201, "{body}");
    body
}

/// Makes tests of functions that take a [`Server`]: each on the default backend, on a stranger's, on an
/// archive, on a Redis and on a NATS.
#[macro_export]
macro_rules! on_every_backend {
    (@on $module:ident, $start:ident, [$($name:ident),*]) => {
        mod $module {
            $(#[tokio::test]
            async fn $name() {
                super::$name($crate::Server::$start().await).await;
            })*
        }
    };
    ($($name:ident),* $(,)?) => {
        $crate::on_every_backend!(@on on_memory, start, [$($name),*]);
        $crate::on_every_backend!(@on on_append_file, on_append_file, [$($name),*]);
        $crate::on_every_backend!(@on on_archive, on_archive, [$($name),*]);
        $crate::on_every_backend!(@on on_redis, on_redis, [$($name),*]);
        $crate::on_every_backend!(@on on_nats, on_nats, [$($name),*]);
    };
}
