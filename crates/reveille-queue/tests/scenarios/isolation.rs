//! Sessions do not wait for each other, and tenants do not notice each other.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use proptest::prelude::*;
use reveille_backend::{
    AppendError, AppendOptions, Backend, BackendError, Capabilities, Entry, ImmediateLog,
    ListOptions, LogHandle, OpenOptions, Opened, OrderPage, ReadLimit, Slots, StoredPage,
};
use reveille_core::ManualClock;
use reveille_memory::MemoryBackend;
use reveille_queue::{
    QueueLimits, SessionOptions, Sessions, SubscribeOptions, TailLimits, TakeOptions, WaitOptions,
};
use reveille_types::{Epoch, Filter, Label, Seq, SessionKey, Start, Tenant};

use crate::support::{append, create, draft, drain, ms, take_now, taken};

/// How long whoever must not be held up may take.
const HELD_UP: Duration = Duration::from_secs(30);

/// A backend whose session `stuck` stops in the middle of an append, under its lock, until it is told
/// to go on.
#[derive(Debug)]
struct Stuck {
    memory: MemoryBackend,
    gate: Arc<Gate>,
}

#[derive(Debug)]
struct Gate {
    arrived: SyncSender<()>,
    go_on: Mutex<Receiver<()>>,
}

#[derive(Debug)]
struct StuckLog(Box<dyn ImmediateLog>, Arc<Gate>);

impl ImmediateLog for StuckLog {
    fn try_append(
        &mut self,
        entries: &[Entry],
        options: &AppendOptions,
    ) -> Result<Slots, AppendError> {
        self.1.arrived.send(()).unwrap();
        self.1.go_on.lock().unwrap().recv_timeout(HELD_UP).unwrap();
        self.0.try_append(entries, options)
    }
}

#[async_trait]
impl Backend for Stuck {
    fn capabilities(&self) -> Capabilities {
        self.memory.capabilities()
    }

    async fn open(&self, key: &SessionKey, options: OpenOptions) -> Result<Opened, BackendError> {
        let mut opened = self.memory.open(key, options).await?;
        if key.name() == "stuck" {
            opened.log = match opened.log {
                LogHandle::Immediate(log) => {
                    LogHandle::Immediate(Box::new(StuckLog(log, Arc::clone(&self.gate))))
                }
                stored => stored,
            };
        }
        Ok(opened)
    }

    async fn last_seq(&self, tenant: &Tenant) -> Result<Seq, BackendError> {
        self.memory.last_seq(tenant).await
    }

    async fn order_epoch(&self, tenant: &Tenant, new_epoch: Epoch) -> Result<Epoch, BackendError> {
        self.memory.order_epoch(tenant, new_epoch).await
    }

    async fn read_order(
        &self,
        tenant: &Tenant,
        after: Seq,
        limit: ReadLimit,
    ) -> Result<OrderPage, BackendError> {
        self.memory.read_order(tenant, after, limit).await
    }

    async fn list(
        &self,
        tenant: &Tenant,
        options: ListOptions,
    ) -> Result<StoredPage, BackendError> {
        self.memory.list(tenant, options).await
    }

    async fn remove(&self, key: &SessionKey) -> Result<bool, BackendError> {
        self.memory.remove(key).await
    }

    async fn health(&self) -> Result<(), BackendError> {
        Ok(())
    }
}

#[test]
fn d000_18_session_that_is_stuck_under_its_lock_holds_up_no_other() {
    let (arrived, has_arrived) = sync_channel(1);
    let (let_go, go_on) = sync_channel(1);
    let gate = Arc::new(Gate {
        arrived,
        go_on: Mutex::new(go_on),
    });
    let sessions = Sessions::builder(Stuck {
        memory: MemoryBackend::new(),
        gate,
    })
    .tail(TailLimits {
        events: 100,
        bytes: 1024 * 1024,
    })
    .build();
    let stuck = create(&sessions, "stuck", SessionOptions::default());
    let other = create(&sessions, "other", SessionOptions::default());
    let publisher = thread::spawn({
        let stuck = stuck.clone();
        move || append(&stuck, &["a"])
    });
    has_arrived.recv_timeout(HELD_UP).unwrap();

    let (tell, told) = sync_channel(1);
    let worker = thread::spawn({
        let sessions = sessions.clone();
        move || {
            append(&other, &["a", "b"]);
            let mut events = other.subscribe(SubscribeOptions::default()).unwrap();
            assert_eq!(drain(&mut events), ["0", "1", "live"]);
            assert_eq!(taken(&take_now(&other).now_or_never().unwrap()), [0]);
            append(&create(&sessions, "new", SessionOptions::default()), &["a"]);
            let closed = other.close(None).now_or_never().unwrap();
            assert!(closed.unwrap());
            tell.send(()).unwrap();
        }
    });
    told.recv_timeout(HELD_UP / 2).unwrap();
    let_go.send(()).unwrap();
    worker.join().unwrap();
    publisher.join().unwrap();
    assert_eq!(stuck.info().retained, 1);
}

fn tenant_key(tenant: &str, name: &str) -> SessionKey {
    SessionKey::in_tenant(Tenant::parse(tenant).unwrap(), name).unwrap()
}

#[tokio::test]
async fn d001_15_session_of_another_tenant_looks_like_none_to_every_call() {
    let sessions = Sessions::builder(MemoryBackend::new()).build();
    let (ours, theirs) = (tenant_key("a", "x"), tenant_key("b", "x"));
    let options = SessionOptions::default();
    let log = sessions.create(ours.clone(), options).await.unwrap();
    append(&log, &["secret"]);
    let codes = [
        sessions.get(&theirs).unwrap_err().code(),
        sessions.find(&theirs).await.unwrap_err().code(),
        sessions.remove(&theirs).await.unwrap_err().code(),
    ];
    assert_eq!(codes, ["session_not_found"; 3]);
    let (their_log, created) = sessions.get_or_create(theirs, options).await.unwrap();
    assert!(created && their_log.epoch() != log.epoch());
    let foreign = SubscribeOptions::from(Start::After(log.latest()));
    assert_eq!(
        their_log.subscribe(foreign).unwrap_err().code(),
        "cursor_epoch_mismatch"
    );
    their_log.close(None).await.unwrap();
    assert_eq!(sessions.get(&ours).unwrap().info().reason, None);
}

/// What a tenant does, in sessions of two names that both tenants use.
#[derive(Debug, Clone, Copy)]
enum Op {
    Create(u8),
    Recreate(u8),
    Remove(u8),
    Close(u8),
    Cancel(u8),
    Append(u8, u8, Option<u8>),
    Take(u8, bool),
    Wait(u8),
    Skip(u8),
    List,
    Tail,
}

fn op() -> impl Strategy<Value = Op> {
    let session = || 0..2_u8;
    prop_oneof![
        2 => session().prop_map(Op::Create),
        1 => session().prop_map(Op::Recreate),
        1 => session().prop_map(Op::Remove),
        1 => session().prop_map(Op::Close),
        1 => session().prop_map(Op::Cancel),
        8 => (session(), 1..40_u8, proptest::option::of(0..3_u8))
            .prop_map(|(session, events, key)| Op::Append(session, events, key)),
        4 => (session(), any::<bool>()).prop_map(|(session, lease)| Op::Take(session, lease)),
        2 => session().prop_map(Op::Wait),
        1 => session().prop_map(Op::Skip),
        1 => Just(Op::List),
        1 => Just(Op::Tail),
    ]
}

/// Sessions with small bounds, on a clock that stands still.
fn bounded() -> Sessions {
    let mut limits = QueueLimits::default();
    limits.sessions_per_tenant = 1;
    limits.session_events = 50;
    limits.bytes_per_tenant = 16 * 1024;
    limits.leases_per_group = 5;
    Sessions::builder(MemoryBackend::new())
        .clock(Arc::new(ManualClock::new()))
        .limits(limits)
        .tail(TailLimits {
            events: 20,
            bytes: 1024 * 1024,
        })
        .build()
}

/// Does it, and says what the tenant sees of it. Epochs and ids are random and left out.
fn observe(sessions: &Sessions, tenant: &str, op: Op) -> String {
    let key = |session: u8| tenant_key(tenant, ["x", "y"][usize::from(session)]);
    let options = SessionOptions::default();
    let group = Label::parse("g").unwrap();
    let found = |session| sessions.get(&key(session));
    let outcome = async {
        Ok::<String, String>(match op {
            Op::Create(s) => {
                let created = sessions.create(key(s), options).await;
                created
                    .map_err(|e| e.to_string())?
                    .info()
                    .latest
                    .to_string()[16..]
                    .to_owned()
            }
            Op::Recreate(s) => {
                let created = sessions.recreate(key(s), options).await;
                created
                    .map_err(|e| e.to_string())?
                    .info()
                    .retained
                    .to_string()
            }
            Op::Remove(s) => {
                let removed = sessions.remove(&key(s)).await;
                format!("{:?}", removed.map_err(|e| e.to_string())?)
            }
            Op::Close(s) => {
                let log = found(s).map_err(|e| e.to_string())?;
                format!("{:?}", log.close(None).await)
            }
            Op::Cancel(s) => {
                let log = found(s).map_err(|e| e.to_string())?;
                let cancelled = log.cancel(Some(tenant), None).await;
                format!("{:?}", cancelled.map(|c| c.already_cancelled))
            }
            Op::Append(s, events, key) => {
                let log = found(s).map_err(|e| e.to_string())?;
                let drafts = (0..events).map(|n| {
                    let mut draft = draft("a");
                    draft.idempotency_key = key.map(|key| format!("{key}.{n}").into());
                    draft
                });
                let receipt = log.try_append(drafts, Default::default());
                let results = receipt.map_err(|e| e.to_string())?.results;
                let place = |p: &reveille_types::Placed| (p.position, p.seq, p.deduplicated);
                format!("{:?}", Vec::from_iter(results.iter().map(place)))
            }
            Op::Take(s, lease) => {
                let log = found(s).map_err(|e| e.to_string())?;
                let mut take = TakeOptions::new()
                    .group(group)
                    .max(3)
                    .timeout(Duration::ZERO);
                take.lease = lease.then_some(ms(1000));
                let outcome = log.take(take).await;
                format!("{:?}", taken(&outcome.map_err(|e| e.to_string())?))
            }
            Op::Wait(s) => {
                let log = found(s).map_err(|e| e.to_string())?;
                let mut events = log.subscribe(SubscribeOptions::default()).unwrap();
                let now = WaitOptions::any(Filter::all()).timeout(Duration::ZERO);
                let looked = crate::support::matched(&log.wait(now).await.unwrap());
                format!("{looked:?} {:?}", drain(&mut events))
            }
            Op::Skip(s) => {
                let log = found(s).map_err(|e| e.to_string())?;
                let skipped = log.skip_to(&group, Start::Latest).await;
                let info = log.group_info(&group).unwrap();
                format!("{:?} {info:?}", skipped.map(|c| c.position()))
                    .split("cursor: ")
                    .map(|part| part.split_once("place: ").map_or(part, |(_, rest)| rest))
                    .collect()
            }
            Op::List => {
                let tenant = Tenant::parse(tenant).unwrap();
                let first = reveille_queue::ListOptions::first(9);
                let page = sessions.list(&tenant, &first).sessions;
                let seen = page
                    .iter()
                    .map(|i| (&i.session, i.retained, i.dropped, i.state));
                format!("{:?} {}", Vec::from_iter(seen), sessions.bytes_of(&tenant))
            }
            Op::Tail => {
                let tail = sessions.tail(&Tenant::parse(tenant).unwrap());
                let info = tail.map(|tail| tail.info());
                format!("{:?}", info.map(|i| (i.oldest, i.latest)))
            }
        })
    };
    format!("{:?}", outcome.now_or_never().unwrap())
}

proptest! {
    /// Whatever another tenant does in between, with the same names, keys and groups, and at its
    /// limits: a tenant sees what it would see alone.
    #[test]
    fn r22_tenant_sees_nothing_of_another(
        ops in proptest::collection::vec((any::<bool>(), op()), 1..150)
    ) {
        let (shared, alone) = (bounded(), bounded());
        for (is_ours, op) in ops {
            match is_ours {
                true => prop_assert_eq!(observe(&shared, "a", op), observe(&alone, "a", op)),
                false => drop(observe(&shared, "b", op)),
            }
        }
    }
}
