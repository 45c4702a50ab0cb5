//! What sessions do when their store fails: nothing is lost, doubled or out of order, and every failure
//! is told for what it is.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use reveille_e2e::soon;
use reveille_queue::{
    AppendError, AppendOptions, PageOptions, SessionLog, SessionOptions, Sessions, StreamItem,
    SubscribeOptions, Subscription,
};
use reveille_testkit::{Fault, Faults, Faulty, Gate, MemoryStore, Operation};
use reveille_types::{EndReason, EventDraft, Receipt, SessionKey, Start, Tenant};

/// A session on a store that fails as planned, and somebody else's on the same store.
struct Session {
    log: SessionLog,
    faults: Faults,
    store: MemoryStore,
}

impl Session {
    async fn create() -> Self {
        let store = MemoryStore::new();
        let backend = Faulty::new(store.clone());
        let faults = backend.faults().clone();
        let sessions = Sessions::builder(backend).build();
        let log = sessions.create(key(), SessionOptions::default()).await;
        let log = log.unwrap();
        Self { log, faults, store }
    }

    /// The session as another process has it, on the sound store.
    async fn elsewhere(&self) -> SessionLog {
        let sessions = Sessions::builder(self.store.clone()).build();
        sessions.find(&key()).await.unwrap()
    }

    fn follow(&self) -> Subscription {
        self.log.subscribe(SubscribeOptions::default()).unwrap()
    }

    /// The kinds of what the store holds, as whoever opens it now reads them.
    async fn stored(&self) -> Vec<String> {
        kinds(&self.elsewhere().await)
    }
}

fn key() -> SessionKey {
    SessionKey::in_tenant(Tenant::default_tenant(), "s").unwrap()
}

fn kinds(log: &SessionLog) -> Vec<String> {
    let page = log.page(&PageOptions::from(Start::Earliest, 1_000));
    let events = page.unwrap().events;
    events
        .iter()
        .map(|event| event.kind().to_string())
        .collect()
}

/// A draft of this kind, with a key of its own.
fn keyed(kind: &str) -> EventDraft {
    let mut draft = EventDraft::parse(kind).unwrap();
    draft.idempotency_key = Some(format!("key of {kind}").into());
    draft
}

async fn append(log: &SessionLog, drafts: Vec<EventDraft>) -> Result<Receipt, AppendError> {
    log.append(drafts, AppendOptions::default()).await
}

async fn append_plain(log: &SessionLog, kind: &str) -> Result<Receipt, AppendError> {
    append(log, vec![EventDraft::parse(kind).unwrap()]).await
}

/// The kinds of the next events.
async fn next(events: &mut Subscription, count: usize) -> Vec<String> {
    let mut kinds = Vec::new();
    while kinds.len() < count {
        let item = soon("the next event", events.next()).await;
        match item.unwrap().unwrap() {
            StreamItem::Event(event) => kinds.push(event.kind().to_string()),
            StreamItem::CaughtUp(_) => {}
            item => panic!("an event is missing: {item:?}"),
        }
    }
    kinds
}

fn code(answer: Result<Receipt, AppendError>) -> &'static str {
    answer.unwrap_err().code()
}

#[tokio::test]
async fn a_keyed_append_whose_answer_is_lost_is_tried_again_and_stored_once() {
    let session = Session::create().await;
    session.faults.plan(Operation::Append, Fault::LoseAnswer);
    let receipt = append(&session.log, vec![keyed("a"), keyed("b")]).await;
    assert_eq!(receipt.unwrap().last().0, 1);
    assert_eq!(session.faults.outstanding(), 0);
    assert_eq!(
        kinds(&session.log),
        ["a", "b"],
        "the answer is read at once"
    );
    assert_eq!(session.stored().await, ["a", "b"]);
}

#[tokio::test]
async fn an_append_that_stays_unknown_is_told_as_unknown_and_settled_by_its_key() {
    let session = Session::create().await;
    // Once it is unknown, it does not become a failure by what later attempts fail of.
    session.faults.plan(Operation::Append, Fault::LoseAnswer);
    session.faults.plan(Operation::Append, Fault::Refuse);
    session.faults.plan(Operation::Append, Fault::Refuse);
    assert_eq!(
        code(append(&session.log, vec![keyed("a")]).await),
        "outcome_unknown"
    );
    assert_eq!(session.faults.outstanding(), 0);
    let receipt = append(&session.log, vec![keyed("a")]).await.unwrap();
    assert!(receipt.deduplicated());
    assert_eq!(session.stored().await, ["a"]);
}

#[tokio::test]
async fn an_append_without_a_key_whose_answer_is_lost_is_not_tried_again() {
    let session = Session::create().await;
    let mut events = session.follow();
    session.faults.plan(Operation::Append, Fault::LoseAnswer);
    assert_eq!(
        code(append_plain(&session.log, "a").await),
        "outcome_unknown"
    );
    assert_eq!(
        next(&mut events, 1).await,
        ["a"],
        "it was stored, so it is seen"
    );
    append_plain(&session.log, "b").await.unwrap();
    assert_eq!(next(&mut events, 1).await, ["b"]);
    assert_eq!(session.stored().await, ["a", "b"]);
}

#[tokio::test]
async fn a_refused_append_is_a_typed_error_and_leaves_nothing() {
    let session = Session::create().await;
    session.faults.plan(Operation::Append, Fault::Refuse);
    let refused = append(&session.log, vec![keyed("a")]).await.unwrap_err();
    assert!(matches!(
        &refused,
        AppendError::Backend(reveille_backend::AppendError::Backend(
            reveille_backend::BackendError::Unavailable {
                backend: "faulty",
                ..
            }
        ))
    ));
    assert_eq!(refused.code(), "backend_unavailable");
    let receipt = append(&session.log, vec![keyed("a")]).await.unwrap();
    assert_eq!((receipt.first().0, receipt.deduplicated()), (0, false));
}

/// A store that tears a batch apart breaks its contract; with keys the rest is stored behind it, and
/// nothing twice.
#[tokio::test]
async fn a_torn_write_is_mended_by_the_keys() {
    let session = Session::create().await;
    session.faults.plan(Operation::Append, Fault::Tear(1));
    let batch = vec![keyed("a"), keyed("b"), keyed("c")];
    let receipt = append(&session.log, batch).await.unwrap();
    let known: Vec<_> = receipt.results.iter().map(|r| r.deduplicated).collect();
    assert_eq!(known, [false, false, false]);
    assert_eq!(kinds(&session.log), ["a", "b", "c"]);
    assert_eq!(session.stored().await, ["a", "b", "c"]);
}

/// The request is under way when nobody waits for it any more: it arrives late, and everybody sees it
/// where it is.
#[tokio::test]
async fn a_delayed_append_that_is_dropped_arrives_in_order() {
    let session = Session::create().await;
    let mut events = session.follow();
    let gate = Gate::new();
    session
        .faults
        .plan(Operation::Append, Fault::Delay(gate.clone()));
    let log = session.log.clone();
    let dropped = tokio::spawn(async move { append_plain(&log, "late").await });
    soon("the append under way", gate.reached()).await;
    dropped.abort();
    assert!(dropped.await.unwrap_err().is_cancelled());
    append_plain(&session.log, "a").await.unwrap();
    gate.open();
    assert_eq!(next(&mut events, 2).await, ["a", "late"]);
    append_plain(&session.log, "b").await.unwrap();
    assert_eq!(next(&mut events, 1).await, ["b"]);
    assert_eq!(session.stored().await, ["a", "late", "b"]);
}

/// The later append has its answer first; nobody sees its event before the earlier one.
#[tokio::test]
async fn an_append_dropped_before_its_answer_keeps_its_place() {
    let session = Session::create().await;
    let mut events = session.follow();
    let gate = Gate::new();
    session
        .faults
        .plan(Operation::Append, Fault::DelayAnswer(gate.clone()));
    let log = session.log.clone();
    let dropped = tokio::spawn(async move { append_plain(&log, "a").await });
    soon("the answer under way", gate.reached()).await;
    let receipt = append_plain(&session.log, "b").await.unwrap();
    assert_eq!(receipt.first().0, 1);
    dropped.abort();
    assert!(dropped.await.unwrap_err().is_cancelled());
    assert_eq!(next(&mut events, 2).await, ["a", "b"]);
}

#[tokio::test]
async fn a_wake_that_is_delivered_twice_shows_an_event_once() {
    let session = Session::create().await;
    let mut events = session.follow();
    let other = session.elsewhere().await;
    for kind in ["a", "b", "c"] {
        for _ in 0..3 {
            session.faults.plan(Operation::Watch, Fault::WakeAgain);
        }
        append_plain(&other, kind).await.unwrap();
        assert_eq!(next(&mut events, 1).await, [kind]);
    }
    soon("the wakes", async {
        while session.faults.outstanding() > 0 {
            append_plain(&other, "more").await.unwrap();
            assert_eq!(next(&mut events, 1).await, ["more"]);
        }
    })
    .await;
    assert_eq!(kinds(&session.log), session.stored().await);
}

/// While the store cannot be reached a reader waits; after that it gets all.
#[tokio::test(start_paused = true)]
async fn a_reader_gets_everything_after_an_outage() {
    let session = Session::create().await;
    let mut events = session.follow();
    let other = session.elsewhere().await;
    for operation in [
        Operation::Info,
        Operation::Watch,
        Operation::Watch,
        Operation::Read,
    ] {
        session.faults.plan(operation, Fault::Refuse);
    }
    for kind in ["a", "b", "c"] {
        append_plain(&other, kind).await.unwrap();
    }
    assert_eq!(next(&mut events, 3).await, ["a", "b", "c"]);
    append_plain(&other, "task.result").await.unwrap();
    assert_eq!(next(&mut events, 1).await, ["task.result"]);
    assert_eq!(session.faults.outstanding(), 0, "the outage is over");
}

#[tokio::test(start_paused = true)]
async fn a_seal_whose_answer_is_lost_ends_the_session() {
    let session = Session::create().await;
    append_plain(&session.log, "a").await.unwrap();
    session.faults.plan(Operation::Seal, Fault::LoseAnswer);
    let lost = session.log.close(Some("done")).await.unwrap_err();
    assert_eq!(lost.code(), "backend_unavailable");
    let again = session.log.close(Some("again")).await.unwrap();
    assert!(!again, "the first call has ended it");
    assert_eq!(session.log.info().reason, Some(EndReason::Closed));
    assert_eq!(code(append_plain(&session.log, "b").await), "session_ended");
    assert_eq!(session.stored().await, ["a"]);
}

#[tokio::test]
async fn a_session_that_could_not_be_opened_is_created_by_the_next_call() {
    let backend = Faulty::new(MemoryStore::new());
    let faults = backend.faults().clone();
    let sessions = Sessions::builder(backend).build();
    let options = SessionOptions::default();
    for fault in [Fault::Refuse, Fault::LoseAnswer] {
        faults.plan(Operation::Open, fault);
        let failed = sessions.get_or_create(key(), options).await.unwrap_err();
        assert_eq!(failed.code(), "backend_unavailable");
        assert!(sessions.is_empty());
    }
    let (log, _) = sessions.get_or_create(key(), options).await.unwrap();
    append_plain(&log, "a").await.unwrap();
    assert_eq!(sessions.len(), 1);
}

#[tokio::test]
async fn a_removal_whose_answer_is_lost_can_be_repeated() {
    let backend = Faulty::new(MemoryStore::new());
    let faults = backend.faults().clone();
    let sessions = Sessions::builder(backend).build();
    let options = SessionOptions::default();
    let old = sessions.create(key(), options).await.unwrap();
    append_plain(&old, "a").await.unwrap();
    faults.plan(Operation::Remove, Fault::LoseAnswer);
    let lost = sessions.remove(&key()).await.unwrap_err();
    assert_eq!(lost.code(), "backend_unavailable");
    sessions.remove(&key()).await.unwrap();
    assert_eq!(old.info().reason, Some(EndReason::Deleted));
    let new = sessions.create(key(), options).await.unwrap();
    assert_ne!(new.epoch(), old.epoch());
    assert!(kinds(&new).is_empty());
}
