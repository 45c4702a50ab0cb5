//! Wake-ups: who waits in this process, and the one connection that hears what changes.

use std::collections::HashMap;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt;
use redis::aio::{PubSubSink, PubSubStream};
use redis::{RedisError, Value};
use reveille_backend::BackendError;
use tokio::sync::oneshot;

use crate::link::{Link, Live, Request};
use crate::names::channel;

/// How long after a broken connection the next one is made.
const PAUSE: Duration = Duration::from_millis(100);

/// Who waits, by the name of the log or the tenant: the former have dots, the latter none.
#[derive(Debug, Default)]
pub(crate) struct Wakes(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    next: u64,
    logs: HashMap<String, HashMap<u64, Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    after: u64,
    wake: oneshot::Sender<()>,
}

impl Wakes {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits from now on for this log to end past `after`.
    pub(crate) fn arm(self: &Arc<Self>, name: &str, after: u64) -> Armed {
        let (wake, woken) = oneshot::channel();
        let mut table = self.lock();
        let number = table.next;
        table.next += 1;
        let waiting = table.logs.entry(name.to_owned()).or_default();
        waiting.insert(number, Waiting { after, wake });
        drop(table);
        Armed {
            wakes: Arc::clone(self),
            name: name.to_owned(),
            number,
            woken,
        }
    }

    /// Wakes whom a message concerns: `NAME END`, or `NAME x` when the log is sealed or gone. An append
    /// has the sequence number of its last event behind that, for those who wait for the tenant.
    fn tell(&self, message: &str) {
        let mut words = message.split(' ');
        let (Some(name), Some(end)) = (words.next(), words.next()) else {
            return;
        };
        self.tell_of(name, end.parse().ok());
        let last = words.next().and_then(|last| last.parse().ok());
        if let (Some(last), Some((tenant, _))) = (last, name.split_once('.')) {
            self.tell_of(tenant, Some(last));
        }
    }

    fn tell_of(&self, name: &str, end: Option<u64>) {
        let woken: Vec<Waiting> = {
            let mut table = self.lock();
            let Some(waiting) = table.logs.get_mut(name) else {
                return;
            };
            let due = |w: &Waiting| end.is_none_or(|end| end > w.after);
            let woken = waiting.extract_if(|_, w| due(w)).map(|(_, w)| w).collect();
            if waiting.is_empty() {
                table.logs.remove(name);
            }
            woken
        };
        wake(woken);
    }

    /// Wakes everybody: what was told meanwhile was not heard.
    fn tell_all(&self) {
        let logs = std::mem::take(&mut self.lock().logs);
        wake(logs.into_values().flat_map(HashMap::into_values));
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.lock().logs.is_empty()
    }
}

/// Not under the lock: waking runs other people's code.
fn wake(waiting: impl IntoIterator<Item = Waiting>) {
    for waiting in waiting {
        // Whoever is gone needs no wake.
        let _ = waiting.wake.send(());
    }
}

/// Resolves once something has happened that makes it worth looking again. Dropped, it leaves nothing.
#[derive(Debug)]
pub(crate) struct Armed {
    wakes: Arc<Wakes>,
    name: String,
    number: u64,
    woken: oneshot::Receiver<()>,
}

impl Future for Armed {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.woken).poll(cx).map(drop)
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        let mut table = self.wakes.lock();
        let Some(waiting) = table.logs.get_mut(&self.name) else {
            return;
        };
        let removed = waiting.remove(&self.number);
        if waiting.is_empty() {
            table.logs.remove(&self.name);
        }
        drop(table);
        drop(removed);
    }
}

/// Hears what changes, for ever; over a new connection when one breaks. `ready` is told when it has
/// begun.
pub(crate) async fn listen(link: Arc<Link>, wakes: Arc<Wakes>, ready: oneshot::Sender<()>) {
    let mut ready = Some(ready);
    let mut told = false;
    loop {
        let mut connected = link.connected();
        let subscribing = subscribe(&link);
        match tokio::time::timeout(link.options().response_timeout, subscribing).await {
            Ok(Ok((sink, messages))) => {
                let mark = mark(&link).await.ok();
                wakes.tell_all();
                if let Some(ready) = ready.take() {
                    let _ = ready.send(());
                }
                told = false;
                tokio::select! {
                    () = hear(messages, &wakes) => {}
                    () = try_often(sink, &link, mark) => {}
                    // The server may be another one now.
                    _ = connected.changed() => continue,
                }
            }
            failed if !told => {
                told = true;
                let error = failed.ok().and_then(Result::err);
                tracing::warn!(?error, "the wake-ups of Redis cannot be heard");
            }
            _ => {}
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn subscribe(link: &Link) -> Result<(PubSubSink, PubSubStream), RedisError> {
    let client = link.address().client().await?;
    let mut connection = client.get_async_pubsub().await?;
    connection
        .subscribe(channel(&link.options().prefix))
        .await?;
    Ok(connection.split())
}

async fn hear(mut messages: PubSubStream, wakes: &Wakes) {
    while let Some(message) = messages.next().await {
        if let Ok(message) = std::str::from_utf8(message.get_payload_bytes()) {
            wakes.tell(message);
        }
    }
}

/// Ends when the server does not answer any more, or has been emptied, which nobody tells.
async fn try_often(mut sink: PubSubSink, link: &Link, mark: Option<String>) {
    let options = link.options();
    loop {
        tokio::time::sleep(options.ping_interval).await;
        let answer = tokio::time::timeout(options.response_timeout, sink.ping::<Value>()).await;
        if !matches!(answer, Ok(Ok(_))) {
            return;
        }
        // Without an answer nothing is known, and the next one tells.
        if self::mark(link)
            .await
            .is_ok_and(|now| mark.as_ref() != Some(&now))
        {
            return;
        }
    }
}

/// A key of no meaning that stands as long as the store is not emptied: another one stands there
/// afterwards, whichever process makes it.
async fn mark(link: &Link) -> Result<String, BackendError> {
    let another = format!("{:016x}", RandomState::new().hash_one(()));
    let key = |live: &Live| format!("{}:mark", live.store);
    let set = |live: &Live| {
        let mut command = redis::cmd("SETNX");
        command.arg(key(live)).arg(&another);
        Request::Command(command)
    };
    let get = |live: &Live| {
        let mut command = redis::cmd("GET");
        command.arg(key(live));
        Request::Command(command)
    };
    link.repeatable::<bool>(set).await?;
    link.repeatable::<String>(get).await
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn is_woken(armed: &mut Armed) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(armed).poll(&mut cx).is_ready()
    }

    #[test]
    fn a_message_wakes_whom_it_concerns() {
        let wakes = Arc::new(Wakes::default());
        let mut behind = wakes.arm("a", 3);
        let mut ahead = wakes.arm("a", 4);
        let mut other = wakes.arm("b", 0);
        let mut tenant = wakes.arm("t", 7);
        for message in ["a 4", "c 9", "", "a"] {
            wakes.tell(message);
        }
        assert!(is_woken(&mut behind));
        assert!(!is_woken(&mut ahead), "the log ends where it did");
        wakes.tell("t.a 5 7");
        assert!(!is_woken(&mut tenant), "the order ends where it did");
        wakes.tell("t.a x 8");
        assert!(is_woken(&mut tenant));
        wakes.tell("a x");
        assert!(is_woken(&mut ahead), "a seal wakes everybody");
        assert!(!is_woken(&mut other));
        wakes.tell_all();
        assert!(is_woken(&mut other));
    }

    #[test]
    fn what_is_dropped_or_woken_leaves_nothing() {
        let wakes = Arc::new(Wakes::default());
        drop(wakes.arm("a", 0));
        assert!(wakes.is_empty());
        let _woken = wakes.arm("a", 0);
        wakes.tell("a 1");
        assert!(wakes.is_empty());
    }
}
