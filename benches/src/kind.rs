//! What a one-shot event must be able to do to be measured, and the two ways to use one.

use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll};

/// A kind of one-shot event: one side completes it, the other waits for it.
pub(crate) trait Kind: 'static {
    /// How the tables call it.
    const NAME: &'static str;

    /// What all events of a program share; nothing for most kinds.
    type System: Send + Sync + 'static;
    /// Completes one event.
    type Trigger: Send + 'static;
    /// Waits for one event.
    type Wait: Future + Send + 'static;
    /// All that a program must keep of an event nobody waits for yet.
    type Idle;
    /// The waiting side where it stays in one place, as in a task.
    type Parked: Future + Unpin;

    fn system() -> Self::System;
    fn pair(system: &Self::System) -> (Self::Trigger, Self::Wait);
    fn trigger(trigger: Self::Trigger);
    fn idle(system: &Self::System) -> Self::Idle;
    fn park(wait: Self::Wait) -> Self::Parked;
}

/// Creates an event, completes it, and then looks for the first time.
pub(crate) fn ready<K: Kind>(system: &K::System, cx: &mut Context<'_>) {
    let (trigger, wait) = K::pair(system);
    K::trigger(trigger);
    let polled = pin!(wait).poll(cx);
    assert!(black_box(polled).is_ready());
}

/// Creates an event, starts to wait, completes it, and looks again.
pub(crate) fn pending<K: Kind>(system: &K::System, cx: &mut Context<'_>) {
    let (trigger, wait) = K::pair(system);
    let mut wait = pin!(wait);
    assert!(matches!(black_box(wait.as_mut().poll(cx)), Poll::Pending));
    K::trigger(trigger);
    assert!(black_box(wait.poll(cx)).is_ready());
}
