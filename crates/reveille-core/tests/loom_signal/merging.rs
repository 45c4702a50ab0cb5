//! Merges against the completion of what they wait for, and against their own.

use loom::thread;
use reveille_core::{
    Explanation, MergeMode, PoisonKind, SignalError, SignalHandle, SignalStatus, SignalSystem,
};

use super::{model, nothing_waits, polled, system};

#[test]
fn merge_completes_with_the_last_of_two_racing_inputs() {
    model(3, || {
        let system = system();
        let (a, b) = (system.create().unwrap(), system.create().unwrap());
        let merged = system.merge(&[a.handle(), b.handle()]).unwrap();
        let task = polled(system.completion(merged).unwrap());
        let first = thread::spawn(move || a.trigger(1).unwrap());
        drop(b);
        first.join().unwrap();
        let poison = task.finish().unwrap_err();
        assert_eq!(poison.causes()[0].kind, PoisonKind::Dropped);
        nothing_waits(&system);
    });
}

/// One input is poisoned and another triggered while the merge registers with both.
fn built_meanwhile(preemptions: usize, mode: MergeMode) {
    model(preemptions, move || {
        let system = system();
        let (a, b) = (system.create().unwrap(), system.create().unwrap());
        let inputs = [a.handle(), b.handle()];
        let poisoning = thread::spawn(move || a.poison("broken").unwrap());
        let triggering = thread::spawn(move || b.trigger(()).unwrap());
        let merged = system.merge_with(&inputs, mode).unwrap();
        let task = polled(system.completion(merged).unwrap());
        poisoning.join().unwrap();
        triggering.join().unwrap();
        match (mode, task.finish()) {
            (MergeMode::AnyOf, Ok(())) => {}
            (MergeMode::AllSettled | MergeMode::FailFast, Err(poison)) => {
                assert_eq!(poison.causes().len(), 1);
                assert_eq!(poison.causes()[0].handle, inputs[0]);
            }
            (mode, outcome) => panic!("{mode:?}: {outcome:?}"),
        }
        nothing_waits(&system);
    });
}

#[test]
fn merge_of_all_built_while_its_inputs_end_counts_each_once() {
    built_meanwhile(2, MergeMode::AllSettled);
}

#[test]
fn merge_that_fails_fast_built_while_its_inputs_end_counts_each_once() {
    built_meanwhile(2, MergeMode::FailFast);
}

#[test]
fn merge_of_any_built_while_its_inputs_end_counts_each_once() {
    built_meanwhile(1, MergeMode::AnyOf);
}

#[test]
fn two_merges_of_one_input_both_complete() {
    model(3, || {
        let system = system();
        let input = system.create().unwrap();
        let handle = input.handle();
        let other = system.clone();
        let merging = thread::spawn(move || other.merge(&[handle]).unwrap());
        let first = system.merge(&[handle]).unwrap();
        input.trigger(()).unwrap();
        let second = merging.join().unwrap();
        for merged in [first, second] {
            assert_eq!(system.poll(merged), Ok(SignalStatus::Triggered));
        }
        nothing_waits(&system);
    });
}

#[test]
fn merge_of_any_cancelled_while_an_input_ends_has_one_outcome() {
    model(3, || {
        let system = system();
        let (a, b) = (system.create().unwrap(), system.create().unwrap());
        let inputs = [a.handle(), b.handle()];
        let merged = system.merge_with(&inputs, MergeMode::AnyOf).unwrap();
        let task = polled(system.completion(merged).unwrap());
        let other = system.clone();
        let cancelling = thread::spawn(move || other.cancel(merged, "not needed").is_ok());
        a.trigger(()).unwrap();
        let cancelled = cancelling.join().unwrap();
        match task.finish() {
            Ok(()) => assert!(!cancelled),
            Err(poison) => {
                assert_eq!(poison.kind(), PoisonKind::Cancelled);
                assert!(cancelled);
            }
        }
        // The other input is not the merge's any more, whichever way it went.
        let awaiter = polled(system.awaiter(inputs[1]).unwrap());
        b.trigger(()).unwrap();
        assert_eq!(awaiter.finish(), Ok(()));
        nothing_waits(&system);
    });
}

/// Whichever of its slot and its edges is last frees the merge.
#[test]
fn complete_merge_leaves_its_slot_while_its_other_input_ends() {
    model(3, || {
        let system = system();
        let (a, b) = (system.create().unwrap(), system.create().unwrap());
        let inputs = [a.handle(), b.handle()];
        let merged = system.merge_with(&inputs, MergeMode::AnyOf).unwrap();
        let other = thread::spawn(move || a.trigger(()).unwrap());
        b.trigger(()).unwrap();
        other.join().unwrap();
        assert_eq!(system.poll(merged), Ok(SignalStatus::Triggered));
        nothing_waits(&system);
    });
}

#[test]
fn refused_merge_takes_no_place_in_the_history() {
    model(2, || {
        let system = SignalSystem::<()>::builder().history(1).build();
        let (a, b) = (system.create().unwrap(), system.create().unwrap());
        let (input, last) = (a.handle(), b.handle());
        let poisoning = thread::spawn(move || {
            a.poison("broken").unwrap();
            b.poison("last").unwrap();
        });
        let merged = system.merge(&[input]);
        poisoning.join().unwrap();
        if let Err(error) = merged {
            assert_eq!(error, SignalError::OutcomeForgotten);
            assert!(matches!(system.poll(last), Ok(SignalStatus::Poisoned(_))));
        }
    });
}

/// What an explanation of a merge of `inputs` may say while it completes.
fn check(why: &Explanation, merged: SignalHandle, inputs: &[SignalHandle]) {
    if let Some(first) = why.pending.first() {
        assert_eq!(first.handle, merged);
        assert!(first.waits_for.iter().all(|input| inputs.contains(input)));
    }
}

#[test]
fn merge_explained_while_it_completes_names_only_what_it_waited_for() {
    model(3, || {
        let system = system();
        let input = system.create().unwrap();
        let inputs = [input.handle()];
        let merged = system.merge(&inputs).unwrap();
        let asked = system.clone();
        let explaining = thread::spawn(move || asked.explain(merged).unwrap());
        input.trigger(()).unwrap();
        check(&explaining.join().unwrap(), merged, &inputs);
        assert_eq!(system.poll(merged), Ok(SignalStatus::Triggered));
        assert!(system.explain(merged).unwrap().pending.is_empty());
    });
}

#[test]
fn merge_explained_while_it_is_cancelled_is_cancelled() {
    model(2, || {
        let system = system::<()>();
        let inputs = [system.create().unwrap().into_handle()];
        let merged = system.merge(&inputs).unwrap();
        let other = system.clone();
        let explaining = thread::spawn(move || other.explain(merged).unwrap());
        system.cancel(merged, "no").unwrap();
        check(&explaining.join().unwrap(), merged, &inputs);
        assert!(matches!(
            system.poll(merged),
            Ok(SignalStatus::Cancelled(_))
        ));
    });
}
