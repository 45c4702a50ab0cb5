//! Ids and places of events that many threads publish at once.

use std::collections::HashSet;
use std::thread;

use reveille_e2e::soon;
use reveille_memory::MemoryBackend;
use reveille_queue::{
    AppendOptions, SessionOptions, Sessions, StreamItem, SubscribeOptions, Subscription,
};
use reveille_types::{Event, EventDraft, SessionKey, Start, Tenant};

const THREADS: usize = 8;
const EACH: usize = 12_500;
const BATCH: usize = 50;

async fn read(mut subscription: Subscription, count: usize) -> Vec<Event> {
    let mut events = Vec::with_capacity(count);
    while events.len() < count {
        match soon("an event", subscription.next()).await {
            Some(Ok(StreamItem::Event(event))) => events.push(event),
            Some(Ok(StreamItem::CaughtUp(_))) => {}
            other => panic!("{other:?}"),
        }
    }
    events
}

/// Requirement 001-D25.
#[tokio::test(flavor = "multi_thread")]
async fn d001_25_ids_from_eight_threads_are_unique_and_positions_are_the_order_of_delivery() {
    let sessions = Sessions::builder(MemoryBackend::new()).build();
    let key = SessionKey::in_tenant(Tenant::default_tenant(), "ids").unwrap();
    let options = SessionOptions::default()
        .max_events(THREADS * EACH)
        .max_bytes(usize::MAX / 2);
    let log = sessions.create(key, options).await.unwrap();
    let subscription = log
        .subscribe(SubscribeOptions::from(Start::Latest))
        .unwrap();
    let reader = tokio::spawn(read(subscription, THREADS * EACH));

    let publishers: Vec<_> = (0..THREADS)
        .map(|_| {
            let log = log.clone();
            let runtime = tokio::runtime::Handle::current();
            thread::spawn(move || {
                for _ in 0..EACH / BATCH {
                    let batch = vec![EventDraft::parse("step").unwrap(); BATCH];
                    let append = log.append(batch, AppendOptions::default());
                    let receipt = runtime.block_on(append).unwrap();
                    let ids: Vec<_> = receipt.results.iter().map(|p| p.id.clone()).collect();
                    assert!(ids.is_sorted_by(|a, b| a < b), "ids sort by their time");
                }
            })
        })
        .collect();
    let events = reader.await.unwrap();
    for publisher in publishers {
        publisher.join().unwrap();
    }

    let ids: HashSet<_> = events.iter().map(Event::id).collect();
    assert_eq!(ids.len(), 100_000);
    let positions: Vec<u64> = events.iter().map(|e| e.position().0).collect();
    assert_eq!(positions, (0..100_000).collect::<Vec<_>>());
    assert!(events.is_sorted_by(|a, b| a.place().seq < b.place().seq));
}
