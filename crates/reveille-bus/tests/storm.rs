//! Subscribing and unsubscribing without end while events are published.

#![allow(
    clippy::unwrap_used,
    reason = "in a test an unwrap that fails is the failure"
)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{bus_with, draft, event, key};
use reveille_bus::{Bus, EventBus, SubscribeOptions};
use reveille_queue::TailLimits;
use reveille_types::Filter;

const SUBSCRIPTIONS: usize = 100_000;
const STORMS: usize = 2;
const WATCHERS: usize = 8;

fn options(filter: Filter) -> SubscribeOptions {
    SubscribeOptions::matching(filter).capacity(usize::MAX)
}

/// Comes and goes; every other one waits, and every hundredth stays for some events.
async fn storm(bus: Bus, done: Arc<AtomicBool>) {
    let filters = ["*", "a", "b.*", "**.x"].map(|pattern| Filter::matching(pattern).unwrap());
    for n in 0..SUBSCRIPTIONS / STORMS {
        let mut events = bus.subscribe(options(filters[n % 4].clone())).unwrap();
        if n % 2 == 0 {
            let mut next = tokio_test::task::spawn(events.next());
            let _ = next.poll();
        }
        if n % 400 == 0 && !done.load(Ordering::Relaxed) {
            let mut last = 0;
            for _ in 0..3 {
                let seq = event(&mut events).await.event.place().seq.0;
                assert!(last == 0 || seq == last + 1, "{last} {seq}");
                last = seq;
            }
        }
        if n % 64 == 0 {
            tokio::task::yield_now().await;
        }
    }
}

/// 004-D03, 003-D02: whoever is there before and after gets each event once, whoever else comes and
/// goes; and nothing of those who went is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d004_03_a_storm_of_subscriptions_loses_and_doubles_nothing() {
    let bus = bus_with(TailLimits::default()).await;
    let done = Arc::new(AtomicBool::new(false));
    let watchers: Vec<_> = (0..WATCHERS)
        .map(|n| {
            let pattern = if n % 2 == 0 { "*" } else { "b.*" };
            let filter = Filter::matching(pattern).unwrap();
            let mut events = bus.subscribe(options(filter)).unwrap();
            tokio::spawn(async move {
                let mut seqs = Vec::new();
                loop {
                    let event = event(&mut events).await.event;
                    if event.kind().as_str() == "b.end" {
                        return (n, seqs);
                    }
                    seqs.push(event.place().seq.0);
                }
            })
        })
        .collect();
    let storms: Vec<_> = (0..STORMS)
        .map(|_| tokio::spawn(storm(bus.clone(), done.clone())))
        .collect();
    // Every other event matches each half of the watchers.
    let mut published = 0_u64;
    while !storms.iter().all(tokio::task::JoinHandle::is_finished) && published < 90_000 {
        let batch = vec![draft("a"), draft("b.x")];
        bus.publish(key("s"), batch).await.unwrap();
        published += 2;
        tokio::task::yield_now().await;
    }
    done.store(true, Ordering::Relaxed);
    // Whoever stays for some events gets them.
    for storm in storms {
        let mut storm = storm;
        loop {
            tokio::select! {
                ended = &mut storm => break ended.unwrap(),
                () = tokio::task::yield_now() => {
                    bus.publish(key("s"), vec![draft("a"), draft("b.x")]).await.unwrap();
                    published += 2;
                }
            }
        }
    }
    bus.publish(key("s"), vec![draft("b.end")]).await.unwrap();
    for watcher in watchers {
        let (n, seqs) = watcher.await.unwrap();
        let step = if n % 2 == 0 { 1 } else { 2 };
        let expected: Vec<u64> = (step..=published).step_by(step as usize).collect();
        assert_eq!(seqs.len(), expected.len(), "watcher {n}");
        assert_eq!(seqs, expected, "watcher {n}");
    }
    let stats = bus.stats();
    assert_eq!(
        (stats.subscriptions.len(), stats.published),
        (0, published + 1)
    );
    assert_eq!(bus.tail().info().watchers, 0);
}
