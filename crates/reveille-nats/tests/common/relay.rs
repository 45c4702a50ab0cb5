//! A relay between a client and a server, which can be cut and stopped.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What becomes of what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Pass,
    /// Nothing moves, and nobody is told.
    Hold,
    /// What the server says does not arrive.
    HoldAnswers,
    /// All connections end.
    Cut,
}

/// A relay. Dropped, it ends all connections.
#[derive(Debug)]
pub(crate) struct Relay {
    mode: Arc<watch::Sender<Mode>>,
    address: SocketAddr,
}

impl Relay {
    /// To this port of loopback.
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mode, modes) = watch::channel(Mode::Pass);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
                    tokio::spawn(relay(client, server, modes.clone()));
                }
                if modes.has_changed().is_err() {
                    return;
                }
            }
        });
        Self {
            mode: Arc::new(mode),
            address,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

async fn relay(client: TcpStream, server: TcpStream, modes: watch::Receiver<Mode>) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut cut = modes.clone();
    tokio::select! {
        () = pump(from_client, to_server, modes.clone(), &[Mode::Hold]) => {}
        () = pump(from_server, to_client, modes, &[Mode::Hold, Mode::HoldAnswers]) => {}
        _ = cut.wait_for(|mode| *mode == Mode::Cut) => {}
    }
}

async fn pump(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut modes: watch::Receiver<Mode>,
    held: &[Mode],
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else {
            return;
        };
        // What is held is late, as TCP would have it, not lost.
        if modes.wait_for(|mode| !held.contains(mode)).await.is_err() {
            return;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
