//! A slot's next signal, and a chunk's memory, against what still names the last.

use loom::thread;
use reveille_core::{Signal, SignalError, SignalHandle, SignalStatus, SignalSystem};

use super::{model, nothing_waits, polled, system};

#[test]
fn awaiter_of_a_reused_slot_gets_its_own_outcome() {
    model(3, || {
        let system = system();
        let signal = system.create().unwrap();
        let awaiter = signal.awaiter();
        let waiting = thread::spawn(move || polled(awaiter).finish_or_wait());
        signal.trigger(1).unwrap();
        system.create().unwrap().trigger(2).unwrap();
        if let Some(task) = waiting.join().unwrap() {
            assert_eq!(task.finish(), Ok(1));
        }
        nothing_waits(&system);
    });
}

impl super::Task<reveille_core::SignalAwaiter<u32>> {
    /// The task again if it waits; done, it must have its own outcome, and frees the slot.
    fn finish_or_wait(mut self) -> Option<Self> {
        match self.poll() {
            std::task::Poll::Ready(outcome) => {
                assert_eq!(outcome, Ok(1));
                None
            }
            std::task::Poll::Pending => Some(self),
        }
    }
}

#[test]
fn handle_of_a_slot_being_reused_means_its_own_generation() {
    model(3, || {
        let system = system();
        let old = system.create().unwrap().into_handle();
        let asking = {
            let system = system.clone();
            thread::spawn(move || {
                if system.poll(old).unwrap() == SignalStatus::Triggered {
                    let late = system.trigger(old, 9).unwrap_err();
                    assert_eq!(late, SignalError::AlreadyTriggered);
                }
                polled(system.awaiter(old).unwrap())
            })
        };
        system.trigger(old, 1).unwrap();
        let new = system.create().unwrap();
        let task = polled(new.awaiter());
        new.trigger(2).unwrap();
        assert_eq!(asking.join().unwrap().finish(), Ok(1));
        assert_eq!(task.finish(), Ok(2));
        assert_eq!(system.poll(old), Ok(SignalStatus::Triggered));
        nothing_waits(&system);
    });
}

#[test]
fn late_completions_by_an_old_handle_leave_the_new_signal_alone() {
    model(3, || {
        let system = system();
        let old = system.create().unwrap().into_handle();
        let completing = {
            let system = system.clone();
            thread::spawn(move || system.trigger(old, ()).is_ok())
        };
        let poisoned = system.poison(old, "first").is_ok();
        let new = system.create().unwrap().into_handle();
        assert!(poisoned != completing.join().unwrap());
        assert_eq!(system.poll(new), Ok(SignalStatus::Pending));
        assert_eq!(
            system.poll(old) == Ok(SignalStatus::Triggered),
            !poisoned,
            "the outcome of the old one"
        );
        system.trigger(new, ()).unwrap();
        nothing_waits(&system);
    });
}

#[test]
fn two_threads_make_signals_in_different_slots() {
    model(3, || {
        let system = system::<()>();
        let other = system.clone();
        let making = thread::spawn(move || {
            let signal = other.create().unwrap();
            let handle = signal.handle();
            signal.trigger(()).unwrap();
            handle
        });
        let mine = system.create().unwrap();
        assert_ne!(making.join().unwrap(), mine.handle());
        assert_eq!(system.stats().pending, 1);
        mine.trigger(()).unwrap();
        nothing_waits(&system);
    });
}

/// A system that gives the memory of a chunk back when `last` is complete, and the handles of
/// all signals of that chunk, `last` at the end.
fn before_giving_back() -> (SignalSystem, Signal, Vec<SignalHandle>, Vec<Signal>) {
    let system = system();
    let mut signals: Vec<_> = (0..7).map(|_| system.create().unwrap()).collect();
    let mut kept = signals.split_off(6);
    let second = signals.split_off(3);
    // The first chunk stays in the list with two signals, so the second is not needed.
    let mut first = signals.into_iter();
    first.next().unwrap().trigger(()).unwrap();
    kept.extend(first);
    let handles: Vec<_> = second.iter().map(Signal::handle).collect();
    let mut second = second.into_iter();
    for _ in 0..2 {
        second.next().unwrap().trigger(()).unwrap();
    }
    (system, second.next().unwrap(), handles, kept)
}

#[test]
fn memory_is_given_back_while_a_handle_looks_at_it() {
    model(3, || {
        let (system, last, handles, kept) = before_giving_back();
        let slots = system.stats().slots;
        let (asked, [past, .., end]) = (system.clone(), [handles[0], handles[1], handles[2]]);
        let asking = thread::spawn(move || {
            assert_eq!(asked.poll(past), Ok(SignalStatus::Triggered));
            polled(asked.awaiter(end).unwrap())
        });
        last.trigger(()).unwrap();
        assert_eq!(asking.join().unwrap().finish(), Ok(()));
        for handle in handles {
            assert_eq!(system.poll(handle), Ok(SignalStatus::Triggered));
            let never = handle.with_generation(2);
            assert_eq!(system.poll(never), Err(SignalError::UnknownSignal));
        }
        assert!(system.stats().slots <= slots);
        drop(kept);
    });
}

#[test]
fn memory_given_back_and_taken_again_keeps_the_meaning_of_handles() {
    model(2, || {
        let (system, last, handles, mut kept) = before_giving_back();
        let (asked, past) = (system.clone(), handles[1]);
        let asking = thread::spawn(move || {
            assert_eq!(asked.poll(past), Ok(SignalStatus::Triggered));
        });
        last.trigger(()).unwrap();
        // As many as fill the other chunks, and one more.
        kept.extend((0..4).map(|_| system.create().unwrap()));
        asking.join().unwrap();
        let pending = kept.iter().map(Signal::handle);
        for handle in pending {
            assert!(!handles.contains(&handle));
            assert_eq!(system.poll(handle), Ok(SignalStatus::Pending));
        }
        for handle in handles {
            assert_eq!(system.poll(handle), Ok(SignalStatus::Triggered));
        }
    });
}

#[test]
fn chunk_that_is_used_up_before_its_first_slot_is_taken_is_not_lost() {
    model(3, || {
        let system = system::<()>();
        let other = system.clone();
        // As many as a chunk has, of which one becomes free again.
        let making = thread::spawn(move || {
            let kept = [0; 2].map(|_| other.create().unwrap());
            other.create().unwrap().trigger(()).unwrap();
            kept
        });
        let mine = system.create().unwrap();
        let kept = making.join().unwrap();
        let more: Vec<_> = (0..3).map(|_| system.create().unwrap()).collect();
        assert_eq!(system.stats().slots, 6);
        drop((mine, kept, more));
    });
}
