//! A cluster of the test's own.

use std::cell::Cell;
use std::thread;
use std::time::{Duration, Instant};

use reveille_redis::RedisBackend;
use reveille_testkit::free_port;

use super::{Keeps, Make, Server, options};

/// How many slots a cluster has.
const SLOTS: usize = 16_384;
/// How long it may take to agree.
const PATIENCE: Duration = Duration::from_secs(30);

/// Servers that share the slots, in order; killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Cluster(pub(crate) Vec<Server>);

impl Cluster {
    pub(crate) fn start(make: Make, keeps: Keeps) -> Self {
        Self::with(make, &|| argued(keeps))
    }

    /// One whose servers have these arguments, each its own.
    pub(crate) fn with(make: Make, arguments: &dyn Fn() -> Vec<String>) -> Self {
        let mut servers = Vec::new();
        let mut bus_ports = Vec::new();
        for _ in 0..3 {
            let (server, bus) = server(make, arguments);
            servers.push(server);
            bus_ports.push(bus);
        }
        let first = servers[0].port().to_string();
        let share = SLOTS.div_ceil(servers.len());
        for (n, server) in servers.iter().enumerate() {
            let (from, to) = (n * share, SLOTS.min((n + 1) * share) - 1);
            let (from, to) = (from.to_string(), to.to_string());
            let epoch = (n + 1).to_string();
            assert_eq!(server.cli(&["CLUSTER", "ADDSLOTSRANGE", &from, &to]), "OK");
            assert_eq!(server.cli(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]), "OK");
            meet(server, &first, bus_ports[0]);
        }
        let cluster = Self(servers);
        cluster.agrees();
        cluster
    }

    /// Waits until all servers know all, and that all is well.
    pub(crate) fn agrees(&self) {
        let count = format!("cluster_known_nodes:{}", self.0.len());
        for server in &self.0 {
            wait(|| {
                let info = server.cli(&["CLUSTER", "INFO"]);
                info.contains("cluster_state:ok") && info.contains(&count)
            });
        }
    }

    /// Names this server.
    pub(crate) fn url(&self, server: usize) -> String {
        format!("redis+cluster://127.0.0.1:{}", self.0[server].port())
    }

    pub(crate) async fn backend(&self) -> RedisBackend {
        RedisBackend::connect(&self.url(0), options())
            .await
            .unwrap()
    }

    /// The slot of the keys of the default tenant of stores with the default prefix.
    pub(crate) fn slot(&self) -> String {
        let tag = data_encoding::BASE32HEX_NOPAD.encode(b"default");
        self.0[0].cli(&["CLUSTER", "KEYSLOT", &tag])
    }

    /// Which of the servers has this slot, as it says itself.
    pub(crate) fn master_of(&self, slot: &str) -> usize {
        let slot: usize = slot.parse().unwrap();
        let has = |server: &Server| {
            let nodes = server.cli(&["CLUSTER", "NODES"]);
            let own = nodes.lines().find(|line| line.contains("myself")).unwrap();
            let mut ranges = own.split(' ').skip(8).filter(|part| !part.starts_with('['));
            ranges.any(|range| {
                let (from, to) = range.split_once('-').unwrap_or((range, range));
                (from.parse().unwrap()..=to.parse().unwrap()).contains(&slot)
            })
        };
        self.0.iter().position(has).unwrap()
    }

    /// Moves a slot key by key to another server, as `redis-cli --cluster reshard` does. Dropped, the move has
    /// come as far as it is.
    pub(crate) fn begin_move(&self, slot: &str, to: usize) -> Move<'_> {
        let the_move = Move {
            slot: slot.to_owned(),
            old: &self.0[self.master_of(slot)],
            new: &self.0[to],
        };
        the_move.set(the_move.new, &["IMPORTING", &id(the_move.old)]);
        the_move.set(the_move.old, &["MIGRATING", &id(the_move.new)]);
        the_move
    }

    /// Adds a server that copies this one.
    pub(crate) fn add_replica(&mut self, keeps: Keeps, of: usize) {
        let (replica, bus) = server(Make::Redis, &|| argued(keeps));
        meet(&self.0[of], &replica.port().to_string(), bus);
        self.0.push(replica);
        self.agrees();
        for server in &self.0 {
            // They vote about a master once in two of these, which are 15 s otherwise.
            server.cli(&["CONFIG", "SET", "cluster-node-timeout", "1000"]);
        }
        let replica = &self.0[self.0.len() - 1];
        let id = id(&self.0[of]);
        wait(|| replica.cli(&["CLUSTER", "REPLICATE", &id]) == "OK");
        wait(|| {
            replica
                .cli(&["INFO", "replication"])
                .contains("master_link_status:up")
        });
    }
}

/// A slot on its way.
#[derive(Debug)]
pub(crate) struct Move<'a> {
    slot: String,
    old: &'a Server,
    new: &'a Server,
}

impl Move<'_> {
    fn set(&self, server: &Server, what: &[&str]) {
        let command = [&["CLUSTER", "SETSLOT", &self.slot], what].concat();
        assert_eq!(server.cli(&command), "OK", "{command:?}");
    }

    /// Moves one of the keys. Whether there was any.
    pub(crate) fn key(&self) -> bool {
        let key = self.old.cli(&["CLUSTER", "GETKEYSINSLOT", &self.slot, "1"]);
        if !key.is_empty() {
            self.this(&key);
        }
        !key.is_empty()
    }

    /// Moves this key.
    pub(crate) fn this(&self, key: &str) {
        let port = self.new.port().to_string();
        let moved = self
            .old
            .cli(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]);
        assert!(matches!(&*moved, "OK" | "NOKEY"), "{moved}");
    }

    /// Tells the servers that it is done.
    pub(crate) fn end(self) {
        for server in [self.new, self.old] {
            self.set(server, &["NODE", &id(self.new)]);
        }
    }
}

fn id(server: &Server) -> String {
    server.cli(&["CLUSTER", "MYID"])
}

#[track_caller]
pub(crate) fn wait(is_so: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "it does not come to it");
        thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn argued(keeps: Keeps) -> Vec<String> {
    keeps.arguments().iter().map(ToString::to_string).collect()
}

/// One that belongs to no cluster yet, and the port on which others find it.
fn server(make: Make, arguments: &dyn Fn() -> Vec<String>) -> (Server, u16) {
    let bus = Cell::new(0);
    let server = Server::with(make, || {
        bus.set(free_port());
        let bus = bus.get().to_string();
        let own = ["--cluster-enabled", "yes", "--cluster-port", &bus];
        // Copies are made at once.
        let soon = ["--repl-diskless-sync-delay", "0"];
        let own = [&own[..], &soon].concat();
        let own = own.iter().map(ToString::to_string);
        arguments().into_iter().chain(own).collect()
    });
    (server, bus.get())
}

fn meet(server: &Server, port: &str, bus: u16) {
    let command = ["CLUSTER", "MEET", "127.0.0.1", port, &bus.to_string()];
    assert_eq!(server.cli(&command), "OK");
}
