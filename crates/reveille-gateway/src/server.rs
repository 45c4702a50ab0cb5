//! The accept loop: bounded in time, and ended in an orderly way.

mod alone;
mod first_byte;
mod tls;
mod wire;

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{HeaderValue, Method, Request, Response, Version, header};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tower::Service as _;

use crate::direct;
use crate::fan_out::{Pump, Pumps};
use crate::gateway::Gateway;
use crate::stream::Line;
use alone::Alone;
use first_byte::FirstByte;
use wire::WireIo;

pub use tls::TlsConfig;
pub(crate) use wire::Wire;

/// A request's head must be there within this time, and an idle connection ends after it.
const HEADER_DEADLINE: Duration = Duration::from_secs(10);
/// A connection must say something within this time.
const FIRST_BYTE: Duration = Duration::from_secs(5);
/// Most bytes of a request's head, and most fields of it.
const HEADER_BYTES: usize = 16 * 1024;
const HEADER_FIELDS: usize = 100;
/// A peer that takes nothing for this long is gone: without it, the kernel would keep its unread bytes.
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);
/// What the kernel buffers for a reader that does not read.
const SEND_BUFFER: usize = 64 * 1024;
/// Pause after a failed accept (no file descriptors left), so that the loop neither spins nor ends.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// HTTP/2: streams on one connection, and how often its peer must show that it is there.
const H2_STREAMS: u32 = 1_000;
const H2_PING: Duration = Duration::from_secs(20);

/// Why the server cannot listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Without authentication only this machine may be served.
    #[error(
        "cannot listen on {address}: without authentication only loopback addresses (127.0.0.1, ::1) are served"
    )]
    NotLoopback {
        /// The address that was asked for.
        address: SocketAddr,
    },
    /// Credentials would cross the network for everybody to read.
    #[error(
        "cannot listen on {address} without TLS: set a certificate, or say that a proxy in front has one (insecure_plain_http)"
    )]
    NotEncrypted {
        /// The address that was asked for.
        address: SocketAddr,
    },
    /// The address cannot be bound.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The certificate or its key cannot be used.
    #[error("the certificate in {} cannot be used: {problem}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

impl ServeError {
    /// Stable name of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotLoopback { .. } => "not_loopback",
            Self::NotEncrypted { .. } => "not_encrypted",
            Self::Bind { .. } => "cannot_bind",
            Self::Certificate { .. } => "invalid_certificate",
        }
    }
}

/// How to listen.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ListenOptions {
    /// The certificate; plain HTTP if none.
    pub tls: Option<TlsConfig>,
    /// Whether plain HTTP may be served on other than loopback addresses.
    pub insecure_plain_http: bool,
}

/// A socket that listens, on an address that the gateway may serve.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    tls: Option<tls::Acceptor>,
}

impl Listener {
    /// Where it listens.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        match self.tls {
            Some(_) => "https",
            None => "http",
        }
    }
}

/// Listens for a gateway; port 0 picks a free one. Without authentication that can be a loopback
/// address only.
///
/// # Errors
/// [`ServeError`].
///
/// # Cancel safety
/// A dropped future listens or does not.
pub async fn bind(
    address: SocketAddr,
    gateway: &Gateway,
    options: ListenOptions,
) -> Result<Listener, ServeError> {
    if !address.ip().is_loopback() {
        if gateway.authorizer().is_none() {
            return Err(ServeError::NotLoopback { address });
        }
        if options.tls.is_none() && !options.insecure_plain_http {
            return Err(ServeError::NotEncrypted { address });
        }
    }
    let tls = options.tls.map(tls::Acceptor::new).transpose()?;
    let socket = TcpListener::bind(address)
        .await
        .map_err(|source| ServeError::Bind { address, source })?;
    Ok(Listener { socket, tls })
}

/// Where a request comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Serves until `stop` resolves. Then it stops listening, ends all streams with a `reveille.reconnect`
/// frame and all waits with 503, lets other requests finish, and returns when all connections are
/// closed or the gateway's drain time is over.
///
/// # Cancel safety
/// A dropped future stops listening and leaves open connections to the runtime.
pub async fn serve(listener: Listener, gateway: Gateway, stop: impl Future<Output = ()>) {
    // Without authentication all are this machine.
    let per_address = match gateway.authorizer() {
        Some(_) => gateway.config().traffic.connections_per_address,
        None => usize::MAX,
    };
    let mut server = Server::new(gateway.router(), per_address, listener.tls);
    server.direct = gateway.is_plain().then(|| gateway.clone());
    server.accept(listener.socket, stop).await;
    gateway.drain(gateway.config().drain);
    let closed = server.connections.shutdown();
    let time = gateway.drain_over();
    if tokio::time::timeout(time, closed).await.is_err() {
        tracing::warn!("connections were still open at the end of the drain time");
    }
    gateway.signals().leave().await;
}

/// Listens for operators, on a loopback address.
///
/// # Errors
/// [`ServeError`].
///
/// # Cancel safety
/// A dropped future listens or does not.
pub async fn bind_admin(address: SocketAddr) -> Result<Listener, ServeError> {
    if !address.ip().is_loopback() {
        return Err(ServeError::NotLoopback { address });
    }
    let socket = TcpListener::bind(address)
        .await
        .map_err(|source| ServeError::Bind { address, source })?;
    Ok(Listener { socket, tls: None })
}

/// Serves [what operators ask for](Gateway::admin_router) until it is dropped.
///
/// # Cancel safety
/// A dropped future stops listening and leaves open connections to the runtime.
pub async fn serve_admin(listener: Listener, gateway: Gateway) {
    let server = Server::new(gateway.admin_router(), usize::MAX, None);
    server.accept(listener.socket, std::future::pending()).await;
}

struct Server {
    router: Router,
    direct: Option<Gateway>,
    connections: GracefulShutdown,
    peers: Peers,
    per_address: usize,
    tls: Option<tls::Acceptor>,
    pumps: Pumps,
}

impl Server {
    fn new(router: Router, per_address: usize, tls: Option<tls::Acceptor>) -> Self {
        Self {
            router,
            direct: None,
            connections: GracefulShutdown::new(),
            peers: Peers::default(),
            per_address,
            tls,
            pumps: Pumps::start(),
        }
    }

    /// Lets connections in until `stop` resolves. Then it refuses them, which is what makes clients
    /// come back elsewhere; a 503 would stop browsers.
    async fn accept(&self, socket: TcpListener, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => return,
                accepted = socket.accept() => match accepted {
                    Ok((socket, peer)) => self.spawn(socket, peer.ip()),
                    Err(error) => {
                        tracing::warn!(%error, "accept failed");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }

    /// Serves one connection in a task of its own, which ends with the connection.
    fn spawn(&self, socket: TcpStream, peer: IpAddr) {
        let Some(place) = self.peers.enter(peer, self.per_address) else {
            tracing::debug!("a connection too many from one address");
            return;
        };
        if let Err(error) = tune(&socket) {
            tracing::debug!(%error, "socket options were refused");
        }
        let router = self.router.clone();
        let direct = self.direct.clone();
        let watcher = self.connections.watcher();
        let tls = self.tls.clone();
        let pump = self.pumps.take();
        let after = self.connections.watcher();
        tokio::spawn(async move {
            let ended = match tls {
                None => {
                    let wire = Arc::new(Wire::new(socket));
                    let socket = FirstByte::new(WireIo(Arc::clone(&wire)), FIRST_BYTE);
                    let answers = Answers {
                        router,
                        direct,
                        peer: Peer(peer),
                        past: Some((pump, Arc::clone(&wire))),
                    };
                    match run(socket, Proto::Either, answers, watcher, Some(&wire)).await {
                        Ok(Some(alone)) => {
                            // A task of its own, which is as small as what it does.
                            tokio::spawn(async move {
                                let _open = (place, after);
                                let _ = alone.run().await;
                            });
                            return;
                        }
                        ended => ended,
                    }
                }
                Some(tls) => match tls.accept(socket, FIRST_BYTE).await {
                    Ok((socket, proto)) => {
                        let answers = Answers {
                            router,
                            direct,
                            peer: Peer(peer),
                            past: None,
                        };
                        run(socket, proto, answers, watcher, None).await
                    }
                    Err(error) => Err(error.into()),
                },
            };
            drop((place, after));
            if let Err(error) = ended {
                tracing::debug!(error = %error, "connection ended");
            }
        });
    }
}

/// What is spoken on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proto {
    /// What the first bytes say.
    Either,
    Http1,
    Http2,
}

/// Answers the requests of one connection.
struct Answers {
    router: Router,
    /// Whose publishes go [past the router](direct).
    direct: Option<Gateway>,
    peer: Peer,
    /// Where streams may be written past the server.
    past: Option<(Pump, Arc<Wire>)>,
}

impl Service<Request<Incoming>> for Answers {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        // Only there is a body a stream of chunks on a connection of its own.
        let in_chunks = request.version() == Version::HTTP_11 && request.method() != Method::HEAD;
        let past = self.past.clone().filter(|_| in_chunks);
        request.extensions_mut().insert(self.peer);
        if let Some(gateway) = &self.direct
            && direct::takes(request.method(), request.uri())
        {
            let gateway = gateway.clone();
            let request = request.map(Body::new);
            return Box::pin(async move { Ok(direct::answer(&gateway, request).await) });
        }
        let answer = self.router.clone().call(request.map(Body::new));
        Box::pin(async move {
            let mut response = answer.await?;
            let line = response.extensions_mut().remove::<Arc<Line>>();
            if let (Some(line), Some((pump, wire))) = (line, past) {
                line.leave_to(pump, &wire);
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
            Ok(response)
        })
    }
}

/// Serves the requests of a connection, until its end or until it is left to a stream.
async fn run<S>(
    socket: S,
    proto: Proto,
    answers: Answers,
    watcher: Watcher,
    wire: Option<&Arc<Wire>>,
) -> Result<Option<Alone>, Box<dyn std::error::Error + Send + Sync>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    match proto {
        Proto::Either => {}
        Proto::Http1 => builder = builder.http1_only(),
        Proto::Http2 => builder = builder.http2_only(),
    }
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_DEADLINE)
        .max_headers(HEADER_FIELDS)
        .max_buf_size(HEADER_BYTES.max(SEND_BUFFER));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(H2_STREAMS)
        .max_header_list_size(HEADER_BYTES as u32)
        .keep_alive_interval(H2_PING)
        .keep_alive_timeout(UNACKNOWLEDGED);
    let connection = builder.serve_connection(TokioIo::new(socket), answers);
    let mut connection = std::pin::pin!(watcher.watch(connection.into_owned()));
    poll_fn(|cx| match connection.as_mut().poll(cx) {
        Poll::Ready(ended) => Poll::Ready(ended.map(|()| None)),
        Poll::Pending => match wire.and_then(Alone::of) {
            Some(alone) => Poll::Ready(Ok(Some(alone))),
            None => Poll::Pending,
        },
    })
    .await
}

/// How many connections each address has.
#[derive(Debug, Clone, Default)]
struct Peers(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One of them, until it is dropped.
#[derive(Debug)]
struct Place {
    peers: Peers,
    peer: IpAddr,
}

impl Peers {
    fn enter(&self, peer: IpAddr, limit: usize) -> Option<Place> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(peer).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Place {
            peers: self.clone(),
            peer,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.peers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.peer);
            }
        }
    }
}

fn tune(socket: &TcpStream) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    let socket = SockRef::from(socket);
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(Duration::from_secs(15))
            .with_interval(Duration::from_secs(5)),
    )?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    Ok(())
}
