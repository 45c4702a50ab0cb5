//! What only the inside can show: that nothing leaks, and the end of a slot's generations.

use std::sync::{Arc, Weak};

use tokio_test::{assert_pending, assert_ready_err, task};

use super::shared::Shared;
use crate::{Signal, SignalError, SignalHandle, SignalStatus, SignalSystem};

fn memory_of<T: Clone + Send + Sync + 'static>(system: &SignalSystem<T>) -> Weak<Shared<T>> {
    Arc::downgrade(system.shared())
}

fn set_generation(system: &SignalSystem, handle: SignalHandle, generation: u32) {
    system
        .shared()
        .with(|state, _| state.slots[handle.index() as usize].generation = generation);
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
fn d07_awaiter_keeps_the_memory_and_gives_it_back_with_its_outcome() {
    let system = SignalSystem::<()>::new();
    let memory = memory_of(&system);
    let handle = system.create().unwrap().into_handle();
    let mut awaiter = task::spawn(system.awaiter(handle).unwrap());
    assert_pending!(awaiter.poll());
    drop(system);
    assert!(memory.upgrade().is_some());
    assert_ready_err!(awaiter.poll());
    assert!(
        memory.upgrade().is_none(),
        "a ready awaiter holds its outcome alone"
    );
    assert_ready_err!(awaiter.poll());
}

#[test]
fn value_that_owns_a_signal_of_its_system_makes_no_cycle() {
    #[derive(Clone)]
    struct Nested(#[expect(dead_code, reason = "owned only")] Arc<Signal<Nested>>);

    let system = SignalSystem::<Nested>::new();
    let memory = memory_of(&system);
    let inner = Nested(Arc::new(system.create().unwrap()));
    system.create().unwrap().trigger(inner).unwrap();
    drop(system);
    assert!(memory.upgrade().is_none());
}

#[test]
fn slot_that_used_its_last_generation_is_retired() {
    let system = SignalSystem::<()>::new();
    let first = system.create().unwrap().into_handle();
    system.trigger(first, ()).unwrap();
    set_generation(&system, first, u32::MAX - 1);

    let last = system.create().unwrap().into_handle();
    assert_eq!((last.index(), last.generation()), (first.index(), u32::MAX));
    system.poison(last, "last").unwrap();
    let next = system.create().unwrap();
    assert_eq!(
        (next.handle().index(), next.handle().generation()),
        (first.index() + 1, 1)
    );
    assert!(matches!(system.poll(last), Ok(SignalStatus::Poisoned(_))));
    assert_eq!(
        system.trigger(last.with_generation(7), ()),
        Err(SignalError::OutcomeForgotten)
    );
}

#[test]
fn cancelled_merges_take_their_edges_out_of_their_inputs() {
    let system = SignalSystem::<()>::new();
    let input = system.create().unwrap().into_handle();
    for _ in 0..1000 {
        let merged = system.merge(&[input]).unwrap();
        system.cancel(merged, "not needed").unwrap();
    }
    let edges = system
        .shared()
        .with(|state, _| state.busy_mut(input).unwrap().dependents.len());
    assert_eq!(edges, 0);
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
