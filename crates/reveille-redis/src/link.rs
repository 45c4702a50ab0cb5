//! The connection that commands go over: one, shared, pipelined, made anew when it breaks.
//!
//! Not the client library's own connection manager: that one does not tell a command that was never
//! sent from one whose answer was lost, keeps a connection that has stopped answering, and goes back to
//! the address it began with.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Cmd, FromRedisValue, RedisError, RedisResult, ScriptInvocation,
    ServerErrorKind,
};
use reveille_backend::BackendError;
use reveille_types::Durability;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use crate::address::Address;
use crate::error::{failed, is_answer, unavailable};
use crate::options::RedisOptions;
use crate::server::Server;

/// How long after a failed attempt the next one is made: whoever comes earlier fails with it.
const PAUSE: Duration = Duration::from_millis(100);
/// A connection that was idle for so long is tried before a command that must not be sent twice.
const IDLE: Duration = Duration::from_millis(200);

/// The way to the server.
#[derive(Debug)]
pub(crate) struct Link {
    address: Address,
    options: RedisOptions,
    state: Mutex<State>,
    /// What the first connection found. Later ones must find as much.
    durability: OnceLock<Durability>,
    /// Counts connections.
    connected: watch::Sender<u64>,
    begin: Instant,
}

#[derive(Debug, Default)]
struct State {
    live: Option<Live>,
    failed: Option<(Instant, String)>,
}

/// A connection that worked when it was last used.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub(crate) connection: MultiplexedConnection,
    /// What the names of all keys begin with.
    pub(crate) store: Arc<str>,
    number: u64,
    /// When it last answered, in milliseconds since the link was made.
    answered: Arc<AtomicU64>,
}

/// What is asked.
pub(crate) enum Request {
    Command(Cmd),
    Script(ScriptInvocation<'static>),
}

impl Link {
    /// A way that is not tried yet.
    pub(crate) fn new(address: Address, options: RedisOptions) -> Self {
        Self {
            address,
            options,
            state: Mutex::default(),
            durability: OnceLock::new(),
            connected: watch::Sender::new(0),
            begin: Instant::now(),
        }
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    pub(crate) fn options(&self) -> &RedisOptions {
        &self.options
    }

    /// What the server's settings promised at the beginning.
    pub(crate) fn durability(&self) -> Durability {
        let found = self.durability.get().copied();
        found.unwrap_or(Durability::Volatile)
    }

    /// Changes whenever a connection is made.
    pub(crate) fn connected(&self) -> watch::Receiver<u64> {
        self.connected.subscribe()
    }

    /// The connection, or a new one. An error means that nothing was sent.
    pub(crate) async fn live(&self) -> Result<Live, BackendError> {
        let mut state = self.state.lock().await;
        if let Some(live) = &state.live {
            return Ok(live.clone());
        }
        if let Some((at, message)) = &state.failed
            && at.elapsed() < PAUSE
        {
            return Err(unavailable(message.clone()));
        }
        let connecting = tokio::time::timeout(self.options.connect_timeout, self.connect());
        let made = match connecting.await {
            Ok(made) => made,
            Err(_) => Err(unavailable("the server does not answer")),
        };
        match made {
            Ok(live) => {
                state.failed = None;
                state.live = Some(live.clone());
                self.connected.send_modify(|count| *count += 1);
                Ok(live)
            }
            Err(error) => {
                let message = match &error {
                    BackendError::Unavailable { source, .. } => source.to_string(),
                    other => other.to_string(),
                };
                state.failed = Some((Instant::now(), message));
                Err(error)
            }
        }
    }

    async fn connect(&self) -> Result<Live, BackendError> {
        let client = self.address.client().await.map_err(unavailable)?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.options.connect_timeout))
            .set_response_timeout(Some(self.options.response_timeout));
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        let mut connection = connecting.await.map_err(unavailable)?;
        let server = Server::ask(&mut connection).await.map_err(unavailable)?;
        let promised = *self.durability.get_or_init(|| server.durability);
        if !server.durability.covers(promised) {
            let message = format!(
                "the server's settings promise {} now and promised {} before",
                server.durability.as_str(),
                promised.as_str()
            );
            return Err(unavailable(message));
        }
        // A server that writes no file forgets, or comes back with an old snapshot: what another run
        // of it has stored is not looked at.
        let store = match promised {
            Durability::Volatile => format!("{}:{}", self.options.prefix, server.run),
            _ => self.options.prefix.to_string(),
        };
        Ok(Live {
            connection,
            store: store.into(),
            number: *self.connected.borrow() + 1,
            answered: Arc::new(AtomicU64::new(self.now())),
        })
    }

    /// The connection, known to have worked just now.
    pub(crate) async fn tried(&self) -> Result<Live, BackendError> {
        let live = self.live().await?;
        let idle = self
            .now()
            .saturating_sub(live.answered.load(Ordering::Relaxed));
        if u128::from(idle) < IDLE.as_millis() {
            return Ok(live);
        }
        self.repeatable::<()>(|_| Request::Command(redis::cmd("PING")))
            .await?;
        self.live().await
    }

    /// Asks what may be asked twice: over a new connection if the one at hand is broken.
    pub(crate) async fn repeatable<T: FromRedisValue>(
        &self,
        request: impl Fn(&Live) -> Request,
    ) -> Result<T, BackendError> {
        let live = self.live().await?;
        match self.once(&live, &request(&live)).await {
            Err(error) if !is_answer(&error) && !error.is_timeout() => {}
            other => return other.map_err(failed),
        }
        let live = self.live().await?;
        self.once(&live, &request(&live)).await.map_err(failed)
    }

    /// Asks over this connection.
    pub(crate) async fn once<T: FromRedisValue>(
        &self,
        live: &Live,
        request: &Request,
    ) -> RedisResult<T> {
        let mut connection = live.connection.clone();
        let result = match request {
            Request::Command(command) => command.query_async(&mut connection).await,
            // One that the server does not know was not run: it is loaded and run then.
            Request::Script(script) => script.invoke_async(&mut connection).await,
        };
        self.settle(live, &result).await;
        result
    }

    /// Gives the connection up unless the server has answered over it.
    async fn settle<T>(&self, live: &Live, result: &RedisResult<T>) {
        if result.as_ref().err().is_none_or(keeps_connection) {
            live.answered.store(self.now(), Ordering::Relaxed);
            return;
        }
        let mut state = self.state.lock().await;
        if state.live.as_ref().is_some_and(|l| l.number == live.number) {
            state.live = None;
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Whether the connection is as good as before: the server has answered over it, and may still be
/// written to.
fn keeps_connection(error: &RedisError) -> bool {
    let moved = matches!(
        error.kind(),
        redis::ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown)
    );
    is_answer(error) && !moved
}
