//! A reader that keeps nothing but its last cursor sees each event once, or is told that it is gone: over
//! restarts, failing stores, lost answers and evictions.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::time::Duration;

use proptest::prelude::*;
use reveille_queue::{
    AppendOptions, SessionLog, SessionOptions, Sessions, StreamItem, SubscribeOptions, WaitOptions,
    WaitOutcome,
};
use reveille_testkit::{Fault, Faults, Faulty, MemoryStore, Operation};
use reveille_types::{Cursor, EventDraft, Filter, Gap, Label, Position, SessionKey, Start, Tenant};

/// What happens.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// So many events are appended, one by one.
    Append(u32),
    /// So many items are read from a subscription.
    Follow(u32),
    /// So many events are waited for.
    Wait(u32),
    /// The next call of this sort goes wrong: refused, its answer lost, or a wake for nothing.
    Fail(Operation, u32),
    /// The process ends, and another one begins.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let operations = vec![
        Operation::Open,
        Operation::Append,
        Operation::Read,
        Operation::Watch,
        Operation::Trim,
        Operation::Info,
    ];
    prop_oneof![
        4 => (1..10_u32).prop_map(Step::Append),
        3 => (1..15_u32).prop_map(Step::Follow),
        2 => (1..10_u32).prop_map(Step::Wait),
        3 => (prop::sample::select(operations), 0..3_u32).prop_map(|(o, n)| Step::Fail(o, n)),
        1 => Just(Step::Restart),
    ]
}

/// A process on the store.
struct Process {
    log: SessionLog,
    faults: Faults,
}

impl Process {
    async fn start(store: &MemoryStore, retained: usize) -> Self {
        let backend = Faulty::new(store.clone());
        let faults = backend.faults().clone();
        let sessions = Sessions::builder(backend).build();
        let key = SessionKey::in_tenant(Tenant::default_tenant(), "s").unwrap();
        let options = SessionOptions::default().max_events(retained);
        let (log, _) = sessions.get_or_create(key, options).await.unwrap();
        Self { log, faults }
    }

    /// Appends until it is known to be stored.
    async fn append(&self, number: usize) {
        loop {
            let mut draft = EventDraft::parse("a").unwrap();
            draft.turn = Some(Label::parse(number.to_string()).unwrap());
            draft.idempotency_key = Some(number.to_string().into());
            match self.log.append([draft], AppendOptions::default()).await {
                Ok(_) => return,
                Err(error) => assert!(
                    ["outcome_unknown", "backend_unavailable"].contains(&error.code()),
                    "{error}"
                ),
            }
        }
    }
}

/// A reader that keeps nothing but its last cursor, and what it was told so far.
#[derive(Default)]
struct Reader {
    cursor: Option<Cursor>,
    /// The first position that it does not know of.
    next: u64,
    missed: u64,
}

impl Reader {
    fn start(&self) -> Start {
        match self.cursor {
            None => Start::At(Position::START),
            Some(cursor) => Start::After(cursor),
        }
    }

    fn see(&mut self, event: &reveille_types::Event) {
        assert_eq!(event.position().0, self.next, "lost or twice");
        let turn = event.envelope().turn.as_ref().unwrap().as_str();
        assert_eq!(turn, self.next.to_string(), "another event at its place");
        self.next += 1;
        self.cursor = Some(event.cursor());
    }

    fn miss(&mut self, gap: &Gap) {
        for (first, last) in gap.ranges.as_slice() {
            assert_eq!(*first, self.next, "a gap is elsewhere");
            self.missed += last - first + 1;
            self.next = last + 1;
        }
        self.cursor = Some(gap.resumes_at);
    }

    /// Reads so many items, or until nothing more comes.
    async fn follow(&mut self, log: &SessionLog, items: u32) {
        let mut events = log.subscribe(SubscribeOptions::from(self.start())).unwrap();
        for _ in 0..items {
            let item = tokio::time::timeout(Duration::from_secs(10), events.next());
            let Ok(item) = item.await else {
                return;
            };
            match item.unwrap().unwrap() {
                StreamItem::Event(event) => self.see(&event),
                StreamItem::Gap(gap) => self.miss(&gap),
                StreamItem::CaughtUp(cursor) => self.cursor = Some(cursor),
                other => panic!("nobody ends the session: {other:?}"),
            }
        }
    }

    async fn wait(&mut self, log: &SessionLog, times: u32) {
        for _ in 0..times {
            let wait = WaitOptions::any(Filter::all()).from(self.start());
            match log
                .wait(wait.timeout(Duration::from_secs(10)))
                .await
                .unwrap()
            {
                WaitOutcome::Matched {
                    events,
                    cursor,
                    gap,
                } => {
                    if let Some(gap) = gap {
                        self.miss(&gap);
                    }
                    events.iter().for_each(|event| self.see(event));
                    self.cursor = Some(cursor);
                }
                WaitOutcome::TimedOut { next, .. } => {
                    let at = next.position().unwrap().0;
                    assert!(at >= self.next, "a time-out moves the reader back");
                    assert_eq!(at, self.next, "a time-out moves past events");
                    self.cursor = Some(next);
                }
                WaitOutcome::Ended { .. } => panic!("nobody ends the session"),
            }
        }
    }
}

async fn observe(steps: Vec<Step>, retained: usize) {
    let store = MemoryStore::new();
    let mut process = Process::start(&store, retained).await;
    let mut reader = Reader::default();
    let mut appended = 0;
    for step in steps {
        match step {
            Step::Append(count) => {
                for _ in 0..count {
                    process.append(appended).await;
                    appended += 1;
                }
            }
            Step::Follow(items) => reader.follow(&process.log, items).await,
            Step::Wait(times) => reader.wait(&process.log, times).await,
            Step::Fail(operation, how) => {
                let fault = match (how, operation) {
                    (0, _) => Fault::Refuse,
                    (1, Operation::Watch) => Fault::WakeAgain,
                    _ => Fault::LoseAnswer,
                };
                process.faults.plan(operation, fault);
            }
            Step::Restart => process = Process::start(&store, retained).await,
        }
    }
    reader.follow(&process.log, u32::MAX).await;
    assert_eq!(reader.next, appended as u64, "the end is not reached");
    assert!(reader.missed + retained as u64 <= (appended.max(retained)) as u64);
}

/// As many as are asked for, and three hundred otherwise.
fn cases() -> ProptestConfig {
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    let default = ProptestConfig::default();
    ProptestConfig {
        cases: if asked { default.cases } else { 300 },
        ..default
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn r11_reader_with_a_cursor_sees_each_event_once_or_is_told_that_it_is_gone(
        steps in prop::collection::vec(step(), 1..40),
        retained in 1..60_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(observe(steps, retained));
    }
}
