//! Reveille's signals and what else completes once, behind one trait.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use event_listener::EventListener;
use reveille_core::{Signal, SignalAwaiter, SignalSystem};
use tokio::sync::futures::OwnedNotified;
use tokio::sync::{Notify, oneshot};
use velo::events::{Event, EventAwaiter, EventManager};

/// A kind of one-shot completion.
pub trait OneShot: Send + Sync {
    /// Its name in the tables.
    const NAME: &'static str;
    /// What the caller keeps of a pending one that nobody awaits.
    type Pending: Send;
    /// The right to complete it.
    type Trigger: Send + 'static;
    /// The future of its completion.
    type Wait: Future + Send + 'static;
    /// The same at a place where it can be kept among others and polled.
    type Kept: Future + Unpin;

    /// What they share.
    fn new() -> Self;
    /// A pending one.
    fn create(&self) -> Self::Pending;
    /// Its two sides.
    fn split(&self, pending: Self::Pending) -> (Self::Trigger, Self::Wait);
    /// Both in one step.
    fn pair(&self) -> (Self::Trigger, Self::Wait) {
        self.split(self.create())
    }
    /// Completes it.
    fn fire(trigger: Self::Trigger);
    /// Puts a future where it can be kept.
    fn keep(wait: Self::Wait) -> Self::Kept;
}

/// Reveille's signals, of one system as it is by default: it has room for every row's.
pub struct Reveille(pub SignalSystem<()>);

impl OneShot for Reveille {
    const NAME: &'static str = "reveille";
    type Pending = Signal<()>;
    type Trigger = Signal<()>;
    type Wait = SignalAwaiter<()>;
    type Kept = SignalAwaiter<()>;

    fn new() -> Self {
        Self(SignalSystem::new())
    }
    fn create(&self) -> Signal<()> {
        self.0.create().expect("there is room")
    }
    fn split(&self, pending: Signal<()>) -> (Signal<()>, SignalAwaiter<()>) {
        let wait = pending.awaiter();
        (pending, wait)
    }
    fn pair(&self) -> (Signal<()>, SignalAwaiter<()>) {
        self.0.create_awaited().expect("there is room")
    }
    fn fire(trigger: Signal<()>) {
        trigger.trigger(()).expect("it is pending");
    }
    fn keep(wait: SignalAwaiter<()>) -> SignalAwaiter<()> {
        wait
    }
}

/// velo's events, of one manager.
pub struct Velo(pub EventManager);

impl OneShot for Velo {
    const NAME: &'static str = "velo";
    type Pending = Event;
    type Trigger = Event;
    type Wait = EventAwaiter;
    type Kept = EventAwaiter;

    fn new() -> Self {
        Self(EventManager::local())
    }
    fn create(&self) -> Event {
        self.0.new_event().expect("there is room")
    }
    fn split(&self, pending: Event) -> (Event, EventAwaiter) {
        let wait = pending.awaiter().expect("it is known");
        (pending, wait)
    }
    fn fire(trigger: Event) {
        trigger.trigger().expect("it is pending");
    }
    fn keep(wait: EventAwaiter) -> EventAwaiter {
        wait
    }
}

/// tokio's one-shot channel.
pub struct TokioOneshot;

impl OneShot for TokioOneshot {
    const NAME: &'static str = "tokio oneshot";
    type Pending = (oneshot::Sender<()>, oneshot::Receiver<()>);
    type Trigger = oneshot::Sender<()>;
    type Wait = oneshot::Receiver<()>;
    type Kept = oneshot::Receiver<()>;

    fn new() -> Self {
        Self
    }
    fn create(&self) -> Self::Pending {
        oneshot::channel()
    }
    fn split(&self, pending: Self::Pending) -> Self::Pending {
        pending
    }
    fn fire(trigger: oneshot::Sender<()>) {
        trigger.send(()).expect("it is awaited");
    }
    fn keep(wait: oneshot::Receiver<()>) -> oneshot::Receiver<()> {
        wait
    }
}

/// tokio's `Notify`, shared; its permit is the completion.
pub struct TokioNotify;

impl OneShot for TokioNotify {
    const NAME: &'static str = "tokio Notify";
    type Pending = Arc<Notify>;
    type Trigger = Arc<Notify>;
    type Wait = OwnedNotified;
    type Kept = Pin<Box<OwnedNotified>>;

    fn new() -> Self {
        Self
    }
    fn create(&self) -> Arc<Notify> {
        Arc::new(Notify::new())
    }
    fn split(&self, pending: Arc<Notify>) -> (Arc<Notify>, OwnedNotified) {
        let wait = pending.clone().notified_owned();
        (pending, wait)
    }
    fn fire(trigger: Arc<Notify>) {
        trigger.notify_one();
    }
    fn keep(wait: OwnedNotified) -> Pin<Box<OwnedNotified>> {
        Box::pin(wait)
    }
}

/// futures' one-shot channel.
pub struct FuturesOneshot;

impl OneShot for FuturesOneshot {
    const NAME: &'static str = "futures oneshot";
    type Pending = (
        futures_channel::oneshot::Sender<()>,
        futures_channel::oneshot::Receiver<()>,
    );
    type Trigger = futures_channel::oneshot::Sender<()>;
    type Wait = futures_channel::oneshot::Receiver<()>;
    type Kept = futures_channel::oneshot::Receiver<()>;

    fn new() -> Self {
        Self
    }
    fn create(&self) -> Self::Pending {
        futures_channel::oneshot::channel()
    }
    fn split(&self, pending: Self::Pending) -> Self::Pending {
        pending
    }
    fn fire(trigger: Self::Trigger) {
        trigger.send(()).expect("it is awaited");
    }
    fn keep(wait: Self::Wait) -> Self::Wait {
        wait
    }
}

/// event-listener's event beside a flag that remembers it.
pub struct FlagAndListener;

/// What its two sides share.
pub struct Flagged {
    set: AtomicBool,
    event: event_listener::Event,
}

/// Waits for the flag.
pub struct FlagWait {
    shared: Arc<Flagged>,
    listener: Option<EventListener>,
}

impl Future for FlagWait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.shared.set.load(Ordering::Acquire) {
                return Poll::Ready(());
            }
            if let Some(listener) = &mut self.listener {
                ready!(Pin::new(listener).poll(cx));
                self.listener = None;
            } else {
                // The flag is looked at again: it may have been set before the listening began.
                self.listener = Some(self.shared.event.listen());
            }
        }
    }
}

impl OneShot for FlagAndListener {
    const NAME: &'static str = "event-listener";
    type Pending = Arc<Flagged>;
    type Trigger = Arc<Flagged>;
    type Wait = FlagWait;
    type Kept = FlagWait;

    fn new() -> Self {
        Self
    }
    fn create(&self) -> Arc<Flagged> {
        Arc::new(Flagged {
            set: AtomicBool::new(false),
            event: event_listener::Event::new(),
        })
    }
    fn split(&self, pending: Arc<Flagged>) -> (Arc<Flagged>, FlagWait) {
        let wait = FlagWait {
            shared: pending.clone(),
            listener: None,
        };
        (pending, wait)
    }
    fn fire(trigger: Arc<Flagged>) {
        trigger.set.store(true, Ordering::Release);
        trigger.event.notify(usize::MAX);
    }
    fn keep(wait: FlagWait) -> FlagWait {
        wait
    }
}
