//! A group with tight bounds: whatever happens, each event is settled, dead, skipped, or told as lost,
//! and in the end the group keeps nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use proptest::prelude::*;
use reveille_core::ManualClock;
use reveille_memory::MemoryBackend;
use reveille_queue::{
    AppendOptions, LeaseId, QueueLimits, SessionLog, SessionOptions, Sessions, TakeOptions,
    TakeOutcome,
};
use reveille_types::{EventDraft, Label, Position, SessionKey, Start, Tenant};
use tokio_test::task;

#[derive(Debug, Clone)]
enum Op {
    Append(usize),
    Take {
        max: usize,
        lease: bool,
    },
    /// A taker that is there while events come, and then looks or leaves.
    Wait {
        max: usize,
        events: usize,
        looks: bool,
    },
    Ack(usize),
    Nack(usize),
    Advance,
    Skip(u64),
    Retry,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => (1..6usize).prop_map(Op::Append),
        4 => (1..6usize, any::<bool>()).prop_map(|(max, lease)| Op::Take { max, lease }),
        3 => (1..8usize, 1..12usize, any::<bool>())
            .prop_map(|(max, events, looks)| Op::Wait { max, events, looks }),
        3 => (0..6usize).prop_map(Op::Ack),
        3 => (0..6usize).prop_map(Op::Nack),
        1 => Just(Op::Advance),
        1 => (0..3u64).prop_map(Op::Skip),
        1 => Just(Op::Retry),
    ];
    prop::collection::vec(op, 1..60)
}

struct Run {
    clock: Arc<ManualClock>,
    log: SessionLog,
    group: Label,
    leases: Vec<LeaseId>,
    /// Positions that are accounted for.
    settled: BTreeSet<u64>,
    lost: BTreeSet<u64>,
}

impl Run {
    fn new() -> Self {
        let mut limits = QueueLimits::default();
        limits.kept_events_per_group = 3;
        limits.leases_per_group = 8;
        let clock = Arc::new(ManualClock::new());
        let sessions = Sessions::builder(MemoryBackend::new())
            .clock(clock.clone())
            .limits(limits)
            .build();
        let key = SessionKey::in_tenant(Tenant::default_tenant(), "s").unwrap();
        let options = SessionOptions::default().max_events(4).max_deliveries(2);
        let log = sessions.create(key, options).now_or_never().unwrap();
        Self {
            clock,
            log: log.unwrap(),
            group: Label::parse("g").unwrap(),
            leases: Vec::new(),
            settled: BTreeSet::new(),
            lost: BTreeSet::new(),
        }
    }

    fn append(&self, events: usize) {
        let drafts = vec![EventDraft::parse("a").unwrap(); events];
        self.log
            .try_append(drafts, AppendOptions::default())
            .unwrap();
    }

    fn options(&self, max: usize, lease: bool) -> TakeOptions {
        let mut options = TakeOptions::new().group(self.group.clone()).max(max);
        options.lease = lease.then_some(Duration::from_millis(100));
        options
    }

    /// Takes what is there; whether it was anything.
    fn take(&mut self, max: usize, lease: bool) -> bool {
        let options = self.options(max, lease).timeout(Duration::ZERO);
        match self.log.take(options).now_or_never().unwrap() {
            Ok(outcome) => self.note(outcome),
            Err(error) => {
                assert_eq!(error.code(), "too_many_leases");
                false
            }
        }
    }

    fn note(&mut self, outcome: TakeOutcome) -> bool {
        let TakeOutcome::Taken { taken, gap, .. } = outcome else {
            return false;
        };
        for position in gap.iter().flat_map(|gap| gap.ranges.iter().flatten()) {
            assert!(self.lost.insert(position), "{position} was told twice");
        }
        for taken in taken {
            match taken.lease {
                Some(lease) => self.leases.push(lease.id),
                None => {
                    let new = self.settled.insert(taken.event.position().0);
                    assert!(new, "{} was taken twice", taken.event.position());
                }
            }
        }
        true
    }

    fn ack(&mut self, n: usize) {
        if n < self.leases.len() {
            let id = self.leases.remove(n);
            if self
                .log
                .ack(&self.group, id)
                .now_or_never()
                .unwrap()
                .is_ok()
            {
                let text = id.to_string();
                let position = text.split('.').nth(1).unwrap().parse().unwrap();
                assert!(
                    self.settled.insert(position),
                    "{position} was settled twice"
                );
            }
        }
    }

    fn run(mut self, ops: Vec<Op>) {
        for op in ops {
            match op {
                Op::Append(events) => self.append(events),
                Op::Take { max, lease } => drop(self.take(max, lease)),
                Op::Wait { max, events, looks } => {
                    let log = self.log.clone();
                    let options = self.options(max, false);
                    let mut waiting = task::spawn(log.take(options));
                    let mut polled = waiting.poll();
                    if polled.is_pending() {
                        self.append(events);
                        if looks {
                            polled = waiting.poll();
                        }
                    }
                    if let std::task::Poll::Ready(outcome) = polled {
                        self.note(outcome.unwrap());
                    }
                }
                Op::Ack(n) => self.ack(n),
                Op::Nack(n) => {
                    if n < self.leases.len() {
                        let id = self.leases.remove(n);
                        let _ = self.log.nack(&self.group, id).now_or_never();
                    }
                }
                Op::Advance => self.clock.advance(Duration::from_millis(100)),
                Op::Skip(back) => {
                    let latest = self.log.latest().position().unwrap().0;
                    let to = latest.saturating_sub(back);
                    let start = Start::At(Position(to));
                    self.log.skip_to(&self.group, start).now_or_never();
                    // What was skipped is settled, whoever still has it.
                    let untaken = (0..to).filter(|p| !self.lost.contains(p));
                    let untaken: Vec<u64> = untaken.collect();
                    self.leases.clear();
                    self.settled.extend(untaken);
                    self.clock.advance(Duration::from_millis(100));
                }
                Op::Retry => {
                    for letter in self.log.dead_letters(&self.group) {
                        let at = letter.event.position();
                        if !self.settled.contains(&at.0) {
                            self.log.retry_dead_letter(&self.group, at).now_or_never();
                        }
                    }
                }
            }
            let Some(info) = self.log.group_info(&self.group) else {
                continue;
            };
            assert!(info.leased <= 8);
            assert!(info.dead <= 3);
        }
        // Everything comes back, and is taken for good.
        self.clock.advance(Duration::from_millis(100));
        self.append(1);
        while self.take(100, false) {}
        let dead = self.log.dead_letters(&self.group);
        let before = self.log.group_info(&self.group).unwrap();
        for letter in &dead {
            let at = letter.event.position();
            self.settled.insert(at.0);
            self.log.discard_dead_letter(&self.group, at).now_or_never();
        }
        let info = self.log.group_info(&self.group).unwrap();
        assert_eq!((info.pending, info.leased, info.dead), (0, 0, 0));
        assert_eq!(info.kept_bytes, 0);
        let latest = self.log.latest().position().unwrap().0;
        let missing = (0..latest).filter(|p| !self.settled.contains(p) && !self.lost.contains(p));
        // Only dead letters that were too many go without a gap: they are counted.
        let missing = missing.count() as u64;
        assert!(missing <= before.dead_dropped, "{missing} went untold");
    }
}

proptest! {
    #![proptest_config(crate::cases(1000))]

    #[test]
    fn every_event_of_a_group_is_accounted_for(ops in ops()) {
        Run::new().run(ops);
    }
}
