//! Every interleaving of registering, completing and dropping, with two or three threads.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test --release -p reveille-core --test loom_signal`.

#![cfg(loom)]

use std::num::NonZeroU64;

use loom::future::block_on;
use loom::{model, thread};
use reveille_core::{CancelToken, ManualClock, PoisonKind, SignalStatus, SignalSystem};

fn system() -> SignalSystem<u32> {
    SignalSystem::builder()
        .system_id(NonZeroU64::MIN)
        .history(2)
        .build()
}

#[test]
fn awaiter_never_misses_a_trigger() {
    model(|| {
        let system = system();
        let signal = system.create().unwrap();
        let handle = signal.handle();
        let waiting = {
            let system = system.clone();
            thread::spawn(move || block_on(system.awaiter(handle).unwrap()).unwrap())
        };
        signal.trigger(42).unwrap();
        assert_eq!(waiting.join().unwrap(), 42);
        assert_eq!(system.stats().waiters, 0);
    });
}

#[test]
fn awaiter_dropped_during_a_trigger_leaves_nothing_behind() {
    model(|| {
        let system = system();
        let signal = system.create().unwrap();
        let (dropped, kept) = (signal.awaiter(), signal.awaiter());
        let dropping = thread::spawn(move || {
            block_on(async {
                let mut dropped = dropped;
                std::future::poll_fn(|cx| {
                    let _ = std::pin::Pin::new(&mut dropped).poll(cx);
                    std::task::Poll::Ready(())
                })
                .await;
            });
        });
        let triggering = thread::spawn(move || signal.trigger(1).unwrap());
        assert_eq!(block_on(kept), Ok(1));
        dropping.join().unwrap();
        triggering.join().unwrap();
        let stats = system.stats();
        assert_eq!((stats.waiters, stats.pending), (0, 0));
    });
}

#[test]
fn trigger_and_poison_have_one_winner() {
    model(|| {
        let system = system();
        let handle = system.create().unwrap().into_handle();
        let other = system.clone();
        let poisoning = thread::spawn(move || other.poison(handle, "no").is_ok());
        let triggered = system.trigger(handle, 1).is_ok();
        let poisoned = poisoning.join().unwrap();
        assert!(triggered != poisoned);
        let status = system.poll(handle).unwrap();
        assert_eq!(status == SignalStatus::Triggered, triggered);
    });
}

#[test]
fn merge_completes_with_the_last_of_two_racing_inputs() {
    model(|| {
        let system = system();
        let (a, b) = (system.create().unwrap(), system.create().unwrap());
        let merged = system.merge(&[a.handle(), b.handle()]).unwrap();
        let completion = system.completion(merged).unwrap();
        let first = thread::spawn(move || a.trigger(1).unwrap());
        let second = thread::spawn(move || drop(b));
        let poison = block_on(completion).unwrap_err();
        assert_eq!(poison.causes()[0].kind, PoisonKind::Dropped);
        first.join().unwrap();
        second.join().unwrap();
    });
}

#[test]
fn awaiter_of_a_reused_slot_gets_its_own_outcome() {
    model(|| {
        let system = system();
        let signal = system.create().unwrap();
        let awaiter = signal.awaiter();
        let waiting = thread::spawn(move || block_on(awaiter).unwrap());
        signal.trigger(1).unwrap();
        system.create().unwrap().trigger(2).unwrap();
        assert_eq!(waiting.join().unwrap(), 1);
    });
}

#[test]
fn last_owner_dropped_ends_an_awaiter() {
    model(|| {
        let system = system();
        let signal = system.create().unwrap();
        let awaiter = signal.awaiter();
        let waiting = thread::spawn(move || block_on(awaiter).unwrap_err().kind());
        drop(system);
        assert_eq!(waiting.join().unwrap(), PoisonKind::SystemDropped);
    });
}

#[test]
fn token_cancelled_while_waited_for_wakes_and_reaches_a_child_being_made() {
    model(|| {
        let token = CancelToken::new(std::sync::Arc::new(ManualClock::new()));
        let other = token.clone();
        let waiting = thread::spawn(move || block_on(other.child().cancelled()).reason);
        token.cancel(Some("stop"));
        assert_eq!(waiting.join().unwrap().as_deref(), Some("stop"));
    });
}
