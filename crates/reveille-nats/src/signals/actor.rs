//! The task of a node: what comes in drives the state machines, and what they say is sent.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::{Message, Subscriber};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use reveille_core::SignalHandle;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::ends::{EndText, not_carried};
use super::link::{INBOX_MAX, LinkState, Outbox};
use super::message::{Ask, Body, Envelope, VERSION};
use super::outgoing::Outgoing;
use super::owners::Owners;
use super::router::Command;
use super::run::{Run, System};
use super::serving::Serving;
use super::stats::{Counters, count};

/// How many commands are taken at a time.
const COMMANDS_MAX: usize = 256;

/// How many bytes of a message are not the value that it carries, at most.
pub(super) const FRAME_BYTES_MAX: usize = 1024;

/// Who this node is.
#[derive(Debug, Clone)]
pub(super) struct Me {
    pub(super) system: System,
    pub(super) run: Run,
    pub(super) begin: Instant,
    /// What the subjects of all nodes begin with.
    pub(super) subjects: Arc<str>,
}

/// The task of a node.
pub(super) struct Actor<T> {
    pub(super) me: Me,
    pub(super) lease: Duration,
    pub(super) broker_patience: Duration,
    pub(super) value_bytes_max: usize,
    pub(super) inbox: Subscriber,
    pub(super) commands: mpsc::UnboundedReceiver<Command<T>>,
    pub(super) link: watch::Receiver<LinkState>,
    pub(super) outbox: Outbox,
    /// Whether nobody listens at a system.
    pub(super) probes: FuturesUnordered<BoxFuture<'static, (System, bool)>>,
    pub(super) owners: Owners<T>,
    pub(super) serving: Serving<T>,
    pub(super) counters: Arc<Counters>,
    pub(super) state: State,
}

/// Where the task stands.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Since when there is no connection.
    cut: Option<Duration>,
    /// How often there was one.
    connects: u64,
    /// When it last did something.
    seen: Duration,
    /// Another process has the system's id.
    is_fenced: bool,
    out: Vec<Outgoing>,
}

/// What happens next.
enum Next {
    Commands,
    Message(Message),
    Ended(Vec<(SignalHandle, EndText)>),
    Probed(System, bool),
    Link,
    Tick,
    Nothing,
}

impl Me {
    pub(super) fn subject(&self, system: System) -> String {
        format!("{}.{system}", self.subjects)
    }

    pub(super) fn now(&self) -> Duration {
        self.begin.elapsed()
    }

    pub(super) fn envelope(&self, to: Option<Run>, body: Body) -> Envelope {
        Envelope {
            version: VERSION,
            from: self.system,
            run: self.run,
            clock: u64::try_from(self.now().as_millis()).unwrap_or(u64::MAX),
            to,
            body,
        }
    }
}

impl<T> Actor<T>
where
    T: Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
{
    /// Works until the node leaves or is dropped.
    pub(super) async fn run(mut self) {
        // Leases are renewed, and judged, four times each.
        let mut ticks = interval(self.lease / 4);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.state.seen = self.me.now();
        self.announce();
        let mut commands = Vec::new();
        loop {
            let next = self.next(&mut ticks, &mut commands).await;
            let now = self.me.now();
            // A process that was stopped has heard nobody, which says nothing of the others.
            let stopped = now.saturating_sub(self.state.seen);
            if stopped > self.lease / 2 {
                self.owners.excuse(now, stopped);
                self.serving.extend(now + 3 * self.lease);
            }
            self.state.seen = now;
            match next {
                Next::Commands => {
                    if let Some(said) = self.commands(now, &mut commands) {
                        self.leave();
                        drop(said);
                        return;
                    }
                }
                Next::Message(message) => self.message(now, &message),
                Next::Ended(ended) => self.serving.ended(ended, &mut self.state.out),
                Next::Probed(system, is_nobody) => self.owners.probed(now, system, is_nobody),
                Next::Link => self.link_changed(now),
                Next::Tick => self.tick(now),
                // Nobody is there who could want anything, or nothing comes any more.
                Next::Nothing => return,
            }
            self.owners.tell(&mut self.state.out);
            self.send();
            self.count();
        }
    }

    async fn next(&mut self, ticks: &mut Interval, commands: &mut Vec<Command<T>>) -> Next {
        tokio::select! {
            taken = self.commands.recv_many(commands, COMMANDS_MAX) => match taken {
                0 => Next::Nothing,
                _ => Next::Commands,
            },
            message = self.inbox.next() => message.map_or(Next::Nothing, Next::Message),
            ended = self.serving.next_ends(), if self.serving.is_waiting() => Next::Ended(ended),
            Some((system, is_nobody)) = self.probes.next() => Next::Probed(system, is_nobody),
            Ok(()) = self.link.changed() => Next::Link,
            _ = ticks.tick() => Next::Tick,
        }
    }

    /// Carries out commands, and gives what the last one of all wants to be told of.
    fn commands(
        &mut self,
        now: Duration,
        commands: &mut Vec<Command<T>>,
    ) -> Option<oneshot::Sender<()>> {
        let mut leaves = None;
        for command in commands.drain(..) {
            match command {
                Command::Leave(said) => leaves = Some(said),
                // Dropped, they say that the owner is lost.
                Command::Wait(_) | Command::Ask(_) if self.state.is_fenced => {}
                Command::Wait(wait) => self.owners.wait(now, wait),
                Command::Ask(question) => match &question.ask {
                    Ask::Trigger { value: text }
                    | Ask::Look { question: text }
                    | Ask::Act { question: text }
                        if text.get().len() > self.value_bytes_max =>
                    {
                        let max = self.value_bytes_max;
                        let reason = format!("its value takes more than {max} bytes");
                        drop(question.permit);
                        question.reply.refuse(not_carried(reason));
                    }
                    _ => self.owners.ask(now, question, &mut self.state.out),
                },
            }
        }
        leaves
    }

    fn message(&mut self, now: Duration, message: &Message) {
        count(&self.counters.received);
        let Ok(envelope) = Envelope::read(&message.payload) else {
            return count(&self.counters.malformed);
        };
        if envelope.from == self.me.system {
            return self.of_own_id(&envelope, message);
        }
        if self.state.is_fenced {
            return count(&self.counters.stale);
        }
        let out = &mut self.state.out;
        let peer = (envelope.from, envelope.run);
        if let Some(to) = envelope.to
            && to != self.me.run
        {
            count(&self.counters.stale);
            // It does not know yet that the one it knows was replaced.
            if to < self.me.run {
                out.push(to_peer(peer, Body::Here {}));
            }
            return;
        }
        if !self.owners.heard(now, peer, envelope.clock, out) {
            return count(&self.counters.stale);
        }
        match envelope.body {
            Body::Hello {} => out.push(to_peer(peer, Body::Here {})),
            Body::Here {} => {}
            Body::Watch { handles, ttl_ms } => {
                let ttl = Duration::from_millis(ttl_ms);
                self.serving.watch(now, peer, &handles, ttl, out);
            }
            Body::Unwatch { handles } => self.serving.unwatch(peer, &handles),
            Body::Report { ends } => self.owners.reported(envelope.from, ends, out),
            Body::Request {
                id,
                handle,
                by,
                ask,
            } => self.serving.request(now, peer, (id, handle, by), &ask, out),
            Body::Answer { id, answer } => self.owners.answered(peer, id, answer),
            Body::Bye {} => {
                self.owners.gone(peer);
                self.serving.gone(peer);
            }
        }
    }

    /// A message of this node itself, or of one with the same id.
    fn of_own_id(&mut self, envelope: &Envelope, message: &Message) {
        if envelope.run == self.me.run {
            return;
        }
        count(&self.counters.stale);
        if let Some(reply) = &message.reply {
            // It asks before it joins.
            let here = self.me.envelope(None, Body::Here {});
            return self.outbox.send(reply.to_string(), here.to_bytes());
        }
        if envelope.run < self.me.run {
            // It was stopped or cut off while this one took its place, and is to know.
            if matches!(envelope.body, Body::Hello {}) {
                self.announce();
            }
        } else if !self.state.is_fenced {
            tracing::error!(
                system = %self.me.system,
                "another process has joined with the id of this one, which is heard of no more"
            );
            self.state.is_fenced = true;
            self.counters.is_fenced.store(true, Ordering::Relaxed);
            self.owners.fail("this node was replaced");
            self.serving.stop();
        }
    }

    /// Says to whoever has the same id that this process is there.
    fn announce(&mut self) {
        let hello = self.me.envelope(None, Body::Hello {});
        let subject = self.me.subject(self.me.system);
        self.outbox.send(subject, hello.to_bytes());
    }

    fn link_changed(&mut self, now: Duration) {
        let link = *self.link.borrow();
        if !link.is_connected {
            self.state.cut.get_or_insert(now);
            return;
        }
        self.state.cut = None;
        if std::mem::replace(&mut self.state.connects, link.connects) != link.connects {
            // What was said meanwhile is lost, in both directions.
            self.forgive(now);
            if !self.state.is_fenced {
                self.announce();
            }
            self.owners.renew_all(now, &mut self.state.out);
        }
    }

    /// Begins all leases anew, since this node itself could not be reached.
    fn forgive(&mut self, now: Duration) {
        self.owners.extend(now);
        self.serving.extend(now + 3 * self.lease);
    }

    fn tick(&mut self, now: Duration) {
        // Nobody is given up whose word is here already.
        for _ in 0..INBOX_MAX {
            let next = tokio::task::unconstrained(self.inbox.next());
            let Some(Some(message)) = next.now_or_never() else {
                break;
            };
            self.message(now, &message);
        }
        let out = &mut self.state.out;
        if let Some(since) = self.state.cut
            && now.saturating_sub(since) >= self.broker_patience
        {
            self.owners.fail("the broker cannot be reached");
        }
        let is_connected = self.state.cut.is_none();
        self.owners.expire(now, is_connected, out);
        self.owners.renew(now, out);
        if is_connected {
            self.serving.expire(now);
        }
    }

    /// Tells what has ended by now, and says farewell.
    fn leave(&mut self) {
        while let Some(ended) = self.serving.next_ends().now_or_never() {
            self.serving.ended(ended, &mut self.state.out);
        }
        let mut peers = self.serving.peers();
        peers.extend(self.owners.known());
        peers.sort_unstable();
        peers.dedup();
        for peer in peers {
            self.state.out.push(to_peer(peer, Body::Bye {}));
        }
        self.send();
    }

    fn send(&mut self) {
        let is_fenced = self.state.is_fenced;
        for Outgoing { system, run, body } in self.state.out.drain(..) {
            if is_fenced {
                continue;
            }
            let is_probe = run.is_none() && matches!(body, Body::Hello {});
            let (subject, text) = (self.me.subject(system), self.me.envelope(run, body));
            if is_probe && self.owners.begin_probe(system) {
                let probe = self.outbox.probe(subject, text.to_bytes(), self.lease);
                self.probes
                    .push(probe.map(move |is_nobody| (system, is_nobody)).boxed());
            } else {
                self.outbox.send(subject, text.to_bytes());
            }
        }
    }

    fn count(&self) {
        let counters = &self.counters;
        let sizes = [
            (&counters.served, self.serving.interests()),
            (&counters.answers, self.serving.answers()),
        ];
        for (counter, now) in sizes {
            counter.store(now, Ordering::Relaxed);
        }
        let counts = [
            (&counters.owners_lost, self.owners.lost),
            (&counters.late, self.serving.late),
            (&counters.no_room, self.serving.no_room),
        ];
        for (counter, now) in counts {
            counter.store(now, Ordering::Relaxed);
        }
    }
}

fn to_peer((system, run): (System, Run), body: Body) -> Outgoing {
    Outgoing {
        system,
        run: Some(run),
        body,
    }
}
