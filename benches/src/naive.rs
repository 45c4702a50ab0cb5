//! The design that comes to mind first: events and wakers in two maps, each behind an async mutex.
//!
//! It is what many programs have before they take a library: a lookup by name under the one lock,
//! a look at the events from the front, and a wake-up of everybody who waits in the session. It is
//! here as a peer, not as an example: between its two locks an event can be missed.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

use tokio::sync::Mutex;

/// An event with its place in its session.
#[derive(Debug)]
pub struct NaiveEvent {
    /// Counted from 1.
    pub position: u64,
    /// What happened.
    pub kind: Arc<str>,
}

#[derive(Default)]
struct Log {
    last: u64,
    events: VecDeque<Arc<NaiveEvent>>,
}

/// All sessions.
pub struct NaiveQueue {
    retained: usize,
    events: Mutex<HashMap<String, Log>>,
    waiters: Mutex<HashMap<String, Vec<Waker>>>,
}

impl NaiveQueue {
    /// Without sessions; each will retain so many events.
    #[must_use]
    pub fn new(retained: usize) -> Self {
        Self {
            retained,
            events: Mutex::default(),
            waiters: Mutex::default(),
        }
    }

    /// Makes a session that is empty.
    pub async fn create(&self, session: &str) {
        self.events
            .lock()
            .await
            .entry(session.to_owned())
            .or_default();
    }

    /// Appends an event and wakes everybody who waits in the session. Returns its position.
    pub async fn append(&self, session: &str, kind: &Arc<str>) -> u64 {
        let position = {
            let mut sessions = self.events.lock().await;
            let log = sessions.entry(session.to_owned()).or_default();
            log.last += 1;
            log.events.push_back(Arc::new(NaiveEvent {
                position: log.last,
                kind: kind.clone(),
            }));
            if log.events.len() > self.retained {
                log.events.pop_front();
            }
            log.last
        };
        let woken = self
            .waiters
            .lock()
            .await
            .get_mut(session)
            .map(std::mem::take);
        woken.into_iter().flatten().for_each(Waker::wake);
        position
    }

    /// Takes the oldest event; waits if there is none.
    pub async fn take(&self, session: &str) -> Arc<NaiveEvent> {
        loop {
            let oldest = {
                let mut sessions = self.events.lock().await;
                sessions
                    .get_mut(session)
                    .and_then(|log| log.events.pop_front())
            };
            match oldest {
                Some(event) => return event,
                None => self.woken(session).await,
            }
        }
    }

    /// Waits for an event of this kind after the position.
    pub async fn wait(&self, session: &str, kind: &str, after: u64) -> Arc<NaiveEvent> {
        loop {
            let found = {
                let sessions = self.events.lock().await;
                sessions.get(session).and_then(|log| {
                    let wanted =
                        |event: &&Arc<NaiveEvent>| event.position > after && &*event.kind == kind;
                    log.events.iter().find(wanted).cloned()
                })
            };
            match found {
                Some(event) => return event,
                None => self.woken(session).await,
            }
        }
    }

    /// At most so many events after the position.
    pub async fn page(&self, session: &str, after: u64, limit: usize) -> Vec<Arc<NaiveEvent>> {
        let sessions = self.events.lock().await;
        let events = sessions
            .get(session)
            .into_iter()
            .flat_map(|log| &log.events);
        let wanted = events.filter(|event| event.position > after);
        wanted.take(limit).cloned().collect()
    }

    async fn woken(&self, session: &str) {
        let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        let mut waiters = self.waiters.lock().await;
        waiters.entry(session.to_owned()).or_default().push(waker);
        drop(waiters);
        let mut waited = false;
        poll_fn(|_| {
            if std::mem::replace(&mut waited, true) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}
