//! Three NATS servers that are one cluster.

use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use reveille_nats::{NatsBackend, NatsOptions};

use crate::broker::{Broker, PATIENCE};

/// A cluster of three. Dropped, it is killed.
#[derive(Debug)]
pub struct NatsCluster {
    /// Its servers.
    pub servers: Vec<Broker>,
}

impl NatsCluster {
    /// Starts a cluster that takes a store of three replicas.
    ///
    /// # Panics
    /// When it does not start.
    ///
    /// # Cancel safety
    /// A dropped future leaves nothing.
    pub async fn start() -> Self {
        let free = || {
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
            let address = free.local_addr().expect("it is bound");
            (free, format!("nats-route://{address}"))
        };
        let (held, routes): (Vec<_>, Vec<_>) = (0..3).map(|_| free()).unzip();
        // All are held until each has another one.
        drop(held);
        let servers = routes.iter().enumerate().map(|(n, own)| {
            let listen = own.replace("nats-route", "nats");
            Broker::nats_with(&[
                "--server_name",
                &format!("n{n}"),
                "--cluster_name",
                "test",
                "--cluster",
                &listen,
                "--routes",
                &routes.join(","),
            ])
        });
        let cluster = Self {
            servers: servers.collect(),
        };
        cluster.answering().await;
        cluster
    }

    /// The servers, one after the other.
    #[must_use]
    pub fn url(&self) -> String {
        let urls: Vec<&str> = self.servers.iter().map(|server| &*server.url).collect();
        urls.join(",")
    }

    /// Until it takes a store of three replicas.
    ///
    /// # Panics
    /// When it does not.
    ///
    /// # Cancel safety
    /// A dropped future waits no longer.
    pub async fn answering(&self) {
        let begin = Instant::now();
        let url = format!("{}?replicas=3", self.url());
        loop {
            let mut options = NatsOptions::default();
            options.patience = Duration::from_secs(2);
            if NatsBackend::connect(&url, options).await.is_ok() {
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "{url} does not answer");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
