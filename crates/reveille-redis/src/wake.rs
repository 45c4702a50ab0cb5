//! Wake-ups: the one connection to each server that hears what changes.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use redis::aio::{PubSubSink, PubSubStream};
use redis::{RedisError, Value};
use reveille_backend::{BackendError, Wakes};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};

use crate::link::{Link, Live, Manner};
use crate::names::channel;
use crate::servers::{Master, Servers};
use crate::slots::{Node, tag_of};

/// How long after a broken connection the next one is made.
const PAUSE: Duration = Duration::from_millis(100);

/// Wakes whom a message concerns. Each line of it is `NAME END`, or `NAME x` when a log is sealed or gone; the
/// name is that of a log, which has a dot, or of a tenant, whose order has grown.
fn tell(wakes: &Wakes, message: &str) {
    for line in message.lines() {
        if let Some((name, end)) = line.split_once(' ') {
            wakes.tell(name, end.parse().ok());
        }
    }
}

/// Hears what changes, for ever. `ready` is told when it has begun.
///
/// In a cluster each master is listened to. Servers pass messages on to each other, but lose them when
/// they lose each other, and nobody tells; who listens to a master hears what happens there.
pub(crate) async fn follow(servers: Arc<Servers>, wakes: Wakes, ready: oneshot::Sender<()>) {
    if let Some(link) = servers.single() {
        return listen(Arc::clone(link), "", wakes, ready).await;
    }
    let mut ready = Some(ready);
    // What ends with this: each listens to a master and looks at a key in a slot that it has.
    let mut tasks = JoinSet::new();
    let mut heard: HashMap<Node, (u16, AbortHandle)> = HashMap::new();
    let mut moves = servers.moves();
    loop {
        let masters = servers.masters();
        heard.retain(|node, (slot, task)| {
            let is_it = |master: &Master| master.node == *node && master.slot == *slot;
            let stays = masters.iter().any(is_it);
            if !stays {
                task.abort();
            }
            stays
        });
        let mut beginning = Vec::new();
        for Master { node, link, slot } in masters {
            if heard.contains_key(&node) {
                continue;
            }
            let (ready, begun) = oneshot::channel();
            let (wakes, tag) = (wakes.clone(), format!(":{{{}}}", tag_of(slot)));
            let task = tasks.spawn(async move { listen(link, &tag, wakes, ready).await });
            heard.insert(node, (slot, task));
            beginning.push(begun);
        }
        if let Some(ready) = ready.take() {
            for begun in beginning {
                let _ = begun.await;
            }
            let _ = ready.send(());
        }
        while tasks.try_join_next().is_some() {}
        servers.look_again().await;
        if servers.moves() != moves {
            // Whoever waits for what has moved looks where it is now, and whether it is still there.
            moves = servers.moves();
            wakes.tell_all();
        }
    }
}

/// Hears what changes on one server, for ever; over a new connection when one breaks. What `tag` makes of a
/// key lies there.
async fn listen(link: Arc<Link>, tag: &str, wakes: Wakes, ready: oneshot::Sender<()>) {
    let mut ready = Some(ready);
    let mut told = false;
    loop {
        let mut connected = link.connected();
        let subscribing = subscribe(&link);
        match tokio::time::timeout(link.options().response_timeout, subscribing).await {
            Ok(Ok((sink, messages))) => {
                let mark = mark(&link, tag).await.ok();
                wakes.tell_all();
                if let Some(ready) = ready.take() {
                    let _ = ready.send(());
                }
                told = false;
                tokio::select! {
                    () = hear(messages, &wakes) => {}
                    () = try_often(sink, &link, tag, mark) => {}
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
            tell(wakes, message);
        }
    }
}

/// Ends when the server does not answer any more, or has been emptied, which nobody tells.
async fn try_often(mut sink: PubSubSink, link: &Link, tag: &str, mark: Option<String>) {
    let options = link.options();
    loop {
        tokio::time::sleep(options.ping_interval).await;
        let answer = tokio::time::timeout(options.response_timeout, sink.ping::<Value>()).await;
        if !matches!(answer, Ok(Ok(_))) {
            return;
        }
        // Without an answer nothing is known, and the next one tells.
        if self::mark(link, tag)
            .await
            .is_ok_and(|now| mark.as_ref() != Some(&now))
        {
            return;
        }
    }
}

/// A key of no meaning that stands as long as the store is not emptied: another one stands there
/// afterwards, whichever process makes it.
async fn mark(link: &Link, tag: &str) -> Result<String, BackendError> {
    let another = format!("{:016x}", RandomState::new().hash_one(()));
    let key = |live: &Live| format!("{}:mark{tag}", live.store);
    let set = |live: &Live| {
        let mut command = redis::cmd("SETNX");
        command.arg(key(live)).arg(&another);
        command.into()
    };
    let get = |live: &Live| {
        let mut command = redis::cmd("GET");
        command.arg(key(live));
        command.into()
    };
    link.ask::<bool>(Manner::Repeatable, &set).await?;
    Ok(link.ask(Manner::Repeatable, &get).await?)
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Waker};

    use reveille_backend::Armed;

    use super::*;

    fn is_woken(armed: &mut Armed) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(armed).poll(&mut cx).is_ready()
    }

    #[test]
    fn a_message_wakes_whom_it_concerns() {
        let wakes = Wakes::new();
        let mut behind = wakes.arm("a", 3);
        let mut ahead = wakes.arm("a", 4);
        let mut other = wakes.arm("b", 0);
        let mut tenant = wakes.arm("t", 7);
        for message in ["a 4", "c 9", "", "a"] {
            tell(&wakes, message);
        }
        assert!(is_woken(&mut behind));
        assert!(!is_woken(&mut ahead), "the log ends where it did");
        tell(&wakes, "t.a 5\nt 7");
        assert!(!is_woken(&mut tenant), "the order ends where it did");
        tell(&wakes, "t.a x\nt.b 7\nt 8");
        assert!(is_woken(&mut tenant));
        tell(&wakes, "a x");
        assert!(is_woken(&mut ahead), "a seal wakes everybody");
        assert!(!is_woken(&mut other));
    }
}
