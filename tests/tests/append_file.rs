//! A stranger's backend keeps the contract, survives a restart, and serves everything above it.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::path::Path;
use std::sync::Arc;

use reveille_backend::Backend;
use reveille_e2e::append_file::AppendFile;
use reveille_queue::{
    AppendOptions, SessionOptions, Sessions, StreamItem, SubscribeOptions, TakeOptions, TakeOutcome,
};
use reveille_types::{EndReason, EventDraft, SessionKey, Start, Tenant};
use tempfile::TempDir;

async fn append_file() -> Arc<dyn Backend> {
    // The file lives as long as its descriptor, the directory only as long as it must.
    let dir = TempDir::new().unwrap();
    Arc::new(AppendFile::open(&dir.path().join("log")).unwrap())
}

reveille_testkit::backend_conformance!(append_file_keeps_the_contract, append_file);

fn reopened() -> impl AsyncFn() -> Arc<dyn Backend> {
    let dir = TempDir::new().unwrap();
    async move || Arc::new(AppendFile::open(&dir.path().join("log")).unwrap()) as Arc<dyn Backend>
}

reveille_testkit::restart_conformance!(append_file_survives_a_restart, reopened);

fn key(name: &str) -> SessionKey {
    SessionKey::in_tenant(Tenant::default_tenant(), name).unwrap()
}

fn drafts(kinds: &[&str]) -> Vec<EventDraft> {
    let draft = |kind: &&str| EventDraft::parse(kind).unwrap();
    kinds.iter().map(draft).collect()
}

fn sessions(path: &Path) -> Sessions {
    Sessions::builder(AppendFile::open(path).unwrap()).build()
}

#[tokio::test]
async fn a_restart_keeps_logs_cursors_and_ends() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("log");
    let (first, epoch) = {
        let sessions = sessions(&path);
        let options = SessionOptions::default();
        let log = sessions.create(key("s"), options).await.unwrap();
        let none = AppendOptions::default();
        let first = log.append(drafts(&["a"]), none).await.unwrap();
        log.append(drafts(&["b", "c"]), none).await.unwrap();
        log.cancel(Some("enough"), None).await.unwrap();
        let ended = sessions.create(key("ended"), options).await.unwrap();
        ended.append(drafts(&["task.result"]), none).await.unwrap();
        let closed = sessions.create(key("closed"), options).await.unwrap();
        assert!(closed.close(Some("done")).await.unwrap());
        (first, log.epoch())
    };

    let sessions = sessions(&path);
    assert!(sessions.get(&key("s")).is_err(), "nothing is open yet");
    let log = sessions.find(&key("s")).await.unwrap();
    assert_eq!(log.epoch(), epoch);
    let reason = log.cancel_token().cancellation().unwrap().reason;
    assert_eq!(reason.as_deref(), Some("enough"));
    let after = SubscribeOptions::from(Start::After(first.cursor));
    let mut events = log.subscribe(after).unwrap();
    let mut kinds = Vec::new();
    while let StreamItem::Event(event) = events.next().await.unwrap().unwrap() {
        kinds.push(event.kind().to_string());
    }
    assert_eq!(kinds, ["b", "c", "task.status.cancel_requested"]);

    let receipt = log.append(drafts(&["d"]), AppendOptions::default()).await;
    assert_eq!(receipt.unwrap().first().0, 4, "positions go on");
    let StreamItem::Event(event) = events.next().await.unwrap().unwrap() else {
        panic!("an event comes");
    };
    assert_eq!(event.kind().as_str(), "d");

    for (name, reason) in [
        ("ended", EndReason::Completed),
        ("closed", EndReason::Closed),
    ] {
        let log = sessions.find(&key(name)).await.unwrap();
        assert_eq!(log.info().reason, Some(reason), "{name}");
        let refused = log.append(drafts(&["x"]), AppendOptions::default()).await;
        assert_eq!(refused.unwrap_err().code(), "session_ended");
    }
    assert!(sessions.find(&key("never")).await.is_err());
    sessions
        .open_stored(&Tenant::default_tenant())
        .await
        .unwrap();
    assert_eq!(sessions.len(), 3);
}

#[tokio::test]
async fn a_line_that_was_not_written_to_its_end_is_cut_off() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("log");
    {
        let sessions = sessions(&path);
        let log = sessions.create(key("s"), SessionOptions::default()).await;
        let log = log.unwrap();
        let none = AppendOptions::default();
        log.append(drafts(&["a"]), none).await.unwrap();
        log.append(drafts(&["b", "c"]), none).await.unwrap();
    }
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 7]).unwrap();
    let sessions = sessions(&path);
    let log = sessions.find(&key("s")).await.unwrap();
    assert_eq!(
        log.latest().position().unwrap().0,
        1,
        "all of the batch or nothing"
    );
    let receipt = log.append(drafts(&["d"]), AppendOptions::default()).await;
    assert_eq!(receipt.unwrap().first().0, 1);
}

/// What another handle of the same log commits is seen here, too, and wakes whoever waits.
#[tokio::test]
async fn commits_of_another_handle_appear_in_order() {
    let dir = TempDir::new().unwrap();
    let file = AppendFile::open(&dir.path().join("log")).unwrap();
    let here = Sessions::builder(file.clone()).build();
    let there = Sessions::builder(file).build();
    let options = SessionOptions::default();
    let log = here.create(key("s"), options).await.unwrap();
    let (other, created) = there.get_or_create(key("s"), options).await.unwrap();
    assert!(!created);
    let taking = log.take(TakeOptions::new());
    let appending = async {
        let none = AppendOptions::default();
        other.append(drafts(&["from.there"]), none).await.unwrap();
        log.append(drafts(&["from.here"]), none).await.unwrap();
    };
    let (taken, ()) = tokio::join!(taking, appending);
    let TakeOutcome::Taken { taken, .. } = taken.unwrap() else {
        panic!("the event is taken");
    };
    assert_eq!(taken[0].event.kind().as_str(), "from.there");
    let mut events = other
        .subscribe(SubscribeOptions::from(Start::Earliest))
        .unwrap();
    let mut kinds = Vec::new();
    while kinds.len() < 2 {
        if let StreamItem::Event(event) = events.next().await.unwrap().unwrap() {
            kinds.push(event.kind().to_string());
        }
    }
    assert_eq!(kinds, ["from.there", "from.here"]);
}
