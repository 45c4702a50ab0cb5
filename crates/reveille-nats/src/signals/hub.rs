//! One connection for the signal systems of many scopes.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::Client;
use data_encoding::BASE32HEX_NOPAD;
use reveille_core::{
    MemberFuture, SignalDesk, SignalError, SignalMember, SignalNetwork, SignalQuestion,
    SignalSystem, SignalSystemBuilder,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::error::JoinError;
use super::link::{LinkState, connect};
use super::options::SignalNodeOptions;
use super::parts::Parts;
use super::router::Router;
use crate::options::NatsOptions;

/// A connection to the broker by which the systems of this process reach those of others, each within a
/// scope: a tenant, say. A system of another scope is not there for them.
///
/// The subjects of a scope are `PREFIX.signals.v1.s_SCOPE.SYSTEM`, where `SCOPE` is its name in base 32.
/// What a [`SignalNode`](crate::SignalNode) promises holds for each system, but for requests to complete
/// a signal: those are refused, and are made at its [desk](SignalDesk).
///
/// ```no_run
/// use std::sync::Arc;
/// use reveille_core::{SignalNetwork, SignalSystem};
/// use reveille_nats::{SignalHub, SignalNodeOptions};
/// # use reveille_core::{SignalDesk, SignalQuestion};
/// # #[derive(Debug)]
/// # struct Desk;
/// # impl SignalDesk for Desk { fn answer(&self, _: SignalQuestion) -> String { "1".to_owned() } }
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = SignalHub::connect("nats://127.0.0.1", SignalNodeOptions::default()).await?;
/// let member = hub.join("tenant", SignalSystem::<u32>::builder(), Arc::new(Desk));
/// let signal = member.system().create()?;
/// # Ok(())
/// # }
/// ```
pub struct SignalHub {
    client: Client,
    link: watch::Receiver<LinkState>,
    options: SignalNodeOptions,
}

impl SignalHub {
    /// Connects to the broker, whose address is that of a [`NatsBackend`](crate::NatsBackend): a `prefix`
    /// and files behind it go before those of the options, other settings are of the store alone.
    ///
    /// # Errors
    ///
    /// [`JoinError::Invalid`] if an option cannot be, [`JoinError::Setting`] if a setting behind the
    /// address cannot, [`JoinError::Broker`] if the broker cannot be used,
    /// and [`JoinError::MessagesTooShort`] if it carries less than 192 KiB a message.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it leaves nothing behind.
    pub async fn connect(address: &str, mut options: SignalNodeOptions) -> Result<Self, JoinError> {
        let mut store = NatsOptions {
            prefix: options.prefix,
            credentials: options.credentials,
            ca: options.ca,
            cert: options.cert,
            key: options.key,
            ..NatsOptions::default()
        };
        let servers = store.take_query(address);
        let servers = servers.map_err(|name| JoinError::Setting { name })?;
        options.prefix = store.prefix;
        options.credentials = store.credentials;
        (options.ca, options.cert, options.key) = (store.ca, store.cert, store.key);
        options.check()?;
        let (client, link) = connect(servers, &options).await?;
        Ok(Self {
            client,
            link,
            options,
        })
    }

    fn subjects(&self, scope: &str) -> Arc<str> {
        let scope = BASE32HEX_NOPAD.encode(scope.as_bytes());
        let scope = scope.to_ascii_lowercase();
        format!("{}.signals.v1.s_{scope}", self.options.prefix).into()
    }
}

impl<T> SignalNetwork<T> for SignalHub
where
    T: Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
{
    fn join(
        &self,
        scope: &str,
        signals: SignalSystemBuilder<T>,
        desk: Arc<dyn SignalDesk>,
    ) -> Arc<dyn SignalMember<T>> {
        let (client, link) = (self.client.clone(), self.link.clone());
        let subjects = self.subjects(scope);
        let parts = Parts::new(client, link, signals, self.options.clone(), subjects);
        let (system, router) = (parts.system.clone(), Arc::clone(&parts.router));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // It is taken down here, and told to the broker as soon as there is one. Whoever looks for
            // the system before asks again.
            let subject = parts.me.subject(parts.me.system);
            match parts.client.subscribe(subject).await {
                Ok(inbox) => {
                    let (actor, send) = parts.tasks(inbox, Some(desk));
                    tokio::join!(actor.run(), send);
                }
                Err(error) => tracing::error!(%error, "signals are not reached by others"),
            }
        });
        Arc::new(Member {
            system,
            router,
            lease: self.options.lease,
            tasks: Mutex::new(tasks),
        })
    }
}

impl fmt::Debug for SignalHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignalHub")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// A system that has joined.
struct Member<T> {
    system: SignalSystem<T>,
    router: Arc<Router<T>>,
    lease: Duration,
    /// Ended with the member.
    tasks: Mutex<JoinSet<()>>,
}

impl<T> SignalMember<T> for Member<T>
where
    T: Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
{
    fn system(&self) -> &SignalSystem<T> {
        &self.system
    }

    fn ask(
        &self,
        owner: u64,
        question: SignalQuestion,
    ) -> MemberFuture<'_, Result<String, SignalError>> {
        let answer = self.router.consult(owner, question);
        Box::pin(async move {
            let answer = answer.await;
            answer.unwrap_or(Err(SignalError::OwnerLost { owner }))
        })
    }

    fn leave(&self) -> MemberFuture<'_, ()> {
        let tasks = self.tasks.lock();
        let mut tasks = std::mem::take(&mut *tasks.unwrap_or_else(PoisonError::into_inner));
        Box::pin(async move {
            let farewell = async {
                // An error says that the task is gone.
                let _ = self.router.leave().await;
                while tasks.join_next().await.is_some() {}
            };
            let _ = timeout(self.lease, farewell).await;
        })
    }
}

impl<T> fmt::Debug for Member<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("system", &self.system)
            .finish_non_exhaustive()
    }
}
