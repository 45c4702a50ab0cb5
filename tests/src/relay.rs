//! A wire between a client and a server that breaks in every way that wires do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How a wire is. What it does not pass on now it passes on later, as TCP would.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// All goes through.
    Whole,
    /// Open connections break, and new ones break at once.
    Cut,
    /// As [`Cut`](Self::Cut), by a reset.
    Reset,
    /// Nothing moves, and nobody is told.
    BlackHole,
    /// What the client says does not arrive.
    ToServerLost,
    /// What the server says does not arrive.
    ToClientLost,
    /// What is said comes in pieces of so many bytes.
    Pieces(usize),
    /// What is said comes so much later.
    Late(Duration),
    /// A connection breaks once so many bytes have gone one way.
    CutAfter(usize),
}

/// Passes connections on to a server over a [`Wire`].
#[derive(Debug)]
pub struct Relay {
    /// Where it listens.
    pub url: String,
    wire: watch::Sender<Wire>,
    /// Connections with lower numbers are dead: nothing moves on them, whatever the wire is.
    dead: watch::Sender<usize>,
    accepted: Arc<AtomicUsize>,
    counted: Arc<AtomicUsize>,
}

impl Relay {
    /// Starts a relay to the server at this URL.
    ///
    /// # Panics
    /// When no port is free, or the URL is not one of this machine.
    ///
    /// # Cancel safety
    /// A dropped future has started nothing.
    pub async fn to(url: &str) -> Self {
        Self::counting(url, "").await
    }

    /// The same, and counts how often the client says this text.
    ///
    /// # Panics
    /// When no port is free, or the URL is not one of this machine.
    ///
    /// # Cancel safety
    /// A dropped future has started nothing.
    pub async fn counting(url: &str, text: &'static str) -> Self {
        let (scheme, server) = url.split_once("://").expect("the URL has a scheme");
        let server: SocketAddr = server.parse().expect("the URL has an address");
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let ((wire, wires), (dead, deaths)) = (watch::channel(Wire::Whole), watch::channel(0));
        let (accepted, counted) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let count = Count {
            text,
            counted: Arc::clone(&counted),
        };
        tokio::spawn(relay(
            listener,
            server,
            wires,
            deaths,
            Arc::clone(&accepted),
            count,
        ));
        Self {
            url: format!("{scheme}://{address}"),
            wire,
            dead,
            accepted,
            counted,
        }
    }

    /// From now on the wire is so, for open connections, too.
    pub fn set(&self, wire: Wire) {
        self.wire.send_replace(wire);
    }

    /// Breaks all connections, and from now on every new one.
    pub fn cut(&self) {
        self.set(Wire::Cut);
    }

    /// Passes new connections on again.
    pub fn mend(&self) {
        self.set(Wire::Whole);
    }

    /// On connections that are open now nothing moves any more, and nobody is told. New ones are not
    /// concerned.
    pub fn kill_silently(&self) {
        self.dead.send_replace(self.accepted());
    }

    /// How often the client has said what is counted.
    #[must_use]
    pub fn counted(&self) -> usize {
        self.counted.load(Ordering::SeqCst)
    }

    /// How many connections have been made.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

/// What is counted. A text that comes in two pieces is passed over.
#[derive(Debug, Clone)]
struct Count {
    text: &'static str,
    counted: Arc<AtomicUsize>,
}

impl Count {
    fn count(&self, said: &[u8]) {
        if !self.text.is_empty() {
            let text = self.text.as_bytes();
            let times = said
                .windows(text.len())
                .filter(|part| *part == text)
                .count();
            self.counted.fetch_add(times, Ordering::SeqCst);
        }
    }
}

/// Ends with its [`Relay`].
async fn relay(
    listener: TcpListener,
    server: SocketAddr,
    mut wires: watch::Receiver<Wire>,
    deaths: watch::Receiver<usize>,
    accepted: Arc<AtomicUsize>,
    count: Count,
) {
    loop {
        let connection = tokio::select! {
            connection = listener.accept() => connection,
            gone = wires.changed() => match gone {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        let Ok((client, _)) = connection else {
            return;
        };
        let number = accepted.fetch_add(1, Ordering::SeqCst);
        let (wires, deaths, count) = (wires.clone(), deaths.clone(), count.clone());
        tokio::spawn(async move {
            let wire = *wires.borrow();
            match wire {
                Wire::Cut => drop(client),
                Wire::Reset => reset(&client),
                _ => {
                    if let Ok(server) = TcpStream::connect(server).await {
                        pass(client, server, wires, deaths, number, count).await;
                    }
                }
            }
        });
    }
}

/// Serves a connection until it ends or breaks.
async fn pass(
    mut client: TcpStream,
    mut server: TcpStream,
    wires: watch::Receiver<Wire>,
    deaths: watch::Receiver<usize>,
    number: usize,
    count: Count,
) {
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
    }
    let mut breaks = wires.clone();
    let is_reset = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let way = |from, to, lost, count| Way {
            from,
            to,
            lost,
            wires: wires.clone(),
            deaths: deaths.clone(),
            number,
            count,
        };
        let there = way(from_client, to_server, Wire::ToServerLost, Some(count));
        let back = way(from_server, to_client, Wire::ToClientLost, None);
        tokio::select! {
            () = there.pump() => false,
            () = back.pump() => false,
            broken = breaks.wait_for(|wire| matches!(wire, Wire::Cut | Wire::Reset)) => {
                broken.is_ok_and(|wire| *wire == Wire::Reset)
            }
        }
    };
    if is_reset {
        reset(&client);
        reset(&server);
    }
}

/// One direction of a connection.
struct Way<'a> {
    from: ReadHalf<'a>,
    to: WriteHalf<'a>,
    /// The wire on which nothing arrives this way.
    lost: Wire,
    wires: watch::Receiver<Wire>,
    deaths: watch::Receiver<usize>,
    number: usize,
    count: Option<Count>,
}

impl Way<'_> {
    /// Passes on what comes, until the end.
    async fn pump(mut self) {
        let mut buffer = vec![0; 16 * 1024];
        let mut passed = 0;
        loop {
            let Ok(read @ 1..) = self.from.read(&mut buffer).await else {
                return;
            };
            let lost = self.lost;
            let moves = |wire: &Wire| *wire != Wire::BlackHole && *wire != lost;
            let Ok(wire) = self.wires.wait_for(moves).await.map(|wire| *wire) else {
                return;
            };
            if *self.deaths.borrow_and_update() > self.number {
                std::future::pending::<()>().await;
            }
            passed += read;
            let read = &buffer[..read];
            if let Some(count) = &self.count {
                count.count(read);
            }
            let written = match wire {
                Wire::CutAfter(bytes) if passed > bytes => return,
                Wire::Pieces(bytes) => pieces(&mut self.to, read, bytes).await,
                Wire::Late(by) => {
                    tokio::time::sleep(by).await;
                    self.to.write_all(read).await
                }
                _ => self.to.write_all(read).await,
            };
            if written.is_err() {
                return;
            }
        }
    }
}

async fn pieces(to: &mut WriteHalf<'_>, read: &[u8], bytes: usize) -> std::io::Result<()> {
    for piece in read.chunks(bytes) {
        to.write_all(piece).await?;
        // So that what the other side reads is as small.
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Has the connection end with a reset.
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}
