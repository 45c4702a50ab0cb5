//! Three servers that are one cluster.

use std::fmt::Write as _;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::stream::{ClusterInfo, PeerInfo};
use reveille_testkit::chaos::PATIENCE;
use reveille_testkit::free_port;
use rustix::process::Signal;
use tempfile::TempDir;

use super::server::Server;

#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) servers: Vec<Server>,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        for _ in 0..5 {
            if let Some(cluster) = Self::try_start() {
                return cluster;
            }
        }
        panic!("the cluster does not start");
    }

    /// None if another test has taken a port.
    fn try_start() -> Option<Self> {
        let routes: Vec<u16> = (0..3).map(|_| free_port()).collect();
        let mut servers = Vec::new();
        for n in 0..3 {
            let mut more = String::new();
            let _ = writeln!(more, "server_name: n{n}");
            let _ = writeln!(
                more,
                "cluster {{ name: test, listen: \"127.0.0.1:{}\"",
                routes[n]
            );
            let urls = routes
                .iter()
                .map(|p| format!("\"nats-route://127.0.0.1:{p}\""));
            let urls: Vec<String> = urls.collect();
            let _ = writeln!(more, "routes: [{}] }}", urls.join(", "));
            let server = Server::at(free_port(), TempDir::new().unwrap(), "", &more);
            servers.push(server.ok()?);
        }
        Some(Self { servers })
    }

    /// The servers, one after the other.
    pub(crate) fn url(&self) -> String {
        let urls: Vec<String> = self.servers.iter().map(Server::url).collect();
        urls.join(",")
    }

    /// The server that leads the stream whose name holds this.
    pub(crate) async fn leader(&self, of: &str) -> usize {
        let asking = async {
            loop {
                if let Some(leader) = self.try_leader(of).await {
                    return leader;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let leader = tokio::time::timeout(PATIENCE, asking).await;
        leader.expect("the stream has a leader")
    }

    /// Waits until all servers have all of this stream: then any one of them can be lost.
    pub(crate) async fn whole(&self, of: &str) {
        let asking = async {
            let is_whole = |info: ClusterInfo| {
                let has_all = |peer: &PeerInfo| peer.current && !peer.offline;
                info.replicas.len() == 2 && info.replicas.iter().all(has_all)
            };
            while !self.info(of).await.is_some_and(is_whole) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let whole = tokio::time::timeout(PATIENCE, asking).await;
        whole.expect("all servers have all of the stream");
    }

    async fn try_leader(&self, of: &str) -> Option<usize> {
        let leader = self.info(of).await?.leader?;
        leader.strip_prefix('n')?.parse().ok()
    }

    /// What the servers say of the group that keeps the stream.
    async fn info(&self, of: &str) -> Option<ClusterInfo> {
        use futures_util::TryStreamExt;
        let options = async_nats::ConnectOptions::new().connection_timeout(Duration::from_secs(1));
        let addresses: Vec<async_nats::ServerAddr> = self
            .servers
            .iter()
            .map(|s| s.url().parse().unwrap())
            .collect();
        let client = options.connect(addresses).await.ok()?;
        let context = jetstream::new(client);
        let names: Vec<String> = context.stream_names().try_collect().await.ok()?;
        let name = names.into_iter().find(|name| name.contains(of))?;
        let stream = context.get_stream(name).await.ok()?;
        stream.cached_info().cluster.clone()
    }

    pub(crate) fn signal(&self, server: usize, signal: Signal) {
        self.servers[server].signal(signal);
    }
}
