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
use ipnet::IpNet;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tower::Service as _;

use crate::config::GatewayConfig;
use crate::direct;
use crate::fan_out::{Pump, Pumps};
use crate::forwarded::{counted_by, is_trusted};
use crate::gateway::Gateway;
use crate::resource::Encrypted;
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
/// Most fields of a request's head.
const HEADER_FIELDS: usize = 100;
/// A peer that takes nothing for this long is gone: without it, the kernel would keep its unread bytes.
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);
/// What a connection too many is told, where it can be told without more ado.
const TOO_MANY: &[u8] =
    b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\nconnection: close\r\n\
    content-length: 0\r\n\r\n";
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

    /// The certificate, to be read again at will; none with plain HTTP.
    #[must_use]
    pub fn certificate(&self) -> Option<Certificate> {
        self.tls.clone().map(Certificate)
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

/// The certificate of a [`Listener`], which goes on to hold when that serves.
#[derive(Debug, Clone)]
pub struct Certificate(tls::Acceptor);

impl Certificate {
    /// Reads the files again now. New connections get what is in them.
    ///
    /// # Errors
    /// [`ServeError::Certificate`]: the old certificate stays.
    pub fn reload(&self) -> Result<(), ServeError> {
        self.0.reload()
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
    let config = gateway.config();
    let server = Server {
        direct: gateway.is_plain().then(|| gateway.clone()),
        // Without authentication all are this machine.
        per_address: match gateway.authorizer() {
            Some(_) => config.traffic.connections_per_address,
            None => usize::MAX,
        },
        most: config.traffic.connections,
        trusted_proxies: config.trusted_proxies.clone(),
        header_bytes: config.header_bytes,
        tls: listener.tls,
        ..Server::new(gateway.router())
    };
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
    let server = Server::new(gateway.admin_router());
    server.accept(listener.socket, std::future::pending()).await;
}

struct Server {
    router: Router,
    direct: Option<Gateway>,
    connections: GracefulShutdown,
    peers: Peers,
    per_address: usize,
    /// Most connections.
    most: usize,
    /// Proxies, whose connections are those of many.
    trusted_proxies: Vec<IpNet>,
    header_bytes: usize,
    tls: Option<tls::Acceptor>,
    pumps: Pumps,
}

impl Server {
    fn new(router: Router) -> Self {
        Self {
            router,
            direct: None,
            connections: GracefulShutdown::new(),
            peers: Peers::default(),
            per_address: usize::MAX,
            most: usize::MAX,
            trusted_proxies: Vec::new(),
            header_bytes: GatewayConfig::default().header_bytes,
            tls: None,
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
        let per_address = match is_trusted(peer, &self.trusted_proxies) {
            true => usize::MAX,
            false => self.per_address,
        };
        let Some(place) = self.peers.enter(counted_by(peer), per_address, self.most) else {
            tracing::debug!("a connection too many, of one address or in all");
            if self.tls.is_none() {
                // A socket that is new takes it, or nobody reads it.
                let _ = socket.try_write(TOO_MANY);
            }
            return;
        };
        let header_bytes = self.header_bytes;
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
                        encrypted: None,
                        past: Some((pump, Arc::clone(&wire))),
                    };
                    match run(
                        socket,
                        Proto::Either,
                        header_bytes,
                        answers,
                        watcher,
                        Some(&wire),
                    )
                    .await
                    {
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
                            encrypted: Some(Encrypted),
                            past: None,
                        };
                        run(socket, proto, header_bytes, answers, watcher, None).await
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
    /// If the connection is one of TLS.
    encrypted: Option<Encrypted>,
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
        if let Some(encrypted) = self.encrypted {
            request.extensions_mut().insert(encrypted);
        }
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
    header_bytes: usize,
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
        .max_buf_size(header_bytes.max(SEND_BUFFER));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(H2_STREAMS)
        .max_header_list_size(u32::try_from(header_bytes).unwrap_or(u32::MAX))
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

/// How many connections there are.
#[derive(Debug, Clone, Default)]
struct Peers(Arc<Mutex<Connected>>);

#[derive(Debug, Default)]
struct Connected {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
struct Place {
    peers: Peers,
    peer: IpAddr,
}

impl Peers {
    fn enter(&self, peer: IpAddr, per_address: usize, most: usize) -> Option<Place> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_peer = counts.by_address.get(&peer).copied().unwrap_or_default();
        if of_peer >= per_address || counts.all >= most {
            return None;
        }
        counts.all += 1;
        *counts.by_address.entry(peer).or_default() += 1;
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
        counts.all -= 1;
        if let Some(count) = counts.by_address.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                counts.by_address.remove(&self.peer);
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
