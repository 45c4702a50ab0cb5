//! What the tests share: servers of their own, and who is connected to them.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod cluster;
pub(crate) mod relay;
pub(crate) mod server;

use std::sync::Arc;
use std::time::Duration;

use reveille_backend::Backend;
use reveille_nats::{NatsBackend, NatsOptions};
use reveille_testkit::chaos;

/// On one server: more at once in each process than are stored one after the other.
pub(crate) const MANY: usize = 4 * 40;

/// Short patience, as tests have it.
pub(crate) fn options() -> NatsOptions {
    let mut options = NatsOptions::default();
    options.connect_timeout = Duration::from_secs(1);
    options.response_timeout = Duration::from_secs(2);
    options.patience = Duration::from_secs(5);
    options.ping_interval = Duration::from_millis(500);
    options
}

pub(crate) async fn backend(url: &str) -> NatsBackend {
    NatsBackend::connect(url, options()).await.unwrap()
}

/// Breaks something while producers append, which have four processes through `urls` in turn, and another
/// process reads. Appends of single events and of batches are under way.
pub(crate) async fn survives(
    urls: &[String],
    options: impl Fn() -> NatsOptions,
    producers: usize,
    faults: usize,
    fault: impl AsyncFnMut(),
) {
    let connect = async |url: &String| NatsBackend::connect(url, options()).await.unwrap();
    let mut producing: Vec<Arc<dyn Backend>> = Vec::new();
    for url in urls.iter().cycle().take(4) {
        producing.push(Arc::new(connect(url).await));
    }
    let reading = connect(&urls[0]).await;
    chaos::survives(&producing, &reading, producers, faults, fault).await;
}
