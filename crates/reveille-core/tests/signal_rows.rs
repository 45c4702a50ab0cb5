//! What signals promise, row by row: named after the defects that each promise rules out.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "a failure in a helper fails the test")]

use std::future::pending;
use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use reveille_core::{
    Poison, PoisonKind, ShutdownReport, SignalError, SignalHandle, SignalStatus, SignalSystem,
};
use tokio_test::{assert_pending, assert_ready, assert_ready_err, assert_ready_ok, task};

fn system() -> SignalSystem {
    SignalSystem::new()
}

/// A signal that is completed by its handle alone.
fn loose(system: &SignalSystem) -> SignalHandle {
    system.create().unwrap().into_handle()
}

fn poison_of(system: &SignalSystem, handle: SignalHandle) -> Poison {
    match system.poll(handle).unwrap() {
        SignalStatus::Poisoned(poison) | SignalStatus::Cancelled(poison) => poison,
        other => panic!("{handle} is {other:?}"),
    }
}

#[derive(Default)]
struct CountingWaker(AtomicUsize);

impl Wake for CountingWaker {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn d01_dropped_awaiters_leave_no_waker() {
    let system = system();
    let signal = system.create().unwrap();
    let shared = Arc::new(CountingWaker::default());
    let waker = Waker::from(Arc::clone(&shared));
    for _ in 0..10_000 {
        let mut awaiter = Box::pin(signal.awaiter());
        let mut cx = std::task::Context::from_waker(&waker);
        assert!(awaiter.as_mut().poll(&mut cx).is_pending());
        assert!(awaiter.as_mut().poll(&mut cx).is_pending());
    }
    assert_eq!(system.stats().waiters, 0);
    assert_eq!(
        Arc::strong_count(&shared),
        2,
        "no clone of the waker is kept"
    );

    let mut live = task::spawn(signal.awaiter());
    assert_pending!(live.poll());
    signal.trigger(()).unwrap();
    assert!(live.is_woken());
    assert_ready_ok!(live.poll());
    assert_eq!(shared.0.load(Ordering::Relaxed), 0);
    assert_eq!(system.stats().waiters, 0);
}

#[test]
fn d07_last_owner_dropped_ends_every_awaiter() {
    let system = system();
    let signal = system.create().unwrap();
    let merged = system.merge(&[signal.handle()]).unwrap();
    let mut awaiter = task::spawn(signal.awaiter());
    let mut completion = task::spawn(system.completion(merged).unwrap());
    assert_pending!(awaiter.poll());
    assert_pending!(completion.poll());

    let other_owner = system.clone();
    drop(system);
    assert!(!awaiter.is_woken(), "an owner is left");
    drop(other_owner);
    assert!(awaiter.is_woken() && completion.is_woken());
    assert_eq!(
        assert_ready_err!(awaiter.poll()).kind(),
        PoisonKind::SystemDropped
    );
    let poison = assert_ready_err!(completion.poll());
    assert_eq!(poison.causes()[0].kind, PoisonKind::SystemDropped);
    assert!(matches!(
        signal.trigger(()),
        Err(SignalError::AlreadyPoisoned { .. })
    ));
}

#[test]
fn d08_refusals_tell_apart_what_came_before() {
    let system = system();
    let h = loose(&system);
    system.trigger(h, ()).unwrap();
    for _ in 0..2 {
        assert_eq!(system.trigger(h, ()), Err(SignalError::AlreadyTriggered));
        assert_eq!(system.poison(h, "late"), Err(SignalError::AlreadyTriggered));
        assert_eq!(system.cancel(h, "late"), Err(SignalError::AlreadyTriggered));
    }

    let h = loose(&system);
    system.poison(h, "first").unwrap();
    system.poison(h, "second").unwrap();
    let already = SignalError::AlreadyPoisoned {
        reason: "first".into(),
    };
    assert_eq!(system.trigger(h, ()), Err(already.clone()));
    assert_eq!(system.cancel(h, "late"), Err(already));
    assert_eq!(poison_of(&system, h).reason(), "first");

    let h = loose(&system);
    system.cancel(h, "stop").unwrap();
    system.cancel(h, "stop again").unwrap();
    let already = SignalError::AlreadyCancelled {
        reason: "stop".into(),
    };
    assert_eq!(system.trigger(h, ()), Err(already.clone()));
    assert_eq!(system.poison(h, "late"), Err(already));
}

#[test]
fn d08_old_handle_answers_with_the_outcome_of_its_own_generation() {
    let system = system();
    let first = loose(&system);
    system.trigger(first, ()).unwrap();
    let second = loose(&system);
    assert_eq!(second, first.with_generation(2), "the slot is used again");
    assert_eq!(
        system.trigger(first, ()),
        Err(SignalError::AlreadyTriggered)
    );
    system.poison(second, "second").unwrap();
    let third = loose(&system);
    assert_eq!(third.generation(), 3);

    assert_eq!(system.poll(first), Ok(SignalStatus::Triggered));
    assert_ready_ok!(task::spawn(system.awaiter(first).unwrap()).poll());
    let poison = assert_ready_err!(task::spawn(system.awaiter(second).unwrap()).poll());
    assert_eq!((poison.handle(), poison.reason()), (second, "second"));
    assert_eq!(system.poll(third), Ok(SignalStatus::Pending));
}

#[test]
fn d08_awaiter_of_a_reused_slot_gets_its_own_outcome_however_late() {
    let system = SignalSystem::<u32>::builder().history(1).build();
    let mut handles = Vec::new();
    let mut awaiters = Vec::new();
    for value in 0..100 {
        let signal = system.create().unwrap();
        awaiters.push((value, task::spawn(signal.awaiter())));
        handles.push(signal.handle());
        signal.trigger(value).unwrap();
        // What nobody waits for passes through the history meanwhile.
        system.create().unwrap().trigger(1000).unwrap();
    }
    for (value, mut awaiter) in awaiters {
        assert_eq!(assert_ready_ok!(awaiter.poll()), value);
        assert_eq!(
            assert_ready_ok!(awaiter.poll()),
            value,
            "it can be polled again"
        );
    }
    assert_eq!(system.poll(handles[0]), Err(SignalError::OutcomeForgotten));
}

#[test]
fn d09_handle_never_given_out_is_unknown_to_every_operation() {
    let system = system();
    let known = loose(&system);
    let elsewhere = SignalHandle::from_raw(known.raw() + (1 << 32));
    assert_eq!(elsewhere.index(), known.index() + 1);
    let unknown = Err(SignalError::UnknownSignal);
    for handle in [
        known.with_generation(6),
        known.with_generation(0),
        elsewhere,
    ] {
        assert_eq!(system.poll(handle).map(drop), unknown);
        assert_eq!(system.awaiter(handle).map(drop), unknown);
        assert_eq!(system.completion(handle).map(drop), unknown);
        assert_eq!(system.trigger(handle, ()), unknown);
        assert_eq!(system.poison(handle, "x"), unknown);
        assert_eq!(system.cancel(handle, "x"), unknown);
        assert_eq!(system.merge(&[known, handle]).map(drop), unknown);
    }
    assert_eq!(
        system.stats().pending,
        1,
        "a refused merge leaves nothing behind"
    );
}

#[test]
fn handle_of_another_system_is_refused_by_every_operation_naming_both() {
    let id = |n| NonZeroU64::new(n).unwrap();
    let here = SignalSystem::<()>::builder().system_id(id(1)).build();
    let there = SignalSystem::<()>::builder().system_id(id(2)).build();
    let (own, handle) = (loose(&here), loose(&there));
    let foreign = Err(SignalError::ForeignHandle {
        expected: 1,
        got: 2,
    });
    assert_eq!(here.poll(handle).map(drop), foreign);
    assert_eq!(here.awaiter(handle).map(drop), foreign);
    assert_eq!(here.completion(handle).map(drop), foreign);
    assert_eq!(here.trigger(handle, ()), foreign);
    assert_eq!(here.poison(handle, "x"), foreign);
    assert_eq!(here.cancel(handle, "x"), foreign);
    assert_eq!(here.merge(&[own, handle]).map(drop), foreign);
    assert_eq!(there.poll(handle), Ok(SignalStatus::Pending));
}

#[test]
fn d11_memory_is_bounded_by_the_history() {
    let system = SignalSystem::<()>::builder().history(1024).build();
    let reason = "x".repeat(4096);
    let mut handles = Vec::new();
    for _ in 0..20_000 {
        let signal = system.create().unwrap();
        handles.push(signal.handle());
        signal.poison(reason.as_str()).unwrap();
    }
    let stats = system.stats();
    assert!(stats.slots <= 64);
    assert_eq!((stats.history, stats.pending), (1024, 0));
    let (forgotten, kept) = handles.split_at(handles.len() - 1024);
    for &handle in [&forgotten[0], &forgotten[forgotten.len() - 1]] {
        let answer = Err(SignalError::OutcomeForgotten);
        assert_eq!(system.poll(handle).map(drop), answer);
        assert_eq!(system.awaiter(handle).map(drop), answer);
        assert_eq!(system.trigger(handle, ()), answer);
        assert_eq!(system.poison(handle, "x"), answer);
        assert_eq!(system.cancel(handle, "x"), answer);
        assert_eq!(system.merge(&[handle]).map(drop), answer);
    }
    for &handle in kept {
        assert_eq!(
            poison_of(&system, handle).reason().len(),
            Poison::REASON_BYTES_MAX
        );
    }
}

#[test]
fn d11_without_history_only_plain_success_is_known() {
    let system = SignalSystem::<()>::builder().history(0).build();
    let handle = loose(&system);
    system.trigger(handle, ()).unwrap();
    assert_eq!(system.poll(handle), Ok(SignalStatus::Triggered));

    let poisoned = loose(&system);
    let mut awaiter = task::spawn(system.awaiter(poisoned).unwrap());
    system.poison(poisoned, "broken").unwrap();
    assert_ready_err!(awaiter.poll());
    drop(awaiter);
    let forgotten = Err(SignalError::OutcomeForgotten);
    assert_eq!(system.poll(poisoned), forgotten);
    // Whether the one before it in the slot failed as well, nobody knows any more.
    assert_eq!(system.poll(handle), forgotten);
}

#[test]
fn d13_shutdown_waits_for_what_completes_and_poisons_the_rest() {
    let system = system();
    let [a, b, c] = [0; 3].map(|_| system.create().unwrap());
    let stuck = c.handle();
    // The deadline is a signal of another system, so that it is not waited for itself.
    let timers = SignalSystem::<()>::new();
    let timer = timers.create().unwrap();
    let deadline = timer.awaiter();
    let mut shutdown = task::spawn(system.shutdown(async {
        let _ = deadline.await;
    }));
    assert_pending!(shutdown.poll());
    assert!(matches!(system.create(), Err(SignalError::ShutDown { .. })));
    assert!(matches!(
        system.merge(&[stuck]),
        Err(SignalError::ShutDown { .. })
    ));
    a.trigger(()).unwrap();
    b.trigger(()).unwrap();
    assert_pending!(shutdown.poll());
    timer.trigger(()).unwrap();
    assert!(shutdown.is_woken());
    assert_eq!(
        assert_ready!(shutdown.poll()),
        ShutdownReport {
            completed: 2,
            poisoned: 1
        }
    );
    assert_eq!(poison_of(&system, stuck).kind(), PoisonKind::ShutDown);
    c.poison("late").unwrap();
}

#[test]
fn d13_shutdown_ends_early_when_nothing_is_pending() {
    let system = system();
    let signal = system.create().unwrap();
    let mut shutdown = task::spawn(system.shutdown(pending()));
    assert_pending!(shutdown.poll());
    signal.trigger(()).unwrap();
    assert!(shutdown.is_woken());
    assert_eq!(
        assert_ready!(shutdown.poll()),
        ShutdownReport {
            completed: 1,
            poisoned: 0
        }
    );
}

#[test]
fn forced_shutdown_is_idempotent_and_its_first_reason_stays() {
    let system = system();
    let signal = system.create().unwrap();
    let handle = signal.handle();
    let mut awaiter = task::spawn(signal.awaiter());
    assert_pending!(awaiter.poll());
    assert_eq!(system.force_shutdown("first"), 1);
    assert_eq!(system.force_shutdown("second"), 0);
    assert_eq!(assert_ready_err!(awaiter.poll()).reason(), "first");
    assert_eq!(poison_of(&system, handle).kind(), PoisonKind::ShutDown);
    let refused = SignalError::ShutDown {
        reason: "first".into(),
    };
    assert_eq!(system.create().map(drop), Err(refused.clone()));
    assert_eq!(system.merge(&[handle]), Err(refused));
    let already = SignalError::AlreadyPoisoned {
        reason: "first".into(),
    };
    assert_eq!(signal.trigger(()), Err(already));
}

#[test]
fn d14_reason_tells_a_drop_from_a_panic_and_names_the_signal() {
    let system = system();
    let signal = system.create().unwrap().named("load");
    let panicked = signal.handle();
    let unwound = catch_unwind(AssertUnwindSafe(move || {
        let _signal = signal;
        panic!("kaboom");
    }));
    assert!(unwound.is_err());
    let poison = poison_of(&system, panicked);
    assert_eq!(poison.kind(), PoisonKind::Panicked);
    assert!(poison.reason().contains("load"), "{poison}");

    let signal = system.create().unwrap().named("load");
    let dropped = signal.handle();
    drop(signal);
    let poison = poison_of(&system, dropped);
    assert_eq!(poison.kind(), PoisonKind::Dropped);
    assert!(poison.reason().contains("load"), "{poison}");
}

#[test]
fn d24_value_reaches_all_awaiters_early_and_late() {
    let system = SignalSystem::<u32>::new();
    let signal = system.create().unwrap();
    let handle = signal.handle();
    let mut early: Vec<_> = (0..8).map(|_| task::spawn(signal.awaiter())).collect();
    for awaiter in &mut early {
        assert_pending!(awaiter.poll());
    }
    signal.trigger(42).unwrap();
    for awaiter in &mut early {
        assert!(awaiter.is_woken());
        assert_eq!(assert_ready_ok!(awaiter.poll()), 42);
    }
    assert_eq!(
        assert_ready_ok!(task::spawn(system.awaiter(handle).unwrap()).poll()),
        42
    );
}

#[test]
fn d25_dropped_signal_is_poisoned_and_a_handle_alone_keeps_it_pending() {
    let system = system();
    let signal = system.create().unwrap();
    let dropped = signal.handle();
    drop(signal);
    assert_eq!(poison_of(&system, dropped).kind(), PoisonKind::Dropped);

    let kept = system.create().unwrap().into_handle();
    assert_eq!(system.poll(kept), Ok(SignalStatus::Pending));
    system.trigger(kept, ()).unwrap();
    assert_eq!(system.poll(kept), Ok(SignalStatus::Triggered));
}

#[test]
fn d10_handle_of_a_held_signal_lets_wait_and_not_complete() {
    let system = SignalSystem::<u32>::new();
    let signal = system.create().unwrap();
    let handle = signal.handle();
    let refused = Err(SignalError::NotPermitted);
    assert_eq!(system.trigger(handle, 5), refused);
    assert_eq!(system.poison(handle, "no"), refused);
    assert_eq!(system.cancel(handle, "no"), refused);
    assert_eq!(system.poll(handle), Ok(SignalStatus::Pending));
    let mut waiting = task::spawn(system.awaiter(handle).unwrap());
    assert_pending!(waiting.poll());
    signal.trigger(6).unwrap();
    assert_eq!(assert_ready_ok!(waiting.poll()), 6);
    assert_eq!(
        system.trigger(handle, 5),
        Err(SignalError::AlreadyTriggered)
    );
}

#[test]
fn pending_signals_are_bounded_and_room_returns() {
    let system = SignalSystem::<()>::builder().max_signals(2).build();
    let (a, b) = (system.create().unwrap(), system.create().unwrap());
    let exhausted = Err(SignalError::Exhausted { limit: 2 });
    assert_eq!(system.create().map(drop), exhausted);
    // Merges are bounded apart from them.
    let merges = [0; 2].map(|_| system.merge(&[a.handle()]).unwrap());
    assert_eq!(system.merge(&[a.handle()]).map(drop), exhausted);
    system.cancel(merges[0], "not needed").unwrap();
    assert!(system.merge(&[a.handle()]).is_ok());
    drop(a);
    assert!(system.create().is_ok());
    drop(b);
}

#[test]
fn awaiter_that_moved_to_another_task_wakes_there() {
    let system = system();
    let signal = system.create().unwrap();
    let mut awaiter = Box::pin(signal.awaiter());
    let mut first = task::spawn(&mut awaiter);
    assert_pending!(first.poll());
    drop(first);
    let mut second = task::spawn(&mut awaiter);
    assert_pending!(second.poll());
    signal.trigger(()).unwrap();
    assert!(second.is_woken());
    assert_ready_ok!(second.poll());
}

/// A value whose code uses the system that carries it: a lock held over it would never be free.
#[derive(Debug)]
struct Reentrant(SignalSystem<Reentrant>, Arc<AtomicUsize>);

impl Clone for Reentrant {
    fn clone(&self) -> Self {
        self.0.stats();
        Self(self.0.clone(), Arc::clone(&self.1))
    }
}

impl Drop for Reentrant {
    fn drop(&mut self) {
        self.0.stats();
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn code_of_values_and_wakers_runs_outside_the_lock() {
    struct Asking(SignalSystem<Reentrant>);
    impl Wake for Asking {
        fn wake(self: Arc<Self>) {
            self.0.stats();
        }
    }
    impl Drop for Asking {
        fn drop(&mut self) {
            self.0.stats();
        }
    }
    let system = SignalSystem::<Reentrant>::builder().history(1).build();
    let drops = Arc::new(AtomicUsize::new(0));
    let value = || Reentrant(system.clone(), Arc::clone(&drops));
    for _ in 0..3 {
        let signal = system.create().unwrap();
        let handle = signal.handle();
        let mut awaiter = Box::pin(signal.awaiter());
        for _ in 0..2 {
            let waker = Waker::from(Arc::new(Asking(system.clone())));
            assert!(
                awaiter
                    .as_mut()
                    .poll(&mut std::task::Context::from_waker(&waker))
                    .is_pending()
            );
        }
        signal.trigger(value()).unwrap();
        assert_ready_ok!(task::spawn(&mut awaiter).poll());
        drop(awaiter);
        assert_eq!(
            system.trigger(handle, value()),
            Err(SignalError::AlreadyTriggered)
        );
    }
    // Of each round: the clone, the refused one, and the evicted one but the last.
    assert_eq!(drops.load(Ordering::Relaxed), 3 + 3 + 2);
    // The last value is in the history of the system that it owns: put one there that does not.
    system.create().unwrap().poison("end of the cycle").unwrap();
    assert_eq!(drops.load(Ordering::Relaxed), 3 + 3 + 3);
}

#[test]
fn awaiters_on_many_threads_all_end() {
    for round in 0..200 {
        let system = SignalSystem::<usize>::new();
        let signal = system.create().unwrap();
        let handle = signal.handle();
        let barrier = std::sync::Barrier::new(4);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    barrier.wait();
                    let awaiter = system.awaiter(handle).unwrap();
                    assert_eq!(tokio_test::block_on(awaiter), Ok(round));
                });
            }
            scope.spawn(|| {
                barrier.wait();
                signal.trigger(round).unwrap();
            });
        });
        assert_eq!(system.stats().waiters, 0);
    }
}

#[test]
fn every_error_has_its_own_code() {
    let reason = Arc::<str>::from("x");
    let errors = [
        SignalError::AlreadyTriggered,
        SignalError::AlreadyPoisoned {
            reason: Arc::clone(&reason),
        },
        SignalError::AlreadyCancelled {
            reason: Arc::clone(&reason),
        },
        SignalError::UnknownSignal,
        SignalError::OutcomeForgotten,
        SignalError::ForeignHandle {
            expected: 1,
            got: 2,
        },
        SignalError::OwnerLost { owner: 2 },
        SignalError::NotPermitted,
        SignalError::Derived,
        SignalError::EmptyMerge,
        SignalError::UnreachableMerge {
            needed: 2,
            inputs: 1,
        },
        SignalError::ShutDown { reason },
        SignalError::Exhausted { limit: 1 },
    ];
    let codes: std::collections::HashSet<_> = errors.iter().map(SignalError::code).collect();
    assert_eq!(codes.len(), errors.len());
}

/// A value whose end panics, as a caller's code may.
#[derive(Clone)]
struct Brittle(#[expect(dead_code, reason = "owned only")] Arc<Breaks>);

struct Breaks;

impl Drop for Breaks {
    fn drop(&mut self) {
        panic!("on purpose");
    }
}

#[test]
fn panic_of_a_value_that_is_let_go_of_stays_its_own() {
    let system = SignalSystem::<Brittle>::builder().history(1).build();
    let brittle = || Brittle(Arc::new(Breaks));
    for _ in 0..3 {
        // Each but the first pushes the one before out of the history.
        system.create().unwrap().trigger(brittle()).unwrap();
    }
    let (signal, awaiter) = system.create_awaited().unwrap();
    drop(system);
    let mut awaiter = task::spawn(awaiter);
    assert!(assert_ready!(awaiter.poll()).is_err());
    assert!(signal.poison("late").is_ok());
}
