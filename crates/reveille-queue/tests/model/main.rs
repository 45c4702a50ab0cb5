//! Random histories of one session against a plain model: a list of events, and for each group what
//! became of each of them.

#![cfg(not(loom))]
#![allow(
    clippy::unwrap_used,
    reason = "in a test an unwrap that fails is the failure"
)]

mod conservation;
mod ops;
mod reading;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use proptest::prelude::*;
use reveille_core::ManualClock;
use reveille_memory::MemoryBackend;
use reveille_queue::{
    AppendOptions, LeaseId, ReadError, SessionLog, SessionOptions, Sessions, Subscription,
    TakeOptions, TakeOutcome,
};
use reveille_types::{EndReason, EventDraft, Gap, Label, Position, SessionKey, Start, Tenant};
use tokio_test::task::{self, Spawn};

use crate::ops::{GROUPS, KINDS, Op, TTL, Taking, Want, filter, ops, wants};

const WINDOW: usize = 4;
/// After how many deliveries an event is dead.
const DELIVERIES: u32 = 2;

/// What became of an event in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Available,
    /// By the taker with this number.
    Reserved(usize),
    /// Until this time.
    Leased(u64),
    Settled,
    Lost,
    Dead,
}

type TakeFuture = Pin<Box<dyn Future<Output = Result<TakeOutcome, ReadError>>>>;

/// A taker that waits, and what it is expected to get.
struct Taker {
    number: usize,
    taking: Taking,
    future: Spawn<TakeFuture>,
}

struct Reader {
    want: Want,
    subscription: Spawn<Subscription>,
    /// Everything before it was delivered, told as missing or does not match.
    next: u64,
    delivered: u64,
    missed: u64,
    began: u64,
    /// Whether it has nothing more to read, unless the log has grown past this or has ended.
    idle_at: Option<(u64, bool)>,
}

struct Run {
    sessions: Sessions,
    clock: Arc<ManualClock>,
    log: SessionLog,
    // The model.
    now: u64,
    kinds: Vec<usize>,
    oldest: usize,
    groups: [Vec<Fate>; GROUPS],
    untold: [BTreeSet<u64>; GROUPS],
    skipped: [usize; GROUPS],
    deliveries: BTreeMap<(usize, usize), u32>,
    /// Events that were dead once, and after how many deliveries they are dead again.
    pardoned: [BTreeMap<usize, u32>; GROUPS],
    takers: Vec<Taker>,
    numbers: usize,
    leases: Vec<(usize, u64, u64, LeaseId)>,
    readers: Vec<Reader>,
    active_at: u64,
    grace: Option<u64>,
    cancelled: bool,
    ended: Option<(EndReason, u64)>,
}

impl Run {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new());
        let sessions = Sessions::builder(MemoryBackend::new())
            .clock(clock.clone())
            .build();
        let key = SessionKey::in_tenant(Tenant::default_tenant(), "s").unwrap();
        let options = SessionOptions::default()
            .max_events(WINDOW)
            .max_deliveries(DELIVERIES)
            .ttl(Duration::from_millis(TTL));
        let log = sessions.create(key, options).now_or_never().unwrap();
        Self {
            sessions,
            clock,
            log: log.unwrap(),
            now: 0,
            kinds: Vec::new(),
            oldest: 0,
            groups: Default::default(),
            untold: Default::default(),
            skipped: Default::default(),
            deliveries: BTreeMap::new(),
            pardoned: Default::default(),
            takers: Vec::new(),
            numbers: 0,
            leases: Vec::new(),
            readers: Vec::new(),
            active_at: 0,
            grace: None,
            cancelled: false,
            ended: None,
        }
    }

    fn run(mut self, ops: Vec<Op>) {
        for op in ops {
            match op {
                Op::Append(kinds) => self.append(&kinds),
                Op::Take(taking) => self.take(taking),
                Op::PollTaker(n) => self.poll_taker(n),
                Op::DropTaker(n) => self.drop_taker(n),
                Op::Wait(want, from) => self.wait(want, from),
                Op::Settle { lease, ack } => self.settle(lease, ack),
                Op::Skip(group, to) => self.skip(group, to),
                Op::Retry(group, n) => self.retry(group, n),
                Op::Subscribe(want, from) => self.subscribe(want, from),
                Op::Read(n) => self.read(n),
                Op::Advance(by) => self.advance(by),
                Op::Cancel(grace) => self.cancel(grace),
                Op::Close => self.close(),
            }
            if self.ended.is_some_and(|(_, at)| self.now >= at + TTL) {
                assert!(self.sessions.is_empty());
                return;
            }
            self.check();
        }
        while !self.takers.is_empty() {
            self.drop_taker(0);
        }
        (0..self.readers.len()).for_each(|n| self.read(n));
        self.check();
        self.readers.clear();
        assert_eq!(self.log.info().waiters, 0);
        assert_eq!(self.log.info().subscribers, 0);
    }

    // ---- the model ------------------------------------------------------------------------------

    /// Events that were appended: offered to the takers in order, and kept within the window.
    fn applied(&mut self, kinds: &[usize]) {
        self.active_at = self.now;
        for &kind in kinds {
            self.kinds.push(kind);
            for group in 0..GROUPS {
                self.groups[group].push(Fate::Available);
                self.offer(group, self.kinds.len() - 1);
            }
            if self.kinds.len() - self.oldest > WINDOW {
                for group in 0..GROUPS {
                    let kept = self.pardoned[group].contains_key(&self.oldest);
                    if self.groups[group][self.oldest] == Fate::Available && !kept {
                        self.groups[group][self.oldest] = Fate::Lost;
                        self.untold[group].insert(self.oldest as u64);
                    }
                }
                self.oldest += 1;
            }
        }
    }

    /// Gives an available event to the first taker that wants it and has room.
    fn offer(&mut self, group: usize, position: usize) {
        if self.is_skipped(group, position) {
            self.groups[group][position] = Fate::Settled;
            return;
        }
        self.groups[group][position] = Fate::Available;
        let fates = &self.groups[group];
        let room = |t: &&Taker| {
            let reserved = Fate::Reserved(t.number);
            t.taking.group == group
                && wants(t.taking.want, self.kinds[position])
                && fates.iter().filter(|fate| **fate == reserved).count() < t.taking.max
        };
        if let Some(taker) = self.takers.iter().find(room) {
            self.groups[group][position] = Fate::Reserved(taker.number);
        }
    }

    fn is_skipped(&self, group: usize, position: usize) -> bool {
        position < self.skipped[group] && !self.pardoned[group].contains_key(&position)
    }

    /// An event comes back from a lease.
    fn come_back(&mut self, group: usize, position: usize) {
        let most = self.pardoned[group].get(&position).copied();
        let worn_out = self.deliveries[&(group, position)] >= most.unwrap_or(DELIVERIES);
        match worn_out && !self.is_skipped(group, position) {
            true => self.groups[group][position] = Fate::Dead,
            false => self.offer(group, position),
        }
    }

    fn reserved(&self, group: usize, number: usize) -> Vec<usize> {
        let fates = self.groups[group].iter().enumerate();
        fates
            .filter(|(_, fate)| **fate == Fate::Reserved(number))
            .map(|(position, _)| position)
            .collect()
    }

    fn may_come_back(&self, taking: Taking) -> bool {
        let fates = self.groups[taking.group].iter().zip(&self.kinds);
        fates
            .enumerate()
            .filter(|(position, _)| !self.is_skipped(taking.group, *position))
            .filter(|(_, (fate, _))| matches!(fate, Fate::Reserved(_) | Fate::Leased(_)))
            .any(|(_, (_, kind))| wants(taking.want, *kind))
    }

    fn told(&mut self, group: usize, want: Want, gap: Option<&Gap>) {
        let untold = std::mem::take(&mut self.untold[group]);
        let told: BTreeSet<u64> = gap.iter().flat_map(|g| g.ranges.iter().flatten()).collect();
        assert_eq!(told, untold, "told and lost");
        if let Some(gap) = gap {
            assert!(!untold.is_empty());
            assert_eq!(gap.missed, want.is_none().then_some(untold.len() as u64));
        }
    }

    /// Compares what a taker got with what it should have got.
    fn outcome(&mut self, taking: Taking, expected: &[usize], outcome: TakeOutcome) {
        match outcome {
            TakeOutcome::Taken { taken, gap, cursor } => {
                let positions = taken.iter().map(|t| t.event.position().0 as usize);
                assert_eq!(Vec::from_iter(positions), expected);
                for taken in taken {
                    let position = taken.event.position().0;
                    let fate = match (taking.lease, taken.lease) {
                        (Some(millis), Some(lease)) => {
                            let until = self.now + millis;
                            let place = (taking.group, position as usize);
                            let delivery = self.deliveries.entry(place).or_default();
                            *delivery += 1;
                            assert_eq!(lease.id.delivery(), *delivery);
                            self.leases.push((taking.group, position, until, lease.id));
                            Fate::Leased(until)
                        }
                        (None, None) => Fate::Settled,
                        other => panic!("{other:?}"),
                    };
                    self.groups[taking.group][position as usize] = fate;
                }
                self.told(taking.group, taking.want, gap.as_ref());
                let fates = &self.groups[taking.group];
                let settled = |p: &usize| {
                    *p < self.skipped[taking.group]
                        || matches!(fates[*p], Fate::Settled | Fate::Dead)
                        || self.pardoned[taking.group].contains_key(p)
                };
                let hole = (self.oldest..fates.len()).find(|p| !settled(p));
                let hole = hole.unwrap_or(fates.len());
                assert_eq!(cursor.position(), Some(Position(hole as u64)));
            }
            TakeOutcome::Ended { reason, gap, .. } => {
                assert!(expected.is_empty() && !self.may_come_back(taking));
                assert_eq!(Some(reason), self.ended.map(|(reason, _)| reason));
                self.told(taking.group, taking.want, gap.as_ref());
            }
            TakeOutcome::TimedOut { .. } => panic!("no time-out was given"),
        }
    }

    fn end(&mut self, reason: EndReason) {
        if self.ended.is_none() {
            self.ended = Some((reason, self.now));
        }
    }

    // ---- the operations -------------------------------------------------------------------------

    fn append(&mut self, kinds: &[usize]) {
        let drafts: Vec<_> = kinds
            .iter()
            .map(|kind| EventDraft::parse(KINDS[*kind]).unwrap())
            .collect();
        let result = self.log.try_append(drafts, AppendOptions::default());
        if self.ended.is_some() {
            assert!(result.is_err());
            return;
        }
        let places: Vec<_> = result.unwrap().results;
        let places = places.iter().map(|placed| placed.position.0 as usize);
        assert!(places.eq(self.kinds.len()..self.kinds.len() + kinds.len()));
        self.applied(kinds);
    }

    fn take(&mut self, taking: Taking) {
        let fates = self.groups[taking.group].iter().zip(&self.kinds);
        let expected: Vec<usize> = fates
            .enumerate()
            .filter(|(_, (fate, kind))| **fate == Fate::Available && wants(taking.want, **kind))
            .map(|(position, _)| position)
            .take(taking.max)
            .collect();
        let mut options = TakeOptions::new()
            .group(Label::parse(format!("g{}", taking.group)).unwrap())
            .matching(filter(taking.want))
            .max(taking.max);
        options.lease = taking.lease.map(Duration::from_millis);
        let log = self.log.clone();
        let take: TakeFuture = Box::pin(async move { log.take(options).await });
        let mut future = task::spawn(take);
        match future.poll() {
            Poll::Ready(outcome) => self.outcome(taking, &expected, outcome.unwrap()),
            Poll::Pending => {
                assert!(expected.is_empty());
                assert!(self.ended.is_none() || self.may_come_back(taking));
                self.numbers += 1;
                self.takers.push(Taker {
                    number: self.numbers,
                    taking,
                    future,
                });
            }
        }
    }

    fn poll_taker(&mut self, n: usize) {
        let Some(taker) = self.takers.get_mut(n) else {
            return;
        };
        let polled = taker.future.poll();
        let (number, taking) = (taker.number, taker.taking);
        let expected = self.reserved(taking.group, number);
        match polled {
            Poll::Ready(outcome) => {
                self.takers.remove(n);
                self.outcome(taking, &expected, outcome.unwrap());
            }
            Poll::Pending => {
                assert!(expected.is_empty());
                assert!(self.ended.is_none() || self.may_come_back(taking));
            }
        }
    }

    fn drop_taker(&mut self, n: usize) {
        if n < self.takers.len() {
            let taker = self.takers.remove(n);
            for position in self.reserved(taker.taking.group, taker.number) {
                self.offer(taker.taking.group, position);
            }
        }
    }

    fn settle(&mut self, n: usize, ack: bool) {
        let Some(&(group, position, until, id)) = self.leases.get(n) else {
            return;
        };
        let name = Label::parse(format!("g{group}")).unwrap();
        let settled = match ack {
            true => self.log.ack(&name, id).now_or_never().unwrap(),
            false => self.log.nack(&name, id).now_or_never().unwrap(),
        };
        let position = position as usize;
        let held = self.groups[group][position] == Fate::Leased(until) && self.is_newest(n);
        assert_eq!(settled.is_ok(), held);
        if held {
            self.active_at = self.now;
            match ack {
                true => self.groups[group][position] = Fate::Settled,
                false => self.come_back(group, position),
            }
        }
    }

    fn skip(&mut self, group: usize, to: u64) {
        let name = Label::parse(format!("g{group}")).unwrap();
        let skipping = self.log.skip_to(&name, Start::At(Position(to)));
        let skipped = skipping.now_or_never().unwrap();
        if to > self.kinds.len() as u64 {
            assert!(skipped.is_err());
            return;
        }
        skipped.unwrap();
        self.active_at = self.now;
        // What retention has taken from before the window is where a reader begins.
        let to = (to as usize).max(self.oldest);
        self.skipped[group] = self.skipped[group].max(to);
        self.pardoned[group] = self.pardoned[group].split_off(&to);
        self.untold[group] = self.untold[group].split_off(&(to as u64));
        for position in 0..to {
            if let Fate::Available | Fate::Reserved(_) = self.groups[group][position] {
                self.groups[group][position] = Fate::Settled;
            }
        }
        for position in to..self.kinds.len() {
            if self.groups[group][position] == Fate::Available {
                self.offer(group, position);
            }
        }
    }

    fn retry(&mut self, group: usize, n: usize) {
        let name = Label::parse(format!("g{group}")).unwrap();
        let letters = self.log.dead_letters(&name);
        let told: Vec<usize> = letters
            .iter()
            .map(|letter| letter.event.position().0 as usize)
            .collect();
        let fates = self.groups[group].iter().enumerate();
        let dead: Vec<usize> = fates
            .filter(|(_, fate)| **fate == Fate::Dead)
            .map(|(position, _)| position)
            .collect();
        assert_eq!(told, dead);
        let Some(&position) = dead.get(n) else {
            return;
        };
        let retried = self
            .log
            .retry_dead_letter(&name, Position(position as u64))
            .now_or_never();
        assert_eq!(retried, Some(Ok(true)));
        let most = self.deliveries[&(group, position)] + DELIVERIES;
        self.pardoned[group].insert(position, most);
        self.offer(group, position);
    }

    /// Whether no later lease was given for the same event and group.
    fn is_newest(&self, n: usize) -> bool {
        let (group, position, ..) = self.leases[n];
        let mut later = self.leases[n + 1..].iter();
        !later.any(|lease| (lease.0, lease.1) == (group, position))
    }

    fn advance(&mut self, by: u64) {
        self.clock.advance(Duration::from_millis(by));
        self.now += by;
        self.sessions.sweep();
        if self.grace.is_some_and(|at| at <= self.now) {
            self.end(EndReason::Cancelled);
        } else if self.active_at + TTL <= self.now {
            self.end(EndReason::Expired);
        }
        for group in 0..GROUPS {
            for position in 0..self.kinds.len() {
                if matches!(self.groups[group][position], Fate::Leased(at) if at <= self.now) {
                    self.come_back(group, position);
                }
            }
        }
    }

    fn cancel(&mut self, grace: Option<u64>) {
        let wait = grace.map(Duration::from_millis);
        let result = self.log.cancel(None, wait).now_or_never().unwrap();
        if self.ended.is_some() {
            assert!(result.is_err());
            return;
        }
        assert_eq!(result.unwrap().already_cancelled, self.cancelled);
        if !self.cancelled {
            self.cancelled = true;
            self.grace = grace.map(|grace| self.now + grace);
            self.applied(&[2]);
        }
    }

    fn close(&mut self) {
        let closed = self.log.close(None).now_or_never().unwrap().unwrap();
        assert_eq!(closed, self.ended.is_none());
        self.end(EndReason::Closed);
    }

    // ---- what holds at any time -----------------------------------------------------------------

    fn check(&self) {
        let info = self.log.info();
        assert_eq!(info.oldest.position(), Some(Position(self.oldest as u64)));
        assert_eq!(
            info.latest.position(),
            Some(Position(self.kinds.len() as u64))
        );
        assert_eq!(info.reason, self.ended.map(|(reason, _)| reason));
        for taker in &self.takers {
            let ready = !self.reserved(taker.taking.group, taker.number).is_empty()
                || (self.ended.is_some() && !self.may_come_back(taker.taking));
            assert!(taker.future.is_woken() || !ready, "a taker was not woken");
        }
        for reader in &self.readers {
            if let Some((latest, ended)) = reader.idle_at {
                let mut new = self.kinds[latest as usize..].iter();
                let ready =
                    new.any(|kind| wants(reader.want, *kind)) || (self.ended.is_some() && !ended);
                let woken = reader.subscription.is_woken();
                assert!(woken || !ready, "a reader was not woken");
            }
        }
    }
}

/// As many as are asked for, and so many otherwise.
pub(crate) fn cases(usual: u32) -> ProptestConfig {
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    let default = ProptestConfig::default();
    ProptestConfig {
        cases: if asked { default.cases } else { usual },
        ..default
    }
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn session_does_what_the_model_does(ops in ops()) {
        Run::new().run(ops);
    }
}
