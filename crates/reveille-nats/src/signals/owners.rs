//! The asking side: the owners that this node waits for or asks something of.
//!
//! All that an owner is to know is told again and again until it has answered: what is waited for at each
//! [renewal](Owners::renew), what is asked until the deadline. So a lost message, or a broker that comes
//! back empty, costs time and nothing else. The clock is the caller's.

use std::collections::HashMap;
use std::time::Duration;

use reveille_core::{
    Poison, PoisonKind, SignalError, SignalHandle, SignalProxy, SignalReply, SignalStatus,
};
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::message::{Answer, Ask, Body, Ended};
use super::outgoing::Outgoing;
use super::run::{Run, System};

/// How many signals one message names.
const HANDLES_MAX: usize = 1000;

/// So few are named at each renewal.
const HANDLES_FEW: usize = 250;

/// In how many renewals the others are named.
const TURNS: u32 = 4;

/// Somebody here waits.
#[derive(Debug)]
pub(super) struct Wait<T> {
    /// Given back before anybody is told: fields are dropped in their order.
    pub(super) permit: OwnedSemaphorePermit,
    pub(super) proxy: SignalProxy<T>,
}

/// Something to ask of an owner.
#[derive(Debug)]
pub(super) struct Question {
    /// Given back before anybody is told, as that of a wait.
    pub(super) permit: OwnedSemaphorePermit,
    pub(super) handle: SignalHandle,
    pub(super) ask: Ask,
    pub(super) reply: Reply,
}

/// Who wants the answer. Dropped, it answers that the owner is lost.
#[derive(Debug)]
pub(super) enum Reply {
    Signal(SignalReply),
    Status(oneshot::Sender<Result<SignalStatus, SignalError>>),
    Said(oneshot::Sender<Result<String, SignalError>>),
}

/// All owners that something is wanted of.
#[derive(Debug)]
pub(super) struct Owners<T> {
    lease: Duration,
    deadline: Duration,
    owners: HashMap<System, Owner<T>>,
    /// Those with signals to be watched that they have not been told of.
    untold: Vec<System>,
    next_id: u64,
    /// Which of the waits were renewed last.
    turn: u32,
    /// How many owners were lost while somebody waited.
    pub(super) lost: u64,
}

#[derive(Debug)]
struct Owner<T> {
    known: Option<Known>,
    /// When it was last heard of, or since when it is listened for.
    heard: Duration,
    waits: HashMap<SignalHandle, Vec<Wait<T>>>,
    untold: Vec<SignalHandle>,
    asked: HashMap<u64, Asked>,
    /// Whether it is being found out if anybody listens there.
    is_probed: bool,
    /// Since when nobody does.
    nobody: Option<Duration>,
}

/// What an owner has said of itself.
#[derive(Debug, Clone, Copy)]
struct Known {
    run: Run,
    /// How far its clock is ahead of the one here, in milliseconds; never more than in truth.
    ahead: i64,
    measured: Duration,
}

#[derive(Debug)]
struct Asked {
    question: Question,
    /// Until when the answer is waited for, on the clock here.
    until: Duration,
    /// To which run it was sent, and until when it holds on the clock there. Once said, that stays: the
    /// owner keeps its answer for as long.
    sent: Option<(Run, u64)>,
}

impl Reply {
    fn give(self, owner: System, answer: Answer) {
        let given = match answer {
            Answer::Refused(error) => Err(error.read()),
            // An earlier copy may have come in time.
            Answer::Late {} => Err(SignalError::OwnerLost { owner: owner.0 }),
            answer => Ok(answer),
        };
        match (self, given) {
            (reply, Err(error)) => reply.refuse(error),
            (Self::Signal(reply), Ok(_)) => reply.answer(Ok(())),
            (Self::Status(reply), Ok(Answer::Status(status))) => {
                drop(reply.send(Ok(status.read())));
            }
            (Self::Said(reply), Ok(Answer::Said { answer })) => {
                drop(reply.send(Ok(String::from(Box::<str>::from(answer)))));
            }
            // It answers something else than it was asked.
            (Self::Status(_) | Self::Said(_), Ok(_)) => {}
        }
    }

    pub(super) fn refuse(self, error: SignalError) {
        match self {
            Self::Signal(reply) => reply.answer(Err(error)),
            Self::Status(reply) => drop(reply.send(Err(error))),
            Self::Said(reply) => drop(reply.send(Err(error))),
        }
    }

    fn is_unwanted(&self) -> bool {
        match self {
            Self::Signal(_) => false,
            Self::Status(reply) => reply.is_closed(),
            Self::Said(reply) => reply.is_closed(),
        }
    }
}

impl<T: DeserializeOwned> Owners<T> {
    pub(super) fn new(lease: Duration, deadline: Duration) -> Self {
        Self {
            lease,
            deadline,
            owners: HashMap::new(),
            untold: Vec::new(),
            next_id: 0,
            turn: 0,
            lost: 0,
        }
    }

    fn owner(&mut self, now: Duration, system: System) -> &mut Owner<T> {
        self.owners.entry(system).or_insert_with(|| Owner {
            known: None,
            heard: now,
            waits: HashMap::new(),
            untold: Vec::new(),
            asked: HashMap::new(),
            is_probed: false,
            nobody: None,
        })
    }

    /// Somebody waits: its owner is told by the next [`tell`](Self::tell).
    pub(super) fn wait(&mut self, now: Duration, wait: Wait<T>) {
        let handle = wait.proxy.handle();
        let system = System(handle.system_id());
        let owner = self.owner(now, system);
        if owner.waits.is_empty() {
            owner.heard = now;
        }
        // What is forgotten here and asked for again has two for a while.
        let waits = owner.waits.entry(handle).or_default();
        waits.push(wait);
        if waits.len() == 1 {
            owner.untold.push(handle);
            if owner.untold.len() == 1 {
                self.untold.push(system);
            }
        }
    }

    /// Tells the owners of new waits.
    pub(super) fn tell(&mut self, out: &mut Vec<Outgoing>) {
        let ttl = ttl(self.lease);
        for system in std::mem::take(&mut self.untold) {
            if let Some(owner) = self.owners.get_mut(&system) {
                let handles = std::mem::take(&mut owner.untold);
                owner.watch(system, &handles, ttl, out);
            }
        }
    }

    /// Asks something of an owner.
    pub(super) fn ask(&mut self, now: Duration, question: Question, out: &mut Vec<Outgoing>) {
        let system = System(question.handle.system_id());
        let (id, until) = (self.next_id, now + self.deadline);
        self.next_id += 1;
        let owner = self.owner(now, system);
        let asked = Asked {
            question,
            until,
            sent: None,
        };
        owner.asked.insert(id, asked);
        if owner.known.is_some() {
            owner.send(system, id, out);
        } else {
            out.push(hello(system));
        }
    }

    /// A node has said something. Whether it counts: a run that was replaced has nothing to say.
    pub(super) fn heard(
        &mut self,
        now: Duration,
        (system, run): (System, Run),
        clock: u64,
        out: &mut Vec<Outgoing>,
    ) -> bool {
        let stale = self.lease * 16;
        let Some(owner) = self.owners.get_mut(&system) else {
            return true;
        };
        let ahead = millis(clock).saturating_sub(millis_of(now));
        let fresh = Known {
            run,
            ahead,
            measured: now,
        };
        match owner.known {
            Some(known) if run < known.run => return false,
            Some(known) if run == known.run => {
                // The message that took the least time says it best, until clocks have drifted.
                if ahead >= known.ahead || now.saturating_sub(known.measured) > stale {
                    owner.known = Some(fresh);
                }
            }
            Some(_) => {
                self.lost += u64::from(owner.replaced(system));
                owner.known = Some(fresh);
            }
            None => owner.known = Some(fresh),
        }
        owner.heard = now;
        owner.nobody = None;
        let unsent = owner.asked.iter().filter(|(_, it)| it.sent.is_none());
        let unsent: Vec<_> = unsent.map(|(&id, _)| id).collect();
        for id in unsent {
            owner.send(system, id, out);
        }
        true
    }

    /// An owner tells how signals ended.
    pub(super) fn reported(&mut self, system: System, ends: Vec<Ended>, out: &mut Vec<Outgoing>) {
        let mut got = Vec::with_capacity(ends.len());
        for Ended { handle, end } in ends {
            // Nobody tells of the signals of others.
            if System(handle.system_id()) != system {
                continue;
            }
            got.push(handle);
            let owner = self.owners.get_mut(&system);
            let waits = owner.and_then(|owner| owner.waits.remove(&handle));
            for wait in waits.into_iter().flatten() {
                // Before anybody is told, who may then want it.
                drop(wait.permit);
                end.tell(wait.proxy);
            }
        }
        let run = self.run(system);
        unwatch(system, run, &got, out);
    }

    /// An owner answers.
    pub(super) fn answered(&mut self, (system, run): (System, Run), id: u64, answer: Answer) {
        let Some(owner) = self.owners.get_mut(&system) else {
            return;
        };
        let is_asked = |asked: &Asked| asked.sent.is_some_and(|(to, _)| to == run);
        if owner.asked.get(&id).is_some_and(is_asked)
            && let Some(asked) = owner.asked.remove(&id)
        {
            drop(asked.question.permit);
            asked.question.reply.give(system, answer);
        }
    }

    /// Whether it is to be found out now if anybody listens there.
    pub(super) fn begin_probe(&mut self, system: System) -> bool {
        let owner = self.owners.get_mut(&system);
        owner.is_some_and(|owner| !std::mem::replace(&mut owner.is_probed, true))
    }

    /// It has been found out. A system at which nobody listens for half a lease, so that it was neither
    /// joining nor connecting again, and that has not been heard of for one, has no desk.
    pub(super) fn probed(&mut self, now: Duration, system: System, is_nobody: bool) {
        let lease = self.lease;
        let Some(owner) = self.owners.get_mut(&system) else {
            return;
        };
        owner.is_probed = false;
        if !is_nobody {
            owner.nobody = None;
            return;
        }
        let since = *owner.nobody.get_or_insert(now);
        let is_there = owner.known.is_some() && now.saturating_sub(owner.heard) < lease;
        if is_there || now.saturating_sub(since) < lease / 2 {
            return;
        }
        let at_desk = |asked: &Asked| matches!(asked.question.reply, Reply::Said(_));
        let all: Vec<_> = owner.asked.extract_if(|_, asked| at_desk(asked)).collect();
        for (_, Asked { question, sent, .. }) in all {
            drop(question.permit);
            question.reply.refuse(match sent {
                None => SignalError::UnknownSignal,
                // It may have had its effect.
                Some(_) => SignalError::OwnerLost { owner: system.0 },
            });
        }
    }

    /// An owner has gone for good.
    pub(super) fn gone(&mut self, (system, run): (System, Run)) {
        let is_known = |owner: &Owner<T>| owner.known.is_none_or(|known| known.run <= run);
        if self.owners.get(&system).is_some_and(is_known)
            && let Some(owner) = self.owners.remove(&system)
        {
            self.lost += u64::from(!owner.waits.is_empty());
            owner.fail("it has left");
        }
    }

    /// Lets go of what nobody needs and of what was not answered in time; where `judges`, also of owners
    /// whose lease has run out.
    pub(super) fn expire(&mut self, now: Duration, judges: bool, out: &mut Vec<Outgoing>) {
        let lease = self.lease;
        let mut lost = 0;
        self.owners.retain(|&system, owner| {
            owner.let_go(system, now, out);
            let is_silent = now.saturating_sub(owner.heard) >= lease;
            if judges && is_silent && !owner.waits.is_empty() {
                lost += 1;
                // Their proxies say that the system is not heard of.
                drop(std::mem::take(&mut owner.waits));
                owner.untold.clear();
            }
            !(owner.waits.is_empty() && owner.asked.is_empty() && is_silent)
        });
        self.lost += lost;
    }

    /// Tells all owners again what is wanted of them, as at each quarter of a lease: of many waits a
    /// quarter, so that each is renewed once a lease.
    pub(super) fn renew(&mut self, now: Duration, out: &mut Vec<Outgoing>) {
        self.turn = (self.turn + 1) % TURNS;
        let turn = self.turn;
        self.say_again(now, out, |handle| handle.index() % TURNS == turn);
    }

    /// Tells all owners again all that is wanted of them.
    pub(super) fn renew_all(&mut self, now: Duration, out: &mut Vec<Outgoing>) {
        self.say_again(now, out, |_| true);
    }

    fn say_again(
        &mut self,
        now: Duration,
        out: &mut Vec<Outgoing>,
        is_due: impl Fn(&SignalHandle) -> bool,
    ) {
        let (ttl, silence) = (ttl(self.lease), self.lease / 2);
        for (&system, owner) in &mut self.owners {
            let are_few = owner.waits.len() <= HANDLES_FEW;
            let waits = owner.waits.keys().copied();
            let handles: Vec<_> = waits.filter(|it| are_few || is_due(it)).collect();
            owner.watch(system, &handles, ttl, out);
            let asked: Vec<_> = owner.asked.keys().copied().collect();
            let is_silent = now.saturating_sub(owner.heard) >= silence;
            let is_greeted = (owner.known.is_none() || is_silent) && !asked.is_empty();
            // Whoever is waited for is to answer each time.
            if is_greeted || (handles.is_empty() && !owner.waits.is_empty()) {
                out.push(hello(system));
            }
            for id in asked {
                owner.send(system, id, out);
            }
        }
    }

    /// Nobody could be heard for so long, which counts for no lease.
    pub(super) fn excuse(&mut self, now: Duration, silence: Duration) {
        for owner in self.owners.values_mut() {
            owner.heard = now.min(owner.heard + silence);
        }
    }

    /// Nobody could be heard for a while, and may be late: all leases begin anew.
    pub(super) fn extend(&mut self, now: Duration) {
        for owner in self.owners.values_mut() {
            owner.heard = now;
        }
    }

    /// Ends everything: no owner can be reached.
    pub(super) fn fail(&mut self, why: &str) {
        for (_, owner) in self.owners.drain() {
            self.lost += u64::from(!owner.waits.is_empty());
            owner.fail(why);
        }
        self.untold.clear();
    }

    /// All owners that have been heard of.
    pub(super) fn known(&self) -> impl Iterator<Item = (System, Run)> {
        let all = self.owners.iter();
        all.filter_map(|(&system, owner)| Some((system, owner.run()?)))
    }

    fn run(&self, system: System) -> Option<Run> {
        let known = self.owners.get(&system).and_then(|owner| owner.known);
        known.map(|known| known.run)
    }
}

impl<T> Owner<T> {
    fn run(&self) -> Option<Run> {
        self.known.map(|known| known.run)
    }

    fn watch(
        &self,
        system: System,
        handles: &[SignalHandle],
        ttl_ms: u64,
        out: &mut Vec<Outgoing>,
    ) {
        for handles in handles.chunks(HANDLES_MAX) {
            let handles = handles.to_vec();
            out.push(Outgoing {
                system,
                run: self.run(),
                body: Body::Watch { handles, ttl_ms },
            });
        }
    }

    /// Sends the question of this id, for the first time or again.
    fn send(&mut self, system: System, id: u64, out: &mut Vec<Outgoing>) {
        let (Some(known), Some(asked)) = (self.known, self.asked.get_mut(&id)) else {
            return;
        };
        let there = millis_of(asked.until).saturating_add(known.ahead);
        let by = u64::try_from(there).unwrap_or(0);
        let (run, by) = *asked.sent.get_or_insert((known.run, by));
        out.push(Outgoing {
            system,
            run: Some(run),
            body: Body::Request {
                id,
                handle: asked.question.handle,
                by,
                ask: asked.question.ask.clone(),
            },
        });
    }

    /// Another process has the system now: what the one before was to tell is lost. Whether somebody
    /// waited.
    fn replaced(&mut self, system: System) -> bool {
        let waits = std::mem::take(&mut self.waits);
        self.untold.clear();
        let waited = !waits.is_empty();
        fail(waits, system, "another process has taken its place");
        self.asked.retain(|_, asked| asked.sent.is_none());
        waited
    }

    fn let_go(&mut self, system: System, now: Duration, out: &mut Vec<Outgoing>) {
        let mut unneeded = Vec::new();
        self.waits.retain(|&handle, waits| {
            let all = std::mem::take(waits).into_iter();
            waits.extend(all.filter_map(|Wait { proxy, permit }| {
                let proxy = proxy.release()?;
                Some(Wait { proxy, permit })
            }));
            if waits.is_empty() {
                unneeded.push(handle);
            }
            !waits.is_empty()
        });
        unwatch(system, self.run(), &unneeded, out);
        self.asked
            .retain(|_, asked| asked.until >= now && !asked.question.reply.is_unwanted());
    }

    fn fail(self, why: &str) {
        // No waits, no system to name.
        let system = self.waits.keys().next().map(|it| System(it.system_id()));
        fail(self.waits, system.unwrap_or(System(0)), why);
    }
}

/// Ends waits with what is known of their owner.
fn fail<T>(waits: HashMap<SignalHandle, Vec<Wait<T>>>, system: System, why: &str) {
    for (handle, waits) in waits {
        for Wait { proxy, permit } in waits {
            drop(permit);
            let reason = format!("system {system} is lost: {why}");
            proxy.failed(Poison::new(handle, PoisonKind::OwnerLost, reason));
        }
    }
}

fn hello(system: System) -> Outgoing {
    Outgoing {
        system,
        run: None,
        body: Body::Hello {},
    }
}

fn unwatch(system: System, run: Option<Run>, all: &[SignalHandle], out: &mut Vec<Outgoing>) {
    for handles in all.chunks(HANDLES_MAX) {
        let handles = handles.to_vec();
        out.push(Outgoing {
            system,
            run,
            body: Body::Unwatch { handles },
        });
    }
}

/// How long an owner is to remember who waits, in milliseconds: some renewals may be lost.
fn ttl(lease: Duration) -> u64 {
    u64::try_from(lease.as_millis())
        .unwrap_or(u64::MAX)
        .saturating_mul(3)
}

fn millis(clock: u64) -> i64 {
    i64::try_from(clock).unwrap_or(i64::MAX)
}

fn millis_of(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
