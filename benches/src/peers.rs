//! How the peers are used: each the way its documentation shows.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use event_listener::{Event as ListenerEvent, EventListener};
use futures::channel::oneshot as futures_oneshot;
use tokio::sync::futures::OwnedNotified;
use tokio::sync::{Notify, oneshot};
use velo::events::{Event, EventAwaiter, EventManager};

use crate::kind::Kind;

/// A tokio oneshot channel of `()`.
pub(crate) struct TokioOneshot;

impl Kind for TokioOneshot {
    const NAME: &'static str = "tokio oneshot";

    type System = ();
    type Trigger = oneshot::Sender<()>;
    type Wait = oneshot::Receiver<()>;
    type Idle = (Self::Trigger, Self::Wait);
    type Parked = Self::Wait;

    fn system() {}

    fn pair((): &()) -> (Self::Trigger, Self::Wait) {
        oneshot::channel()
    }

    fn trigger(sender: Self::Trigger) {
        sender.send(()).expect("the receiver is there");
    }

    fn idle((): &()) -> Self::Idle {
        oneshot::channel()
    }

    fn park(wait: Self::Wait) -> Self::Parked {
        wait
    }
}

/// A tokio `Notify` that both sides hold.
pub(crate) struct TokioNotify;

impl Kind for TokioNotify {
    const NAME: &'static str = "tokio Notify";

    type System = ();
    type Trigger = Arc<Notify>;
    type Wait = OwnedNotified;
    type Idle = Arc<Notify>;
    type Parked = Pin<Box<OwnedNotified>>;

    fn system() {}

    fn pair((): &()) -> (Self::Trigger, Self::Wait) {
        let notify = Arc::new(Notify::new());
        (Arc::clone(&notify), notify.notified_owned())
    }

    fn trigger(notify: Self::Trigger) {
        notify.notify_one();
    }

    fn idle((): &()) -> Self::Idle {
        Arc::new(Notify::new())
    }

    fn park(wait: Self::Wait) -> Self::Parked {
        Box::pin(wait)
    }
}

/// An event of `event-listener` with the flag that it needs.
pub(crate) struct Listener;

/// What both sides of a [`Listener`] hold.
pub(crate) struct Flag {
    set: AtomicBool,
    event: ListenerEvent,
}

impl Flag {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            set: AtomicBool::new(false),
            event: ListenerEvent::new(),
        })
    }

    fn is_set(&self) -> bool {
        self.set.load(Ordering::Acquire)
    }
}

/// Looks at the flag, listens, looks again, and waits.
pub(crate) struct FlagWait {
    flag: Arc<Flag>,
    listener: Option<EventListener>,
}

impl Future for FlagWait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        loop {
            if this.flag.is_set() {
                return Poll::Ready(());
            }
            match &mut this.listener {
                None => this.listener = Some(this.flag.event.listen()),
                Some(listener) => {
                    ready!(Pin::new(listener).poll(cx));
                    this.listener = None;
                }
            }
        }
    }
}

impl Kind for Listener {
    const NAME: &'static str = "event-listener";

    type System = ();
    type Trigger = Arc<Flag>;
    type Wait = FlagWait;
    type Idle = Arc<Flag>;
    type Parked = FlagWait;

    fn system() {}

    fn pair((): &()) -> (Self::Trigger, Self::Wait) {
        let flag = Flag::new();
        let wait = FlagWait {
            flag: Arc::clone(&flag),
            listener: None,
        };
        (flag, wait)
    }

    fn trigger(flag: Self::Trigger) {
        flag.set.store(true, Ordering::Release);
        flag.event.notify(usize::MAX);
    }

    fn idle((): &()) -> Self::Idle {
        Flag::new()
    }

    fn park(wait: Self::Wait) -> Self::Parked {
        wait
    }
}

/// A oneshot channel of the `futures` crate.
pub(crate) struct FuturesOneshot;

impl Kind for FuturesOneshot {
    const NAME: &'static str = "futures oneshot";

    type System = ();
    type Trigger = futures_oneshot::Sender<()>;
    type Wait = futures_oneshot::Receiver<()>;
    type Idle = (Self::Trigger, Self::Wait);
    type Parked = Self::Wait;

    fn system() {}

    fn pair((): &()) -> (Self::Trigger, Self::Wait) {
        futures_oneshot::channel()
    }

    fn trigger(sender: Self::Trigger) {
        sender.send(()).expect("the receiver is there");
    }

    fn idle((): &()) -> Self::Idle {
        futures_oneshot::channel()
    }

    fn park(wait: Self::Wait) -> Self::Parked {
        wait
    }
}

/// An event of velo's local manager.
pub(crate) struct Velo;

impl Kind for Velo {
    const NAME: &'static str = "velo";

    type System = EventManager;
    type Trigger = Event;
    type Wait = EventAwaiter;
    type Idle = Event;
    type Parked = EventAwaiter;

    fn system() -> EventManager {
        EventManager::local()
    }

    fn pair(manager: &EventManager) -> (Event, EventAwaiter) {
        let event = manager.new_event().expect("the manager is open");
        let awaiter = event.awaiter().expect("the event is pending");
        (event, awaiter)
    }

    fn trigger(event: Event) {
        event.trigger().expect("nobody else completes the event");
    }

    fn idle(manager: &EventManager) -> Event {
        manager.new_event().expect("the manager is open")
    }

    fn park(wait: EventAwaiter) -> EventAwaiter {
        wait
    }
}
