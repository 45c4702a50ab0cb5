//! What a session does whose events are in a store that others use, too.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::sync::Arc;
use std::time::Duration;

use reveille_backend::{Backend, Incarnation, LogHandle, LogInfo, OpenOptions, StoredLog};
use reveille_e2e::append_file::AppendFile;
use reveille_e2e::soon;
use reveille_queue::{
    AppendOptions, PageOptions, SessionLog, SessionOptions, Sessions, StreamItem, SubscribeOptions,
};
use reveille_types::{EndReason, Epoch, Event, EventDraft, SessionKey, Start, Tenant};
use tempfile::TempDir;

fn file() -> AppendFile {
    // The file lives as long as it is open, its directory need not.
    AppendFile::open(&TempDir::new().unwrap().path().join("log")).unwrap()
}

fn sessions(file: &AppendFile) -> Sessions {
    Sessions::builder(file.clone()).build()
}

fn key() -> SessionKey {
    SessionKey::in_tenant(Tenant::default_tenant(), "s").unwrap()
}

async fn append(log: &SessionLog, kinds: &[&str]) {
    let drafts = kinds.iter().map(|kind| EventDraft::parse(kind).unwrap());
    log.append(drafts, AppendOptions::default()).await.unwrap();
}

/// The log as the store has it.
async fn stored(file: &AppendFile) -> Arc<dyn StoredLog> {
    let options = OpenOptions::new(Incarnation::Current, Epoch::from_parts(1, 1));
    match file.open(&key(), options).await.unwrap().log {
        LogHandle::Stored(log) => log,
        LogHandle::Immediate(_) => panic!("the backend stores"),
    }
}

/// Waits until the store says so.
async fn until(what: &str, log: &dyn StoredLog, is: impl Fn(&LogInfo) -> bool) {
    soon(what, async {
        while !is(&log.info().await.unwrap()) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

fn page(log: &SessionLog) -> Vec<Event> {
    log.page(&PageOptions::from(Start::Earliest, 1_000))
        .unwrap()
        .events
}

#[tokio::test]
async fn recreate_refuses_an_open_session_that_is_only_in_the_store() {
    let file = file();
    let log = sessions(&file)
        .create(key(), SessionOptions::default())
        .await
        .unwrap();
    append(&log, &["a"]).await;
    let epoch = log.epoch();

    let restarted = sessions(&file);
    let refused = restarted.recreate(key(), SessionOptions::default()).await;
    assert_eq!(refused.unwrap_err().code(), "session_exists");
    let log = restarted.find(&key()).await.unwrap();
    assert_eq!((log.epoch(), page(&log).len()), (epoch, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_concurrent_creations_exactly_one_creates() {
    for _ in 0..200 {
        let sessions = sessions(&file());
        let creating = || {
            let sessions = sessions.clone();
            tokio::spawn(async move {
                let options = SessionOptions::default();
                sessions.get_or_create(key(), options).await.unwrap().1
            })
        };
        let (a, b) = (creating(), creating());
        assert!(a.await.unwrap() ^ b.await.unwrap());
    }
}

/// A commit of another handle that this one has not seen yet comes before the end that it closes with.
#[tokio::test]
async fn close_ends_behind_what_others_appended() {
    let file = file();
    let options = SessionOptions::default();
    let log = sessions(&file).create(key(), options).await.unwrap();
    let others = sessions(&file);
    let other = others.find(&key()).await.unwrap();
    let mut events = log.subscribe(SubscribeOptions::default()).unwrap();
    append(&other, &["a"]).await;
    // Nothing between the two yields to the feeder.
    assert!(log.close(None).await.unwrap());
    let mut seen = Vec::new();
    while let Some(item) = events.next().await {
        match item.unwrap() {
            StreamItem::Event(event) => seen.push(event.kind().to_string()),
            StreamItem::Ended { .. } => break,
            _ => {}
        }
    }
    assert_eq!(seen, ["a"]);
}

#[tokio::test]
async fn a_final_event_seals_the_store() {
    let file = file();
    let log = sessions(&file)
        .create(key(), SessionOptions::default())
        .await
        .unwrap();
    append(&log, &["a", "task.result"]).await;
    let stored = stored(&file).await;
    until("the seal", &*stored, |info| {
        info.seal.as_ref().map(|seal| seal.reason) == Some(EndReason::Completed)
    })
    .await;
}

/// Another process has not seen the end yet: what it appends is refused, since the final event is the
/// last one.
#[tokio::test]
async fn an_append_that_does_not_know_of_a_final_event_yet_is_refused() {
    let file = file();
    let here = sessions(&file);
    let log = here.create(key(), SessionOptions::default()).await.unwrap();
    let there = sessions(&file);
    let other = there.find(&key()).await.unwrap();
    append(&log, &["a", "task.result"]).await;
    // Nothing between these yields to the feeder of the other.
    let late = [EventDraft::parse("b").unwrap()];
    let refused = other.append(late, AppendOptions::default()).await;
    assert_eq!(refused.unwrap_err().code(), "session_ended");
    let store = stored(&file).await;
    let info = store.info().await.unwrap();
    let reason = info.seal.map(|seal| seal.reason);
    assert_eq!((info.latest.0, reason), (2, Some(EndReason::Completed)));
    until("the end", &*stored(&file).await, |_| {
        other.info().reason.is_some()
    })
    .await;
    assert_eq!((page(&other).len(), page(&log).len()), (2, 2));
}

#[tokio::test]
async fn an_expired_session_stays_expired_after_a_restart() {
    let file = file();
    let here = sessions(&file);
    let driving = tokio::spawn(here.drive());
    let mut options = SessionOptions::default();
    options.ttl = Some(Duration::from_secs(1));
    let log = here.create(key(), options).await.unwrap();
    append(&log, &["a"]).await;
    let store = stored(&file).await;
    until("the seal", &*store, |info| info.seal.is_some()).await;
    driving.abort();
    let log = sessions(&file).find(&key()).await.unwrap();
    assert_eq!(log.info().reason, Some(EndReason::Expired));
}

#[tokio::test]
async fn what_falls_out_of_the_window_is_trimmed_in_the_store() {
    let file = file();
    let mut options = SessionOptions::default();
    options.max_events = Some(10);
    let log = sessions(&file).create(key(), options).await.unwrap();
    append(&log, &["a"; 300]).await;
    let store = stored(&file).await;
    until("the trim", &*store, |info| info.oldest.0 == 290).await;
}

/// Another process keeps less: what it trimmed before this one read it is missing here, and the rest
/// still comes.
#[tokio::test]
async fn what_others_trimmed_is_skipped_and_what_follows_comes() {
    let file = file();
    let here = sessions(&file);
    let log = here.create(key(), SessionOptions::default()).await.unwrap();
    append(&log, &["a"]).await;
    let mut events = log.subscribe(SubscribeOptions::default()).unwrap();
    assert!(matches!(
        events.next().await.unwrap().unwrap(),
        StreamItem::Event(_)
    ));
    let there = sessions(&file);
    let other = there.find(&key()).await.unwrap();
    let store = stored(&file).await;
    // Nothing between these yields to the feeder.
    append(&other, &["b", "c", "d"]).await;
    store.trim(reveille_types::Position(3)).await.unwrap();
    let mut missing = Vec::new();
    let event = soon("the event that is left", async {
        loop {
            match events.next().await.unwrap().unwrap() {
                StreamItem::Event(event) => return event,
                StreamItem::Gap(gap) => missing.extend(gap.ranges.as_slice().to_vec()),
                _ => {}
            }
        }
    })
    .await;
    assert_eq!(missing, [(1, 2)], "the gap is told before");
    assert_eq!((event.kind().as_str(), event.position().0), ("d", 3));
    assert_eq!(log.oldest().position().unwrap().0, 3);
}

#[tokio::test]
async fn a_session_that_another_process_replaced_ends_as_deleted_and_is_found_anew() {
    let file = file();
    let here = sessions(&file);
    let old = here.create(key(), SessionOptions::default()).await.unwrap();
    append(&old, &["a"]).await;
    let there = sessions(&file);
    there.remove(&key()).await.unwrap();
    let mut events = old
        .subscribe(SubscribeOptions::from(Start::Latest))
        .unwrap();
    let reason = soon("the end", async {
        loop {
            if let StreamItem::Ended { reason, .. } = events.next().await.unwrap().unwrap() {
                return reason;
            }
        }
    })
    .await;
    assert_eq!(reason, EndReason::Deleted);
    let new = there
        .create(key(), SessionOptions::default())
        .await
        .unwrap();
    let found = here.find(&key()).await.unwrap();
    assert_eq!(found.epoch(), new.epoch());
}

/// An event that was read from the file is the event that was appended, to the byte.
#[tokio::test]
async fn events_are_the_same_after_a_restart() {
    let file = file();
    let log = sessions(&file)
        .create(key(), SessionOptions::default())
        .await
        .unwrap();
    append(
        &log,
        &["a", "task.status.working", "task.progress", "task.result"],
    )
    .await;
    let again = sessions(&file).find(&key()).await.unwrap();
    let json =
        |log: &SessionLog| -> Vec<_> { page(log).iter().map(|e| e.json().to_vec()).collect() };
    assert_eq!(json(&again), json(&log));
    assert_eq!(page(&again), page(&log));
}

#[tokio::test]
async fn the_capabilities_say_what_the_file_does() {
    let capabilities = file().capabilities();
    assert_eq!(capabilities.durability, reveille_types::Durability::Os);
    assert!(capabilities.survives_restart);
    assert!(!capabilities.immediate && !capabilities.shared);
    assert_eq!(capabilities.max_batch_bytes, None);
    let offered: &dyn Backend = &file();
    assert!(offered.health().await.is_ok());
}
