//! The answers to the requests of one connection, which come over one subscription.
//!
//! One task hands them out. It gives up what the connection can no longer answer once that breaks, and
//! looks now and then for what was not answered in time: so a request sets no timer, and waits for
//! nothing but its answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::{Client, Message, SubscribeError, Subscriber};
use futures_util::{FutureExt, StreamExt};
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, interval};

/// How often it is looked for late answers in the time that an answer may take.
const LOOKS: u32 = 8;

/// The answers that are waited for. The task that hands them out ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Answers {
    waiting: Arc<Waiting>,
    /// What the subjects of the answers begin with.
    inbox: String,
    timeout: Duration,
    task: AbortHandle,
}

/// Who waits for which answer.
#[derive(Debug, Default)]
struct Waiting(Mutex<Requests>);

#[derive(Debug, Default)]
struct Requests {
    /// Numbers are given once, so what is answered late is no answer to anything else.
    next: u64,
    waiting: HashMap<u64, Waiter>,
}

#[derive(Debug)]
struct Waiter {
    until: Instant,
    answer: oneshot::Sender<Message>,
}

/// An answer that is waited for, until this is dropped.
#[derive(Debug)]
pub(crate) struct Answer {
    waiting: Arc<Waiting>,
    number: u64,
    answer: oneshot::Receiver<Message>,
}

impl Answers {
    /// Hears the answers that come over a connection, which breaks whenever `broken` changes.
    pub(crate) async fn begin(
        client: &Client,
        timeout: Duration,
        broken: watch::Receiver<u64>,
    ) -> Result<Self, SubscribeError> {
        let inbox = format!("{}.", client.new_inbox());
        let answers = client.subscribe(format!("{inbox}*")).await?;
        let waiting = Arc::<Waiting>::default();
        let handing = hand_out(answers, Arc::clone(&waiting), timeout / LOOKS, broken);
        Ok(Self {
            waiting,
            inbox,
            timeout,
            task: tokio::spawn(handing).abort_handle(),
        })
    }

    /// Waits for one more answer from now on. Also the subject that it is to be sent to.
    pub(crate) fn expect(&self) -> (String, Answer) {
        let answer = self.waiting.expect(Instant::now() + self.timeout);
        (format!("{}{}", self.inbox, answer.number), answer)
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Answer {
    /// The answer, unless it is given up.
    pub(crate) async fn message(mut self) -> Option<Message> {
        (&mut self.answer).await.ok()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if !self.answer.is_terminated() {
            self.waiting.lock().waiting.remove(&self.number);
        }
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Requests> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn expect(self: &Arc<Self>, until: Instant) -> Answer {
        let (sender, answer) = oneshot::channel();
        let mut requests = self.lock();
        let number = requests.next;
        requests.next += 1;
        let waiter = Waiter {
            until,
            answer: sender,
        };
        requests.waiting.insert(number, waiter);
        drop(requests);
        Answer {
            waiting: Arc::clone(self),
            number,
            answer,
        }
    }

    fn hand(&self, message: Message) {
        let number = message.subject.rsplit('.').next();
        let number = number.and_then(|number| number.parse().ok());
        let waiter = number.and_then(|number: u64| self.lock().waiting.remove(&number));
        if let Some(waiter) = waiter {
            // Whoever is gone needs no answer.
            let _ = waiter.answer.send(message);
        }
    }

    /// Gives up what should have been answered by now.
    fn expire(&self, now: Instant) {
        let is_late = |_: &u64, waiter: &mut Waiter| waiter.until <= now;
        let late: Vec<_> = self.lock().waiting.extract_if(is_late).collect();
        // Whoever is told is woken when nothing is locked.
        drop(late);
    }

    fn give_up(&self) {
        let all = std::mem::take(&mut self.lock().waiting);
        drop(all);
    }
}

/// Hands out answers until the client ends.
async fn hand_out(
    mut answers: Subscriber,
    waiting: Arc<Waiting>,
    pause: Duration,
    mut broken: watch::Receiver<u64>,
) {
    let mut look = interval(pause.max(Duration::from_millis(1)));
    loop {
        tokio::select! {
            biased;
            changed = broken.changed() => match changed {
                Ok(()) => waiting.give_up(),
                Err(_) => return,
            },
            now = look.tick() => waiting.expire(now),
            message = answers.next() => {
                let Some(message) = message else {
                    return;
                };
                waiting.hand(message);
                // Most come together.
                while let Some(Some(message)) = answers.next().now_or_never() {
                    waiting.hand(message);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: u64) -> Message {
        Message {
            subject: format!("_INBOX.x.{number}").into(),
            reply: None,
            payload: "payload".into(),
            headers: None,
            status: None,
            description: None,
            length: 0,
        }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[tokio::test]
    async fn each_request_gets_its_own_answer_and_one() {
        let waiting = Arc::<Waiting>::default();
        let (first, second) = (waiting.expect(soon()), waiting.expect(soon()));
        for number in [second.number, 99, first.number, first.number] {
            waiting.hand(message(number));
        }
        for answer in [first, second] {
            let number = answer.number;
            let subject = answer.message().await.map(|message| message.subject);
            assert_eq!(subject, Some(message(number).subject));
        }
    }

    #[tokio::test]
    async fn what_is_late_is_given_up_and_nothing_else() {
        let waiting = Arc::<Waiting>::default();
        let late = waiting.expect(Instant::now());
        let early = waiting.expect(soon());
        waiting.expire(Instant::now());
        assert!(late.message().await.is_none());
        waiting.hand(message(early.number));
        assert!(early.message().await.is_some());
    }

    #[tokio::test]
    async fn a_break_gives_up_all_that_is_waited_for() {
        let waiting = Arc::<Waiting>::default();
        let answer = waiting.expect(soon());
        waiting.give_up();
        assert!(answer.message().await.is_none());
    }

    #[test]
    fn a_request_that_is_given_up_leaves_nothing() {
        let waiting = Arc::<Waiting>::default();
        let answer = waiting.expect(soon());
        assert_eq!(waiting.lock().waiting.len(), 1);
        drop(answer);
        assert!(waiting.lock().waiting.is_empty());
    }
}
