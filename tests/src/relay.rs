//! A wire between a client and a server that can be cut.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Passes connections on to a server until it is cut: then those that are open break, and new ones
/// break at once.
#[derive(Debug)]
pub struct Relay {
    /// Where it listens.
    pub url: String,
    cut: watch::Sender<bool>,
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
        let server: SocketAddr = url
            .trim_start_matches("http://")
            .parse()
            .expect("the URL has an address");
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let (cut, is_cut) = watch::channel(false);
        tokio::spawn(relay(listener, server, is_cut));
        Self {
            url: format!("http://{address}"),
            cut,
        }
    }

    /// Breaks all connections, and from now on every new one.
    pub fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// Passes new connections on again.
    pub fn mend(&self) {
        self.cut.send_replace(false);
    }
}

/// Ends with its [`Relay`].
async fn relay(listener: TcpListener, server: SocketAddr, mut is_cut: watch::Receiver<bool>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            gone = is_cut.changed() => match gone {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        let Ok((mut client, _)) = accepted else {
            return;
        };
        if *is_cut.borrow() {
            continue;
        }
        let mut is_cut = is_cut.clone();
        tokio::spawn(async move {
            let Ok(mut server) = TcpStream::connect(server).await else {
                return;
            };
            tokio::select! {
                _ = copy_bidirectional(&mut client, &mut server) => {}
                _ = is_cut.wait_for(|cut| *cut) => {}
            }
        });
    }
}
