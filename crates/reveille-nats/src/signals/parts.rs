//! What a node is made of, before it works.

use std::sync::Arc;

use async_nats::{Client, Subscriber};
use reveille_core::{SignalDesk, SignalSystem, SignalSystemBuilder};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::actor::{Actor, FRAME_BYTES_MAX, Me, State};
use super::link::{LinkState, Outbox};
use super::options::SignalNodeOptions;
use super::owners::Owners;
use super::router::{Command, Router};
use super::run::{Run, System};
use super::serving::Serving;
use super::stats::Counters;

/// A system with its way to the others, and what its task will need.
pub(super) struct Parts<T> {
    pub(super) system: SignalSystem<T>,
    pub(super) router: Arc<Router<T>>,
    pub(super) me: Me,
    pub(super) counters: Arc<Counters>,
    pub(super) client: Client,
    pub(super) link: watch::Receiver<LinkState>,
    commands: mpsc::UnboundedReceiver<Command<T>>,
    options: SignalNodeOptions,
}

impl<T> Parts<T>
where
    T: Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
{
    /// Makes the system. Its subjects begin with `subjects`.
    pub(super) fn new(
        client: Client,
        link: watch::Receiver<LinkState>,
        signals: SignalSystemBuilder<T>,
        options: SignalNodeOptions,
        subjects: Arc<str>,
    ) -> Self {
        let (router, commands) = Router::new(options.max_waits, options.max_requests);
        let router = Arc::new(router);
        let system = signals.router(Arc::clone(&router) as _).build();
        let me = Me {
            system: System(system.system_id().get()),
            run: Run::begin(),
            begin: Instant::now(),
            subjects,
        };
        Self {
            system,
            router,
            me,
            counters: Arc::default(),
            client,
            link,
            commands,
            options,
        }
    }

    /// The task that serves the system, and the one that sends what it says.
    pub(super) fn tasks(
        self,
        inbox: Subscriber,
        desk: Option<Arc<dyn SignalDesk>>,
    ) -> (Actor<T>, impl Future<Output = ()> + Send + 'static) {
        let options = self.options;
        let value_bytes_max = self.client.max_payload().saturating_sub(FRAME_BYTES_MAX);
        let (outbox, send) = Outbox::new(self.client, Arc::clone(&self.counters));
        let serving = Serving::new(
            self.system,
            desk,
            value_bytes_max,
            options.max_served,
            options.max_answers,
        );
        let actor = Actor {
            me: self.me,
            lease: options.lease,
            broker_patience: options.broker_patience,
            value_bytes_max,
            inbox,
            commands: self.commands,
            link: self.link,
            outbox,
            probes: Default::default(),
            owners: Owners::new(options.lease, options.request_deadline),
            serving,
            counters: self.counters,
            state: State::default(),
        };
        (actor, send)
    }
}
