//! What a system keeps of the signals of others, and how that ends: lost owners, bounds, the
//! system's own end, and what happens at the same time.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "a failure in a helper fails the test")]

mod common;

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use common::{loose, nodes, nodes_of, poison_of};
use proptest::prelude::*;
use reveille_core::{
    PoisonKind, SignalHandle, SignalProxy, SignalReply, SignalRequest, SignalRouter, SignalStatus,
    SignalSystem,
};
use tokio_test::{assert_pending, assert_ready, assert_ready_err, assert_ready_ok, task};

proptest! {
    #[test]
    fn d021_no_handle_makes_an_operation_panic(raw: u128, there: bool, routed: bool) {
        let (here, owner, router) = nodes_of::<u32>(1024, 2);
        let upper = if there { 2 << 64 } else { raw >> 64 << 64 };
        let handle = SignalHandle::from_raw(upper | (raw & u128::from(u64::MAX)));
        let system = if routed { &here } else { &owner };
        let mut waiting = system.awaiter(handle).ok().map(task::spawn);
        let _ = system.merge(&[handle]);
        let _ = system.explain(handle);
        let _ = system.poll(handle);
        let _ = (system.trigger(handle, 1), system.poison(handle, "x"), system.cancel(handle, "x"));
        let mut receipt = task::spawn(system.request(handle, SignalRequest::Trigger(1)));
        router.deliver();
        // Nobody ever gave it out.
        prop_assert!(assert_ready!(receipt.poll()).is_err());
        if let Some(waiting) = &mut waiting {
            prop_assert!(assert_ready!(waiting.poll()).is_err());
        }
    }
}

#[test]
fn d022_lost_owner_ends_waiters_and_merges_and_is_asked_again() {
    let (here, there, router) = nodes::<u32>();
    let handle = loose(&there);
    let merged = here.merge(&[handle]).unwrap();
    let mut awaiter = task::spawn(here.awaiter(handle).unwrap());
    let mut completion = task::spawn(here.completion(handle).unwrap());
    assert_pending!(awaiter.poll());
    assert_pending!(completion.poll());
    router.deliver_subscriptions();
    router.cut();
    assert!(awaiter.is_woken() && completion.is_woken());
    let poison = assert_ready_err!(awaiter.poll());
    assert_eq!(
        (poison.handle(), poison.kind()),
        (handle, PoisonKind::OwnerLost)
    );
    assert_eq!(assert_ready_err!(completion.poll()), poison);
    assert_eq!(poison_of(&here, merged).causes(), poison.causes());

    assert_eq!(
        here.poll(handle),
        Ok(SignalStatus::Pending),
        "nothing is known of it"
    );
    let mut again = task::spawn(here.awaiter(handle).unwrap());
    there.trigger(handle, 3).unwrap();
    router.deliver();
    assert_eq!(assert_ready_ok!(again.poll()), 3);
    assert_eq!(router.subscribed(), 2);
}

#[test]
fn f19_what_is_remembered_is_bounded_and_asked_for_again() {
    let (here, there, router) = nodes_of::<u32>(1024, 4);
    let wanted = loose(&there);
    let mut awaiter = task::spawn(here.awaiter(wanted).unwrap());
    assert_pending!(awaiter.poll());
    let handles: Vec<_> = (0..100).map(|_| loose(&there)).collect();
    for (value, handle) in (0..).zip(&handles) {
        let mut other = task::spawn(here.awaiter(*handle).unwrap());
        there.trigger(*handle, value).unwrap();
        router.deliver();
        assert_eq!(assert_ready_ok!(other.poll()), value);
        assert!(here.stats().foreign <= 4, "{}", here.stats().foreign);
    }
    assert_eq!(
        here.poll(handles[0]),
        Ok(SignalStatus::Pending),
        "forgotten"
    );
    assert_eq!(here.poll(handles[99]), Ok(SignalStatus::Triggered));
    let mut again = task::spawn(here.awaiter(handles[0]).unwrap());
    router.deliver();
    assert_eq!(assert_ready_ok!(again.poll()), 0);
    there.trigger(wanted, 1000).unwrap();
    router.deliver();
    assert_eq!(assert_ready_ok!(awaiter.poll()), 1000, "never forgotten");
}

#[test]
fn f19_pending_ones_that_nobody_waits_for_are_forgotten_and_free_their_slots() {
    let (here, there, router) = nodes_of::<u32>(1024, 4);
    for _ in 0..100 {
        drop(here.awaiter(loose(&there)).unwrap());
    }
    assert!(here.stats().foreign <= 4);
    // Two signals stand for each.
    assert!(here.stats().pending <= 8, "{}", here.stats().pending);
    let unneeded = std::mem::take(&mut *router.proxies.lock());
    let kept = unneeded
        .into_iter()
        .filter_map(SignalProxy::release)
        .count();
    assert_eq!(kept, 0);
    assert_eq!((here.stats().foreign, here.stats().pending), (0, 0));
}

#[test]
fn d023_release_ends_what_nobody_needs_and_nothing_else() {
    let (here, there, router) = nodes::<()>();
    let handle = loose(&there);
    let release = || router.proxies.lock().pop_front().unwrap().release();

    let awaiter = here.awaiter(handle).unwrap();
    let proxy = release().expect("somebody waits, though it was never polled");
    drop(awaiter);
    let merged = here.merge(&[handle]).unwrap();
    let proxy = proxy.release().expect("a merge waits");
    here.cancel(merged, "not needed").unwrap();
    assert!(proxy.release().is_none());
    assert_eq!(here.stats().foreign, 0);

    let mut awaiter = task::spawn(here.awaiter(handle).unwrap());
    assert_eq!(router.subscribed(), 2, "subscribed anew");
    there.trigger(handle, ()).unwrap();
    router.deliver();
    assert_ready_ok!(awaiter.poll());
}

#[test]
fn d13_orderly_shutdown_does_not_wait_for_what_nobody_waits_for() {
    let (here, there, _router) = nodes::<u32>();
    let (idle, awaited) = (loose(&there), loose(&there));
    drop(here.awaiter(idle).unwrap());
    let mut awaiter = task::spawn(here.awaiter(awaited).unwrap());
    let mut shutdown = task::spawn(here.shutdown(std::future::pending()));
    assert_pending!(shutdown.poll());
    assert_eq!(here.stats().foreign, 1);
    assert_pending!(awaiter.poll());
    here.force_shutdown("closing");
    assert!(shutdown.is_woken());
    assert_ready!(shutdown.poll());
    assert_eq!(assert_ready_err!(awaiter.poll()).reason(), "closing");
    assert_eq!(
        here.poll(awaited),
        Ok(SignalStatus::Pending),
        "elsewhere it still is"
    );
    assert_eq!(here.awaiter(idle).unwrap_err().code(), "shut_down");
}

#[test]
fn explanation_names_the_foreign_signal_that_is_waited_for() {
    let (here, there, _router) = nodes::<()>();
    let handle = loose(&there);
    let merged = here.merge(&[handle]).unwrap();
    let why = here.explain(merged).unwrap();
    assert_eq!(why.pending[0].waits_for, [handle]);
    assert_eq!((why.pending[1].handle, why.pending.len()), (handle, 2));
}

#[test]
fn explanation_names_a_foreign_signal_with_a_value_once_as_itself() {
    let (here, there, _router) = nodes::<u32>();
    let (handle, own) = (loose(&there), loose(&here));
    let merged = here.merge(&[handle, own]).unwrap();
    let why = here.explain(merged).unwrap();
    let named: Vec<_> = why.pending.iter().map(|it| it.handle).collect();
    assert_eq!(named, [merged, handle, own]);
    assert_eq!(why.pending[0].waits_for, [handle, own]);
    assert!(why.pending[1].mode.is_none() && why.pending[1].waits_for.is_empty());
}

#[test]
fn router_may_answer_within_the_call_and_panic() {
    #[derive(Debug)]
    struct Rude;
    impl SignalRouter for Rude {
        fn subscribe(&self, proxy: SignalProxy) {
            if proxy.handle().generation() == 1 {
                return proxy.triggered(None);
            }
            panic!("on purpose");
        }
        fn request(&self, _: SignalHandle, _: SignalRequest, reply: SignalReply) {
            reply.answer(Ok(()));
        }
    }
    let here = SignalSystem::builder().router(Arc::new(Rude)).build();
    let handle = SignalHandle::from_raw((7 << 64) | 1);
    assert_ready_ok!(task::spawn(here.awaiter(handle).unwrap()).poll());
    assert_ready_ok!(task::spawn(here.request(handle, SignalRequest::Trigger(()))).poll());
    let other = handle.with_generation(2);
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| here.merge(&[other])));
    assert!(caught.is_err());
    assert_eq!(
        here.stats().pending,
        0,
        "the proxy was dropped by the panic"
    );
    assert_ready_ok!(task::spawn(here.awaiter(handle).unwrap()).poll());
}

/// Polls until ready, and fails if nothing wakes it for long.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread, AtomicBool);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.1.store(true, Ordering::Release);
            self.0.unpark();
        }
    }
    let mut future = pin!(future);
    let unpark = Arc::new(Unpark(thread::current(), AtomicBool::new(true)));
    let waker = Waker::from(Arc::clone(&unpark));
    let mut since = Instant::now();
    loop {
        if unpark.1.swap(false, Ordering::Acquire) {
            since = Instant::now();
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return output;
            }
        }
        assert!(since.elapsed() < Duration::from_secs(60), "nobody woke it");
        thread::park_timeout(Duration::from_secs(1));
    }
}

#[test]
fn d023_no_waiter_is_lost_between_looking_and_forgetting() {
    const THREADS: usize = 3;
    const ROUNDS: u32 = 3000;
    // Room for less than there is, so that forgetting goes on all the time.
    let (here, there, router) = nodes_of::<u32>(1 << 20, 2);
    let handles: Vec<_> = (0..ROUNDS).map(|_| loose(&there)).collect();
    let (done, reached) = (AtomicBool::new(false), AtomicU32::new(0));
    let barrier = Barrier::new(THREADS + 1);
    thread::scope(|scope| {
        let network = scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                // Proxies that nobody needs are let go of, the others served.
                let sent = std::mem::take(&mut *router.proxies.lock());
                let wanted = sent.into_iter().filter_map(SignalProxy::release);
                router.proxies.lock().extend(wanted);
                router.deliver();
                let served = std::mem::take(&mut *router.served.lock());
                let wanted = served.into_iter().filter_map(|(served, proxy)| {
                    let proxy = proxy.release()?;
                    Some((served, proxy))
                });
                router.served.lock().extend(wanted);
                thread::yield_now();
            }
        });
        let waiters: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (here, handles) = (&here, &handles);
                let (barrier, reached) = (&barrier, &reached);
                scope.spawn(move || {
                    barrier.wait();
                    for (value, handle) in (0..).zip(handles) {
                        reached.fetch_max(value, Ordering::Relaxed);
                        // Comes and goes, then waits.
                        drop(here.awaiter(*handle).unwrap());
                        if thread == 0 {
                            let merged = here.merge(&[*handle]).unwrap();
                            assert_eq!(block_on(here.completion(merged).unwrap()), Ok(()));
                        } else {
                            assert_eq!(block_on(here.awaiter(*handle).unwrap()), Ok(value));
                        }
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            barrier.wait();
            for (value, handle) in (0..).zip(&handles) {
                // Not long before somebody asks for it.
                while reached.load(Ordering::Relaxed) < value {
                    if done.load(Ordering::Acquire) {
                        return;
                    }
                    thread::yield_now();
                }
                there.trigger(*handle, value).unwrap();
            }
        });
        let ended: Vec<_> = waiters
            .into_iter()
            .map(thread::ScopedJoinHandle::join)
            .collect();
        done.store(true, Ordering::Release);
        network.join().unwrap();
        assert!(ended.iter().all(Result::is_ok));
    });
    assert!(here.stats().foreign <= 2 + THREADS);
}
