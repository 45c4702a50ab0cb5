//! Both sides of the protocol over a network that delays, reorders, repeats and loses messages as
//! proptest says, on clocks that differ.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use proptest::prelude::*;
use reveille_core::{
    PoisonKind, SignalAwaiter, SignalError, SignalHandle, SignalReceipt, SignalRequest,
    SignalStatus, SignalSystem,
};
use tokio::sync::mpsc;

use super::message::Body;
use super::outgoing::Outgoing;
use super::owners::Owners;
use super::router::{Command, Router};
use super::run::{Run, System};
use super::serving::Serving;

const LEASE: Duration = Duration::from_millis(1000);
const DEADLINE: Duration = Duration::from_millis(1500);
const HERE: (System, Run) = (System(2), Run(20));
const THERE: (System, Run) = (System(1), Run(10));
/// How far the owner's clock is ahead.
const AHEAD: Duration = Duration::from_millis(77_777);
const SIGNALS: usize = 4;

/// What happens.
#[derive(Debug, Clone)]
enum Event {
    Wait(usize),
    DropWaits,
    /// A request from here to trigger.
    Ask(usize),
    /// The owner triggers it itself.
    Trigger(usize),
    /// A message arrives, once or repeatedly: it may arrive again.
    Deliver(usize, bool),
    Lose(usize),
    /// So much time goes by, which the owner may sleep through.
    Advance(u64, bool),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        3 => (0..SIGNALS).prop_map(Event::Wait),
        1 => Just(Event::DropWaits),
        3 => (0..SIGNALS).prop_map(Event::Ask),
        1 => (0..SIGNALS).prop_map(Event::Trigger),
        12 => (any::<usize>(), any::<bool>()).prop_map(|(at, again)| Event::Deliver(at, again)),
        2 => any::<usize>().prop_map(Event::Lose),
        6 => (1..700_u64, any::<bool>()).prop_map(|(ms, slept)| Event::Advance(ms, slept)),
    ];
    proptest::collection::vec(event, 1..120)
}

/// A message under way, with the sender's clock when it was sent.
#[derive(Clone)]
struct Sent {
    to_owner: bool,
    clock: u64,
    body: Body,
}

struct World {
    now: Duration,
    there: SignalSystem<u32>,
    serving: Serving<u32>,
    here: SignalSystem<u32>,
    commands: mpsc::UnboundedReceiver<Command<u32>>,
    owners: Owners<u32>,
    network: Vec<Sent>,
    handles: Vec<SignalHandle>,
    waits: Vec<(usize, SignalAwaiter<u32>)>,
    /// Each with the value that it asks for, which no other does.
    asked: Vec<(usize, u32, SignalReceipt)>,
    /// Until when each such value may be the effect of a request.
    until: HashMap<u32, Duration>,
    next_value: u32,
}

impl World {
    fn new() -> Self {
        let id = |it: System| std::num::NonZeroU64::new(it.0).unwrap();
        let (router, commands) = Router::new(1000, 1000);
        let there = SignalSystem::builder().system_id(id(THERE.0)).build();
        let here = SignalSystem::builder().system_id(id(HERE.0));
        let handles = (0..SIGNALS).map(|_| there.create().unwrap().into_handle());
        Self {
            now: Duration::from_millis(5),
            handles: handles.collect(),
            serving: Serving::new(there.clone(), None, 1 << 20, 1000, 1000),
            there,
            here: here.router(Arc::new(router)).build(),
            commands,
            owners: Owners::new(LEASE, DEADLINE),
            network: Vec::new(),
            waits: Vec::new(),
            asked: Vec::new(),
            until: HashMap::new(),
            next_value: 0,
        }
    }

    fn value(&mut self) -> u32 {
        self.next_value += 1;
        self.next_value
    }

    fn happen(&mut self, event: &Event) {
        let at = |at: usize, network: &[Sent]| (!network.is_empty()).then(|| at % network.len());
        match *event {
            Event::Wait(signal) => {
                let awaiter = self.here.awaiter(self.handles[signal]).unwrap();
                self.waits.push((signal, awaiter));
            }
            Event::DropWaits => self.waits.clear(),
            Event::Ask(signal) => {
                let value = self.value();
                let request = SignalRequest::Trigger(value);
                let receipt = self.here.request(self.handles[signal], request);
                self.until.insert(value, self.now + DEADLINE);
                self.asked.push((signal, value, receipt));
            }
            Event::Trigger(signal) => {
                let value = self.value();
                let _ = self.there.trigger(self.handles[signal], value);
            }
            Event::Deliver(which, again) => {
                if let Some(at) = at(which, &self.network) {
                    let sent = if again {
                        self.network[at].clone()
                    } else {
                        self.network.remove(at)
                    };
                    self.deliver(sent);
                }
            }
            Event::Lose(which) => {
                if let Some(at) = at(which, &self.network) {
                    self.network.remove(at);
                }
            }
            Event::Advance(millis, slept) => {
                self.now += Duration::from_millis(millis);
                self.tick(slept);
            }
        }
        self.work();
    }

    fn tick(&mut self, slept: bool) {
        let mut out = Vec::new();
        self.owners.expire(self.now, true, &mut out);
        self.owners.renew(self.now, &mut out);
        self.send(out, true);
        if !slept {
            self.serving.expire(self.now + AHEAD);
        }
    }

    fn send(&mut self, out: Vec<Outgoing>, to_owner: bool) {
        let clock = if to_owner { self.now } else { self.now + AHEAD };
        let clock = u64::try_from(clock.as_millis()).unwrap();
        let sent = out.into_iter().map(|Outgoing { body, .. }| Sent {
            to_owner,
            clock,
            body,
        });
        self.network.extend(sent);
    }

    /// What both sides do by themselves.
    fn work(&mut self) {
        let mut out = Vec::new();
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Wait(wait) => self.owners.wait(self.now, wait),
                Command::Ask(question) => self.owners.ask(self.now, question, &mut out),
                Command::Leave(_) => {}
            }
        }
        self.owners.tell(&mut out);
        self.send(out, true);
        let mut out = Vec::new();
        while let Some(ended) = self.serving.next_ends().now_or_never() {
            self.serving.ended(ended, &mut out);
        }
        self.send(out, false);
        self.look();
    }

    fn deliver(
        &mut self,
        Sent {
            to_owner,
            clock,
            body,
        }: Sent,
    ) {
        let (now, mut out) = (self.now, Vec::new());
        if to_owner {
            let now = now + AHEAD;
            match body {
                Body::Hello {} => out.push(Outgoing {
                    system: HERE.0,
                    run: Some(HERE.1),
                    body: Body::Here {},
                }),
                Body::Watch { handles, ttl_ms } => {
                    let ttl = Duration::from_millis(ttl_ms);
                    self.serving.watch(now, HERE, &handles, ttl, &mut out);
                }
                Body::Unwatch { handles } => self.serving.unwatch(HERE, &handles),
                Body::Request {
                    id,
                    handle,
                    by,
                    ask,
                } => {
                    let before = self.truths();
                    self.serving
                        .request(now, HERE, (id, handle, by), &ask, &mut out);
                    self.check_effect(&before);
                }
                other => panic!("{other:?} is no message to an owner"),
            }
        } else {
            assert!(self.owners.heard(now, THERE, clock, &mut out));
            match body {
                Body::Here {} => {}
                Body::Report { ends } => self.owners.reported(THERE.0, ends, &mut out),
                Body::Answer { id, answer } => self.owners.answered(THERE, id, answer),
                other => panic!("{other:?} is no message of an owner"),
            }
        }
        self.send(out, !to_owner);
    }

    /// What each signal was triggered with, by the word of its owner.
    fn truths(&self) -> Vec<Option<u32>> {
        let value = |&handle| match self.there.poll(handle) {
            Ok(SignalStatus::Pending) => None,
            _ => self.there.awaiter(handle).unwrap().now_or_never()?.ok(),
        };
        self.handles.iter().map(value).collect()
    }

    /// Nothing is done of what whoever asked has given up.
    fn check_effect(&self, before: &[Option<u32>]) {
        for (before, after) in before.iter().zip(self.truths()) {
            if let (None, Some(value)) = (before, after) {
                // Clocks are told in whole milliseconds.
                let until = self.until[&value] + Duration::from_millis(1);
                assert!(
                    self.now <= until,
                    "done at {:?}, {until:?} was the end",
                    self.now
                );
            }
        }
    }

    /// Whoever was told something was told the truth.
    fn look(&mut self) {
        let truths = self.truths();
        self.waits
            .retain_mut(|(signal, awaiter)| match awaiter.now_or_never() {
                None => true,
                Some(Ok(value)) => {
                    assert_eq!(truths[*signal], Some(value));
                    false
                }
                Some(Err(poison)) => {
                    assert_eq!(poison.kind(), PoisonKind::OwnerLost, "{poison}");
                    false
                }
            });
        self.asked
            .retain_mut(|(signal, value, receipt)| match receipt.now_or_never() {
                None => true,
                Some(answer) => {
                    match answer {
                        Ok(()) => assert_eq!(truths[*signal], Some(*value)),
                        Err(SignalError::AlreadyTriggered) => {
                            assert!(truths[*signal].is_some_and(|truth| truth != *value));
                        }
                        Err(error) => assert_eq!(error.code(), "owner_lost"),
                    }
                    false
                }
            });
    }

    /// The network is well again.
    fn heal(&mut self) {
        // Some leases, and the deadlines of all that was asked.
        for _ in 0..20 {
            self.now += LEASE / 4;
            self.tick(false);
            self.work();
            while !self.network.is_empty() {
                let sent = self.network.remove(0);
                self.deliver(sent);
                self.work();
            }
        }
    }
}

proptest! {
    #[test]
    fn whatever_the_network_does_nobody_is_told_what_is_not_and_all_are_told_in_the_end(
        events in events(),
    ) {
        let mut world = World::new();
        for event in &events {
            world.happen(event);
        }
        world.heal();
        prop_assert!(world.asked.is_empty(), "every request is answered");
        let truths = world.truths();
        for (signal, _) in &world.waits {
            prop_assert_eq!(truths[*signal], None, "whoever still waits has reason to");
        }

        // From now on nobody is lost, however long it takes.
        world.waits.clear();
        for signal in 0..SIGNALS {
            world.happen(&Event::Wait(signal));
        }
        world.heal();
        let pending = truths.iter().filter(|truth| truth.is_none()).count();
        prop_assert_eq!(world.waits.len(), pending, "the others were told");
        prop_assert_eq!(world.serving.interests(), pending, "and nothing else is served");

        // The owner dies.
        for _ in 0..5 {
            world.happen(&Event::Advance(250, true));
            world.network.clear();
        }
        prop_assert!(world.waits.is_empty(), "all are told that it is lost");
    }
}
