//! What merged signals promise, row by row: named after the defects that each promise rules out.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "a failure in a helper fails the test")]

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use reveille_core::{
    MergeMode, Poison, PoisonKind, SignalError, SignalHandle, SignalStatus, SignalSystem,
};
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};

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

fn reasons(poison: &Poison) -> Vec<&str> {
    poison.causes().iter().map(|cause| &*cause.reason).collect()
}

#[test]
fn d02_diamond_ladder_names_its_root_once() {
    let system = system();
    let root = loose(&system);
    let start = Instant::now();
    let (mut left, mut right) = (root, root);
    for _ in 0..20 {
        let level = [left, right];
        left = system.merge(&level).unwrap();
        right = system.merge(&level).unwrap();
    }
    system.poison(root, "flat tyre").unwrap();
    let poison = poison_of(&system, left);
    // A coarse guard against doubling at each level, which would take 2^20 steps.
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!(poison.kind(), PoisonKind::Merged);
    assert_eq!(poison.handle(), left);
    assert_eq!(poison.reason().matches("flat tyre").count(), 1);
    assert!(poison.to_string().len() <= 1024);
    assert_eq!(poison.cause_count(), 1);
    let [cause] = poison.causes() else {
        panic!("{:?}", poison.causes())
    };
    assert_eq!((cause.handle, cause.kind), (root, PoisonKind::Explicit));
}

#[test]
fn d03_fail_fast_ends_at_the_first_failure_and_all_settled_at_the_last() {
    let system = system();
    let (b, a) = (loose(&system), loose(&system));
    let settled = system.merge(&[a, b]).unwrap();
    let fast = system.merge_with(&[a, b], MergeMode::FailFast).unwrap();
    system.poison(b, "second").unwrap();
    assert_eq!(reasons(&poison_of(&system, fast)), ["second"]);
    assert_eq!(system.poll(settled), Ok(SignalStatus::Pending));
    system.poison(a, "first").unwrap();
    assert_eq!(
        reasons(&poison_of(&system, settled)),
        ["first", "second"],
        "order of the inputs"
    );
    assert_eq!(
        reasons(&poison_of(&system, fast)),
        ["second"],
        "what was told stays"
    );
}

#[test]
fn d03_any_of_and_n_of_end_when_enough_are_triggered_or_too_few_can_be() {
    let system = system();
    let [a, b, c] = [0; 3].map(|_| loose(&system));
    let two = MergeMode::NOf(NonZeroUsize::new(2).unwrap());
    let any = system.merge_with(&[a, b, c], MergeMode::AnyOf).unwrap();
    let most = system.merge_with(&[a, b, c], two).unwrap();
    let none = system.merge_with(&[b, c], two).unwrap();
    system.trigger(a, ()).unwrap();
    assert_eq!(system.poll(any), Ok(SignalStatus::Triggered));
    assert_eq!(system.poll(most), Ok(SignalStatus::Pending));
    system.poison(b, "b").unwrap();
    assert_eq!(reasons(&poison_of(&system, none)), ["b"]);
    system.trigger(c, ()).unwrap();
    assert_eq!(system.poll(most), Ok(SignalStatus::Triggered));
    assert_eq!(system.stats().pending, 0);

    let refused = system.merge_with(&[a, a], two);
    assert_eq!(
        refused,
        Err(SignalError::UnreachableMerge {
            needed: 2,
            inputs: 1
        })
    );
}

#[test]
fn d04_merge_of_complete_inputs_is_complete_at_once_without_a_runtime() {
    let system = system();
    let (a, b) = (loose(&system), loose(&system));
    system.trigger(a, ()).unwrap();
    system.trigger(b, ()).unwrap();
    let merged = system.merge(&[a, b]).unwrap();
    assert_eq!(system.poll(merged), Ok(SignalStatus::Triggered));
    assert_ready_ok!(task::spawn(system.awaiter(merged).unwrap()).poll());

    let c = loose(&system);
    system.poison(c, "broken").unwrap();
    let merged = system.merge(&[a, c]).unwrap();
    assert_eq!(reasons(&poison_of(&system, merged)), ["broken"]);
}

#[test]
fn d05_duplicate_inputs_count_once() {
    let system = system();
    let (a, b) = (loose(&system), loose(&system));
    let poisoned = system.merge(&[a, a]).unwrap();
    let triggered = system.merge(&[b, b, b]).unwrap();
    system.poison(a, "once").unwrap();
    system.trigger(b, ()).unwrap();
    assert_eq!(reasons(&poison_of(&system, poisoned)), ["once"]);
    assert_eq!(system.poll(triggered), Ok(SignalStatus::Triggered));
}

#[test]
fn d06_shutdown_ends_pending_merges() {
    let system = system();
    let (a, b) = (loose(&system), loose(&system));
    let merged = system.merge(&[a, b]).unwrap();
    system.poison(a, "broken").unwrap();
    let mut awaiter = task::spawn(system.awaiter(merged).unwrap());
    assert_pending!(awaiter.poll());
    assert_eq!(system.force_shutdown("closing"), 2);
    assert!(awaiter.is_woken());
    let poison = assert_ready_err!(awaiter.poll());
    assert_eq!(reasons(&poison), ["broken", "closing"]);
    assert_eq!(poison.causes()[1].kind, PoisonKind::ShutDown);
}

#[test]
fn d12_merge_is_completed_by_its_inputs_only() {
    let system = system();
    let a = loose(&system);
    let merged = system.merge(&[a]).unwrap();
    for _ in 0..2 {
        assert_eq!(system.trigger(merged, ()), Err(SignalError::Derived));
        assert_eq!(system.poison(merged, "x"), Err(SignalError::Derived));
        // The second round asks after it is complete: same call, same answer.
        let _ = system.trigger(a, ());
    }
    assert_eq!(system.poll(merged), Ok(SignalStatus::Triggered));

    let a = loose(&system);
    let merged = system.merge(&[a]).unwrap();
    system.cancel(merged, "not needed").unwrap();
    assert!(matches!(
        system.poll(merged),
        Ok(SignalStatus::Cancelled(_))
    ));
    system.trigger(a, ()).unwrap();
    assert_eq!(poison_of(&system, merged).reason(), "not needed");
}

#[test]
fn d12_cancelled_merge_leaves_no_edge_to_the_next_merge_of_its_slot() {
    let system = system();
    let input = loose(&system);
    let merged = system.merge(&[input]).unwrap();
    system.cancel(merged, "x").unwrap();
    let other = loose(&system);
    let next = system.merge(&[other]).unwrap();
    assert_eq!(next, merged.with_generation(2), "the slot is used again");
    system.trigger(input, ()).unwrap();
    assert_eq!(system.poll(next), Ok(SignalStatus::Pending));
    system.trigger(other, ()).unwrap();
    assert_eq!(system.poll(next), Ok(SignalStatus::Triggered));
}

#[test]
fn d24_cancellation_is_its_own_outcome_and_its_own_cause_in_a_merge() {
    let system = system();
    let (a, b) = (system.create().unwrap(), system.create().unwrap());
    let merged = system.merge(&[a.handle(), b.handle()]).unwrap();
    let cancelled = b.handle();
    a.trigger(()).unwrap();
    b.cancel("user left").unwrap();
    assert!(matches!(
        system.poll(cancelled),
        Ok(SignalStatus::Cancelled(_))
    ));
    let poison = poison_of(&system, merged);
    assert!(matches!(system.poll(merged), Ok(SignalStatus::Poisoned(_))));
    assert_eq!(poison.causes()[0].kind, PoisonKind::Cancelled);
}

#[test]
fn d24_merge_of_valued_signals_has_an_end_but_no_value() {
    let system = SignalSystem::<u32>::new();
    let signal = system.create().unwrap();
    let merged = system.merge(&[signal.handle()]).unwrap();
    assert_eq!(system.awaiter(merged).map(drop), Err(SignalError::Derived));
    let mut completion = task::spawn(system.completion(merged).unwrap());
    assert_pending!(completion.poll());
    signal.trigger(1).unwrap();
    assert!(completion.is_woken());
    assert_ready_ok!(completion.poll());
    drop(completion);
    assert_eq!(
        system.awaiter(merged).map(drop),
        Err(SignalError::Derived),
        "complete as well"
    );
}

#[test]
fn chain_of_any_length_completes_without_recursion() {
    let system = system();
    let root = loose(&system);
    let mut last = root;
    for _ in 0..100_000 {
        last = system.merge(&[last]).unwrap();
    }
    let mut awaiter = task::spawn(system.awaiter(last).unwrap());
    assert_pending!(awaiter.poll());
    system.poison(root, "root").unwrap();
    assert_eq!(reasons(&assert_ready_err!(awaiter.poll())), ["root"]);
    assert_eq!(system.stats().pending, 0);
}

#[test]
fn wide_merge_completes_with_its_last_input() {
    let system = system();
    let inputs: Vec<_> = (0..10_000).map(|_| loose(&system)).collect();
    let merged = system.merge(&inputs).unwrap();
    for (n, input) in inputs.iter().enumerate() {
        assert_eq!(system.poll(merged), Ok(SignalStatus::Pending));
        if n % 2 == 0 {
            system.trigger(*input, ()).unwrap();
        } else {
            system.poison(*input, format!("input {n}")).unwrap();
        }
    }
    let poison = poison_of(&system, merged);
    assert_eq!(poison.cause_count(), 5000);
    assert_eq!(&*poison.causes()[0].reason, "input 1");
}

#[test]
fn empty_merge_is_refused() {
    assert_eq!(system().merge(&[]), Err(SignalError::EmptyMerge));
}
