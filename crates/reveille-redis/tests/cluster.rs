//! A cluster of masters: each tenant is served by the one that has its slot, wherever that goes.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::cell::Cell;
use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use common::cluster::{Cluster, wait};
use common::{Keeps, Make, Server, survives, told};
use reveille_backend::types::{Durability, Position, Seq, Tenant};
use reveille_backend::{Backend, BackendError, ReadLimit};
use reveille_redis::RedisBackend;
use reveille_testkit::Claim;
use reveille_testkit::chaos::PATIENCE;
use reveille_testkit::stored::{contents, entry, log, now};

/// All claims on one cluster, since that takes its time to agree; each on a store of its own.
#[test]
fn a_cluster_keeps_the_contract() {
    let cluster = Cluster::start(Make::Redis, Keeps::EverySecond);
    for (n, claim) in Claim::all().iter().enumerate() {
        claim.check(PATIENCE, async || {
            let mut options = common::options();
            options.prefix = format!("claim-{n}").into();
            let url = cluster.url(n % 3);
            let backend = RedisBackend::connect(&url, options).await.unwrap();
            Arc::new(backend) as Arc<dyn Backend>
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_loses_nothing_that_was_acknowledged() {
    let mut cluster = Cluster::start(Make::Redis, Keeps::EverySecond);
    survives(&mut cluster, Cluster::backend, 4, |cluster| {
        let slot = cluster.slot();
        let to = (cluster.master_of(&slot) + 1) % 3;
        let the_move = cluster.begin_move(&slot, to);
        while the_move.key() {
            thread::sleep(Duration::from_millis(20));
        }
        thread::sleep(Duration::from_millis(20));
        the_move.end();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_master_loses_nothing_that_was_acknowledged() {
    let mut cluster = Cluster::start(Make::Redis, Keeps::Always);
    survives(&mut cluster, Cluster::backend, 2, |cluster| {
        let master = cluster.master_of(&cluster.slot());
        cluster.0[master].kill();
        cluster.0[master].start_again();
        cluster.agrees();
    })
    .await;
}

/// A failover by hand, for which the old master waits until the new one has everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_hands_over_loses_nothing_that_was_acknowledged() {
    let mut cluster = Cluster::start(Make::Redis, Keeps::EverySecond);
    let master = cluster.master_of(&cluster.slot());
    cluster.add_replica(Keeps::EverySecond, master);
    let heard = |server: &Server| server.cli(&["PUBSUB", "NUMSUB", "reveille:wake"]);
    let bystander = cluster.backend().await;
    assert_eq!(heard(&cluster.0[3]).lines().last(), Some("0"));
    survives(&mut cluster, Cluster::backend, 1, |cluster| {
        let role = |server: &Server| server.cli(&["ROLE"]);
        let replica = cluster.0.iter().find(|s| role(s).starts_with("slave"));
        let replica = replica.unwrap();
        wait(|| {
            replica
                .cli(&["INFO", "replication"])
                .contains("master_link_status:up")
        });
        // The others vote about a master once in two of their time-outs.
        let asked = Cell::new(None);
        wait(|| {
            let again = |at: Instant| at.elapsed() > Duration::from_secs(3);
            if asked.get().is_none_or(again) {
                asked.set(Some(Instant::now()));
                replica.cli(&["CLUSTER", "FAILOVER"]);
            }
            role(replica).starts_with("master")
        });
    })
    .await;
    let new = &cluster.0[cluster.master_of(&cluster.slot())];
    wait(|| heard(new).lines().last() == Some("1"));
    drop(bystander);
}

/// Servers that write no file forget, and what is on another server is not believed to be what was here.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_watch_whose_slot_has_moved_is_woken() {
    let cluster = Cluster::start(Make::Redis, Keeps::Nothing);
    let backend = cluster.backend().await;
    let old = log(&backend, "s").await;
    old.append(vec![entry("a")], now()).await.unwrap();
    let watch = old.watch(Position(1)).await.unwrap();
    let slot = cluster.slot();
    // One whose first slot stays its first.
    let to = cluster.master_of(&slot) - 1;
    let the_move = cluster.begin_move(&slot, to);
    while the_move.key() {}
    the_move.end();
    let woken = tokio::time::timeout(PATIENCE, watch).await;
    woken.expect("a watch sleeps on").unwrap();
    assert!(matches!(old.info().await, Err(BackendError::NotFound)));
}

/// What can be served of a slot on its way is, and the rest waits for it to arrive.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_on_its_way_is_served_or_waited_for() {
    for make in [Make::Redis, Make::Valkey] {
        a_slot_on_its_way(make).await;
    }
}

async fn a_slot_on_its_way(make: Make) {
    let cluster = Cluster::start(make, Keeps::EverySecond);
    let backend = cluster.backend().await;
    let (keyed, plain) = (log(&backend, "keyed").await, log(&backend, "plain").await);
    let bare = |id| {
        let mut bare = entry(id);
        bare.key = None;
        bare
    };
    keyed.append(vec![entry("a")], now()).await.unwrap();
    plain.append(vec![bare("a")], now()).await.unwrap();
    let slot = cluster.slot();
    let from = cluster.master_of(&slot);
    let the_move = cluster.begin_move(&slot, (from + 1) % 3);
    // The events alone are gone: whoever looks for them finds none, and does not take that for the truth.
    for key in cluster.0[from].cli(&["KEYS", "*:events:*"]).lines() {
        the_move.this(key);
    }
    let tenant = Tenant::default_tenant();
    let limit = ReadLimit {
        events: 9,
        bytes: 9_999,
    };
    let mut order = pin!(backend.read_order(&tenant, Seq(0), limit));
    let mut append = pin!(keyed.append(vec![entry("b")], now()));
    waits(&mut order).await;
    waits(&mut append).await;
    while the_move.key() {}
    assert!(order.await.unwrap().events.len() >= 2);
    // All its keys are there.
    assert_eq!(append.await.unwrap()[0].position, Position(1));
    assert_eq!(contents(&*keyed).await.len(), 2);
    // This log has no keys to be idempotent by, and nobody knows yet whether those are still to come.
    let mut append = pin!(plain.append(vec![bare("b")], now()));
    waits(&mut append).await;
    the_move.end();
    assert_eq!(append.await.unwrap()[0].position, Position(1));
    assert_eq!(contents(&*plain).await.len(), 2);
}

async fn waits<T: std::fmt::Debug>(what: &mut (impl Future<Output = T> + Unpin)) {
    let early = tokio::time::timeout(Duration::from_millis(200), what).await;
    assert!(early.is_err(), "{early:?}");
}

/// Any server of the cluster will do to begin with, and one that belongs to none is told.
#[tokio::test]
async fn a_cluster_is_found_by_any_of_its_servers() {
    let cluster = Cluster::start(Make::Redis, Keeps::EverySecond);
    for server in 0..3 {
        let url = cluster.url(server);
        let with_dead = url.replace("://", "://127.0.0.1:1,");
        for url in [url, with_dead] {
            let backend = RedisBackend::connect(&url, common::options()).await;
            let log = log(&backend.unwrap(), "s").await;
            log.append(vec![entry(&url)], now()).await.unwrap();
        }
    }
    let there = log(&cluster.backend().await, "s").await;
    assert_eq!(contents(&*there).await.len(), 6);
    let alone = Server::start(Keeps::EverySecond);
    let url = alone.url().replace("redis://", "redis+cluster://");
    let error = RedisBackend::connect(&url, common::options()).await;
    let error = error.unwrap_err();
    assert_eq!(error.code(), "redis_unavailable");
    assert!(
        told(&error).contains("cluster support disabled"),
        "{error:?}"
    );
}

#[tokio::test]
async fn the_level_is_what_all_masters_keep() {
    let cluster = Cluster::start(Make::Redis, Keeps::Always);
    let level = async || cluster.backend().await.capabilities().durability;
    assert_eq!(level().await, Durability::Fsync);
    cluster.0[2].cli(&["CONFIG", "SET", "appendfsync", "everysec"]);
    assert_eq!(level().await, Durability::Os);
}

/// What happens on a master is heard from it, whatever the servers tell each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn each_master_is_listened_to() {
    let cluster = Cluster::start(Make::Redis, Keeps::EverySecond);
    let backend = cluster.backend().await;
    for server in &cluster.0 {
        let heard = server.cli(&["PUBSUB", "NUMSUB", "reveille:wake"]);
        assert_eq!(heard.lines().last(), Some("1"));
    }
    drop(backend);
    wait(|| {
        let clients = |server: &Server| server.cli(&["CLIENT", "LIST", "TYPE", "pubsub"]);
        cluster.0.iter().all(|server| clients(server).is_empty())
    });
}

/// A master that was emptied behind the backend's back is told, and so is one that cannot be reached.
#[tokio::test]
async fn an_emptied_master_is_told_and_a_lost_one_is_not_well() {
    let mut cluster = Cluster::start(Make::Redis, Keeps::EverySecond);
    let backend = cluster.backend().await;
    let master = cluster.master_of(&cluster.slot());
    let old = log(&backend, "s").await;
    old.append(vec![entry("a")], now()).await.unwrap();
    let watch = old.watch(Position(1)).await.unwrap();
    cluster.0[master].cli(&["FLUSHALL"]);
    tokio::time::timeout(PATIENCE, watch)
        .await
        .expect("a watch sleeps on in an emptied store")
        .unwrap();
    backend.health().await.unwrap();
    cluster.0[(master + 1) % 3].kill();
    assert!(backend.health().await.is_err());
}
