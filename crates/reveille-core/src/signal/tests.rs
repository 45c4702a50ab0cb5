//! What only the inside can show: that nothing leaks, and the end of a slot's generations.

use std::sync::{Arc, Weak};

use tokio_test::{assert_pending, assert_ready_err, task};

use super::slots::{self, Core};
use crate::{Signal, SignalAwaiter, SignalError, SignalHandle, SignalStatus, SignalSystem};

fn memory_of<T: Clone + Send + Sync + 'static>(system: &SignalSystem<T>) -> Weak<Core<T>> {
    Arc::downgrade(system.core())
}

/// A pending signal is a slot, a share of its chunk, and its `Signal`; with a waiter its
/// awaiter comes to that.
#[test]
fn signals_and_awaiters_are_small() {
    let pending = size_of::<Signal>() + slots::SLOT_BYTES;
    assert!(pending <= 48, "{pending}");
    let waiting = pending + size_of::<SignalAwaiter>();
    assert!(waiting <= 90, "{waiting}");
}

#[test]
fn d06_pending_merge_keeps_nothing_alive() {
    let system = SignalSystem::<()>::new();
    let memory = memory_of(&system);
    let inputs = [0; 3].map(|_| system.create().unwrap().into_handle());
    let merged = system.merge(&inputs).unwrap();
    system.merge(&[merged, inputs[0]]).unwrap();
    drop(system);
    assert!(memory.upgrade().is_none());
}

#[test]
fn d07_awaiter_keeps_the_memory_and_gives_it_back() {
    let system = SignalSystem::<()>::new();
    let memory = memory_of(&system);
    let handle = system.create().unwrap().into_handle();
    let other = system.create().unwrap();
    let mut awaiter = task::spawn(system.awaiter(handle).unwrap());
    assert_pending!(awaiter.poll());
    drop(system);
    assert_ready_err!(awaiter.poll());
    assert_ready_err!(awaiter.poll());
    drop(awaiter);
    assert!(memory.upgrade().is_some(), "a signal is left");
    drop(other);
    assert!(memory.upgrade().is_none());
}

#[test]
fn value_that_owns_a_signal_of_its_system_makes_no_cycle() {
    #[derive(Clone)]
    struct Nested(#[expect(dead_code, reason = "owned only")] Arc<Signal<Nested>>);

    let system = SignalSystem::<Nested>::new();
    let memory = memory_of(&system);
    let inner = Nested(Arc::new(system.create().unwrap()));
    let outer = system.create().unwrap();
    let awaiter = outer.awaiter();
    system.create().unwrap().trigger(inner.clone()).unwrap();
    outer.trigger(inner).unwrap();
    drop(system);
    assert!(memory.upgrade().is_some());
    drop(awaiter);
    assert!(memory.upgrade().is_none());
}

#[test]
fn slot_that_used_its_last_generation_is_retired() {
    let system = SignalSystem::<()>::new();
    let memory = memory_of(&system);
    let first = system.create().unwrap().into_handle();
    system.trigger(first, ()).unwrap();
    system.core().set_generation(first.index(), u32::MAX - 1);

    let last = system.create().unwrap().into_handle();
    assert_eq!((last.index(), last.generation()), (first.index(), u32::MAX));
    system.poison(last, "last").unwrap();
    let next = system.create().unwrap();
    assert_eq!(
        (next.handle().index(), next.handle().generation()),
        (first.index() + 1, 1)
    );
    assert!(matches!(system.poll(last), Ok(SignalStatus::Poisoned(_))));
    assert_eq!(system.stats().pending, 1);

    // One more ends after its system did.
    system
        .core()
        .set_generation(first.index() + 2, u32::MAX - 1);
    let late = system.create().unwrap();
    assert_eq!(late.handle().generation(), u32::MAX);
    drop(system);
    drop(next);
    assert!(memory.upgrade().is_some());
    drop(late);
    assert!(memory.upgrade().is_none());
}

#[test]
fn cancelled_merges_take_their_edges_out_of_their_inputs() {
    let system = SignalSystem::<()>::new();
    let input = system.create().unwrap().into_handle();
    let live = system
        .core()
        .find_live(input.index(), input.generation())
        .unwrap();
    let kept = system.merge(&[input]).unwrap();
    for _ in 0..1000 {
        let merged = system.merge(&[input]).unwrap();
        system.cancel(merged, "not needed").unwrap();
    }
    assert_eq!(live.if_extra(|extra| extra.merges.len()), Some(0));
    system.cancel(kept, "not needed").unwrap();
    assert!(matches!(live.empty_cell(), Ok(None)));
}

#[test]
fn slot_with_an_awaiter_is_not_used_again_before_it_left() {
    let system = SignalSystem::<()>::new();
    let first = system.create().unwrap().into_handle();
    let awaiter = system.awaiter(first).unwrap();
    system.trigger(first, ()).unwrap();
    let second = system.create().unwrap().into_handle();
    assert_ne!(second.index(), first.index());
    drop(awaiter);
    let third = system.create().unwrap().into_handle();
    assert_eq!(third, first.with_generation(2));
}

#[test]
fn memory_is_given_back_after_a_peak_and_handles_keep_their_meaning() {
    let system = SignalSystem::<()>::builder().history(10).build();
    let mut signals: Vec<_> = (0..20_000).map(|_| system.create().unwrap()).collect();
    let handles: Vec<_> = signals.iter().map(Signal::handle).collect();
    assert!(system.stats().slots >= 20_000);
    let kept = signals.pop().unwrap();
    let poisoned = signals.pop().unwrap();
    poisoned.poison("broken").unwrap();
    for signal in signals {
        signal.trigger(()).unwrap();
    }
    let slots = system.stats().slots;
    assert!(slots < 5000, "{slots}");
    for handle in &handles[..19_998] {
        assert_eq!(system.poll(*handle), Ok(SignalStatus::Triggered));
        let never = handle.with_generation(2);
        assert_eq!(system.poll(never), Err(SignalError::UnknownSignal));
    }
    assert!(matches!(
        system.poll(handles[19_998]),
        Ok(SignalStatus::Poisoned(_))
    ));
    assert_eq!(system.poll(kept.handle()), Ok(SignalStatus::Pending));

    // The chunks come back with the generations they had.
    let again: Vec<_> = (0..20_000).map(|_| system.create().unwrap()).collect();
    let mut distinct: Vec<SignalHandle> = again.iter().map(Signal::handle).collect();
    distinct.extend(&handles);
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), 40_000);
    assert!(distinct.iter().all(|handle| handle.generation() <= 2));
}

#[test]
fn awaiters_of_one_signal_are_bounded() {
    let system = SignalSystem::<()>::new();
    let handle = system.create().unwrap().into_handle();
    let mut awaiters = Vec::new();
    let refused = loop {
        match system.awaiter(handle) {
            Ok(awaiter) => awaiters.push(awaiter),
            Err(error) => break error,
        }
    };
    assert_eq!(refused.code(), "exhausted");
    assert!(awaiters.len() > 1_000_000);
    system.trigger(handle, ()).unwrap();
    drop(awaiters);
    assert_eq!(system.create().unwrap().handle(), handle.with_generation(2));
}
