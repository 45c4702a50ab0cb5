//! Groups of stored sessions: one taker for each event, whatever process he is in, over restarts.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use reveille_archive::{ArchiveBackend, ArchiveDurability, ArchiveOptions};
use reveille_backend::{Backend, ListOptions};
use reveille_e2e::soon;
use reveille_queue::{
    AppendOptions, GroupInfo, LeaseId, PageOptions, SessionLog, SessionOptions, Sessions,
    SettleError, TakeOptions, TakeOutcome, Taken, WaitOptions, WaitOutcome,
};
use reveille_testkit::{Fault, Faulty, MemoryStore, Operation};
use reveille_types::{EventDraft, Filter, Label, Position, SessionKey, Start, Tenant};
use tempfile::TempDir;

const LEASE: Duration = Duration::from_secs(30);

fn key() -> SessionKey {
    SessionKey::in_tenant(Tenant::default_tenant(), "s").unwrap()
}

fn group() -> Label {
    TakeOptions::new().group
}

/// Another process on the store.
async fn process(store: &MemoryStore) -> SessionLog {
    on(store.clone()).await
}

async fn on(backend: impl Backend) -> SessionLog {
    let sessions = Sessions::builder(backend).build();
    let options = SessionOptions::default().max_deliveries(2);
    sessions.get_or_create(key(), options).await.unwrap().0
}

async fn append(log: &SessionLog, events: usize) {
    let drafts = (0..events).map(|_| EventDraft::parse("a").unwrap());
    log.append(drafts, AppendOptions::default()).await.unwrap();
}

fn now() -> TakeOptions {
    TakeOptions::new().timeout(Duration::ZERO)
}

async fn take(log: &SessionLog, options: TakeOptions) -> Vec<Taken> {
    match log.take(options).await.unwrap() {
        TakeOutcome::Taken { taken, .. } => taken,
        _ => Vec::new(),
    }
}

/// Takes one event on lease that is there.
async fn lease(log: &SessionLog) -> (u64, LeaseId) {
    let taken = take(log, now().lease(LEASE)).await.remove(0);
    (taken.event.position().0, taken.lease.unwrap().id)
}

fn at(taken: &[Taken]) -> Vec<u64> {
    taken.iter().map(|t| t.event.position().0).collect()
}

/// What this process knows once it has seen all steps.
async fn info(log: &SessionLog) -> GroupInfo {
    log.load_groups().await.unwrap();
    log.group_info(&group()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_has_one_taker_of_all_processes() {
    const EVENTS: usize = 300;
    let store = MemoryStore::new();
    let processes = [
        process(&store).await,
        process(&store).await,
        process(&store).await,
    ];
    let takers = processes.iter().flat_map(|log| [log.clone(), log.clone()]);
    let tasks: Vec<_> = takers
        .map(|log| {
            tokio::spawn(async move {
                let mut mine = Vec::new();
                loop {
                    let options = TakeOptions::new().max(3).lease(LEASE);
                    let TakeOutcome::Taken { taken, .. } = log.take(options).await.unwrap() else {
                        return mine;
                    };
                    for taken in taken {
                        mine.push(taken.event.position().0);
                        let lease = taken.lease.unwrap();
                        log.ack(&group(), lease.id).await.unwrap();
                    }
                }
            })
        })
        .collect();
    for _ in 0..EVENTS / 10 {
        append(&processes[0], 10).await;
    }
    processes[1].close(None).await.unwrap();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(soon("the session ends for all", task).await.unwrap());
    }
    assert_eq!(all.len(), EVENTS);
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>().len(), EVENTS);
    for log in &processes {
        let info = info(log).await;
        assert_eq!((info.pending, info.leased), (0, 0));
        assert_eq!(info.cursor.position(), Some(Position(EVENTS as u64)));
    }
}

#[tokio::test]
async fn what_one_process_took_for_good_is_taken_for_all() {
    let store = MemoryStore::new();
    let (a, b) = (process(&store).await, process(&store).await);
    append(&a, 3).await;
    assert_eq!(at(&take(&a, now()).await), [0]);
    let taken = take(&b, now().max(5)).await;
    assert_eq!(at(&taken), [1, 2]);
    assert!(taken.iter().all(|taken| taken.lease.is_none()));
    assert!(take(&a, now()).await.is_empty());
    assert_eq!(info(&a).await, info(&b).await);
}

#[tokio::test(start_paused = true)]
async fn a_lease_outlives_its_process_and_its_event_goes_to_another_when_it_is_over() {
    let store = MemoryStore::new();
    let a = process(&store).await;
    append(&a, 1).await;
    let sessions = Sessions::builder(store.clone()).build();
    tokio::spawn(sessions.drive());
    let b = sessions.find(&key()).await.unwrap();
    let (_, first) = lease(&a).await;
    assert!(take(&b, now()).await.is_empty(), "it is on lease");
    assert_eq!(info(&b).await.leased, 1);

    let waiting = tokio::spawn({
        let b = b.clone();
        async move { take(&b, TakeOptions::new().lease(LEASE)).await }
    });
    let second = waiting.await.unwrap().remove(0).lease.unwrap().id;
    assert_eq!(second.delivery(), 2);
    // The process that was paused comes back with the lease that it had.
    let late = a.ack(&group(), first).await;
    assert_eq!(late, Err(SettleError::Fenced));
    b.ack(&group(), second).await.unwrap();
    assert_eq!(info(&a).await.pending, 0);
}

#[tokio::test]
async fn any_process_settles_a_lease_and_what_is_given_back_wakes_takers_elsewhere() {
    let store = MemoryStore::new();
    let (a, b) = (process(&store).await, process(&store).await);
    append(&a, 2).await;
    let (_, first) = lease(&a).await;
    let (_, second) = lease(&a).await;
    b.ack(&group(), first).await.unwrap();
    assert_eq!(a.ack(&group(), first).await, Err(SettleError::Fenced));

    let waiting = tokio::spawn({
        let b = b.clone();
        async move { take(&b, TakeOptions::new()).await }
    });
    soon("it waits", async {
        while b.group_info(&group()).is_none_or(|info| info.waiting == 0) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    a.nack(&group(), second).await.unwrap();
    let taken = soon("it is woken", waiting).await.unwrap();
    assert_eq!(at(&taken), [1]);
}

/// A process that does not hear what others do for a while, since the store cannot be watched, knows it
/// nevertheless when it is asked.
#[tokio::test(start_paused = true)]
async fn a_process_that_hears_nothing_asks_the_store() {
    let store = MemoryStore::new();
    let deaf = Faulty::new(store.clone());
    let faults = deaf.faults().clone();
    let (a, b) = (process(&store).await, on(deaf).await);
    append(&a, 1).await;
    b.load_groups().await.unwrap();
    lease(&a).await;
    assert!(take(&b, now()).await.is_empty());
    // Those who follow the session and its groups wait a while after such a failure.
    faults.plan(Operation::Watch, Fault::Refuse);
    faults.plan(Operation::Watch, Fault::Refuse);
    append(&a, 1).await;
    let (_, first) = lease(&a).await;
    soon("both hear nothing", async {
        while faults.outstanding() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;

    append(&a, 1).await;
    let there = Start::After(a.latest());
    let page = PageOptions::from(there, 1);
    assert!(b.page(&page).is_err(), "it has not heard of that place");
    b.load_to(there).await.unwrap();
    assert!(b.page(&page).unwrap().caught_up);
    append(&a, 1).await;
    let beyond = TakeOptions::new().timeout(Duration::ZERO).from(Position(4));
    assert!(
        take(&b, beyond).await.is_empty(),
        "a place that it learns of"
    );
    assert_eq!(at(&take(&b, now()).await), [2]);
    append(&a, 1).await;
    let wait = WaitOptions::any(Filter::all()).from(Start::After(a.latest()));
    let waited = b.wait(wait.timeout(Duration::ZERO)).await.unwrap();
    assert!(matches!(waited, WaitOutcome::TimedOut { .. }), "{waited:?}");
    append(&a, 1).await;
    let mut taken = Vec::new();
    while let [next] = &take(&b, now()).await[..] {
        taken.push(next.event.position().0);
    }
    assert_eq!(taken, [3, 4, 5], "what was published");
    append(&a, 1).await;
    let (_, second) = lease(&a).await;
    b.ack(&group(), second).await.expect("a lease of the other");
    a.nack(&group(), first).await.unwrap();
    let (again, again_lease) = lease(&b).await;
    assert_eq!(again, 1, "what was given back");
    assert_eq!(a.nack(&group(), again_lease).await, Ok(()));
    let letters = b.retry_dead_letter(&group(), Position(1)).await;
    assert_eq!(letters, Ok(true), "a letter that died elsewhere");
    let unknown = b.ack(&group(), second).await;
    assert_eq!(unknown, Err(SettleError::Fenced));
}

#[tokio::test]
async fn a_take_that_is_dropped_while_it_is_stored_gives_back() {
    let store = MemoryStore::new();
    let (a, b) = (process(&store).await, process(&store).await);
    append(&a, 1).await;
    for options in [now(), now().lease(LEASE)] {
        let mut take = Box::pin(a.take(options));
        // One poll claims the event here, and begins to store that.
        let polled = futures_util::poll!(&mut take);
        if let std::task::Poll::Ready(outcome) = polled {
            panic!("a store takes its time: {outcome:?}");
        }
        drop(take);
        soon("it is available again", async {
            while a.group_info(&group()).unwrap().pending == 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    let taken = soon("it comes back", take(&b, TakeOptions::new().lease(LEASE))).await;
    assert_eq!(taken[0].lease.as_ref().unwrap().id.delivery(), 1);
}

#[tokio::test(start_paused = true)]
async fn dead_letters_are_dead_for_all_and_come_back_for_all() {
    let store = MemoryStore::new();
    let (a, b) = (process(&store).await, process(&store).await);
    append(&a, 1).await;
    for log in [&a, &b] {
        let (_, lease) = lease(log).await;
        log.nack(&group(), lease).await.unwrap();
    }
    for log in [&a, &b, &process(&store).await] {
        assert_eq!(info(log).await.dead, 1);
        assert_eq!(log.dead_letters(&group())[0].deliveries, 2);
    }
    assert!(b.retry_dead_letter(&group(), Position(0)).await.unwrap());
    assert!(!a.retry_dead_letter(&group(), Position(0)).await.unwrap());
    assert_eq!(at(&take(&a, now()).await), [0]);
}

#[tokio::test]
async fn skipping_moves_the_group_for_all() {
    let store = MemoryStore::new();
    let (a, b) = (process(&store).await, process(&store).await);
    append(&a, 4).await;
    a.skip_to(&group(), Start::Latest).await.unwrap();
    append(&a, 1).await;
    assert_eq!(at(&take(&b, now()).await), [4]);
}

#[tokio::test]
async fn what_groups_did_is_written_down_and_its_steps_let_go_of() {
    const EVENTS: u64 = 1_200;
    let store = MemoryStore::new();
    let a = process(&store).await;
    for _ in 0..EVENTS / 100 {
        append(&a, 100).await;
    }
    let (_, held) = lease(&a).await;
    for _ in 1..EVENTS - 1 {
        let (_, lease) = lease(&a).await;
        a.ack(&group(), lease).await.unwrap();
    }
    let before = info(&a).await;
    let b = process(&store).await;
    assert_eq!(info(&b).await, before);
    assert_eq!((before.leased, before.pending), (1, 1));
    b.ack(&group(), held).await.unwrap();
    assert_eq!(at(&take(&b, now().max(10)).await), [EVENTS - 1]);
    assert_eq!(info(&a).await.pending, 0);
}

#[tokio::test]
async fn a_session_that_is_removed_takes_its_groups_with_it() {
    let store = MemoryStore::new();
    let sessions = Sessions::builder(store.clone()).build();
    let create = || sessions.create(key(), SessionOptions::default());
    let log = create().await.unwrap();
    append(&log, 1).await;
    take(&log, now()).await;
    // By a process that has never opened it.
    let other = Sessions::builder(store.clone()).build();
    other.remove(&key()).await.unwrap();
    assert_eq!(store.log_count(), 0);
    soon("its removal is seen", async {
        while sessions.get(&key()).is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let log = create().await.unwrap();
    append(&log, 1).await;
    assert_eq!(at(&take(&log, now()).await), [0]);
    log.close(None).await.unwrap();
    let again = sessions.recreate(key(), SessionOptions::default());
    append(&again.await.unwrap(), 1).await;
    assert_eq!(store.log_count(), 1, "the groups of the old one are gone");
    let tenant = Tenant::default_tenant();
    let listed = store.list(&tenant, ListOptions::first(9)).await.unwrap();
    assert_eq!(listed.keys, [key()]);
}

fn archive(dir: &TempDir) -> Sessions {
    let mut options = ArchiveOptions::default();
    options.durability = ArchiveDurability::Os;
    Sessions::builder(ArchiveBackend::open(dir.path(), options).unwrap()).build()
}

/// Opens the archive once the process before has let go of it.
async fn reopened(dir: &TempDir) -> SessionLog {
    let sessions = soon("the directory is free", async {
        loop {
            let mut options = ArchiveOptions::default();
            options.durability = ArchiveDurability::Os;
            match ArchiveBackend::open(dir.path(), options) {
                Ok(backend) => return Sessions::builder(backend).build(),
                Err(_) => tokio::task::yield_now().await,
            }
        }
    })
    .await;
    sessions.find(&key()).await.unwrap()
}

#[tokio::test]
async fn groups_survive_a_restart() {
    let dir = TempDir::new().unwrap();
    let held = {
        let sessions = archive(&dir);
        let options = SessionOptions::default().max_deliveries(1);
        let log = sessions.create(key(), options).await.unwrap();
        append(&log, 5).await;
        assert_eq!(at(&take(&log, now()).await), [0]);
        let (_, dead) = lease(&log).await;
        log.nack(&group(), dead).await.unwrap();
        lease(&log).await.1
    };
    let log = reopened(&dir).await;
    let group_info = log.group_info(&group()).unwrap();
    assert_eq!(
        (group_info.leased, group_info.dead, group_info.pending),
        (1, 1, 2)
    );
    assert_eq!(at(&take(&log, now().max(9)).await), [3, 4]);
    log.ack(&group(), held).await.unwrap();
    assert_eq!(log.dead_letters(&group())[0].event.position(), Position(1));
    assert_eq!(info(&log).await.cursor.position(), Some(Position(5)));
}

/// What a process does.
#[derive(Debug, Clone)]
enum Act {
    Append,
    Take { max: usize, lease: bool },
    Settle { which: usize, done: bool },
    Skip(u64),
    Retry(u64),
    Discard(u64),
}

fn acts() -> impl Strategy<Value = Vec<(usize, Act)>> {
    let act = prop_oneof![
        3 => Just(Act::Append),
        4 => (1_usize..4, any::<bool>()).prop_map(|(max, lease)| Act::Take { max, lease }),
        4 => (any::<prop::sample::Index>(), any::<bool>())
            .prop_map(|(which, done)| Act::Settle { which: which.index(8), done }),
        1 => (0_u64..12).prop_map(Act::Skip),
        1 => (0_u64..12).prop_map(Act::Retry),
        1 => (0_u64..12).prop_map(Act::Discard),
    ];
    prop::collection::vec((0_usize..2, act), 1..40)
}

async fn act(log: &SessionLog, act: Act, leases: &mut Vec<LeaseId>, delivered: &mut Vec<u64>) {
    match act {
        Act::Append => append(log, 1).await,
        Act::Take { max, lease } => {
            let mut options = now().max(max);
            options.lease = lease.then_some(LEASE);
            for taken in take(log, options).await {
                match taken.lease {
                    Some(lease) => leases.push(lease.id),
                    None => delivered.push(taken.event.position().0),
                }
            }
        }
        Act::Settle { which, done } if which < leases.len() => {
            let lease = leases.swap_remove(which);
            match done {
                true => log.ack(&group(), lease).await.unwrap(),
                false => log.nack(&group(), lease).await.unwrap(),
            }
        }
        Act::Settle { .. } => {}
        Act::Skip(to) => {
            let latest = log.latest().position().unwrap_or_default();
            log.skip_to(&group(), Start::At(Position(to).min(latest)))
                .await
                .unwrap();
        }
        Act::Retry(at) => {
            let group = group();
            let retried = log.retry_dead_letter(&group, Position(at));
            retried.await.unwrap();
        }
        Act::Discard(at) => {
            let group = group();
            let discarded = log.discard_dead_letter(&group, Position(at));
            discarded.await.unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Two processes that do what they like agree, and so does one that comes later. What was taken for
    /// good does not come again, unless it was a dead letter before.
    #[test]
    fn processes_agree_on_what_groups_have_done(acts in acts()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let store = MemoryStore::new();
            let processes = [process(&store).await, process(&store).await];
            // So that there is the group.
            processes[0].skip_to(&group(), Start::Earliest).await.unwrap();
            let (mut leases, mut delivered) = (Vec::new(), Vec::new());
            let mut retried = false;
            for (who, what) in acts {
                retried |= matches!(what, Act::Retry(_));
                act(&processes[who], what, &mut leases, &mut delivered).await;
            }
            soon("both see all events", async {
                while processes[0].latest() != processes[1].latest() {
                    tokio::task::yield_now().await;
                }
            })
            .await;
            let first = told(&processes[0]).await;
            prop_assert_eq!(&first, &told(&processes[1]).await);
            prop_assert_eq!(&first, &told(&process(&store).await).await);
            let once: BTreeSet<_> = delivered.iter().collect();
            prop_assert!(retried || once.len() == delivered.len(), "{:?}", delivered);
            Ok(())
        })?;
    }
}

/// Where the group stands, without what each process counts for itself.
async fn told(log: &SessionLog) -> (GroupInfo, Vec<(u64, u32)>) {
    let mut info = info(log).await;
    (info.died, info.lost, info.dead_dropped, info.kept_bytes) = (0, 0, 0, 0);
    let dead = log.dead_letters(&group());
    let dead = dead
        .iter()
        .map(|letter| (letter.event.position().0, letter.deliveries));
    (info, dead.collect())
}
