//! Registering, looking again and leaving against the completion.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::Poll;

use loom::cell::UnsafeCell;
use loom::future::block_on;
use loom::thread;
use reveille_core::{PoisonKind, SignalStatus};

use super::{Flag, Task, model, nothing_waits, polled, system};

#[test]
fn awaiter_never_misses_a_trigger() {
    model(3, || {
        let system = system();
        let signal = system.create().unwrap();
        let handle = signal.handle();
        let waiting = {
            let system = system.clone();
            thread::spawn(move || block_on(system.awaiter(handle).unwrap()))
        };
        signal.trigger(42).unwrap();
        assert_eq!(waiting.join().unwrap(), Ok(42));
        nothing_waits(&system);
    });
}

#[test]
fn awaiter_never_misses_a_trigger_without_a_value() {
    model(3, || {
        let system = system();
        let signal = system.create().unwrap();
        let handle = signal.handle();
        let waiting = {
            let system = system.clone();
            thread::spawn(move || polled(system.awaiter(handle).unwrap()))
        };
        signal.trigger(()).unwrap();
        assert_eq!(waiting.join().unwrap().finish(), Ok(()));
        nothing_waits(&system);
    });
}

#[test]
fn awaiter_never_misses_a_signal_that_is_dropped() {
    model(3, || {
        let system = system::<()>();
        let signal = system.create().unwrap();
        let awaiter = signal.awaiter();
        let waiting = thread::spawn(move || polled(awaiter));
        drop(signal);
        let poison = waiting.join().unwrap().finish().unwrap_err();
        assert_eq!(poison.kind(), PoisonKind::Dropped);
        nothing_waits(&system);
    });
}

#[test]
fn two_awaiters_of_one_signal_are_both_woken() {
    model(3, || {
        let system = system();
        let signal = system.create().unwrap();
        let (in_cell, listed) = (signal.awaiter(), signal.awaiter());
        let first = thread::spawn(move || polled(in_cell));
        let second = thread::spawn(move || polled(listed));
        signal.trigger(7).unwrap();
        assert_eq!(first.join().unwrap().finish(), Ok(7));
        assert_eq!(second.join().unwrap().finish(), Ok(7));
        nothing_waits(&system);
    });
}

/// `before` awaiters come first, so that the one under test is in the cell or in the side table.
fn replaced_waker(before: usize) {
    model(3, move || {
        let system = system();
        let signal = system.create().unwrap();
        let earlier: Vec<_> = (0..before).map(|_| polled(signal.awaiter())).collect();
        let mut task = polled(signal.awaiter());
        let waiting = thread::spawn(move || {
            let _ = task.poll();
            task
        });
        signal.trigger(7).unwrap();
        assert_eq!(waiting.join().unwrap().finish(), Ok(7));
        for task in earlier {
            assert_eq!(task.finish(), Ok(7));
        }
    });
}

#[test]
fn new_waker_in_the_cell_is_woken_by_a_trigger_meanwhile() {
    replaced_waker(0);
}

#[test]
fn new_waker_in_the_side_table_is_woken_by_a_trigger_meanwhile() {
    replaced_waker(1);
}

#[test]
fn same_waker_again_is_compared_while_the_completion_takes_it() {
    model(3, || {
        let system = system();
        let signal = system.create().unwrap();
        let mut task = Task::new(signal.awaiter());
        let flag = Arc::new(Flag(AtomicBool::new(false)));
        assert!(task.poll_with(&flag).is_pending());
        let waiting = thread::spawn(move || {
            let _ = task.poll_with(&flag);
            task
        });
        signal.trigger(7).unwrap();
        assert_eq!(waiting.join().unwrap().finish(), Ok(7));
    });
}

#[test]
fn awaiter_dropped_during_a_trigger_leaves_nothing_behind() {
    model(3, || {
        let system = system();
        let signal = system.create().unwrap();
        let (dropped, kept) = (signal.awaiter(), signal.awaiter());
        let dropping = thread::spawn(move || drop(polled(dropped)));
        let waiting = thread::spawn(move || polled(kept));
        signal.trigger(1).unwrap();
        dropping.join().unwrap();
        assert_eq!(waiting.join().unwrap().finish(), Ok(1));
        nothing_waits(&system);
    });
}

#[test]
fn awaiter_dropped_while_another_takes_the_cell_loses_no_wake_up() {
    model(3, || {
        let system = system();
        let signal = system.create().unwrap();
        let handle = signal.handle();
        let first = polled(signal.awaiter());
        let leaving = thread::spawn(move || drop(first));
        let coming = {
            let system = system.clone();
            thread::spawn(move || polled(system.awaiter(handle).unwrap()))
        };
        signal.trigger(1).unwrap();
        leaving.join().unwrap();
        assert_eq!(coming.join().unwrap().finish(), Ok(1));
        nothing_waits(&system);
    });
}

#[test]
fn trigger_and_poison_have_one_winner_that_the_awaiter_sees() {
    model(3, || {
        let system = system();
        let handle = system.create().unwrap().into_handle();
        let awaiter = system.awaiter(handle).unwrap();
        let other = system.clone();
        let poisoning = thread::spawn(move || other.poison(handle, "no").is_ok());
        let waiting = thread::spawn(move || polled(awaiter));
        let triggered = system.trigger(handle, 1).is_ok();
        let poisoned = poisoning.join().unwrap();
        assert!(triggered != poisoned);
        let outcome = waiting.join().unwrap().finish();
        assert_eq!(outcome.is_ok(), triggered);
        let status = system.poll(handle).unwrap();
        assert_eq!(status == SignalStatus::Triggered, triggered);
    });
}

#[test]
fn trigger_without_a_value_and_cancel_have_one_winner() {
    model(3, || {
        let system = system();
        let handle = system.create().unwrap().into_handle();
        let other = system.clone();
        let cancelling = thread::spawn(move || other.cancel(handle, "no").is_ok());
        let triggered = system.trigger(handle, ()).is_ok();
        assert!(triggered != cancelling.join().unwrap());
        let status = system.poll(handle).unwrap();
        assert_eq!(status == SignalStatus::Triggered, triggered);
        nothing_waits(&system);
    });
}

/// Written before the completion, and read without any lock by who saw it.
struct Data(UnsafeCell<u32>);

// SAFETY: what the models below prove; the checker watches every access.
#[expect(unsafe_code, reason = "the model checks this very access")]
unsafe impl Sync for Data {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "the model checks this very access")]
unsafe impl Send for Data {}

impl Data {
    fn write(&self) {
        // SAFETY: the checker fails the model if somebody reads meanwhile.
        #[expect(unsafe_code, reason = "the model checks this very access")]
        self.0.with_mut(|data| unsafe { *data = 7 });
    }

    fn read(&self) -> u32 {
        // SAFETY: the checker fails the model if somebody writes meanwhile.
        #[expect(unsafe_code, reason = "the model checks this very access")]
        self.0.with(|data| unsafe { *data })
    }
}

/// R-04, for a value with and without memory, for whoever awaits and whoever asks by handle.
fn what_was_written_before<T: Clone + Send + Sync + 'static>(value: T) {
    model(3, move || {
        let system = system::<T>();
        let signal = system.create().unwrap();
        let (handle, awaiter) = (signal.handle(), signal.awaiter());
        let data = Arc::new(Data(UnsafeCell::new(0)));
        let awaiting = {
            let data = Arc::clone(&data);
            thread::spawn(move || {
                let mut task = Task::new(awaiter);
                if let Poll::Ready(outcome) = task.poll() {
                    assert!(outcome.is_ok());
                    assert_eq!(data.read(), 7);
                }
            })
        };
        let asking = {
            let (system, data) = (system.clone(), Arc::clone(&data));
            thread::spawn(move || {
                if system.poll(handle).unwrap() == SignalStatus::Triggered {
                    assert_eq!(data.read(), 7);
                }
            })
        };
        data.write();
        signal.trigger(value.clone()).unwrap();
        awaiting.join().unwrap();
        asking.join().unwrap();
    });
}

#[test]
fn r04_what_was_written_before_a_trigger_is_seen_after_it() {
    what_was_written_before(5_u32);
}

#[test]
fn r04_what_was_written_before_a_trigger_without_a_value_is_seen_after_it() {
    what_was_written_before(());
}
