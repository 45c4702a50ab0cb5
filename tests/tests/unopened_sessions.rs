//! Sessions in a store that nobody has open end and go when their time has come.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::sync::Arc;
use std::time::Duration;

use reveille_archive::{ArchiveBackend, ArchiveOptions};
use reveille_backend::{Backend, BackendError, Incarnation, OpenOptions, Opened};
use reveille_core::ManualClock;
use reveille_e2e::append_file::AppendFile;
use reveille_e2e::{Broker, soon};
use reveille_nats::{NatsBackend, NatsOptions};
use reveille_queue::{
    AppendOptions, SessionError, SessionLog, SessionOptions, Sessions, SweptStored, TailLimits,
    TakeOptions,
};
use reveille_redis::{RedisBackend, RedisOptions};
use reveille_testkit::{Fault, Faulty, MemoryStore, Operation};
use reveille_types::{EndReason, Epoch, EventDraft, Filter, SessionKey, Tenant};
use tempfile::TempDir;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn key(name: &str) -> SessionKey {
    SessionKey::in_tenant(Tenant::default_tenant(), name).unwrap()
}

/// A minute of silence, and a minute of retention.
fn minute() -> SessionOptions {
    SessionOptions::default().ttl(secs(60))
}

async fn append(log: &SessionLog, kind: &str) {
    let draft = EventDraft::parse(kind).unwrap();
    log.append([draft], AppendOptions::default()).await.unwrap();
}

/// A store, and the time of all processes that use it.
struct Machine {
    backend: Arc<dyn Backend>,
    clock: Arc<ManualClock>,
    /// What the store needs as long as it is used.
    _kept: Box<dyn std::any::Any + Send + Sync>,
}

impl Machine {
    fn on(backend: impl Backend, kept: impl std::any::Any + Send + Sync) -> Self {
        Self {
            backend: Arc::new(backend),
            clock: Arc::new(ManualClock::new()),
            _kept: Box::new(kept),
        }
    }

    fn memory_store() -> Self {
        Self::on(MemoryStore::new(), ())
    }

    fn append_file() -> Self {
        let dir = TempDir::new().unwrap();
        Self::on(AppendFile::open(&dir.path().join("log")).unwrap(), dir)
    }

    fn archive() -> Self {
        let dir = TempDir::new().unwrap();
        let archive = ArchiveBackend::open(dir.path(), ArchiveOptions::default());
        Self::on(archive.unwrap(), dir)
    }

    async fn redis() -> Self {
        let broker = Broker::redis().await;
        let redis = RedisBackend::connect(&broker.url, RedisOptions::default()).await;
        Self::on(redis.unwrap(), broker)
    }

    async fn nats() -> Self {
        let broker = Broker::nats().await;
        let nats = NatsBackend::connect(&broker.url, NatsOptions::default()).await;
        Self::on(nats.unwrap(), broker)
    }

    /// A process that has opened nothing yet.
    fn process(&self) -> Sessions {
        let sessions = Sessions::on(Arc::clone(&self.backend))
            .clock(self.clock.clone())
            .default_ttl(secs(3_600))
            .tail(TailLimits::default())
            .build();
        sessions.look_after(&Tenant::default_tenant());
        sessions
    }

    async fn stored(&self, name: &str) -> Option<Opened> {
        let options = OpenOptions::new(Incarnation::Current, Epoch::from_parts(1, 1));
        match self.backend.open(&key(name), options).await {
            Ok(opened) => Some(opened),
            Err(BackendError::NotFound) => None,
            Err(error) => panic!("{error}"),
        }
    }
}

/// How many ended, were removed and were forgotten.
async fn sweep(sessions: &Sessions) -> (usize, usize, usize) {
    let SweptStored {
        ended,
        removed,
        forgotten,
        ..
    } = sessions.sweep_stored().await.unwrap();
    (ended, removed, forgotten)
}

async fn an_ended_session_leaves_the_store_when_its_retention_is_over(machine: Machine) {
    let before = machine.process();
    for name in ["over", "open"] {
        let log = before.create(key(name), minute()).await.unwrap();
        append(&log, "a").await;
        // The group has something in the store as well.
        log.take(TakeOptions::new().lease(secs(5))).await.unwrap();
    }
    before.get(&key("over")).unwrap().close(None).await.unwrap();
    drop(before);

    let sessions = machine.process();
    assert_eq!(sweep(&sessions).await, (0, 0, 0));
    machine.clock.advance(secs(59));
    assert_eq!(sweep(&sessions).await, (0, 0, 0));
    assert!(machine.stored("over").await.is_some());
    // The other one is used.
    let open = sessions.find(&key("open")).await.unwrap();
    machine.clock.advance(secs(1));
    assert_eq!(sweep(&sessions).await, (0, 1, 0));
    assert!(machine.stored("over").await.is_none());
    assert!(machine.stored("open").await.unwrap().seal.is_none());
    assert_eq!(open.info().reason, None);
    assert_eq!(sweep(&sessions).await, (0, 0, 0));
}

async fn an_ended_session_is_found_until_its_retention_is_over(machine: Machine) {
    let before = machine.process();
    let log = before.create(key("s"), minute()).await.unwrap();
    append(&log, "task.result").await;
    let epoch = log.epoch();
    drop((before, log));
    let (sessions, other) = (machine.process(), machine.process());
    assert_eq!(
        (sweep(&sessions).await, sweep(&other).await),
        ((0, 0, 0), (0, 0, 0))
    );
    machine.clock.advance(secs(59));
    let found = sessions.find(&key("s")).await.unwrap();
    assert_eq!((found.epoch(), found.info().retained), (epoch, 1));
    machine.clock.advance(secs(1));
    let gone = other.find(&key("s")).await;
    assert!(matches!(gone, Err(SessionError::NotFound { .. })));
}

async fn two_processes_may_remove_what_is_over_at_once(machine: Machine) {
    let before = machine.process();
    let log = before.create(key("s"), minute()).await.unwrap();
    log.close(None).await.unwrap();
    drop((before, log));
    let (here, there) = (machine.process(), machine.process());
    assert_eq!(
        (sweep(&here).await, sweep(&there).await),
        ((0, 0, 0), (0, 0, 0))
    );
    machine.clock.advance(secs(60));
    let swept = tokio::join!(sweep(&here), sweep(&there));
    assert!(swept.0.1 + swept.1.1 >= 1, "{swept:?}");
    assert!(machine.stored("s").await.is_none());
}

async fn what_is_over_here_leaves_the_store_as_well(machine: Machine) {
    let sessions = machine.process();
    let log = sessions.create(key("s"), minute()).await.unwrap();
    append(&log, "task.result").await;
    machine.clock.advance(secs(60));
    assert_eq!(sweep(&sessions).await, (0, 0, 0), "it is still open here");
    assert_eq!(sessions.sweep().removed, 1);
    assert_eq!(sweep(&sessions).await, (0, 1, 0));
    assert_eq!(sessions.info().removed, 1, "it is counted once");
    assert!(machine.stored("s").await.is_none());
    let tail = sessions.tail(&Tenant::default_tenant()).unwrap();
    let begin = tail.info().begin;
    assert_eq!(tail.read(begin, &Filter::all(), 9, 999).events, []);
}

async fn what_is_over_here_is_not_found_in_the_store(machine: Machine) {
    let sessions = machine.process();
    let mut logs = Vec::new();
    for name in ["swept", "found", "made"] {
        let log = sessions.create(key(name), minute()).await.unwrap();
        append(&log, "task.result").await;
        logs.push(log);
    }
    machine.clock.advance(secs(59));
    assert_eq!(sessions.sweep().removed, 0);
    for log in &logs {
        let found = sessions.find(log.key()).await.unwrap();
        assert_eq!(found.epoch(), log.epoch());
    }
    machine.clock.advance(secs(1));
    // Whether it is noticed by whoever asks for it, or has been before.
    let gone = sessions.find(&key("found")).await;
    assert!(matches!(gone, Err(SessionError::NotFound { .. })));
    let (made, is_new) = sessions.get_or_create(key("made"), minute()).await.unwrap();
    assert!(is_new && made.epoch() != logs[2].epoch());
    sessions.sweep();
    sessions
        .open_stored(&Tenant::default_tenant())
        .await
        .unwrap();
    let gone = sessions.find(&key("swept")).await;
    assert!(matches!(gone, Err(SessionError::NotFound { .. })));
    for name in ["swept", "found"] {
        assert!(machine.stored(name).await.is_none());
    }
    assert_eq!(sweep(&sessions).await, (0, 0, 0));
    assert_eq!(made.info().reason, None);
    assert_eq!(sessions.info().removed, 3);
}

async fn an_incarnation_in_place_of_one_that_is_over_stays(machine: Machine) {
    let before = machine.process();
    let log = before.create(key("s"), minute()).await.unwrap();
    log.close(None).await.unwrap();
    let sessions = machine.process();
    assert_eq!(sweep(&sessions).await, (0, 0, 0));
    machine.clock.advance(secs(59));
    // Elsewhere.
    let again = before.recreate(key("s"), minute()).await.unwrap();
    machine.clock.advance(secs(1));
    assert_eq!(sweep(&sessions).await, (0, 0, 0));
    let stored = machine.stored("s").await.unwrap();
    assert_eq!((stored.epoch, stored.seal), (again.epoch(), None));
}

async fn retention_counts_from_the_end_of_this_incarnation(machine: Machine) {
    let there = machine.process();
    for name in ["open", "replaced"] {
        let log = there.create(key(name), minute()).await.unwrap();
        if name == "replaced" {
            log.close(None).await.unwrap();
        }
    }
    let sessions = machine.process();
    assert_eq!(sweep(&sessions).await, (0, 0, 0));
    machine.clock.advance(secs(50));
    there.get(&key("open")).unwrap().close(None).await.unwrap();
    let again = there.recreate(key("replaced"), minute()).await.unwrap();
    again.close(None).await.unwrap();
    machine.clock.advance(secs(10));
    assert_eq!(sweep(&sessions).await, (0, 0, 0));
    machine.clock.advance(secs(60));
    assert_eq!(sweep(&sessions).await, (0, 2, 0));
}

/// Nobody else can have used it.
async fn silence_ends_a_session_of_one_process(machine: Machine) {
    let before = machine.process();
    let log = before.create(key("s"), minute()).await.unwrap();
    append(&log, "a").await;
    drop((before, log));
    let sessions = machine.process();
    assert_eq!(sweep(&sessions).await, (0, 0, 0));
    machine.clock.advance(secs(60));
    assert_eq!(sweep(&sessions).await, (1, 0, 0));
    let seal = machine.stored("s").await.unwrap().seal.unwrap();
    assert_eq!(seal.reason, EndReason::Expired);
    machine.clock.advance(secs(59));
    assert_eq!(sweep(&sessions).await, (0, 0, 0));
    let found = machine.process().find(&key("s")).await.unwrap();
    assert_eq!(found.info().reason, Some(EndReason::Expired));
    machine.clock.advance(secs(1));
    assert_eq!(sweep(&sessions).await, (0, 1, 0));
}

/// Whoever takes or waits elsewhere leaves no trace in the store.
async fn silence_ends_nothing_that_others_may_use_and_the_lifetime_does(machine: Machine) {
    let there = machine.process();
    let silent = there.create(key("silent"), minute()).await.unwrap();
    let old = SessionOptions::default().ttl(secs(60)).lifetime(secs(600));
    drop(machine.process().create(key("old"), old).await.unwrap());
    let sessions = machine.process();
    assert_eq!(sweep(&sessions).await, (0, 0, 0));
    for _ in 0..9 {
        machine.clock.advance(secs(59));
        silent.touch();
        assert_eq!(sweep(&sessions).await, (0, 0, 0));
    }
    assert_eq!(silent.info().reason, None);
    machine.clock.advance(secs(69));
    assert_eq!(
        sweep(&sessions).await,
        (1, 0, 0),
        "the lifetime is the same for all"
    );
    assert!(machine.stored("old").await.unwrap().seal.is_some());
    assert!(machine.stored("silent").await.is_some());
}

async fn what_was_removed_elsewhere_is_not_shown_here_for_long(machine: Machine) {
    let (here, there) = (machine.process(), machine.process());
    let tenant = Tenant::default_tenant();
    let tail = here.tail_or_begin(&tenant).await.unwrap().unwrap();
    for name in ["never-opened", "ended", "stays"] {
        let log = there.create(key(name), minute()).await.unwrap();
        append(&log, "a").await;
    }
    there.get(&key("ended")).unwrap().close(None).await.unwrap();
    let ended = here.find(&key("ended")).await.unwrap();
    let shown = || {
        let mut names = Vec::new();
        let mut at = tail.info().begin;
        while at < tail.info().latest {
            let page = tail.read(at, &Filter::all(), 9, usize::MAX);
            names.extend(
                page.events
                    .iter()
                    .map(|event| event.session().id.to_string()),
            );
            at = page.read_to;
        }
        names
    };
    soon("all are shown", async {
        while shown().len() < 3 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(sweep(&here).await, (0, 0, 0));
    for name in ["never-opened", "ended"] {
        there.remove(&key(name)).await.unwrap();
    }
    assert_eq!(sweep(&here).await, (0, 0, 2));
    assert_eq!(shown(), ["stays"]);
    assert_eq!(ended.info().reason, Some(EndReason::Deleted));
    let gone = here.find(&key("ended")).await;
    assert!(matches!(gone, Err(SessionError::NotFound { .. })));
    assert_eq!(sweep(&here).await, (0, 0, 0));
}

macro_rules! on_stores {
    ($([$module:ident: $machine:expr] $name:ident)+) => {
        $(mod $module {
            #[tokio::test]
            async fn $name() {
                use super::Machine;
                super::$name($machine).await;
            }
        })+
    };
}

macro_rules! on_each_store {
    ($($name:ident)+) => {
        on_each_store! { @on memory_store, Machine::memory_store(), $($name)+ }
        on_each_store! { @on append_file, Machine::append_file(), $($name)+ }
        on_each_store! { @on archive, Machine::archive(), $($name)+ }
        on_each_store! { @on redis, Machine::redis().await, $($name)+ }
        on_each_store! { @on nats, Machine::nats().await, $($name)+ }
    };
    (@on $module:ident, $machine:expr, $($name:ident)+) => {
        mod $module {
            use super::Machine;

            $(#[tokio::test]
            async fn $name() {
                super::$name($machine).await;
            })+
        }
    };
}

on_each_store! {
    an_ended_session_leaves_the_store_when_its_retention_is_over
    an_ended_session_is_found_until_its_retention_is_over
    two_processes_may_remove_what_is_over_at_once
    what_is_over_here_leaves_the_store_as_well
    what_is_over_here_is_not_found_in_the_store
    an_incarnation_in_place_of_one_that_is_over_stays
    retention_counts_from_the_end_of_this_incarnation
}

on_stores! {
    [alone_memory_store: Machine::memory_store()] silence_ends_a_session_of_one_process
    [alone_append_file: Machine::append_file()] silence_ends_a_session_of_one_process
    [alone_archive: Machine::archive()] silence_ends_a_session_of_one_process
    [shared_redis: Machine::redis().await]
    silence_ends_nothing_that_others_may_use_and_the_lifetime_does
    [shared_nats: Machine::nats().await]
    silence_ends_nothing_that_others_may_use_and_the_lifetime_does
    [removed_redis: Machine::redis().await] what_was_removed_elsewhere_is_not_shown_here_for_long
    [removed_nats: Machine::nats().await] what_was_removed_elsewhere_is_not_shown_here_for_long
}

#[tokio::test]
async fn groups_of_what_is_removed_go_with_it() {
    let store = MemoryStore::new();
    let machine = Machine::on(store.clone(), ());
    let before = machine.process();
    let log = before.create(key("s"), minute()).await.unwrap();
    append(&log, "a").await;
    log.take(TakeOptions::new().lease(secs(5))).await.unwrap();
    log.close(None).await.unwrap();
    drop((before, log));
    assert_eq!(store.log_count(), 2);
    let sessions = machine.process();
    sweep(&sessions).await;
    machine.clock.advance(secs(60));
    assert_eq!(sweep(&sessions).await, (0, 1, 0));
    assert_eq!(store.log_count(), 0);
}

/// Nor does a store of many sessions make one sweep long.
#[tokio::test]
async fn a_sweep_looks_at_so_many_sessions_and_the_next_one_at_others() {
    let machine = Machine::memory_store();
    let before = machine.process();
    for n in 0..1_500 {
        let log = before.create(key(&format!("s{n}")), minute()).await;
        log.unwrap().close(None).await.unwrap();
    }
    drop(before);
    let sessions = machine.process();
    assert_eq!(sweep(&sessions).await, (0, 0, 0));
    machine.clock.advance(secs(30));
    assert_eq!(sweep(&sessions).await, (0, 0, 0));
    machine.clock.advance(secs(30));
    assert_eq!(sweep(&sessions).await, (0, 1_000, 0));
    assert_eq!(
        sweep(&sessions).await,
        (0, 0, 0),
        "the others were seen later"
    );
    machine.clock.advance(secs(30));
    assert_eq!(sweep(&sessions).await, (0, 500, 0));
}

#[tokio::test]
async fn what_a_failing_store_keeps_from_happening_happens_later() {
    let backend = Faulty::new(MemoryStore::new());
    let faults = backend.faults().clone();
    let machine = Machine::on(backend, ());
    let before = machine.process();
    let log = before.create(key("s"), minute()).await.unwrap();
    log.close(None).await.unwrap();
    drop((before, log));
    let sessions = machine.process();
    sweep(&sessions).await;
    machine.clock.advance(secs(60));
    for operation in [Operation::List, Operation::Open, Operation::Remove] {
        faults.plan(operation, Fault::Refuse);
        let failed = sessions.sweep_stored().await;
        assert!(
            matches!(failed, Err(SessionError::Backend(_))),
            "{operation:?}"
        );
    }
    assert_eq!(sweep(&sessions).await, (0, 1, 0));
}

/// What is looked at now and then without anybody asking.
#[tokio::test(start_paused = true)]
async fn whoever_drives_looks_through_the_store() {
    let store = MemoryStore::new();
    let before = Sessions::builder(store.clone()).build();
    let log = before.create(key("s"), minute()).await.unwrap();
    log.close(None).await.unwrap();
    drop((before, log));
    let never = Sessions::builder(store.clone()).sweep_stored(Duration::ZERO);
    let never = never.build();
    never.look_after(&Tenant::default_tenant());
    let sessions = Sessions::builder(store.clone()).build();
    sessions.look_after(&Tenant::default_tenant());
    let idle = tokio::spawn(never.drive());
    tokio::time::sleep(secs(24 * 3_600)).await;
    assert_eq!(store.log_count(), 1);
    let driving = tokio::spawn(sessions.drive());
    tokio::time::sleep(secs(299)).await;
    assert_eq!(store.log_count(), 1, "the first look only remembers");
    tokio::time::sleep(secs(2)).await;
    assert_eq!(store.log_count(), 0);
    assert_eq!(sessions.info().removed, 1);
    drop((sessions, never));
    soon("the end of the drivers", async {
        driving.await.unwrap();
        idle.await.unwrap();
    })
    .await;
}
