//! The owner's side: who waits for the signals of this node, and what others ask of them.
//!
//! An interest is one node's in one signal. It ends when that node has got the end or waits no more, and
//! when it is not renewed in time. Until then the end is kept here, whatever the system forgets.

use std::collections::HashMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{AbortHandle, Abortable, BoxFuture};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use reveille_core::{
    Poison, SignalDesk, SignalError, SignalHandle, SignalQuestion, SignalRequest, SignalSystem,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::answers::{Answers, Key, Step};
use super::ends::{
    EndText, ErrorText, PoisonText, StatusText, not_carried, read_value, write_value,
};
use super::message::{Answer, Ask, Body};
use super::outgoing::{Outgoing, Reports};
use super::run::{Run, System};

/// How far away the end of a request, and that of an interest, may be.
pub(super) const AHEAD_MAX: Duration = Duration::from_secs(600);

/// How many ends are told at a time.
const ENDS_MAX: usize = 256;

/// A node that waits or asks.
type Peer = (System, Run);

/// What this node does for others.
pub(super) struct Serving<T> {
    system: SignalSystem<T>,
    /// Where all is asked that a desk does not leave to the system.
    desk: Option<Arc<dyn SignalDesk>>,
    /// The longest end that can be sent, in bytes.
    end_bytes_max: usize,
    interests_max: usize,
    interests: usize,
    watched: HashMap<SignalHandle, Watched>,
    ends: FuturesUnordered<Abortable<BoxFuture<'static, (SignalHandle, EndText)>>>,
    answers: Answers,
    /// Requests that came too late, and those that there was no room for.
    pub(super) late: u64,
    pub(super) no_room: u64,
}

/// A signal that somebody is interested in.
struct Watched {
    /// Until when each is.
    peers: HashMap<Peer, Duration>,
    /// How it ended, once it has.
    end: Option<EndText>,
    waiting: AbortHandle,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.waiting.abort();
    }
}

impl<T> Serving<T>
where
    T: Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
{
    pub(super) fn new(
        system: SignalSystem<T>,
        desk: Option<Arc<dyn SignalDesk>>,
        end_bytes_max: usize,
        interests_max: usize,
        answers_max: usize,
    ) -> Self {
        Self {
            system,
            desk,
            end_bytes_max,
            interests_max,
            interests: 0,
            watched: HashMap::new(),
            ends: FuturesUnordered::new(),
            answers: Answers::new(answers_max, AHEAD_MAX),
            late: 0,
            no_room: 0,
        }
    }

    pub(super) fn interests(&self) -> usize {
        self.interests
    }

    pub(super) fn answers(&self) -> usize {
        self.answers.len()
    }

    /// A node waits for signals, for so long at least.
    pub(super) fn watch(
        &mut self,
        now: Duration,
        peer: Peer,
        handles: &[SignalHandle],
        ttl: Duration,
        out: &mut Vec<Outgoing>,
    ) {
        let until = now + ttl.min(AHEAD_MAX);
        let mut reports = Reports::to(peer, out);
        for &handle in handles {
            match self.interest(handle, peer, until) {
                Ok(Some(end)) => reports.push(handle, end.clone()),
                Ok(None) => {}
                Err(error) => reports.push(handle, EndText::Refused(ErrorText::write(&error))),
            }
        }
        reports.finish();
    }

    /// Notes an interest, and gives how the signal has ended, if it has.
    fn interest(
        &mut self,
        handle: SignalHandle,
        peer: Peer,
        until: Duration,
    ) -> Result<Option<&EndText>, SignalError> {
        if !self.watched.contains_key(&handle) {
            if self.interests >= self.interests_max {
                return Err(self.exhausted());
            }
            let waiting = self.wait(handle)?;
            let watched = Watched {
                peers: HashMap::new(),
                end: None,
                waiting,
            };
            self.watched.insert(handle, watched);
        }
        let exhausted = self.exhausted();
        let Some(watched) = self.watched.get_mut(&handle) else {
            return Ok(None);
        };
        if watched.peers.contains_key(&peer) || self.interests < self.interests_max {
            if watched.peers.insert(peer, until).is_none() {
                self.interests += 1;
            }
            return Ok(watched.end.as_ref());
        }
        Err(exhausted)
    }

    fn exhausted(&self) -> SignalError {
        SignalError::Exhausted {
            limit: self.interests_max,
        }
    }

    /// Begins to wait for a signal of this node.
    fn wait(&self, handle: SignalHandle) -> Result<AbortHandle, SignalError> {
        let system = &self.system;
        if handle.system_id() != system.system_id().get() {
            return Err(SignalError::ForeignHandle {
                expected: system.system_id().get(),
                got: handle.system_id(),
            });
        }
        let ended = match system.awaiter(handle) {
            Ok(awaiter) => told(
                handle,
                async move { Ok(Some(write_value(&awaiter.await?))) },
            ),
            Err(SignalError::Derived) => {
                let completion = system.completion(handle)?;
                told(handle, async move { completion.await.map(|()| None) })
            }
            Err(error) => return Err(error),
        };
        let (waiting, registration) = AbortHandle::new_pair();
        self.ends.push(Abortable::new(ended, registration));
        Ok(waiting)
    }

    /// Whether there is anything to wait for with [`next_ends`](Self::next_ends).
    pub(super) fn is_waiting(&self) -> bool {
        !self.ends.is_empty()
    }

    /// The next signals that ended; pending for ever if there is nothing to wait for. Dropped, it loses
    /// nothing.
    pub(super) async fn next_ends(&mut self) -> Vec<(SignalHandle, EndText)> {
        loop {
            match self.ends.next().await {
                Some(Ok(first)) => {
                    let mut ended = vec![first];
                    // Those that are ready now go the same way.
                    while ended.len() < ENDS_MAX
                        && let Some(Some(more)) = self.ends.next().now_or_never()
                    {
                        ended.extend(more);
                    }
                    return ended;
                }
                // Nobody waits for that one any more.
                Some(Err(_aborted)) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Signals have ended: all who are interested are told.
    pub(super) fn ended(&mut self, ended: Vec<(SignalHandle, EndText)>, out: &mut Vec<Outgoing>) {
        let mut told: HashMap<Peer, Vec<(SignalHandle, EndText)>> = HashMap::new();
        for (handle, end) in ended {
            let Some(watched) = self.watched.get_mut(&handle) else {
                continue;
            };
            let end = if end.size() > self.end_bytes_max {
                let reason = format!("its value takes more than {} bytes", self.end_bytes_max);
                EndText::Refused(ErrorText::write(&not_carried(reason)))
            } else {
                end
            };
            for &peer in watched.peers.keys() {
                told.entry(peer).or_default().push((handle, end.clone()));
            }
            watched.end = Some(end);
        }
        for (peer, ends) in told {
            let mut reports = Reports::to(peer, out);
            for (handle, end) in ends {
                reports.push(handle, end);
            }
            reports.finish();
        }
    }

    /// A node waits for these no more, or has got their ends.
    pub(super) fn unwatch(&mut self, peer: Peer, handles: &[SignalHandle]) {
        for handle in handles {
            let Some(watched) = self.watched.get_mut(handle) else {
                continue;
            };
            if watched.peers.remove(&peer).is_some() {
                self.interests -= 1;
            }
            if watched.peers.is_empty() {
                self.watched.remove(handle);
            }
        }
    }

    /// A node has gone.
    pub(super) fn gone(&mut self, peer: Peer) {
        self.retain(|&it, _| it != peer);
    }

    /// Forgets what has not been renewed, and what need not be kept.
    pub(super) fn expire(&mut self, now: Duration) {
        self.retain(|_, &mut until| until >= now);
        self.answers.forget(now);
    }

    /// Nobody could renew anything for a while: all interests last for so long from now.
    pub(super) fn extend(&mut self, until: Duration) {
        self.retain(|_, it| {
            *it = until.max(*it);
            true
        });
    }

    fn retain(&mut self, mut keep: impl FnMut(&Peer, &mut Duration) -> bool) {
        let interests = &mut self.interests;
        self.watched.retain(|_, watched| {
            let before = watched.peers.len();
            watched.peers.retain(&mut keep);
            *interests -= before - watched.peers.len();
            !watched.peers.is_empty()
        });
    }

    /// Everybody who is interested in anything.
    pub(super) fn peers(&self) -> Vec<Peer> {
        let all = self.watched.values().flat_map(|it| it.peers.keys());
        let mut peers: Vec<_> = all.copied().collect();
        peers.sort_unstable();
        peers.dedup();
        peers
    }

    /// Ends all waits for others.
    pub(super) fn stop(&mut self) {
        self.watched.clear();
        self.interests = 0;
    }

    /// A request has come.
    pub(super) fn request(
        &mut self,
        now: Duration,
        (system, run): Peer,
        (id, handle, by): (u64, SignalHandle, u64),
        ask: &Ask,
        out: &mut Vec<Outgoing>,
    ) {
        let key: Key = (run, id);
        let by = Duration::from_millis(by);
        let answer = match ask {
            // It has no effect, so the answer is the one that is true now.
            Ask::Status {} => self.status(handle),
            Ask::Look { question } => self.consult(SignalQuestion::Look(question.get().to_owned())),
            ask => match self.answers.begin(now, key, by) {
                Step::Repeat(answer) => answer,
                Step::Fresh => {
                    let answer = self.carry_out(handle, ask);
                    self.answers.keep(key, by, answer.clone());
                    answer
                }
                Step::Late => {
                    self.late += 1;
                    Answer::Late {}
                }
                // No answer, or the request might have its effect after it was told that it has none.
                Step::NoRoom => {
                    self.no_room += 1;
                    return;
                }
            },
        };
        out.push(Outgoing {
            system,
            run: Some(run),
            body: Body::Answer { id, answer },
        });
    }

    fn status(&self, handle: SignalHandle) -> Answer {
        let status = if handle.system_id() == self.system.system_id().get() {
            self.system.poll(handle)
        } else {
            Err(SignalError::ForeignHandle {
                expected: self.system.system_id().get(),
                got: handle.system_id(),
            })
        };
        match status {
            Ok(status) => Answer::Status(StatusText::write(&status)),
            Err(error) => Answer::Refused(ErrorText::write(&error)),
        }
    }

    fn consult(&self, question: SignalQuestion) -> Answer {
        let answer = match &self.desk {
            Some(desk) => {
                // The desk is a stranger's, and this task serves everybody.
                let answer = catch_unwind(AssertUnwindSafe(|| desk.answer(question)));
                answer.map_err(|_| not_carried("answering it panicked"))
            }
            None => Err(not_carried("there is no desk")),
        };
        let answer = answer.and_then(|text| match text.len() <= self.end_bytes_max {
            true => RawValue::from_string(text).map_err(|_| not_carried("its answer is no JSON")),
            false => Err(not_carried("its answer is too long")),
        });
        match answer {
            Ok(answer) => Answer::Said { answer },
            Err(error) => Answer::Refused(ErrorText::write(&error)),
        }
    }

    fn carry_out(&self, handle: SignalHandle, ask: &Ask) -> Answer {
        let request = match ask {
            Ask::Act { question } => {
                return self.consult(SignalQuestion::Act(question.get().to_owned()));
            }
            Ask::Look { question } => {
                return self.consult(SignalQuestion::Look(question.get().to_owned()));
            }
            // Who may complete a signal is found out at the desk.
            Ask::Trigger { .. } | Ask::Poison { .. } | Ask::Cancel { .. }
                if self.desk.is_some() =>
            {
                return Answer::Refused(ErrorText::write(&SignalError::NotPermitted));
            }
            Ask::Trigger { value } => read_value(value).map(SignalRequest::Trigger),
            Ask::Poison { reason } => Ok(SignalRequest::Poison(reason.as_str().into())),
            Ask::Cancel { reason } => Ok(SignalRequest::Cancel(reason.as_str().into())),
            Ask::Status {} => return self.status(handle),
        };
        // Never sent on to another system: that is an error of this one.
        match request.and_then(|request| self.system.apply(handle, request)) {
            Ok(()) => Answer::Done {},
            Err(error) => Answer::Refused(ErrorText::write(&error)),
        }
    }
}

/// How the signal ended, as the others are told.
fn told(
    handle: SignalHandle,
    ended: impl Future<Output = Result<Option<Result<Box<RawValue>, SignalError>>, Poison>>
    + Send
    + 'static,
) -> BoxFuture<'static, (SignalHandle, EndText)> {
    // The code of the value, which is cloned, is a stranger's.
    let ended = AssertUnwindSafe(ended).catch_unwind();
    ended
        .map(move |ended| {
            let refused = |error| EndText::Refused(ErrorText::write(&error));
            let end = match ended {
                Ok(Ok(Some(Ok(value)))) => EndText::Triggered { value },
                Ok(Ok(Some(Err(error)))) => refused(error),
                Ok(Ok(None)) => EndText::Done {},
                Ok(Err(poison)) => EndText::Failed(PoisonText::write(&poison)),
                Err(_) => refused(not_carried("copying its value panicked")),
            };
            (handle, end)
        })
        .boxed()
}
