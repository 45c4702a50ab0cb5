//! A signal system among others.

use std::fmt;
use std::sync::Arc;

use async_nats::{Client, Request, RequestErrorKind};
use reveille_core::{SignalError, SignalHandle, SignalStatus, SignalSystem, SignalSystemBuilder};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::actor::Me;
use super::error::JoinError;
use super::link::{LinkState, connect};
use super::message::Body;
use super::options::SignalNodeOptions;
use super::parts::Parts;
use super::router::Router;
use super::stats::{Counters, SignalNodeStats};

/// A signal system whose signals those of other processes can wait for and complete, and which reaches
/// theirs.
///
/// It has a connection of its own to the broker, and a task that serves it: what it promises is said in
/// the [documentation of the crate](crate#signals-across-nodes). Values travel as JSON.
///
/// Dropped without [`leave`](Self::leave), it is for all others as if its process had been killed: who
/// waits for its signals gets [`OwnerLost`](reveille_core::PoisonKind::OwnerLost) after a lease.
///
/// ```no_run
/// use reveille_core::{SignalRequest, SignalSystem};
/// use reveille_nats::{SignalNode, SignalNodeOptions};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let options = SignalNodeOptions::default();
/// let node = SignalNode::join("nats://127.0.0.1", SignalSystem::<u32>::builder(), options).await?;
///
/// // Whoever completes it need not be in this process.
/// let handle = node.system().create()?.into_handle();
/// println!("{handle}");
/// assert_eq!(node.system().awaiter(handle)?.await, Ok(42));
///
/// // In another process: a handle is text.
/// let handle = std::env::args().nth(1).unwrap_or_default().parse()?;
/// node.system().request(handle, SignalRequest::Trigger(42)).await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a dropped node is heard of no more"]
pub struct SignalNode<T = ()> {
    system: SignalSystem<T>,
    router: Arc<Router<T>>,
    options: SignalNodeOptions,
    counters: Arc<Counters>,
    link: watch::Receiver<LinkState>,
    /// Ended with the node.
    tasks: JoinSet<()>,
}

impl<T> SignalNode<T>
where
    T: Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
{
    /// Connects to the broker (`nats://[USER:PASSWORD@]HOST[:PORT]` or `nats://[TOKEN@]HOST[:PORT]`, several
    /// with commas between), makes the system and has others reach it.
    ///
    /// Let the system's id be random: a handle says no more of a process than that id, so one that is
    /// used again by a later process answers for the signals of the former. Within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`JoinError::Invalid`] if an option cannot be, [`JoinError::Broker`] if the broker cannot be used,
    /// [`JoinError::MessagesTooShort`] if it carries less than 192 KiB a message, and
    /// [`JoinError::SystemIdTaken`] if the id is in use: another node answers to it, or is still
    /// connected and does not answer.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it leaves nothing behind: no connection, no task and no system.
    pub async fn join(
        address: &str,
        signals: SignalSystemBuilder<T>,
        options: SignalNodeOptions,
    ) -> Result<Self, JoinError> {
        options.check()?;
        let (client, link) = connect(address, &options).await?;
        let subjects = format!("{}.signals.v1", options.prefix).into();
        let parts = Parts::new(client.clone(), link, signals, options.clone(), subjects);
        let subject = parts.me.subject(parts.me.system);
        if is_anybody_at(&client, &parts.me, &subject, &options).await? {
            return Err(JoinError::SystemIdTaken {
                system: parts.me.system.0,
            });
        }
        let inbox = client.subscribe(subject.clone()).await;
        let inbox = inbox.map_err(JoinError::broker)?;
        // The broker takes up what a connection says in its order: once it has answered this, which
        // nobody hears, the subscription is there. A flush does not wait for the broker.
        is_anybody_at(&client, &parts.me, &format!("{subject}.joined"), &options).await?;

        let (system, router) = (parts.system.clone(), Arc::clone(&parts.router));
        let (counters, link) = (Arc::clone(&parts.counters), parts.link.clone());
        let (actor, send) = parts.tasks(inbox, None);
        let mut tasks = JoinSet::new();
        tasks.spawn(actor.run());
        tasks.spawn(send);
        Ok(Self {
            system,
            router,
            options,
            counters,
            link,
            tasks,
        })
    }

    /// The system: it takes the handles of other nodes wherever it takes its own, but for
    /// [`trigger`](SignalSystem::trigger), [`poison`](SignalSystem::poison) and
    /// [`cancel`](SignalSystem::cancel), which answer at once. For others there is
    /// [`request`](SignalSystem::request).
    pub fn system(&self) -> &SignalSystem<T> {
        &self.system
    }

    /// Where a signal stands now, by the word of its owner; [`poll`](SignalSystem::poll) of a signal of
    /// another node says what is known here.
    ///
    /// # Errors
    ///
    /// Those of [`poll`](SignalSystem::poll) there, [`OwnerLost`](SignalError::OwnerLost) if the owner
    /// has not answered within [`request_deadline`](SignalNodeOptions::request_deadline), and
    /// [`Exhausted`](SignalError::Exhausted) if too many requests are under way.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it asks no more.
    pub async fn status(&self, handle: SignalHandle) -> Result<SignalStatus, SignalError> {
        if handle.system_id() == self.system.system_id().get() {
            return self.system.poll(handle);
        }
        let owner = handle.system_id();
        let answer = self.router.status(handle).await;
        answer.unwrap_or(Err(SignalError::OwnerLost { owner }))
    }

    /// How much the node does now, and has done.
    #[must_use]
    pub fn stats(&self) -> SignalNodeStats {
        let (waits, requests) = self.router.under_way();
        let link = *self.link.borrow();
        self.counters.read(link, waits, requests)
    }

    /// Says farewell: who waits for signals of this node that are pending gets
    /// [`OwnerLost`](reveille_core::PoisonKind::OwnerLost) at once, and those that have ended are told
    /// of before. Waits of this node end alike. Takes a lease at most.
    ///
    /// To have others get true causes instead, [shut the system down](SignalSystem::shutdown) first.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it is the same as a node that is dropped, whatever has been said by then.
    pub async fn leave(mut self) {
        let farewell = async {
            // An error says that the task is gone.
            let _ = self.router.leave().await;
            while self.tasks.join_next().await.is_some() {}
        };
        let _ = timeout(self.options.lease, farewell).await;
    }
}

impl<T> fmt::Debug for SignalNode<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignalNode")
            .field("system", &self.system)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// Whether anybody listens there, who may be silent.
async fn is_anybody_at(
    client: &Client,
    me: &Me,
    subject: &str,
    options: &SignalNodeOptions,
) -> Result<bool, JoinError> {
    let hello = me.envelope(None, Body::Hello {}).to_bytes();
    let request = Request::new().payload(hello).timeout(Some(options.lease));
    match client.send_request(subject.to_owned(), request).await {
        Err(error) if error.kind() == RequestErrorKind::NoResponders => Ok(false),
        Err(error) if error.kind() != RequestErrorKind::TimedOut => Err(JoinError::broker(error)),
        Ok(_) | Err(_) => Ok(true),
    }
}
