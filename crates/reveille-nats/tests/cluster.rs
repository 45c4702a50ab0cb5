//! A cluster of three whose leader dies or stops: nothing that was acknowledged is lost, nothing is there
//! twice, and everybody gets on.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::time::Duration;

use common::cluster::Cluster;
use common::survives;
use reveille_backend::Backend;
use reveille_backend::types::Durability;
use reveille_nats::{NatsBackend, NatsOptions};
use reveille_testkit::chaos::rounds;
use rustix::process::Signal;

/// Patience for an election, as whoever runs a cluster has it.
fn options() -> NatsOptions {
    let mut options = common::options();
    options.replicas = 3;
    options.patience = Duration::from_secs(20);
    options
}

/// The cluster, once it takes a store.
async fn cluster() -> Cluster {
    let cluster = Cluster::start().await;
    let backend = NatsBackend::connect(&cluster.url(), options())
        .await
        .unwrap();
    assert_eq!(backend.capabilities().durability, Durability::Replicated);
    cluster
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_leader_loses_nothing_that_was_acknowledged() {
    let mut cluster = cluster().await;
    let urls = [cluster.url()];
    survives(&urls, options, 16, rounds(3), async || {
        cluster.whole("events").await;
        let leader = cluster.leader("events").await;
        cluster.servers[leader].kill();
        // The others have elected another one when it comes back.
        cluster.leader("events").await;
        cluster.servers[leader].start_again();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_leader_loses_nothing_that_was_acknowledged() {
    let cluster = cluster().await;
    let urls = [cluster.url()];
    survives(&urls, options, 16, rounds(2), async || {
        cluster.whole("events").await;
        let leader = cluster.leader("events").await;
        cluster.signal(leader, Signal::STOP);
        // Long enough for the others to elect another one, which it does not know of.
        tokio::time::sleep(Duration::from_secs(8)).await;
        cluster.signal(leader, Signal::CONT);
    })
    .await;
}
