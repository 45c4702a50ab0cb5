//! What a system is handed: its wishes go to the task of the node, within bounds.

use std::fmt;
use std::sync::Arc;

use reveille_core::{
    Poison, SignalError, SignalHandle, SignalProxy, SignalQuestion, SignalReply, SignalRequest,
    SignalRouter, SignalStatus,
};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::ends::{not_carried, write_value};
use super::message::Ask;
use super::owners::{Question, Reply, Wait};

/// What the task of a node is to do.
#[derive(Debug)]
pub(super) enum Command<T> {
    Wait(Wait<T>),
    Ask(Question),
    /// To say farewell, and then that it is said.
    Leave(oneshot::Sender<()>),
}

/// The way to the task of a node. The channel is bounded by the permits that its commands carry.
pub(super) struct Router<T> {
    commands: mpsc::UnboundedSender<Command<T>>,
    waits: Arc<Semaphore>,
    waits_max: usize,
    asks: Arc<Semaphore>,
    asks_max: usize,
}

impl<T> Router<T> {
    pub(super) fn new(
        waits_max: usize,
        asks_max: usize,
    ) -> (Self, mpsc::UnboundedReceiver<Command<T>>) {
        let (commands, received) = mpsc::unbounded_channel();
        let permits = |max: usize| Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS)));
        let router = Self {
            commands,
            waits: permits(waits_max),
            waits_max,
            asks: permits(asks_max),
            asks_max,
        };
        (router, received)
    }

    /// How many waits and requests are under way.
    pub(super) fn under_way(&self) -> (usize, usize) {
        let taken = |max: usize, it: &Semaphore| {
            max.min(Semaphore::MAX_PERMITS)
                .saturating_sub(it.available_permits())
        };
        (
            taken(self.waits_max, &self.waits),
            taken(self.asks_max, &self.asks),
        )
    }

    /// Asks the owner where a signal stands.
    pub(super) fn status(
        &self,
        handle: SignalHandle,
    ) -> oneshot::Receiver<Result<SignalStatus, SignalError>> {
        let (reply, answer) = oneshot::channel();
        self.ask(handle, Ask::Status {}, Reply::Status(reply));
        answer
    }

    /// Asks at the desk of a system.
    pub(super) fn consult(
        &self,
        owner: u64,
        question: SignalQuestion,
    ) -> oneshot::Receiver<Result<String, SignalError>> {
        let (reply, answer) = oneshot::channel();
        let raw = |text| RawValue::from_string(text).map_err(|_| not_carried("it is no JSON"));
        let ask = match question {
            SignalQuestion::Look(text) => raw(text).map(|question| Ask::Look { question }),
            SignalQuestion::Act(text) => raw(text).map(|question| Ask::Act { question }),
        };
        match ask {
            Ok(ask) => {
                // It is asked of the system, not of a signal.
                let handle = SignalHandle::from_raw(u128::from(owner) << u64::BITS);
                self.ask(handle, ask, Reply::Said(reply));
            }
            Err(error) => drop(reply.send(Err(error))),
        }
        answer
    }

    /// Has the task of the node say farewell; ready when it has, or is gone.
    pub(super) fn leave(&self) -> oneshot::Receiver<()> {
        let (said, left) = oneshot::channel();
        self.command(Command::Leave(said));
        left
    }

    fn ask(&self, handle: SignalHandle, ask: Ask, reply: Reply) {
        match Arc::clone(&self.asks).try_acquire_owned() {
            Ok(permit) => self.command(Command::Ask(Question {
                handle,
                ask,
                reply,
                permit,
            })),
            Err(_) => {
                let limit = self.asks_max;
                reply.refuse(SignalError::Exhausted { limit });
            }
        }
    }

    fn command(&self, command: Command<T>) {
        // A node that is gone has lost all owners, and so says what the command carries when dropped.
        let _ = self.commands.send(command);
    }
}

impl<T: Serialize + Send + Sync> SignalRouter<T> for Router<T> {
    fn subscribe(&self, proxy: SignalProxy<T>) {
        match Arc::clone(&self.waits).try_acquire_owned() {
            Ok(permit) => self.command(Command::Wait(Wait { proxy, permit })),
            Err(_) => {
                let limit = self.waits_max;
                proxy.refused(SignalError::Exhausted { limit });
            }
        }
    }

    fn request(&self, handle: SignalHandle, request: SignalRequest<T>, reply: SignalReply) {
        let reply = Reply::Signal(reply);
        let ask = match request {
            SignalRequest::Trigger(value) => match write_value(&value) {
                Ok(value) => Ask::Trigger { value },
                Err(error) => return reply.refuse(error),
            },
            SignalRequest::Poison(reason) => Ask::Poison {
                reason: clipped(&reason),
            },
            SignalRequest::Cancel(reason) => Ask::Cancel {
                reason: clipped(&reason),
            },
        };
        self.ask(handle, ask, reply);
    }
}

impl<T> fmt::Debug for Router<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (waits, asks) = self.under_way();
        f.debug_struct("Router")
            .field("waits", &waits)
            .field("asks", &asks)
            .finish_non_exhaustive()
    }
}

/// As much of a reason as an owner may keep, and a little more, so that it says itself that it was cut.
fn clipped(reason: &str) -> String {
    let end = reason.floor_char_boundary(2 * Poison::REASON_BYTES_MAX);
    reason[..end].to_owned()
}
