//! Replicas that are waited for: what was acknowledged is theirs when the server is lost, and nothing is
//! acknowledged without them.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::sync::{Arc, Mutex};

use common::{Keeps, Make, Server, told};
use reveille_backend::types::{Durability, Position};
use reveille_backend::{AppendError, Backend, BackendError, Incarnation, StoredLog};
use reveille_redis::{ConnectError, RedisBackend, RedisOptions};
use reveille_testkit::chaos::PATIENCE;
use reveille_testkit::stored::{contents, entry, log, now, try_log};
use rustix::process::Signal;
use tokio::task::JoinSet;

fn asking(level: Durability) -> RedisOptions {
    let mut options = common::options();
    options.durability = Some(level);
    options
}

async fn backend(server: &Server, level: Durability) -> RedisBackend {
    let url = server.url();
    RedisBackend::connect(&url, asking(level)).await.unwrap()
}

/// A replica of a server, once it has what the server has.
async fn replica(make: Make, keeps: Keeps, of: &Server) -> Server {
    let replica = Server::of(make, keeps);
    let port = of.port().to_string();
    replica.cli(&["replicaof", "127.0.0.1", &port]);
    let linked = async {
        while !replica
            .cli(&["info", "replication"])
            .contains("master_link_status:up")
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, linked).await.unwrap();
    replica
}

/// Appends until the server is gone, and notes where what is acknowledged is.
async fn produce(log: Arc<dyn StoredLog>, name: usize, told: Arc<Mutex<Vec<(Position, String)>>>) {
    for n in 0.. {
        let id = format!("{name}-{n}");
        match log.append(vec![entry(&id)], now()).await {
            Ok(slots) => told.lock().unwrap().push((slots[0].position, id)),
            Err(_) => return,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_has_all_that_was_acknowledged_when_the_server_is_lost() {
    let mut server = Server::start(Keeps::EverySecond);
    let replica = replica(Make::Redis, Keeps::EverySecond, &server).await;
    let producing = backend(&server, Durability::Replicated).await;
    assert_eq!(producing.capabilities().durability, Durability::Replicated);
    let told = Arc::default();
    let mut producers = JoinSet::new();
    for name in 0..16 {
        let log = log(&producing, "s").await;
        producers.spawn(produce(log, name, Arc::clone(&told)));
    }
    let enough = async {
        while told.lock().unwrap().len() < 2_000 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, enough).await.unwrap();
    server.kill();
    while producers.join_next().await.is_some() {}
    replica.cli(&["replicaof", "no", "one"]);

    let reading = replica.backend().await;
    let (_, log) = try_log(&reading, "s", Incarnation::Current, 1)
        .await
        .unwrap();
    let events = contents(&*log).await;
    for (position, id) in told.lock().unwrap().iter() {
        let event = events.get(usize::try_from(position.0).unwrap());
        let found = event.map(|event| event.id().as_str());
        assert_eq!(found, Some(&**id), "{position}");
    }
}

/// An append that too few replicas have in time.
async fn not_acknowledged(log: &dyn StoredLog, id: &str) {
    let refused = log.append(vec![entry(id)], now()).await.unwrap_err();
    assert!(matches!(refused, AppendError::OutcomeUnknown), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_acknowledged_that_replicas_do_not_have() {
    nothing_is_acknowledged_without_replicas(Make::Redis).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_acknowledged_that_replicas_of_valkey_do_not_have() {
    nothing_is_acknowledged_without_replicas(Make::Valkey).await;
}

async fn nothing_is_acknowledged_without_replicas(make: Make) {
    let server = Server::of(make, Keeps::EverySecond);
    let replica = replica(make, Keeps::EverySecond, &server).await;
    let backend = [
        backend(&server, Durability::Replicated).await,
        backend(&server, Durability::Replicated).await,
    ];
    let logs = [log(&backend[0], "s").await, log(&backend[1], "s").await];
    logs[0].append(vec![entry("a")], now()).await.unwrap();
    replica.signal(Signal::STOP);
    not_acknowledged(&*logs[0], "b").await;
    // It is known already, over another connection, and still the replica does not have it.
    not_acknowledged(&*logs[1], "b").await;
    // Now it is not even tried, and reads go on.
    let refused = logs[0].append(vec![entry("c")], now()).await.unwrap_err();
    let AppendError::Backend(BackendError::Unavailable { source, .. }) = refused else {
        panic!("{refused}");
    };
    assert!(source.to_string().contains("too few replicas"), "{source}");
    assert_eq!(logs[0].info().await.unwrap().latest, Position(2));

    replica.signal(Signal::CONT);
    let again = async {
        while logs[0].append(vec![entry("d")], now()).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.unwrap();
    let events = contents(&*logs[1]).await;
    let ids: Vec<_> = events.iter().map(|event| event.id().as_str()).collect();
    assert_eq!(ids[..2], ["a", "b"]);
    assert_eq!(ids.last(), Some(&"d"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_sync_are_waited_for_on_valkey() {
    let server = Server::of(Make::Valkey, Keeps::Always);
    let replica = replica(Make::Valkey, Keeps::Always, &server).await;
    let backend = backend(&server, Durability::ReplicatedFsync).await;
    let promised = backend.capabilities().durability;
    assert_eq!(promised, Durability::ReplicatedFsync);
    let log = log(&backend, "s").await;
    log.append(vec![entry("a")], now()).await.unwrap();
    // It has it in memory alone.
    replica.cli(&["config", "set", "appendfsync", "no"]);
    not_acknowledged(&*log, "b").await;
}

#[tokio::test]
async fn a_level_that_the_server_does_not_keep_is_refused() {
    for (make, keeps, asked, promised) in [
        (
            Make::Redis,
            Keeps::EverySecond,
            Durability::Fsync,
            Durability::Os,
        ),
        (
            Make::Redis,
            Keeps::Nothing,
            Durability::Replicated,
            Durability::Volatile,
        ),
        // Redis 7.0 does not know how to wait for what is synced.
        (
            Make::Redis,
            Keeps::Always,
            Durability::ReplicatedFsync,
            Durability::Fsync,
        ),
        (
            Make::Valkey,
            Keeps::Nothing,
            Durability::ReplicatedFsync,
            Durability::Volatile,
        ),
    ] {
        let server = Server::of(make, keeps);
        let refused = RedisBackend::connect(&server.url(), asking(asked)).await;
        let error = refused.unwrap_err();
        assert_eq!(error.code(), "redis_durability_insufficient");
        let ConnectError::Durability {
            asked: a,
            promised: p,
        } = error
        else {
            panic!("{}", told(&error));
        };
        assert_eq!((a, p), (asked, promised));
    }
}
