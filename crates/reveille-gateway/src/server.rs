//! The accept loop: bounded in time, and ended in an orderly way.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};

use crate::gateway::Gateway;

/// A request's head must be there within this time, and an idle connection ends after it.
const HEADER_DEADLINE: Duration = Duration::from_secs(10);
/// Most bytes of a request's head.
const HEADER_BYTES: usize = 16 * 1024;
/// A peer that takes nothing for this long is gone: without it, the kernel would keep its unread bytes.
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);
/// What the kernel buffers for a reader that does not read.
const SEND_BUFFER: usize = 64 * 1024;
/// Pause after a failed accept (no file descriptors left), so that the loop neither spins nor ends.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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
    /// The address cannot be bound.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl ServeError {
    /// Stable name of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotLoopback { .. } => "not_loopback",
            Self::Bind { .. } => "cannot_bind",
        }
    }
}

/// Listens on a loopback address; port 0 picks a free one.
///
/// # Errors
/// [`ServeError`].
///
/// # Cancel safety
/// A dropped future listens or does not.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
    if !address.ip().is_loopback() {
        return Err(ServeError::NotLoopback { address });
    }
    TcpListener::bind(address)
        .await
        .map_err(|source| ServeError::Bind { address, source })
}

/// Serves until `stop` resolves. Then it stops listening, ends all streams with a `reveille.reconnect`
/// frame and all waits with 503, lets other requests finish, and returns when all connections are
/// closed or the gateway's drain time is over.
///
/// # Cancel safety
/// A dropped future stops listening and leaves open connections to the runtime.
pub async fn serve(listener: TcpListener, gateway: Gateway, stop: impl Future<Output = ()>) {
    let router = gateway.router();
    let connections = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => spawn(socket, router.clone(), &connections),
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    // Refusing connections is what makes clients come back elsewhere; a 503 would stop browsers.
    drop(listener);
    gateway.drain();
    if tokio::time::timeout(gateway.config().drain, connections.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("connections were still open at the end of the drain time");
    }
}

/// Serves one connection in a task of its own, which ends with the connection.
fn spawn(socket: TcpStream, router: Router, connections: &GracefulShutdown) {
    if let Err(error) = tune(&socket) {
        tracing::debug!(%error, "socket options were refused");
    }
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_DEADLINE)
        .max_buf_size(HEADER_BYTES.max(SEND_BUFFER))
        .serve_connection(TokioIo::new(socket), service);
    let connection = connections.watch(connection);
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection ended");
        }
    });
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
