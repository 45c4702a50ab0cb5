//! Two systems in one process, and a router between them that delivers nothing by itself: a test
//! says which message arrives, in which order, or never.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::future::Future;
use std::num::NonZeroU64;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use reveille_core::sync::Mutex;
use reveille_core::{
    Completion, Poison, SignalAwaiter, SignalError, SignalHandle, SignalProxy, SignalReply,
    SignalRequest, SignalRouter, SignalStatus, SignalSystem,
};

pub(crate) trait Value: Clone + Debug + Send + Sync + 'static {}
impl<T: Clone + Debug + Send + Sync + 'static> Value for T {}

/// Messages on their way to one system, and the waits that it serves.
#[derive(Debug)]
pub(crate) struct Loopback<T: Value> {
    there: SignalSystem<T>,
    subscribed: AtomicUsize,
    pub(crate) proxies: Mutex<VecDeque<SignalProxy<T>>>,
    pub(crate) requests: Mutex<VecDeque<(SignalHandle, SignalRequest<T>, SignalReply)>>,
    pub(crate) served: Mutex<Vec<(Served<T>, SignalProxy<T>)>>,
}

/// What the owner waits for on behalf of another system.
#[derive(Debug)]
pub(crate) enum Served<T> {
    Value(SignalAwaiter<T>),
    End(Completion<T>),
}

impl<T: Value> SignalRouter<T> for Loopback<T> {
    fn subscribe(&self, proxy: SignalProxy<T>) {
        self.subscribed.fetch_add(1, Ordering::Relaxed);
        self.proxies.lock().push_back(proxy);
    }

    fn request(&self, handle: SignalHandle, request: SignalRequest<T>, reply: SignalReply) {
        self.requests.lock().push_back((handle, request, reply));
    }
}

impl<T: Value> Loopback<T> {
    pub(crate) fn subscribed(&self) -> usize {
        self.subscribed.load(Ordering::Relaxed)
    }

    /// The subscriptions that were sent arrive at the owner.
    pub(crate) fn deliver_subscriptions(&self) {
        loop {
            let Some(proxy) = self.proxies.lock().pop_front() else {
                return;
            };
            let handle = proxy.handle();
            let served = match self.there.awaiter(handle) {
                Ok(awaiter) => Ok(Served::Value(awaiter)),
                Err(SignalError::Derived) => self.there.completion(handle).map(Served::End),
                Err(error) => Err(error),
            };
            match served {
                Ok(served) => self.served.lock().push((served, proxy)),
                Err(error) => proxy.refused(error),
            }
        }
    }

    /// The owner's report of this signal arrives, if there is one.
    pub(crate) fn deliver_report(&self, handle: SignalHandle) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        let mut served = self.served.lock();
        let Some(at) = served
            .iter()
            .position(|(_, proxy)| proxy.handle() == handle)
        else {
            return false;
        };
        let ended = match &mut served[at].0 {
            Served::Value(awaiter) => pin!(awaiter).poll(&mut cx).map_ok(Some),
            Served::End(completion) => pin!(completion).poll(&mut cx).map_ok(|()| None),
        };
        let Poll::Ready(ended) = ended else {
            return false;
        };
        let (_, proxy) = served.swap_remove(at);
        drop(served);
        match ended {
            Ok(value) => proxy.triggered(value),
            Err(poison) => proxy.failed(poison),
        }
        true
    }

    /// A request that was sent arrives at the owner, and its answer here.
    pub(crate) fn deliver_request(&self, at: usize) {
        let (handle, request, reply) = self.requests.lock().remove(at).unwrap();
        reply.answer(self.there.apply(handle, request));
    }

    /// Everything arrives.
    pub(crate) fn deliver(&self) {
        self.deliver_subscriptions();
        while !self.requests.lock().is_empty() {
            self.deliver_request(0);
        }
        let handles = self
            .served
            .lock()
            .iter()
            .map(|(_, proxy)| proxy.handle())
            .collect();
        let handles: Vec<_> = handles;
        for handle in handles {
            self.deliver_report(handle);
        }
    }

    /// The owner is not heard of any more.
    pub(crate) fn cut(&self) {
        drop(std::mem::take(&mut *self.proxies.lock()));
        drop(std::mem::take(&mut *self.requests.lock()));
        drop(std::mem::take(&mut *self.served.lock()));
    }
}

/// A system with a router, the one that it reaches, and what is between them.
pub(crate) type Nodes<T> = (SignalSystem<T>, SignalSystem<T>, Arc<Loopback<T>>);

pub(crate) fn id(n: u64) -> NonZeroU64 {
    NonZeroU64::new(n).unwrap()
}

pub(crate) fn nodes_of<T: Value>(history: usize, foreign_max: usize) -> Nodes<T> {
    let there = SignalSystem::builder()
        .system_id(id(2))
        .history(history)
        .build();
    let router = Arc::new(Loopback {
        there: there.clone(),
        subscribed: AtomicUsize::default(),
        proxies: Mutex::default(),
        requests: Mutex::default(),
        served: Mutex::default(),
    });
    let here = SignalSystem::builder()
        .system_id(id(1))
        .router(Arc::clone(&router) as Arc<dyn SignalRouter<T>>)
        .max_foreign(foreign_max)
        // What stands for foreign signals takes places in it as well.
        .history(1 << 20)
        .build();
    (here, there, router)
}

pub(crate) fn nodes<T: Value>() -> Nodes<T> {
    nodes_of(1024, 1024)
}

/// A signal that is completed by its handle alone.
pub(crate) fn loose<T: Value>(system: &SignalSystem<T>) -> SignalHandle {
    system.create().unwrap().into_handle()
}

pub(crate) fn poison_of<T: Value>(system: &SignalSystem<T>, handle: SignalHandle) -> Poison {
    match system.poll(handle).unwrap() {
        SignalStatus::Poisoned(poison) | SignalStatus::Cancelled(poison) => poison,
        other => panic!("{handle} is {other:?}"),
    }
}
