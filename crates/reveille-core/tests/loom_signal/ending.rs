//! The end of a system against everything that goes on in it.

use loom::thread;
use reveille_core::{PoisonKind, SignalStatus};

use super::{model, nothing_waits, polled, system};

#[test]
fn last_owner_dropped_ends_an_awaiter() {
    model(3, || {
        let system = system::<u32>();
        let signal = system.create().unwrap();
        let awaiter = signal.awaiter();
        let waiting = thread::spawn(move || polled(awaiter));
        drop(system);
        let poison = waiting.join().unwrap().finish().unwrap_err();
        assert_eq!(poison.kind(), PoisonKind::SystemDropped);
        assert_eq!(signal.trigger(1).unwrap_err().code(), "already_poisoned");
    });
}

#[test]
fn last_owner_trigger_and_awaiter_leave_together() {
    model(2, || {
        let system = system();
        let signal = system.create().unwrap();
        let awaiter = signal.awaiter();
        let leaving = thread::spawn(move || drop(polled(awaiter)));
        let triggering = thread::spawn(move || {
            let _ = signal.trigger(1);
        });
        drop(system);
        leaving.join().unwrap();
        triggering.join().unwrap();
    });
}

#[test]
fn last_owner_and_a_trigger_without_a_value_leave_together() {
    model(3, || {
        let system = system();
        let signal = system.create().unwrap();
        let task = polled(signal.awaiter());
        let triggering = thread::spawn(move || signal.trigger(()).is_ok());
        drop(system);
        let triggered = triggering.join().unwrap();
        assert_eq!(task.finish().is_ok(), triggered);
    });
}

#[test]
fn signal_made_during_a_shutdown_is_refused_or_poisoned() {
    model(3, || {
        let system = system::<()>();
        let other = system.clone();
        let making = thread::spawn(move || other.create());
        let poisoned = system.force_shutdown("over");
        match making.join().unwrap() {
            Ok(signal) => {
                assert_eq!(poisoned, 1);
                let status = system.poll(signal.handle()).unwrap();
                assert!(matches!(status, SignalStatus::Poisoned(_)));
            }
            Err(error) => {
                assert_eq!(poisoned, 0);
                assert_eq!(error.code(), "shut_down");
            }
        }
        nothing_waits(&system);
    });
}

/// As above, in a chunk that has been used before: no lock is taken on the way.
#[test]
fn signal_made_in_a_used_chunk_during_a_shutdown_is_refused_or_poisoned() {
    model(3, || {
        let system = system::<()>();
        system.create().unwrap().trigger(()).unwrap();
        let other = system.clone();
        let making = thread::spawn(move || other.create());
        system.force_shutdown("over");
        if let Ok(signal) = making.join().unwrap() {
            let status = system.poll(signal.handle()).unwrap();
            assert!(matches!(status, SignalStatus::Poisoned(_)));
        }
        nothing_waits(&system);
    });
}

#[test]
fn orderly_shutdown_ends_with_the_last_pending_signal() {
    model(2, || {
        let system = system();
        let signal = system.create().unwrap();
        let other = system.clone();
        let triggering = thread::spawn(move || signal.trigger(1).unwrap());
        let ending = thread::spawn(move || {
            let never = std::future::pending();
            loom::future::block_on(other.shutdown(never))
        });
        triggering.join().unwrap();
        assert_eq!(ending.join().unwrap().poisoned, 0);
        nothing_waits(&system);
    });
}

#[test]
fn merge_made_during_a_shutdown_ends_with_its_input() {
    model(2, || {
        let system = system::<()>();
        let input = system.create().unwrap().into_handle();
        let other = system.clone();
        let merging = thread::spawn(move || other.merge(&[input]));
        system.force_shutdown("over");
        if let Ok(merged) = merging.join().unwrap() {
            let status = system.poll(merged).unwrap();
            assert!(matches!(status, SignalStatus::Poisoned(_)));
        }
        nothing_waits(&system);
    });
}
