//! What a session was created with, a cancel and its grace, and the consumption of groups: the same for a
//! session in a store as in memory, for other processes and after a restart.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::sync::Arc;
use std::time::Duration;

use reveille_core::ManualClock;
use reveille_e2e::append_file::AppendFile;
use reveille_e2e::soon;
use reveille_queue::{
    AppendOptions, PageOptions, QueueLimits, SessionLog, SessionOptions, Sessions, TailLimits,
    TakeOptions, TakeOutcome, WaitOptions, WaitOutcome,
};
use reveille_testkit::{Fault, Faults, Faulty, Gate, MemoryStore, Operation};
use reveille_types::{EndReason, EventDraft, Filter, Position, Seq, SessionKey, Start, Tenant};
use tempfile::TempDir;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn key(name: &str) -> SessionKey {
    SessionKey::in_tenant(Tenant::default_tenant(), name).unwrap()
}

fn draft(kind: &str) -> EventDraft {
    EventDraft::parse(kind).unwrap()
}

async fn append(log: &SessionLog, kinds: &[&str]) {
    let drafts = kinds.iter().map(|kind| draft(kind));
    log.append(drafts, AppendOptions::default()).await.unwrap();
}

fn kinds(log: &SessionLog) -> Vec<String> {
    let page = log
        .page(&PageOptions::from(Start::Earliest, 1_000))
        .unwrap();
    page.events.iter().map(|e| e.kind().to_string()).collect()
}

/// A file, and the time of all processes that use it.
struct Machine {
    file: AppendFile,
    clock: Arc<ManualClock>,
}

impl Machine {
    fn new() -> Self {
        Self {
            // The file lives as long as it is open, its directory need not.
            file: AppendFile::open(&TempDir::new().unwrap().path().join("log")).unwrap(),
            clock: Arc::new(ManualClock::new()),
        }
    }

    /// A process that has opened nothing yet.
    fn process(&self) -> Sessions {
        Sessions::builder(self.file.clone())
            .clock(self.clock.clone())
            .default_ttl(secs(3_600))
            .build()
    }

    async fn created(&self, options: SessionOptions) -> SessionLog {
        self.process().create(key("s"), options).await.unwrap()
    }

    /// The session as a process finds it that has just started.
    async fn found(&self) -> SessionLog {
        self.process().find(&key("s")).await.unwrap()
    }
}

#[tokio::test]
async fn options_and_time_of_the_creation_survive_a_restart() {
    let machine = Machine::new();
    let options = SessionOptions::default()
        .ttl(secs(7))
        .lifetime(secs(100))
        .max_events(5)
        .max_bytes(100_000);
    let created = machine.created(options).await.info();
    machine.clock.advance(secs(2));
    // What whoever finds it asks for does not count.
    let other = SessionOptions::default().ttl(secs(1)).max_events(1);
    let (log, is_new) = machine
        .process()
        .get_or_create(key("s"), other)
        .await
        .unwrap();
    assert!(!is_new);
    for found in [log.info(), machine.found().await.info()] {
        assert_eq!(found.created_at, created.created_at);
        assert_eq!(found.ttl_ms, Some(7_000));
        assert_eq!((found.max_events, found.max_bytes), (5, 100_000));
    }
}

#[tokio::test]
async fn options_left_open_come_from_whoever_opens_the_session() {
    let machine = Machine::new();
    machine.created(SessionOptions::default()).await;
    let process = Sessions::builder(machine.file.clone())
        .default_ttl(secs(5))
        .build();
    let found = process.find(&key("s")).await.unwrap().info();
    assert_eq!(found.ttl_ms, Some(5_000));
}

#[tokio::test]
async fn retention_of_a_session_is_its_own_after_a_restart() {
    let machine = Machine::new();
    let log = machine
        .created(SessionOptions::default().max_events(3))
        .await;
    append(&log, &["a", "b", "c", "d", "e"]).await;
    assert_eq!(kinds(&machine.found().await), ["c", "d", "e"]);
}

#[tokio::test]
async fn idle_time_begins_anew_at_a_restart_and_the_lifetime_does_not() {
    let machine = Machine::new();
    let options = SessionOptions::default().ttl(secs(60)).lifetime(secs(100));
    machine.created(options).await;
    machine.clock.advance(secs(50));
    let log = machine.found().await;
    machine.clock.advance(secs(45));
    assert_eq!(log.info().reason, None, "it was opened 45 s ago");
    machine.clock.advance(secs(5));
    assert_eq!(log.info().reason, Some(EndReason::Expired));
}

/// A process whose wall clock is behind sees no session that is not created yet.
#[tokio::test]
async fn clock_that_is_behind_makes_no_session_older_or_younger_than_new() {
    let machine = Machine::new();
    machine.clock.advance(secs(1_000));
    machine
        .created(SessionOptions::default().lifetime(secs(10)))
        .await;
    let behind = Arc::new(ManualClock::new());
    let process = Sessions::builder(machine.file.clone())
        .clock(behind.clone())
        .build();
    let log = process.find(&key("s")).await.unwrap();
    behind.advance(secs(9));
    assert_eq!(log.info().reason, None);
    behind.advance(secs(1));
    assert_eq!(log.info().reason, Some(EndReason::Expired));
}

#[tokio::test]
async fn grace_of_a_cancel_survives_a_restart() {
    let machine = Machine::new();
    let log = machine.created(SessionOptions::default()).await;
    log.cancel(Some("enough"), Some(secs(10))).await.unwrap();
    machine.clock.advance(secs(4));
    let found = machine.found().await;
    assert!(found.cancel_token().is_cancelled());
    let cancel = found.info().cancel.unwrap();
    assert_eq!(cancel.reason.as_deref(), Some("enough"));
    assert_eq!(cancel.time, log.info().cancel.unwrap().time);
    machine.clock.advance(secs(5));
    assert_eq!(found.info().reason, None, "a second of the grace is left");
    machine.clock.advance(secs(1));
    assert_eq!(found.info().reason, Some(EndReason::Cancelled));
}

#[tokio::test]
async fn cancel_without_a_grace_has_none_after_a_restart() {
    let machine = Machine::new();
    let log = machine.created(SessionOptions::default()).await;
    log.cancel(None, None).await.unwrap();
    let found = machine.found().await;
    machine.clock.advance(secs(1_000));
    assert_eq!(found.info().reason, None);
    assert_eq!(found.info().cancel.unwrap().reason, None);
}

/// Two processes on one store, one of which fails as planned.
async fn two() -> (SessionLog, Faults, SessionLog) {
    let store = MemoryStore::new();
    let backend = Faulty::new(store.clone());
    let faults = backend.faults().clone();
    let here = Sessions::builder(backend).build();
    let here = here.create(key("s"), SessionOptions::default()).await;
    let there = Sessions::builder(store).build();
    (here.unwrap(), faults, there.find(&key("s")).await.unwrap())
}

#[tokio::test]
async fn cancel_whose_answer_is_lost_has_cancelled_once() {
    let (here, faults, there) = two().await;
    faults.plan(Operation::Append, Fault::LoseAnswer);
    let outcome = here.cancel(Some("a"), None).await.unwrap();
    assert_eq!(faults.outstanding(), 0);
    assert!(!outcome.already_cancelled, "it was this one");
    let again = there.cancel(Some("b"), None).await.unwrap();
    assert!(again.already_cancelled);
    assert_eq!(again.reason.as_deref(), Some("a"));
    assert_eq!(kinds(&here), ["task.status.cancel_requested"]);
}

#[tokio::test]
async fn of_cancels_of_two_processes_the_first_in_the_store_wins() {
    let (here, faults, there) = two().await;
    let gate = Gate::new();
    faults.plan(Operation::Append, Fault::Delay(gate.clone()));
    let late = tokio::spawn({
        let here = here.clone();
        async move { here.cancel(Some("late"), Some(secs(1))).await }
    });
    while faults.outstanding() > 0 {
        tokio::task::yield_now().await;
    }
    let first = there.cancel(Some("first"), None).await.unwrap();
    gate.open();
    let late = soon("the late cancel", late).await.unwrap().unwrap();
    assert!(!first.already_cancelled && late.already_cancelled);
    assert_eq!(late.reason.as_deref(), Some("first"));
    assert_eq!(late.time, first.time);
    assert_eq!(kinds(&here), ["task.status.cancel_requested"]);
    assert_eq!(kinds(&there).len(), 1);
}

fn keyed(kind: &str) -> EventDraft {
    let mut draft = draft(kind);
    draft.idempotency_key = Some(format!("key of {kind}").into());
    draft
}

/// Whether each event of the batch was there before, and its id.
async fn receipt(log: &SessionLog, batch: &[EventDraft]) -> (Vec<bool>, Vec<String>) {
    let appended = log.append(batch.to_vec(), AppendOptions::default()).await;
    let results = appended.unwrap().results;
    let ids = results.iter().map(|r| r.id.as_str().to_owned());
    let ids = ids.collect();
    (results.iter().map(|r| r.deduplicated).collect(), ids)
}

#[tokio::test]
async fn d000_19_receipt_of_an_append_that_was_tried_twice_says_that_it_was_stored_by_it() {
    let (here, faults, there) = two().await;
    let (first, a) = receipt(&there, &[keyed("a")]).await;
    assert_eq!(first, [false]);
    faults.plan(Operation::Append, Fault::LoseAnswer);
    let (second, ids) = receipt(&here, &[keyed("a"), keyed("b")]).await;
    assert_eq!(faults.outstanding(), 0);
    assert_eq!(second, [true, false], "a was there, b was not");
    assert_eq!(ids[0], a[0], "the id of what is stored");
    let (third, again) = receipt(&here, &[keyed("a"), keyed("b")]).await;
    assert_eq!((third, again), (vec![true, true], ids));
    assert_eq!(kinds(&here), ["a", "b"]);
}

/// A session that another process has opened, and this one has not: its events have places in the
/// order of the tenant that nothing here ever fills.
#[tokio::test(start_paused = true)]
async fn order_of_a_tenant_goes_on_behind_what_is_not_read_here() {
    let store = MemoryStore::new();
    let here = Sessions::builder(store.clone())
        .tail(TailLimits::default())
        .build();
    let there = Sessions::builder(store).build();
    let tenant = Tenant::default_tenant();
    let ours = here.create(key("ours"), SessionOptions::default());
    let ours = ours.await.unwrap();
    let tail = here.tail(&tenant).unwrap();
    let theirs = there.create(key("theirs"), SessionOptions::default());
    append(&theirs.await.unwrap(), &["b", "b", "b"]).await;
    append(&ours, &["a"]).await;
    assert_eq!(tail.info().latest, Seq(0), "what is missing may still come");
    tokio::time::sleep(secs(15)).await;
    assert_eq!(
        tail.info().latest,
        Seq(4),
        "it is not waited for any longer"
    );
    let page = tail.read(Seq(0), &Filter::all(), 10, usize::MAX);
    assert_eq!(page.missing.as_slice(), [(1, 3)], "the gap comes first");
    let page = tail.read(page.read_to, &Filter::all(), 10, usize::MAX);
    assert_eq!(page.events[0].kind().as_str(), "a");
    // And what follows comes at once.
    append(&ours, &["c"]).await;
    assert_eq!(tail.info().latest, Seq(5));
}

async fn take(log: &SessionLog, lease: Option<Duration>) -> TakeOutcome {
    let mut options = TakeOptions::new().timeout(Duration::ZERO);
    options.lease = lease;
    log.take(options).await.unwrap()
}

fn taken(outcome: TakeOutcome) -> Vec<reveille_queue::Taken> {
    match outcome {
        TakeOutcome::Taken { taken, .. } => taken,
        other => panic!("nothing was taken: {other:?}"),
    }
}

#[tokio::test]
async fn group_on_a_store_takes_settles_and_sets_aside_as_in_memory() {
    let machine = Machine::new();
    let options = SessionOptions::default().max_deliveries(2);
    let log = machine.created(options).await;
    append(&log, &["a", "b", "c"]).await;
    let group = TakeOptions::new().group;
    let first = taken(take(&log, Some(secs(10))).await).remove(0);
    let lease = first.lease.unwrap().id;
    // The lease runs out, and fences.
    machine.clock.advance(secs(10));
    let again = taken(take(&log, Some(secs(10))).await).remove(0);
    assert_eq!(again.event, first.event);
    assert!(log.ack(&group, lease).await.is_err());
    let lease = again.lease.unwrap().id;
    assert_eq!(lease.delivery(), 2);
    log.nack(&group, lease).await.unwrap();
    // Delivered twice: set aside.
    let next = taken(take(&log, None).await).remove(0);
    assert_eq!(next.event.kind().as_str(), "b");
    assert_eq!(log.dead_letters(&group).len(), 1);
    log.skip_to(&group, Start::Latest).await.unwrap();
    assert!(matches!(
        take(&log, None).await,
        TakeOutcome::TimedOut { .. }
    ));
    append(&log, &["task.result"]).await;
    assert_eq!(taken(take(&log, None).await).len(), 1);
    assert!(
        log.retry_dead_letter(&group, first.event.position())
            .await
            .unwrap()
    );
    let letter = taken(take(&log, None).await).remove(0);
    assert_eq!(letter.event, first.event);
    assert!(matches!(
        take(&log, None).await,
        TakeOutcome::Ended {
            reason: EndReason::Completed,
            ..
        }
    ));
}

#[tokio::test]
async fn takers_on_a_store_are_served_in_order_and_events_of_others_go_to_them() {
    let machine = Machine::new();
    let log = machine.created(SessionOptions::default()).await;
    let other = machine.found().await;
    let mut takers = Vec::new();
    for nth in 1..=3 {
        let log_of_taker = log.clone();
        takers.push(tokio::spawn(async move {
            taken(log_of_taker.take(TakeOptions::new()).await.unwrap())
        }));
        while log.info().waiters < nth {
            tokio::task::yield_now().await;
        }
    }
    append(&other, &["a", "b", "c"]).await;
    for (taker, kind) in takers.into_iter().zip(["a", "b", "c"]) {
        let taken = soon("the event of the taker", taker).await.unwrap();
        assert_eq!(taken[0].event.kind().as_str(), kind);
    }
}

#[tokio::test]
async fn sessions_on_a_store_stay_within_the_budget_and_tell_what_went() {
    let machine = Machine::new();
    let mut limits = QueueLimits::default();
    limits.bytes_per_tenant = 20_000;
    let sessions = Sessions::builder(machine.file.clone())
        .limits(limits)
        .build();
    let mut logs = Vec::new();
    for name in ["a", "b", "c"] {
        let log = sessions.create(key(name), SessionOptions::default()).await;
        logs.push(log.unwrap());
    }
    for _ in 0..100 {
        for log in &logs {
            append(log, &["x"]).await;
        }
    }
    let held: u64 = logs.iter().map(|log| log.info().bytes).sum();
    assert!((10_000..=20_000).contains(&held), "{held} bytes are held");
    for log in &logs {
        let info = log.info();
        assert_eq!(info.retained + info.dropped, 100);
        let wait = WaitOptions::any(Filter::all())
            .from(Start::At(Position::START))
            .timeout(Duration::ZERO);
        let WaitOutcome::Matched { events, gap, .. } = log.wait(wait).await.unwrap() else {
            panic!("the newest events are there");
        };
        let missed = gap.and_then(|gap| gap.missed).unwrap_or_default();
        assert_eq!(missed, events[0].position().0);
        assert_eq!(missed, info.dropped);
    }
}
