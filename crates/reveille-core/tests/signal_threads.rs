//! Many plain threads doing everything to signals at once: also what the sanitizers watch.
//!
//! No runtime, few locks and no channel, so that a report of a sanitizer is about signals. With
//! `REVEILLE_DEEP` in the environment everything takes longer.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "a failure in a helper fails the test")]

use std::future::Future;
use std::num::NonZeroU64;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, ScopedJoinHandle, Thread};
use std::time::{Duration, Instant};

use reveille_core::{
    Completion, MergeMode, Poison, PoisonKind, Signal, SignalAwaiter, SignalError, SignalHandle,
    SignalStatus, SignalSystem,
};

const THREADS: u64 = 4;
/// No wait in here takes a thousandth of it.
const PATIENCE: Duration = Duration::from_secs(60);

/// So many in a normal run, and in a long one.
fn amount(normal: u64, deep: u64) -> u64 {
    if std::env::var_os("REVEILLE_DEEP").is_some() {
        deep
    } else {
        normal
    }
}

/// A stream of numbers that look random and are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

struct Unpark {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Waits until the future says so, and fails if nobody wakes it.
fn wait<F: Future>(mut future: Pin<&mut F>) -> F::Output {
    let unpark = Arc::new(Unpark {
        thread: thread::current(),
        woken: AtomicBool::new(false),
    });
    let waker = Waker::from(Arc::clone(&unpark));
    let start = Instant::now();
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        while !unpark.woken.swap(false, Ordering::Acquire) {
            assert!(start.elapsed() < PATIENCE, "a wake-up was lost");
            thread::park_timeout(PATIENCE);
        }
    }
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// A scope would wait as well, but not where the thread sanitizer sees it.
fn join(threads: Vec<ScopedJoinHandle<'_, ()>>) {
    for thread in threads {
        thread.join().unwrap();
    }
}

/// The lower half of a handle of the one system that there is: its slot and generation.
fn key(handle: SignalHandle) -> u64 {
    handle.raw() as u64
}

/// What a signal carries: which one it is.
trait Value: Clone + Send + Sync + 'static {
    fn of(handle: SignalHandle) -> Self;
    fn check(&self, handle: SignalHandle);
}

impl Value for () {
    fn of(_: SignalHandle) -> Self {}
    fn check(&self, _: SignalHandle) {}
}

impl Value for Box<u64> {
    fn of(handle: SignalHandle) -> Self {
        Self::new(key(handle))
    }

    fn check(&self, handle: SignalHandle) {
        assert_eq!(**self, key(handle), "the value of another signal");
    }
}

/// What all threads see: the system, and handles that anybody may use.
struct World<T> {
    system: SignalSystem<T>,
    board: [AtomicU64; 32],
}

impl<T: Value> World<T> {
    fn new(history: usize) -> Self {
        Self {
            system: SignalSystem::builder()
                .system_id(NonZeroU64::MIN)
                .history(history)
                .build(),
            board: [const { AtomicU64::new(0) }; 32],
        }
    }

    fn publish(&self, at: u64, handle: SignalHandle) {
        // Relaxed: a handle must be safe to use without anything that orders its creation.
        self.board[at as usize].store(key(handle), Ordering::Relaxed);
    }

    fn pick(&self, at: u64) -> Option<SignalHandle> {
        let key = self.board[at as usize].load(Ordering::Relaxed);
        (key != 0).then(|| SignalHandle::from_raw((1 << 64) | u128::from(key)))
    }
}

/// One thread: what it owes, and what it waits for.
struct Actor<'a, T> {
    world: &'a World<T>,
    numbers: Numbers,
    owed: Vec<SignalHandle>,
    awaiters: Vec<Pin<Box<SignalAwaiter<T>>>>,
    completions: Vec<Pin<Box<Completion<T>>>>,
}

fn check_poison(handle: SignalHandle, poison: &Poison) {
    assert_eq!(poison.handle(), handle, "the poison of another signal");
}

/// A handle that was given out may be too late, and nothing else.
fn known<R>(result: Result<R, SignalError>) -> Option<R> {
    match result {
        Ok(result) => Some(result),
        Err(
            SignalError::AlreadyTriggered
            | SignalError::AlreadyPoisoned { .. }
            | SignalError::AlreadyCancelled { .. }
            | SignalError::OutcomeForgotten
            | SignalError::Derived
            | SignalError::NotPermitted,
        ) => None,
        Err(error) => panic!("{error}"),
    }
}

impl<'a, T: Value> Actor<'a, T> {
    fn new(world: &'a World<T>, seed: u64) -> Self {
        Self {
            world,
            numbers: Numbers(0x9E37_79B9_7F4A_7C15 ^ (seed + 1)),
            owed: Vec::new(),
            awaiters: Vec::new(),
            completions: Vec::new(),
        }
    }

    fn pick(&mut self) -> Option<SignalHandle> {
        let at = self.numbers.below(32);
        self.world.pick(at)
    }

    fn publish(&mut self, handle: SignalHandle) {
        let at = self.numbers.below(32);
        self.world.publish(at, handle);
    }

    fn step(&mut self) {
        let system = &self.world.system;
        match self.numbers.below(20) {
            0..4 => {
                let handle = system.create().unwrap().into_handle();
                self.owed.push(handle);
                self.publish(handle);
            }
            4..6 => self.complete_held(),
            6..10 => self.complete_loose(),
            10 => {
                let Some(handle) = self.pick() else { return };
                let status = known(system.poll(handle));
                if let Some(SignalStatus::Poisoned(poison) | SignalStatus::Cancelled(poison)) =
                    status
                {
                    check_poison(handle, &poison);
                }
            }
            11..14 => self.start_awaiter(),
            14 => {
                let Some(handle) = self.pick() else { return };
                if let Some(completion) = known(system.completion(handle)) {
                    let mut completion = Box::pin(completion);
                    let _ = poll_once(completion.as_mut());
                    self.completions.push(completion);
                }
            }
            15 => self.leave(),
            16..18 => self.merge(),
            18 => {
                let Some(handle) = self.pick() else { return };
                known(system.explain(handle));
            }
            _ => {
                if self.numbers.below(10) == 0 {
                    self.peak();
                }
            }
        }
    }

    fn complete_held(&mut self) {
        let signal = self.world.system.create().unwrap();
        let handle = signal.handle();
        self.publish(handle);
        let mut awaiter = Box::pin(signal.awaiter());
        let _ = poll_once(awaiter.as_mut());
        let outcome = match self.numbers.below(4) {
            0 => {
                drop(signal);
                Some(PoisonKind::Dropped)
            }
            1 => {
                signal.poison("on purpose").unwrap();
                Some(PoisonKind::Explicit)
            }
            _ => {
                signal.trigger(T::of(handle)).unwrap();
                None
            }
        };
        match (wait(awaiter.as_mut()), outcome) {
            (Ok(value), None) => value.check(handle),
            (Err(poison), Some(kind)) => {
                check_poison(handle, &poison);
                assert_eq!(poison.kind(), kind);
            }
            (outcome, expected) => panic!("{} but {expected:?}", outcome.is_ok()),
        }
    }

    fn complete_loose(&mut self) {
        let Some(handle) = self.pick() else { return };
        let system = &self.world.system;
        known(match self.numbers.below(4) {
            0 => system.poison(handle, "on purpose"),
            1 => system.cancel(handle, "not needed"),
            _ => system.trigger(handle, T::of(handle)),
        });
    }

    fn start_awaiter(&mut self) {
        let Some(handle) = self.pick() else { return };
        let Some(awaiter) = known(self.world.system.awaiter(handle)) else {
            return;
        };
        let mut awaiter = Box::pin(awaiter);
        for _ in 0..self.numbers.below(3) {
            let _ = poll_once(awaiter.as_mut());
        }
        self.awaiters.push(awaiter);
    }

    fn leave(&mut self) {
        if !self.awaiters.is_empty() {
            let at = self.numbers.below(self.awaiters.len() as u64);
            drop(self.awaiters.swap_remove(at as usize));
        }
    }

    fn merge(&mut self) {
        let inputs: Vec<_> = (0..3).filter_map(|_| self.pick()).collect();
        if inputs.is_empty() {
            return;
        }
        let mode = match self.numbers.below(3) {
            0 => MergeMode::AllSettled,
            1 => MergeMode::FailFast,
            _ => MergeMode::AnyOf,
        };
        if let Some(merged) = known(self.world.system.merge_with(&inputs, mode)) {
            self.publish(merged);
        }
    }

    /// More signals than a chunk has slots, so that memory comes and goes.
    fn peak(&mut self) {
        let system = &self.world.system;
        let signals: Vec<_> = (0..300).map(|_| system.create().unwrap()).collect();
        let first = signals[0].handle();
        for signal in signals {
            let value = T::of(signal.handle());
            signal.trigger(value).unwrap();
        }
        self.publish(first);
    }

    /// Completes what it owes, then waits for everything else.
    fn finish(&mut self) {
        let system = &self.world.system;
        for handle in self.owed.drain(..) {
            known(system.trigger(handle, T::of(handle)));
        }
        for mut awaiter in self.awaiters.drain(..) {
            let handle = awaiter.handle();
            match wait(awaiter.as_mut()) {
                Ok(value) => value.check(handle),
                Err(poison) => check_poison(handle, &poison),
            }
        }
        for mut completion in self.completions.drain(..) {
            let handle = completion.handle();
            if let Err(poison) = wait(completion.as_mut()) {
                check_poison(handle, &poison);
            }
        }
    }
}

fn everything_at_once<T: Value>(history: usize) {
    let world = World::<T>::new(history);
    let (rounds, steps) = (amount(5, 200), amount(2_000, 10_000));
    for round in 0..rounds {
        let act = &|number| {
            let mut actor = Actor::new(&world, round * THREADS + number);
            for _ in 0..steps {
                actor.step();
            }
            actor.finish();
        };
        thread::scope(|scope| {
            let threads = (0..THREADS).map(|number| scope.spawn(move || act(number)));
            join(threads.collect());
        });
        let stats = world.system.stats();
        assert_eq!((stats.pending, stats.waiters), (0, 0));
        assert!(stats.history <= history);
    }
}

#[test]
fn r01_everything_at_once_leaves_nothing_pending() {
    everything_at_once::<Box<u64>>(64);
}

#[test]
fn r01_everything_at_once_without_values_leaves_nothing_pending() {
    everything_at_once::<()>(8);
}

#[test]
fn r03_handle_of_an_old_generation_never_meets_a_newer_one() {
    let system = SignalSystem::<Box<u64>>::builder()
        .system_id(NonZeroU64::MIN)
        .max_signals(1)
        .history(4)
        .build();
    let (latest, done) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let making = scope.spawn(|| {
            for _ in 0..amount(100_000, 20_000_000) {
                // An awaiter of the last one may be in the slot for a moment.
                let Ok(signal) = system.create() else {
                    thread::yield_now();
                    continue;
                };
                latest.store(key(signal.handle()), Ordering::Relaxed);
                let value = Value::of(signal.handle());
                signal.trigger(value).unwrap();
            }
            done.store(true, Ordering::Release);
        });
        while !done.load(Ordering::Acquire) {
            let key = latest.load(Ordering::Relaxed);
            if key == 0 {
                continue;
            }
            let handle = SignalHandle::from_raw((1 << 64) | u128::from(key));
            let unfit = system.trigger(handle, Box::new(u64::MAX));
            assert!(
                unfit.is_err(),
                "its signal is held by somebody, or complete"
            );
            if let Some(awaiter) = known(system.awaiter(handle)) {
                let mut awaiter = std::pin::pin!(awaiter);
                wait(awaiter.as_mut()).unwrap().check(handle);
            }
        }
        making.join().unwrap();
    });
    assert_eq!(system.stats().pending, 0);
}

/// Plain memory that only the completion passes from one thread to the other.
struct Data(std::cell::UnsafeCell<u64>);

#[expect(unsafe_code, reason = "the test is about this very access")]
// SAFETY: written before a completion and read after it, as the test below says.
unsafe impl Sync for Data {}

#[test]
fn r04_what_was_written_before_a_completion_is_read_after_it() {
    let system = SignalSystem::<()>::new();
    for round in 1..=amount(2_000, 200_000) {
        let data = Data(std::cell::UnsafeCell::new(0));
        let signal = system.create().unwrap();
        let (handle, awaiter) = (signal.handle(), signal.awaiter());
        thread::scope(|scope| {
            let (data, system) = (&data, &system);
            let awaiting = scope.spawn(move || {
                let mut awaiter = std::pin::pin!(awaiter);
                wait(awaiter.as_mut()).unwrap();
                // SAFETY: the signal is complete, and nobody writes after that.
                #[expect(unsafe_code, reason = "the test is about this very access")]
                let read = unsafe { *data.0.get() };
                assert_eq!(read, round);
            });
            let asking = scope.spawn(move || {
                while system.poll(handle) == Ok(SignalStatus::Pending) {
                    thread::yield_now();
                }
                // SAFETY: as above.
                #[expect(unsafe_code, reason = "the test is about this very access")]
                let read = unsafe { *data.0.get() };
                assert_eq!(read, round);
            });
            // SAFETY: nobody reads before the completion.
            #[expect(unsafe_code, reason = "the test is about this very access")]
            unsafe {
                *data.0.get() = round;
            }
            signal.trigger(()).unwrap();
            join(vec![awaiting, asking]);
        });
    }
}

#[test]
fn r01_last_owner_leaves_while_others_wait_and_complete() {
    for _ in 0..amount(300, 20_000) {
        let system = SignalSystem::<Box<u64>>::new();
        let signals: Vec<_> = (0..100).map(|_| system.create().unwrap()).collect();
        let awaiters: Vec<_> = signals.iter().map(Signal::awaiter).collect();
        thread::scope(|scope| {
            let triggering = scope.spawn(move || {
                for signal in signals {
                    let value = Value::of(signal.handle());
                    let _ = signal.trigger(value);
                }
            });
            let awaiting = scope.spawn(move || {
                for awaiter in awaiters {
                    let (handle, mut awaiter) = (awaiter.handle(), std::pin::pin!(awaiter));
                    match wait(awaiter.as_mut()) {
                        Ok(value) => value.check(handle),
                        Err(poison) => assert_eq!(poison.kind(), PoisonKind::SystemDropped),
                    }
                }
            });
            drop(system);
            join(vec![triggering, awaiting]);
        });
    }
}
