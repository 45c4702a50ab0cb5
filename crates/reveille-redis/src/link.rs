//! The connection that commands go over to one server: one, shared, pipelined, made anew when it breaks.
//!
//! Not the client library's own connection manager: that one does not tell a command that was never
//! sent from one whose answer was lost, keeps a connection that has stopped answering, and goes back to
//! the address it began with.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult,
    ServerErrorKind, ToRedisArgs, Value,
};
use reveille_backend::BackendError;
use reveille_types::Durability;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use crate::address::Address;
use crate::aof::Writable;
use crate::error::{failed, is_answer, unavailable};
use crate::options::RedisOptions;
use crate::replicas::Replicas;
use crate::scripts::Operation;
use crate::server::Server;
use crate::servers::Promise;

/// How long after a failed attempt the next one is made: whoever comes earlier fails with it.
const PAUSE: Duration = Duration::from_millis(100);
/// How long replicas may take that should have everything already. The connection does nothing else meanwhile.
const GLANCE: Duration = Duration::from_millis(50);
/// A connection that was idle for so long is tried before a command that must not be sent twice.
const IDLE: Duration = Duration::from_millis(200);

/// The way to a server.
#[derive(Debug)]
pub(crate) struct Link {
    address: Address,
    options: Arc<RedisOptions>,
    /// Those that are waited for.
    replicas: Option<Replicas>,
    state: Mutex<State>,
    /// What the first connection found, or the first ones to all servers. Later ones must find as much.
    promise: Promise,
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
    /// Whether too few replicas had what was last written over it.
    lags: Arc<AtomicBool>,
    /// When it last answered, in milliseconds since the link was made.
    answered: Arc<AtomicU64>,
    writable: Arc<Writable>,
}

/// What is asked: a command, which may run a script.
pub(crate) struct Request {
    command: Cmd,
    operation: Option<&'static Operation>,
    /// It is acknowledged only once replicas have it, if they are waited for.
    replicated: bool,
}

impl From<Cmd> for Request {
    fn from(command: Cmd) -> Self {
        Self {
            command,
            operation: None,
            replicated: false,
        }
    }
}

impl Request {
    /// Runs a script with these keys.
    pub(crate) fn script(operation: &'static Operation, keys: &[String]) -> Self {
        let mut command = redis::cmd("EVALSHA");
        command
            .arg(operation.script.get_hash())
            .arg(keys.len())
            .arg(keys);
        Self {
            command,
            operation: Some(operation),
            replicated: false,
        }
    }

    /// To be acknowledged only once replicas have it, if they are waited for.
    pub(crate) fn replicated(mut self) -> Self {
        self.replicated = true;
        self
    }

    /// One argument more, or several.
    pub(crate) fn arg(&mut self, argument: impl ToRedisArgs) -> &mut Self {
        self.command.arg(argument);
        self
    }
}

/// How it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Again over a new connection, if the one at hand is broken: it may be done twice.
    Repeatable,
    /// Over a connection that is known to have worked just now.
    Once,
    /// As above, of a server that another one has named and that does not have the slot yet.
    Asking,
}

/// Why the answer is not the one that was asked for.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nothing was sent.
    Unsent(BackendError),
    /// This came back, or nothing.
    Told(RedisError),
}

impl From<BackendError> for Failure {
    fn from(error: BackendError) -> Self {
        Self::Unsent(error)
    }
}

/// What it means for an operation that changes nothing, or may be done twice.
impl From<Failure> for BackendError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unsent(error) => error,
            Failure::Told(error) => failed(error),
        }
    }
}

/// What came of a request.
struct Answered<T> {
    answer: T,
    /// As many replicas have it as are waited for.
    replicated: bool,
}

impl Link {
    /// A way that is not tried yet.
    pub(crate) fn new(address: Address, options: Arc<RedisOptions>, promise: Promise) -> Self {
        Self {
            address,
            replicas: Replicas::asked(&options),
            options,
            state: Mutex::default(),
            promise,
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

    /// What the server's settings promise now.
    pub(crate) async fn promised(&self) -> Result<Durability, BackendError> {
        let (_, server) = self.reach().await?;
        Ok(server.durability)
    }

    async fn reach(&self) -> Result<(MultiplexedConnection, Server), BackendError> {
        let client = self.address.client().await.map_err(unavailable)?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.options.connect_timeout))
            .set_response_timeout(Some(self.options.response_timeout));
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        let mut connection = connecting.await.map_err(unavailable)?;
        let server = Server::ask(&mut connection, self.replicas)
            .await
            .map_err(unavailable)?;
        Ok((connection, server))
    }

    async fn connect(&self) -> Result<Live, BackendError> {
        let (connection, server) = self.reach().await?;
        let promised = *self.promise.get_or_init(|| server.durability);
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
            lags: Arc::default(),
            answered: Arc::new(AtomicU64::new(self.now())),
            writable: Arc::default(),
        })
    }

    /// The connection, known to have worked just now.
    async fn tried(&self) -> Result<Live, BackendError> {
        let live = self.live().await?;
        let idle = self
            .now()
            .saturating_sub(live.answered.load(Ordering::Relaxed));
        if u128::from(idle) < IDLE.as_millis() {
            return Ok(live);
        }
        let ping = |_: &Live| redis::cmd("PING").into();
        self.repeatable::<Value>(&ping).await?;
        self.live().await
    }

    /// Asks in this manner.
    pub(crate) async fn ask<T: FromRedisValue>(
        &self,
        manner: Manner,
        request: &impl Fn(&Live) -> Request,
    ) -> Result<T, Failure> {
        if manner == Manner::Repeatable {
            return self.repeatable(request).await;
        }
        let live = self.tried().await?;
        let request = self.asked(&live, request).await?;
        if request.replicated {
            self.caught_up(&live).await?;
        }
        self.once(&live, &request, manner == Manner::Asking)
            .await
            .map_err(Failure::Told)
    }

    /// Looks whether replicas have what was written before, where that was not so.
    async fn caught_up(&self, live: &Live) -> Result<(), BackendError> {
        let Some(replicas) = self.replicas else {
            return Ok(());
        };
        if !live.lags.load(Ordering::Relaxed) {
            return Ok(());
        }
        let request = replicas.command(GLANCE).into();
        let answer: RedisResult<Value> = self.once(live, &request, false).await;
        match replicas.have(answer.map_err(failed)?) {
            Ok(true) => {
                live.lags.store(false, Ordering::Relaxed);
                Ok(())
            }
            Ok(false) => Err(unavailable("too few replicas have what was written before")),
            Err(error) => Err(unavailable(error)),
        }
    }

    /// Who has which slots of the cluster. Before it is known what the servers promise, it is asked over a
    /// connection of its own.
    pub(crate) async fn cluster_slots(&self) -> Result<Value, BackendError> {
        let mut command = redis::cmd("CLUSTER");
        command.arg("SLOTS");
        if self.promise.get().is_none() {
            let (mut connection, _) = self.reach().await?;
            let asking = command.query_async(&mut connection);
            return asking.await.map_err(unavailable);
        }
        let ask = |_: &Live| command.clone().into();
        self.repeatable(&ask)
            .await
            .map_err(|failure| match failure {
                // In the server's own words.
                Failure::Told(error) => unavailable(error),
                Failure::Unsent(error) => error,
            })
    }

    /// Asks what may be asked twice: over a new connection if the one at hand is broken.
    async fn repeatable<T: FromRedisValue>(
        &self,
        request: &impl Fn(&Live) -> Request,
    ) -> Result<T, Failure> {
        let live = self.live().await?;
        let asked = self.asked(&live, request).await?;
        match self.once(&live, &asked, false).await {
            Err(error) if !is_answer(&error) && !error.is_timeout() => {}
            other => return other.map_err(Failure::Told),
        }
        let live = self.live().await?;
        let asked = self.asked(&live, request).await?;
        let result = self.once(&live, &asked, false).await;
        result.map_err(Failure::Told)
    }

    /// The request for this connection, once the server may be asked.
    async fn asked(
        &self,
        live: &Live,
        request: &impl Fn(&Live) -> Request,
    ) -> Result<Request, BackendError> {
        let request = request(live);
        if request.operation.is_some_and(|operation| operation.writes) {
            let patience = self.options.response_timeout;
            let waiting = live.writable.wait(&live.connection, patience);
            if let Err(error) = waiting.await {
                if error.is_io_error() {
                    self.give_up(live).await;
                }
                return Err(unavailable(error));
            }
        }
        Ok(request)
    }

    /// Asks over this connection.
    async fn once<T: FromRedisValue>(
        &self,
        live: &Live,
        request: &Request,
        asking: bool,
    ) -> RedisResult<T> {
        let mut result = self.send(live, request, asking).await;
        // One that the server does not know was not run: it is loaded and run then.
        if let (Err(error), Some(operation)) = (&result, request.operation)
            && error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
        {
            let mut connection = live.connection.clone();
            result = match operation.script.load_async(&mut connection).await {
                Ok(_) => self.send(live, request, asking).await,
                Err(error) => Err(error),
            };
        }
        self.settle(live, &result).await;
        let Answered { answer, replicated } = result?;
        if !replicated {
            live.lags.store(true, Ordering::Relaxed);
            // No answer of the server: what has become of it is not known.
            return Err((ErrorKind::Io, "too few replicas have it in time").into());
        }
        Ok(answer)
    }

    /// Sends it over this connection, and waits for the answer, and for replicas where that is asked.
    async fn send<T: FromRedisValue>(
        &self,
        live: &Live,
        request: &Request,
        asking: bool,
    ) -> RedisResult<Answered<T>> {
        let mut connection = live.connection.clone();
        let replicas = self.replicas.filter(|_| request.replicated);
        if !asking && replicas.is_none() {
            let answer = request.command.query_async(&mut connection).await?;
            let replicated = true;
            return Ok(Answered { answer, replicated });
        }
        let mut together = redis::pipe();
        together.ignore_errors();
        if asking {
            together.cmd("ASKING").ignore();
        }
        together.add_command(request.command.clone());
        if let Some(replicas) = replicas {
            together.add_command(replicas.command(self.options.response_timeout / 2));
        }
        let answers: Vec<RedisResult<Value>> = together.query_async(&mut connection).await?;
        let mut answers = answers.into_iter();
        let answer = T::from_redis_value(answers.next().unwrap_or(Ok(Value::Nil))?)?;
        let replicated = match (replicas, answers.next()) {
            (Some(replicas), Some(Ok(told))) => replicas.have(told).unwrap_or(false),
            (Some(_), _) => false,
            (None, _) => true,
        };
        Ok(Answered { answer, replicated })
    }

    /// Gives the connection up unless the server has answered over it.
    async fn settle<T>(&self, live: &Live, result: &RedisResult<T>) {
        if result.as_ref().err().is_none_or(keeps_connection) {
            live.answered.store(self.now(), Ordering::Relaxed);
        } else {
            self.give_up(live).await;
        }
    }

    async fn give_up(&self, live: &Live) {
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
        ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown)
    );
    is_answer(error) && !moved
}
