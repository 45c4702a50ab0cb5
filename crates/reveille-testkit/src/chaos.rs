//! Producers that append while something breaks, a reader, and what must hold afterwards.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reveille_backend::{AppendError, Backend, BackendError, StoredLog};
use reveille_types::{Event, Position};
use tokio::task::JoinSet;

use crate::stored::{contents, entry, log, now};

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Who refuses to wait for a server that is gone would ask it without pause.
const PAUSE: Duration = Duration::from_millis(5);

/// How often a test breaks something: as often as it says, times the environment's `REVEILLE_ROUNDS`.
///
/// # Panics
/// If that is no number.
#[must_use]
pub fn rounds(few: usize) -> usize {
    let rounds = std::env::var("REVEILLE_ROUNDS");
    few * rounds.map_or(1, |rounds| rounds.parse().unwrap())
}

/// What a producer was told of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It is stored there.
    At(Position),
    /// It is not stored.
    Refused,
    /// It may be.
    Unknown,
}

/// By the id of the event.
type AllTold = HashMap<String, Told>;

/// Appends single events for ever, each once; what each was told is handed on.
async fn produce(log: Arc<dyn StoredLog>, name: usize, told: Arc<Mutex<AllTold>>) {
    for n in 0_usize.. {
        let id = format!("{name}-{n}");
        let outcome = match log.append(vec![entry(&id)], now()).await {
            Ok(slots) => Told::At(slots[0].position),
            Err(AppendError::OutcomeUnknown) => Told::Unknown,
            Err(AppendError::Backend(BackendError::Unavailable { .. })) => {
                tokio::time::sleep(PAUSE).await;
                Told::Refused
            }
            Err(error) => panic!("{error:?}"),
        };
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        told.insert(id, outcome);
    }
}

/// Follows the log by watches alone until it holds `enough` events.
async fn follow(log: &dyn StoredLog, enough: u64) {
    loop {
        let Ok(info) = log.info().await else {
            tokio::time::sleep(PAUSE).await;
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

/// Asserts that of what was acknowledged nothing is lost, nothing is there twice, and nothing of what was
/// refused; and that there is no hole.
///
/// # Panics
/// If it is not so.
pub fn check(events: &[Event], told: &HashMap<String, Told>) {
    let mut read = HashMap::new();
    for (n, event) in events.iter().enumerate() {
        assert_eq!(event.position().0, n as u64, "positions are dense");
        let twice = read.insert(event.id().to_string(), event.position());
        assert_eq!(twice, None, "{} is stored twice", event.id());
    }
    let mut wrong = Vec::new();
    for (id, outcome) in told {
        match (outcome, read.get(id)) {
            (Told::At(position), found) if found != Some(position) => {
                wrong.push((position.0, id, found));
            }
            (Told::Refused, Some(found)) => panic!("{id} was refused and is at {found}"),
            _ => {}
        }
    }
    wrong.sort();
    assert!(
        wrong.is_empty(),
        "{} events were acknowledged and are elsewhere, or lost; the first of them: {:?}",
        wrong.len(),
        &wrong[..wrong.len().min(5)],
    );
}

/// Breaks something so many times while producers append to the log `s` through `producing` in turn, and a
/// reader watches it through `reading`; then all goes on, and [`check`] finds the log whole. At last each
/// event whose outcome is unknown is appended again, and is there once.
///
/// # Panics
/// If it is not so, or if the reader does not get on.
///
/// # Cancel safety
/// The producers are ended.
pub async fn survives(
    producing: &[Arc<dyn Backend>],
    reading: &dyn Backend,
    producers: usize,
    faults: usize,
    mut fault: impl AsyncFnMut(),
) {
    let told = Arc::default();
    let mut tasks = JoinSet::new();
    for (name, backend) in producing.iter().cycle().take(producers).enumerate() {
        let log = log(&**backend, "s").await;
        tasks.spawn(produce(log, name, Arc::clone(&told)));
    }
    let reader = log(reading, "s").await;
    let mut enough = 0;
    for _ in 0..faults {
        enough += 100;
        let following = tokio::time::timeout(PATIENCE, follow(&*reader, enough));
        following.await.expect("the reader gets on");
        fault().await;
        enough = reader.info().await.map_or(enough, |info| info.latest.0);
    }
    let following = tokio::time::timeout(PATIENCE, follow(&*reader, enough + 100));
    following
        .await
        .expect("the reader gets on after the last fault");
    tasks.shutdown().await;
    let told: AllTold = Mutex::lock(&told).unwrap().clone();
    let acknowledged = told.values().filter(|t| matches!(t, Told::At(_))).count();
    assert!(
        acknowledged >= 100 * faults,
        "{acknowledged} are acknowledged"
    );
    check(&contents(&*reader).await, &told);

    // The keys settle what is unknown: what was stored is not stored again.
    for (id, _) in told.iter().filter(|(_, told)| **told == Told::Unknown) {
        reader.append(vec![entry(id)], now()).await.unwrap();
    }
    let events = contents(&*reader).await;
    check(&events, &told);
    let mut ids: Vec<_> = events.iter().map(|event| event.id().to_string()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), events.len(), "a repeated event is stored twice");
}
