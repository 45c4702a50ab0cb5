//! The reliability rows that need neither threads nor a model checker.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "a failure in a helper fails the test")]

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};

use proptest::prelude::*;
use proptest::sample::Index;
use reveille_core::{
    Poison, Signal, SignalAwaiter, SignalError, SignalHandle, SignalStatus, SignalSystem,
};
use tokio_test::{assert_pending, assert_ready_ok, task};

struct Counting(AtomicUsize);

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn r05_awaiters_dropped_in_any_order_after_any_number_of_polls_leave_nothing() {
    const AWAITERS: usize = 100_000;
    let system = SignalSystem::<()>::new();
    let signal = system.create().unwrap();
    let shared = Arc::new(Counting(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&shared));
    let mut cx = Context::from_waker(&waker);
    let mut awaiters: Vec<_> = (0..AWAITERS)
        .map(|number| {
            let mut awaiter = signal.awaiter();
            for _ in 0..number % 4 {
                assert!(Pin::new(&mut awaiter).poll(&mut cx).is_pending());
            }
            awaiter
        })
        .collect();
    assert_eq!(system.stats().waiters, AWAITERS / 4 * 3);
    let mut at = 0;
    while !awaiters.is_empty() {
        at = (at + 7_919) % awaiters.len();
        drop(awaiters.swap_remove(at));
    }
    assert_eq!(system.stats().waiters, 0);
    assert_eq!(Arc::strong_count(&shared), 2, "a waker is kept");
    signal.trigger(()).unwrap();
    assert_eq!(shared.0.load(Ordering::Relaxed), 0);
}

/// A merge may have any of what was made before it as inputs.
fn graph() -> impl Strategy<Value = (Vec<bool>, Vec<Vec<Index>>)> {
    let merge = prop::collection::vec(any::<Index>(), 1..6);
    (
        prop::collection::vec(any::<bool>(), 1..40),
        prop::collection::vec(merge, 0..160),
    )
}

/// As many as are asked for, and two thousand otherwise.
fn cases() -> ProptestConfig {
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    let default = ProptestConfig::default();
    ProptestConfig {
        cases: if asked { default.cases } else { 2_000 },
        ..default
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn r06_roots_of_a_poison_are_each_once_and_bounded_through_any_graph(
        (fails, merges) in graph(),
    ) {
        let system = SignalSystem::<()>::builder().history(1000).build();
        let signals: Vec<_> = fails.iter().map(|_| system.create().unwrap()).collect();
        // Each node with the failed leaves that it rests on, and its longest way to one.
        let mut nodes: Vec<(SignalHandle, BTreeSet<SignalHandle>, usize)> = Vec::new();
        for (signal, fails) in signals.iter().zip(&fails) {
            let handle = signal.handle();
            nodes.push((handle, fails.then_some(handle).into_iter().collect(), 0));
        }
        for inputs in &merges {
            let inputs: Vec<_> = inputs.iter().map(|at| at.get(&nodes)).collect();
            let depth = 1 + inputs.iter().map(|(_, _, depth)| *depth).max().unwrap_or(0);
            if depth > 6 {
                continue;
            }
            let handles: Vec<_> = inputs.iter().map(|(handle, _, _)| *handle).collect();
            let roots = inputs.iter().flat_map(|(_, roots, _)| roots).copied().collect();
            nodes.push((system.merge(&handles).unwrap(), roots, depth));
        }
        for (signal, fails) in signals.into_iter().zip(&fails) {
            if *fails {
                drop(signal);
            } else {
                signal.trigger(()).unwrap();
            }
        }
        prop_assert_eq!(system.stats().pending, 0);
        for (handle, roots, _) in &nodes {
            match system.poll(*handle).unwrap() {
                SignalStatus::Triggered => prop_assert!(roots.is_empty()),
                SignalStatus::Poisoned(poison) => {
                    let causes: BTreeSet<_> = poison.causes().iter().map(|c| c.handle).collect();
                    prop_assert_eq!(causes.len(), poison.causes().len());
                    prop_assert_eq!(causes.len(), roots.len().min(Poison::CAUSES_MAX));
                    prop_assert!(causes.is_subset(roots));
                }
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }
}

struct Panicking;

impl Wake for Panicking {
    fn wake(self: Arc<Self>) {
        panic!("on purpose");
    }
}

/// Uses the system that wakes it for everything.
struct Reentering(SignalSystem, SignalHandle);

impl Wake for Reentering {
    fn wake(self: Arc<Self>) {
        let Self(system, handle) = &*self;
        assert_eq!(system.poll(*handle), Ok(SignalStatus::Triggered));
        let signal = system.create().unwrap();
        let merged = system.merge(&[signal.handle(), *handle]).unwrap();
        let mut waiting = task::spawn(system.awaiter(merged).unwrap());
        assert_pending!(waiting.poll());
        signal.trigger(()).unwrap();
        assert_ready_ok!(waiting.poll());
    }
}

/// The waker under test is in the cell if it comes first, and in the side table otherwise.
fn others_are_woken(bad: impl Fn(&SignalSystem, SignalHandle) -> Waker) {
    for place in 0..3 {
        let system = SignalSystem::<()>::new();
        let signal = system.create().unwrap();
        let handle = signal.handle();
        let shared = Arc::new(Counting(AtomicUsize::new(0)));
        let good = Waker::from(Arc::clone(&shared));
        let bad = bad(&system, handle);
        let mut awaiters: Vec<_> = (0..3).map(|_| signal.awaiter()).collect();
        for (at, awaiter) in awaiters.iter_mut().enumerate() {
            let waker = if at == place { &bad } else { &good };
            let poll = Pin::new(awaiter).poll(&mut Context::from_waker(waker));
            assert!(poll.is_pending());
        }
        signal.trigger(()).unwrap();
        assert_eq!(shared.0.load(Ordering::Relaxed), 2);
        for awaiter in awaiters {
            assert_ready_ok!(task::spawn(awaiter).poll());
        }
        assert_eq!(system.stats().pending, 0);
        assert!(system.create().is_ok());
    }
}

#[test]
fn r08_waker_that_panics_does_no_harm_to_others() {
    others_are_woken(|_, _| Waker::from(Arc::new(Panicking)));
}

#[test]
fn r08_waker_that_uses_the_system_does_no_harm_to_others() {
    others_are_woken(|system, handle| Waker::from(Arc::new(Reentering(system.clone(), handle))));
}

#[test]
fn r08_waker_that_blocks_holds_up_nobody_who_asks() {
    struct Blocking(
        std::sync::mpsc::SyncSender<()>,
        std::sync::Mutex<std::sync::mpsc::Receiver<()>>,
    );
    impl Wake for Blocking {
        fn wake(self: Arc<Self>) {
            self.0.send(()).unwrap();
            self.1.lock().unwrap().recv().unwrap();
        }
    }
    let (started, wakes) = std::sync::mpsc::sync_channel(1);
    let (release, released) = std::sync::mpsc::sync_channel(1);
    let system = SignalSystem::<()>::new();
    let signal = system.create().unwrap();
    let handle = signal.handle();
    let mut blocked = signal.awaiter();
    let waker = Waker::from(Arc::new(Blocking(started, std::sync::Mutex::new(released))));
    let poll = Pin::new(&mut blocked).poll(&mut Context::from_waker(&waker));
    assert!(poll.is_pending());
    std::thread::scope(|scope| {
        scope.spawn(|| signal.trigger(()).unwrap());
        wakes.recv().unwrap();
        // The completion is in the waker now.
        assert_eq!(system.poll(handle), Ok(SignalStatus::Triggered));
        system.create().unwrap().trigger(()).unwrap();
        assert_ready_ok!(task::spawn(system.awaiter(handle).unwrap()).poll());
        assert_eq!(system.stats().pending, 0);
        release.send(()).unwrap();
    });
    assert_ready_ok!(task::spawn(blocked).poll());
}

#[test]
fn d11_forgotten_failure_says_nothing_of_other_slots() {
    let system = SignalSystem::<()>::builder().history(0).build();
    let [fine, failed] = [0; 2].map(|_| system.create().unwrap().into_handle());
    system.trigger(fine, ()).unwrap();
    system.poison(failed, "broken").unwrap();
    assert_eq!(system.poll(failed), Err(SignalError::OutcomeForgotten));
    assert_eq!(system.poll(fine), Ok(SignalStatus::Triggered));
}

const CHAIN: usize = 100_000;

#[test]
fn r07_values_that_own_signals_leave_a_full_history_one_after_the_other() {
    #[derive(Clone)]
    struct Value(#[expect(dead_code, reason = "owned only")] Option<Arc<Signal<Value>>>);
    let system = SignalSystem::<Value>::builder().history(CHAIN).build();
    for _ in 0..CHAIN {
        let owned = system.create().unwrap();
        let signal = system.create().unwrap();
        signal.trigger(Value(Some(Arc::new(owned)))).unwrap();
    }
    assert_eq!(system.stats().pending, CHAIN);
    // Each that leaves poisons a signal, for whose end the next one leaves.
    system.create().unwrap().trigger(Value(None)).unwrap();
    assert_eq!(system.stats().pending, 0);
}

#[test]
fn r07_values_that_own_awaiters_of_each_other_end_one_after_the_other() {
    #[derive(Clone)]
    struct Value(#[expect(dead_code, reason = "owned only")] Option<Arc<SignalAwaiter<Value>>>);
    for history in [0, CHAIN] {
        let system = SignalSystem::<Value>::builder().history(history).build();
        let mut last = None;
        for _ in 0..CHAIN {
            let signal = system.create().unwrap();
            let handle = signal.handle();
            // Kept in its slot by its awaiter, or looked up in the history.
            let live = (history == 0).then(|| signal.awaiter());
            signal.trigger(Value(last.map(Arc::new))).unwrap();
            last = live.or_else(|| system.awaiter(handle).ok());
        }
        drop(system);
        drop(last);
    }
}

#[test]
fn room_that_one_thread_left_is_found_by_all_others() {
    let system = SignalSystem::<()>::builder().max_signals(2).build();
    let fill = || {
        let all = [0; 2].map(|_| system.create().unwrap());
        assert_eq!(system.create().unwrap_err().code(), "exhausted");
        drop(all);
    };
    fill();
    // More than there are groups of threads that take from the same place.
    for _ in 0..64 {
        std::thread::scope(|scope| scope.spawn(fill).join().unwrap());
    }
    assert_eq!(system.stats().pending, 0);
}

#[test]
fn shutdown_after_a_dropped_one_counts_what_is_pending_then() {
    let system = SignalSystem::<()>::new();
    let [before, during, never] = [0; 3].map(|_| system.create().unwrap());
    {
        let mut first = task::spawn(system.shutdown(std::future::pending()));
        assert_pending!(first.poll());
    }
    before.trigger(()).unwrap();
    let until = async { during.trigger(()).unwrap() };
    let report = tokio_test::block_on(system.shutdown(until));
    assert_eq!((report.completed, report.poisoned), (1, 1));
    drop(never);
}
