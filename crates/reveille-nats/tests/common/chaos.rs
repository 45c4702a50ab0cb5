//! Producers that append while something breaks, a reader, and what must hold afterwards.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reveille_backend::types::{Event, Position};
use reveille_backend::{AppendError, AppendOptions, BackendError, ReadLimit, StoredLog};
use reveille_nats::{NatsBackend, NatsOptions};
use tokio::task::JoinSet;

use super::{entry, log};

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How often a test breaks something: as often as it says, times `REVEILLE_ROUNDS`.
pub(crate) fn rounds(few: usize) -> usize {
    let rounds = std::env::var("REVEILLE_ROUNDS");
    few * rounds.map_or(1, |rounds| rounds.parse().unwrap())
}

pub(crate) fn now() -> AppendOptions {
    AppendOptions::at(Instant::now())
}

/// Everything that the log holds.
pub(crate) async fn contents(log: &Arc<dyn StoredLog>) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    loop {
        let from = Position(events.len() as u64);
        let limit = ReadLimit {
            events: 1_000,
            bytes: usize::MAX,
        };
        let page = log.read(from, limit).await.unwrap();
        if page.events.is_empty() {
            return events;
        }
        events.extend(page.events);
    }
}

/// What a producer was told of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    At(Position),
    Refused,
    Unknown,
}

/// Appends single events for ever, each once; what each was told is handed on.
pub(crate) async fn produce(
    log: Arc<dyn StoredLog>,
    name: usize,
    told: Arc<Mutex<HashMap<String, Told>>>,
) {
    for n in 0_usize.. {
        let id = format!("{name}-{n}");
        let outcome = match log.append(vec![entry(&id)], now()).await {
            Ok(slots) => Told::At(slots[0].position),
            Err(AppendError::OutcomeUnknown) => Told::Unknown,
            Err(AppendError::Backend(BackendError::Unavailable { .. })) => {
                tokio::time::sleep(Duration::from_millis(5)).await;
                Told::Refused
            }
            Err(error) => panic!("{error:?}"),
        };
        told.lock().unwrap().insert(id, outcome);
    }
}

/// Follows the log by watches alone until it holds `enough` events.
pub(crate) async fn follow(log: &Arc<dyn StoredLog>, enough: u64) {
    loop {
        let Ok(info) = log.info().await else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        if info.latest.0 >= enough {
            return;
        }
        if let Ok(watch) = log.watch(info.latest).await {
            let _ = watch.await;
        }
    }
}

/// No loss of what was acknowledged, nothing twice, nothing of what was refused, no hole.
pub(crate) fn check(events: &[Event], told: &HashMap<String, Told>) {
    let mut read = HashMap::new();
    for (n, event) in events.iter().enumerate() {
        assert_eq!(event.position().0, n as u64, "positions are dense");
        let twice = read.insert(event.id().to_string(), event.position());
        assert_eq!(twice, None, "{} is stored twice", event.id());
    }
    for (id, outcome) in told {
        match (outcome, read.get(id)) {
            (Told::At(position), Some(found)) => assert_eq!(position, found, "{id}"),
            (Told::At(position), None) => panic!("{id} was acknowledged at {position} and is lost"),
            (Told::Refused, Some(found)) => panic!("{id} was refused and is at {found}"),
            (Told::Refused, None) | (Told::Unknown, _) => {}
        }
    }
}

/// Breaks something while four producers append through `urls` and one reader watches; then all goes on.
pub(crate) async fn survives(urls: &[String], faults: usize, fault: impl AsyncFnMut()) {
    survives_with(urls, super::options, faults, fault).await;
}

/// As [`survives`], with other options.
pub(crate) async fn survives_with(
    urls: &[String],
    options: impl Fn() -> NatsOptions,
    faults: usize,
    mut fault: impl AsyncFnMut(),
) {
    let backend = async |url: &str| NatsBackend::connect(url, options()).await.unwrap();
    let told = Arc::default();
    let mut producers = JoinSet::new();
    for name in 0..4 {
        let backend = backend(&urls[name % urls.len()]).await;
        let log = log(&backend, "s").await;
        producers.spawn(produce(log, name, Arc::clone(&told)));
    }
    let reader = log(&backend(&urls[0]).await, "s").await;
    let mut enough = 0;
    for _ in 0..faults {
        enough += 100;
        let following = tokio::time::timeout(PATIENCE, follow(&reader, enough));
        following.await.expect("the reader gets on");
        fault().await;
        enough = reader.info().await.map_or(enough, |info| info.latest.0);
    }
    let following = tokio::time::timeout(PATIENCE, follow(&reader, enough + 100));
    following
        .await
        .expect("the reader gets on after the last fault");
    producers.shutdown().await;
    let told: HashMap<String, Told> = Mutex::lock(&told).unwrap().clone();
    let acknowledged = told.values().filter(|t| matches!(t, Told::At(_))).count();
    assert!(
        acknowledged >= 100 * faults,
        "{acknowledged} are acknowledged"
    );
    check(&contents(&reader).await, &told);

    // The keys settle what is unknown: what was stored is not stored again.
    let log = log(&backend(&urls[0]).await, "s").await;
    for (id, _) in told.iter().filter(|(_, told)| **told == Told::Unknown) {
        log.append(vec![entry(id)], now()).await.unwrap();
    }
    let events = contents(&log).await;
    check(&events, &told);
    let mut ids: Vec<_> = events.iter().map(|event| event.id().to_string()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), events.len(), "a repeated event is stored twice");
}
