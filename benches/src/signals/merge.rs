//! Many events awaited as one: create the inputs, merge, trigger all, await.
//!
//! All run in a single-threaded tokio runtime, since one of the peers works in no other place.
//! The callers' buffers are kept from one merge to the next, except where a peer takes them.

use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use futures::future::join_all;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::task::{JoinSet, unconstrained};
use velo::events::{Event, EventManager};

use crate::harness::{Entrant, time_row};
use crate::own::OwnMerge;
use crate::{Plan, Report, Role};

/// The widths, and the name of the row of each.
const ROWS: &[(usize, &str)] = &[
    (2, "merge_2"),
    (10, "merge_10"),
    (100, "merge_100"),
    (1000, "merge_1000"),
    (10_000, "merge_10000"),
    (100_000, "merge_100000"),
];

const UNIT: &str = "ns per input";

pub(super) fn time(plan: &Plan, report: &mut Report<'_>) -> io::Result<()> {
    let runtime = runtime()?;
    for &(inputs, row) in ROWS {
        let entrants = vec![
            entrant::<OwnMerge>(&runtime, inputs),
            entrant::<VeloMerge>(&runtime, inputs),
            entrant::<JoinAll>(&runtime, inputs),
            entrant::<Tasks>(&runtime, inputs),
            entrant::<JoinAllUnconstrained>(&runtime, inputs),
            entrant::<Countdown>(&runtime, inputs),
        ];
        time_row(plan, report, row, UNIT, inputs, entrants)?;
    }
    Ok(())
}

pub(super) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().build()
}

fn entrant<M: Merge + 'static>(runtime: &Runtime, inputs: usize) -> Entrant<'_> {
    let mut merge = M::new();
    Entrant {
        name: M::NAME,
        role: M::ROLE,
        run: Box::new(move |count| {
            runtime.block_on(async {
                let start = Instant::now();
                for _ in 0..count {
                    merge.once(inputs).await;
                }
                start.elapsed()
            })
        }),
    }
}

/// A way to await many events as one.
pub(super) trait Merge {
    const NAME: &'static str;
    const ROLE: Role;

    fn new() -> Self;
    fn once(&mut self, inputs: usize) -> impl Future<Output = ()>;
}

impl Merge for OwnMerge {
    const NAME: &'static str = "reveille";
    const ROLE: Role = Role::Own;

    fn new() -> Self {
        Self::new()
    }

    async fn once(&mut self, inputs: usize) {
        self.once(inputs).await;
    }
}

/// velo's `merge_events`.
pub(super) struct VeloMerge {
    manager: EventManager,
    events: Vec<Event>,
}

impl Merge for VeloMerge {
    const NAME: &'static str = "velo merge_events";
    const ROLE: Role = Role::Peer;

    fn new() -> Self {
        Self {
            manager: EventManager::local(),
            events: Vec::new(),
        }
    }

    async fn once(&mut self, inputs: usize) {
        let mut handles = Vec::with_capacity(inputs);
        for _ in 0..inputs {
            let event = self.manager.new_event().expect("the manager is open");
            handles.push(event.handle());
            self.events.push(event);
        }
        let merged = self
            .manager
            .merge_events(handles)
            .expect("all are of this manager");
        for event in self.events.drain(..) {
            event.trigger().expect("nobody else completes the event");
        }
        let all = self.manager.awaiter(merged).expect("it was just made");
        all.await.expect("every input was triggered");
    }
}

/// The two ends of many oneshot channels.
#[derive(Default)]
struct Channels {
    senders: Vec<oneshot::Sender<()>>,
    receivers: Vec<oneshot::Receiver<()>>,
}

impl Channels {
    fn open(&mut self, count: usize) {
        for _ in 0..count {
            let (sender, receiver) = oneshot::channel();
            self.senders.push(sender);
            self.receivers.push(receiver);
        }
    }

    fn send(&mut self) {
        for sender in self.senders.drain(..) {
            sender.send(()).expect("the receiver is there");
        }
    }
}

/// `join_all` over oneshot channels.
#[derive(Default)]
pub(super) struct JoinAll {
    channels: Channels,
}

impl Merge for JoinAll {
    const NAME: &'static str = "join_all, oneshots";
    const ROLE: Role = Role::Peer;

    fn new() -> Self {
        Self::default()
    }

    async fn once(&mut self, inputs: usize) {
        self.channels.open(inputs);
        let all = join_all(self.channels.receivers.drain(..));
        self.channels.send();
        assert!(all.await.iter().all(Result::is_ok));
    }
}

/// `join_all` over oneshot channels, free of the budget that tokio gives to each task. Few
/// programs do that, so it is not compared with.
#[derive(Default)]
pub(super) struct JoinAllUnconstrained {
    channels: Channels,
}

impl Merge for JoinAllUnconstrained {
    const NAME: &'static str = "join_all, unconstrained";
    const ROLE: Role = Role::Info;

    fn new() -> Self {
        Self::default()
    }

    async fn once(&mut self, inputs: usize) {
        self.channels.open(inputs);
        let all = join_all(self.channels.receivers.drain(..));
        self.channels.send();
        assert!(unconstrained(all).await.iter().all(Result::is_ok));
    }
}

/// A `JoinSet` with one task for each oneshot channel.
#[derive(Default)]
pub(super) struct Tasks {
    channels: Channels,
}

impl Merge for Tasks {
    const NAME: &'static str = "JoinSet, oneshots";
    const ROLE: Role = Role::Peer;

    fn new() -> Self {
        Self::default()
    }

    async fn once(&mut self, inputs: usize) {
        self.channels.open(inputs);
        let mut tasks: JoinSet<_> = self.channels.receivers.drain(..).collect();
        self.channels.send();
        while let Some(joined) = tasks.join_next().await {
            assert!(matches!(joined, Ok(Ok(()))));
        }
    }
}

/// The floor: a number that counts down to one oneshot. There are no inputs that could be
/// awaited, poisoned or named, so it is not compared with.
pub(super) struct Countdown;

impl Merge for Countdown {
    const NAME: &'static str = "countdown to one oneshot";
    const ROLE: Role = Role::Info;

    fn new() -> Self {
        Self
    }

    async fn once(&mut self, inputs: usize) {
        let (sender, receiver) = oneshot::channel();
        let left = Arc::new((AtomicUsize::new(inputs), Mutex::new(Some(sender))));
        for _ in 0..inputs {
            if left.0.fetch_sub(1, Ordering::AcqRel) == 1 {
                let mut last = left.1.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(sender) = last.take() {
                    sender.send(()).expect("the receiver is there");
                }
            }
        }
        receiver.await.expect("the last one has sent");
    }
}
