//! Random sequences of operations against a plain model of signals, merges and awaiters.
//!
//! The model keeps every signal for ever in one vector and decides merges by looking at all of
//! them again after each step: no slots, no generations, no edges, no history.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "a failure in a helper fails the test")]

use std::collections::HashSet;
use std::fmt::Debug;
use std::num::NonZeroUsize;

use proptest::prelude::*;
use proptest::sample::Index;
use reveille_core::{
    Completion, MergeMode, Poison, PoisonKind, Signal, SignalError, SignalHandle, SignalStatus,
    SignalSystem,
};
use tokio_test::task::{self, Spawn};

#[derive(Debug, Clone)]
enum Op {
    Create { loose: bool },
    Trigger(Index, u32),
    Poison(Index),
    Cancel(Index),
    TriggerOwned(Index, u32),
    DropOwned(Index),
    Merge(Vec<Index>, Mode),
    Await(Index),
    PollAwaiter(Index),
    DropAwaiter(Index),
    Probe { index: u32, generation: u32 },
    Shutdown,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mode {
    AllSettled,
    FailFast,
    AnyOf,
    TwoOf,
}

fn op() -> impl Strategy<Value = Op> {
    let any_index = any::<Index>;
    let mode = prop_oneof![
        3 => Just(Mode::AllSettled), 1 => Just(Mode::FailFast),
        1 => Just(Mode::AnyOf), 1 => Just(Mode::TwoOf),
    ];
    prop_oneof![
        60 => any::<bool>().prop_map(|loose| Op::Create { loose }),
        40 => (any_index(), any::<u32>()).prop_map(|(at, value)| Op::Trigger(at, value)),
        30 => any_index().prop_map(Op::Poison),
        20 => any_index().prop_map(Op::Cancel),
        20 => (any_index(), any::<u32>()).prop_map(|(at, value)| Op::TriggerOwned(at, value)),
        20 => any_index().prop_map(Op::DropOwned),
        40 => (prop::collection::vec(any_index(), 0..5), mode)
            .prop_map(|(inputs, mode)| Op::Merge(inputs, mode)),
        50 => any_index().prop_map(Op::Await),
        50 => any_index().prop_map(Op::PollAwaiter),
        20 => any_index().prop_map(Op::DropAwaiter),
        10 => (0..8u32, 0..8u32)
            .prop_map(|(index, generation)| Op::Probe { index, generation }),
        1 => Just(Op::Shutdown),
    ]
}

#[derive(Debug, Clone, PartialEq)]
enum End {
    Triggered,
    /// With the places of the root causes in the model.
    Failed {
        kind: PoisonKind,
        roots: Vec<usize>,
    },
}

struct Modelled {
    handle: SignalHandle,
    end: Option<End>,
    value: Option<u32>,
    reason: &'static str,
    merge: Option<(Vec<usize>, Mode)>,
    /// Complete, and not owned or awaited any more: the next generation may be in the slot.
    left: bool,
}

/// What signals carry.
trait Value: Clone + Debug + PartialEq + Send + Sync + 'static {
    fn of(value: u32) -> Self;
}

impl Value for u32 {
    fn of(value: u32) -> Self {
        value
    }
}

impl Value for () {
    fn of(_: u32) {}
}

struct Awaiter<T> {
    of: usize,
    /// It keeps the signal in its slot.
    keeps: bool,
    future: Spawn<Completion<T>>,
    /// Polled while pending, and not since.
    armed: bool,
}

struct World<T: Value> {
    system: SignalSystem<T>,
    history: usize,
    signals: Vec<Modelled>,
    owned: Vec<(usize, Signal<T>)>,
    awaiters: Vec<Awaiter<T>>,
    shut_down: bool,
}

impl<T: Value> World<T> {
    fn new(history: usize) -> Self {
        Self {
            system: SignalSystem::builder().history(history).build(),
            history,
            signals: Vec::new(),
            owned: Vec::new(),
            awaiters: Vec::new(),
            shut_down: false,
        }
    }

    fn add(&mut self, handle: SignalHandle, merge: Option<(Vec<usize>, Mode)>) -> usize {
        let earlier = self
            .signals
            .iter()
            .filter(|s| s.handle.index() == handle.index())
            .count();
        assert_eq!(
            handle.generation() as usize,
            earlier + 1,
            "generations ascend by one"
        );
        self.signals.push(Modelled {
            handle,
            end: None,
            value: None,
            reason: "",
            merge,
            left: false,
        });
        self.signals.len() - 1
    }

    /// The model's answer to an attempt by handle, and its effect.
    fn complete(
        &mut self,
        at: usize,
        kind: Option<PoisonKind>,
        reason: &'static str,
    ) -> Result<(), &'static str> {
        let signal = &mut self.signals[at];
        if signal.merge.is_some() && kind != Some(PoisonKind::Cancelled) {
            return Err("derived_signal");
        }
        match &signal.end {
            None => {
                signal.reason = reason;
                signal.end = Some(match kind {
                    None => End::Triggered,
                    Some(kind) => End::Failed {
                        kind,
                        roots: vec![at],
                    },
                });
                self.decide_merges();
                Ok(())
            }
            Some(End::Triggered) => Err("already_triggered"),
            Some(End::Failed {
                kind: PoisonKind::Cancelled,
                ..
            }) => match kind {
                Some(PoisonKind::Cancelled) => Ok(()),
                _ => Err("already_cancelled"),
            },
            Some(End::Failed { .. }) => match kind {
                None | Some(PoisonKind::Cancelled) => Err("already_poisoned"),
                Some(_) => Ok(()),
            },
        }
    }

    /// Inputs come before their merges in the vector, so one pass is enough.
    fn decide_merges(&mut self) {
        for at in 0..self.signals.len() {
            let Some((inputs, mode)) = self.signals[at].merge.clone() else {
                continue;
            };
            if self.signals[at].end.is_some() {
                continue;
            }
            let ends: Vec<_> = inputs
                .iter()
                .map(|&input| self.signals[input].end.clone())
                .collect();
            let pending = ends.iter().filter(|end| end.is_none()).count();
            let triggered = ends
                .iter()
                .filter(|end| **end == Some(End::Triggered))
                .count();
            let needed = match mode {
                Mode::AllSettled | Mode::FailFast => inputs.len(),
                Mode::AnyOf => 1,
                Mode::TwoOf => 2,
            };
            if mode == Mode::AllSettled && pending > 0 {
                continue;
            }
            if triggered >= needed {
                self.signals[at].end = Some(End::Triggered);
            } else if triggered + pending < needed {
                let mut roots = Vec::new();
                for end in ends.into_iter().flatten() {
                    if let End::Failed { roots: more, .. } = end {
                        roots.extend(more.into_iter().take(Poison::CAUSES_MAX));
                    }
                }
                let mut seen = HashSet::new();
                roots.retain(|root| seen.insert(*root));
                roots.truncate(Poison::CAUSES_MAX);
                self.signals[at].end = Some(End::Failed {
                    kind: PoisonKind::Merged,
                    roots,
                });
            }
        }
    }

    /// Compares what the system says of a failure with the model.
    fn check_poison(&mut self, at: usize, poison: &Poison) {
        let signal = &self.signals[at];
        let Some(End::Failed { kind, roots }) = &signal.end else {
            panic!("{poison}")
        };
        assert_eq!((poison.handle(), poison.kind()), (signal.handle, *kind));
        assert!(poison.to_string().len() <= 2048);
        let named: Vec<_> = poison
            .causes()
            .iter()
            .map(|cause| {
                self.signals
                    .iter()
                    .position(|s| s.handle == cause.handle)
                    .unwrap()
            })
            .collect();
        // One of another mode ended in the middle of a step, which told it of some causes only.
        let mut merges = self.signals.iter().filter_map(|s| s.merge.as_ref());
        if merges.all(|(_, mode)| *mode == Mode::AllSettled) {
            assert_eq!(&named, roots);
        } else {
            assert!(!named.is_empty() && named.iter().all(|root| roots.contains(root)));
        }
        for (cause, root) in poison.causes().iter().zip(named) {
            let root = &self.signals[root];
            assert!(cause.reason.contains(root.reason), "{cause:?}");
        }
    }

    fn check_status(&mut self, at: usize) {
        let answer = self.system.poll(self.signals[at].handle);
        match (answer, &self.signals[at].end) {
            (Err(SignalError::OutcomeForgotten), Some(_)) => {
                assert!(self.may_be_forgotten(at), "{}", self.signals[at].handle);
            }
            (Ok(SignalStatus::Pending), None) => {}
            (Ok(SignalStatus::Triggered), Some(End::Triggered)) => {}
            (Ok(SignalStatus::Poisoned(poison)), Some(_)) => {
                assert_ne!(poison.kind(), PoisonKind::Cancelled);
                self.check_poison(at, &poison);
            }
            (Ok(SignalStatus::Cancelled(poison)), Some(_)) => {
                assert_eq!(poison.kind(), PoisonKind::Cancelled);
                self.check_poison(at, &poison);
            }
            (answer, end) => panic!("{answer:?}, expected {end:?}"),
        }
    }

    /// Whether the end is one that has to be remembered when the signal leaves its slot.
    fn is_recorded(&self, at: usize) -> bool {
        let signal = &self.signals[at];
        let plain = signal.merge.is_some() || size_of::<T>() == 0;
        signal.end.is_some() && !(plain && signal.end == Some(End::Triggered))
    }

    /// The signals whose ends went into the history.
    fn records(&self) -> impl Iterator<Item = usize> {
        (0..self.signals.len()).filter(|&at| self.signals[at].left && self.is_recorded(at))
    }

    /// Whether the system may answer that it does not know how the signal ended.
    fn may_be_forgotten(&self, at: usize) -> bool {
        let signal = &self.signals[at];
        if !signal.left || self.records().count() <= self.history {
            return false;
        }
        // Success that leaves nothing to remember is known as long as no failure of a later
        // generation of the same slot is forgotten.
        self.is_recorded(at)
            || self.records().any(|later| {
                let later = &self.signals[later];
                later.handle.index() == signal.handle.index()
                    && later.handle.generation() > signal.handle.generation()
                    && later.end != Some(End::Triggered)
                    && self.system.poll(later.handle) == Err(SignalError::OutcomeForgotten)
            })
    }

    /// What a handle alone cannot do.
    fn refusal(&self, at: usize) -> Option<&'static str> {
        let held = self.owned.iter().any(|(owned, _)| *owned == at);
        (held && self.signals[at].end.is_none()).then_some("not_permitted")
    }

    /// Completes a signal by its handle, here and in the model.
    fn attempt(
        &mut self,
        at: Option<usize>,
        kind: Option<PoisonKind>,
        reason: &'static str,
        value: Option<u32>,
        call: impl FnOnce(&SignalSystem<T>, SignalHandle) -> Result<(), SignalError>,
    ) {
        let Some(at) = at else { return };
        let expected = match self.refusal(at) {
            Some(code) => Err(code),
            None => self.complete(at, kind, reason),
        };
        if expected.is_ok() {
            self.signals[at].value = value;
        }
        let answer = call(&self.system, self.signals[at].handle);
        let code = answer.as_ref().err().map(SignalError::code);
        let forgotten = code == Some("outcome_forgotten");
        assert!(
            code == expected.err() || (forgotten && self.may_be_forgotten(at)),
            "{answer:?}, expected {expected:?}"
        );
    }

    fn apply(&mut self, op: Op) {
        let pick = |index: &Index, len: usize| (len > 0).then(|| index.index(len));
        let len = self.signals.len();
        match op {
            Op::Create { loose } => match self.system.create() {
                Ok(signal) => {
                    assert!(!self.shut_down);
                    let at = self.add(signal.handle(), None);
                    if loose {
                        signal.into_handle();
                    } else {
                        self.owned.push((at, signal));
                    }
                }
                Err(error) => assert!(self.shut_down && error.code() == "shut_down"),
            },
            Op::Trigger(index, value) => {
                let call = |system: &SignalSystem<T>, handle| system.trigger(handle, T::of(value));
                self.attempt(pick(&index, len), None, "", Some(value), call);
            }
            Op::Poison(index) => {
                let (kind, reason) = (Some(PoisonKind::Explicit), "by hand");
                let call = |system: &SignalSystem<T>, handle| system.poison(handle, reason);
                self.attempt(pick(&index, len), kind, reason, None, call);
            }
            Op::Cancel(index) => {
                let (kind, reason) = (Some(PoisonKind::Cancelled), "no need");
                let call = |system: &SignalSystem<T>, handle| system.cancel(handle, reason);
                self.attempt(pick(&index, len), kind, reason, None, call);
            }
            Op::TriggerOwned(index, value) => {
                if let Some(place) = pick(&index, self.owned.len()) {
                    let (at, signal) = self.owned.swap_remove(place);
                    let expected = self.complete(at, None, "");
                    if expected.is_ok() {
                        self.signals[at].value = Some(value);
                    }
                    // An owned signal never forgets.
                    assert_eq!(
                        signal.trigger(T::of(value)).map_err(|error| error.code()),
                        expected
                    );
                }
            }
            Op::DropOwned(index) => {
                if let Some(place) = pick(&index, self.owned.len()) {
                    let (at, signal) = self.owned.swap_remove(place);
                    let _ = self.complete(at, Some(PoisonKind::Dropped), "dropped");
                    drop(signal);
                }
            }
            Op::Merge(indices, mode) => {
                let inputs: Vec<_> = indices
                    .iter()
                    .filter_map(|index| pick(index, len))
                    .collect();
                let handles: Vec<_> = inputs.iter().map(|&at| self.signals[at].handle).collect();
                let mut distinct = Vec::new();
                for at in inputs {
                    if !distinct.contains(&at) {
                        distinct.push(at);
                    }
                }
                let with = match mode {
                    Mode::AllSettled => MergeMode::AllSettled,
                    Mode::FailFast => MergeMode::FailFast,
                    Mode::AnyOf => MergeMode::AnyOf,
                    Mode::TwoOf => MergeMode::NOf(NonZeroUsize::new(2).unwrap()),
                };
                match self
                    .system
                    .merge_with(&handles, with)
                    .map_err(|error| error.code())
                {
                    Ok(handle) => {
                        assert!(!self.shut_down);
                        self.add(handle, Some((distinct, mode)));
                        self.decide_merges();
                    }
                    Err("empty_merge") => assert!(distinct.is_empty()),
                    Err("unreachable_merge") => assert!(mode == Mode::TwoOf && distinct.len() < 2),
                    Err("shut_down") => assert!(self.shut_down),
                    Err("outcome_forgotten") => {
                        assert!(distinct.iter().any(|&at| self.may_be_forgotten(at)));
                    }
                    Err(other) => panic!("{other}"),
                }
            }
            Op::Await(index) => {
                if let Some(of) = pick(&index, len) {
                    // Of plain success there is nothing to keep.
                    let signal = &self.signals[of];
                    let keeps = signal.end.is_none() || !signal.left && self.is_recorded(of);
                    match self.system.completion(signal.handle) {
                        Ok(future) => {
                            let future = task::spawn(future);
                            self.awaiters.push(Awaiter {
                                of,
                                keeps,
                                future,
                                armed: false,
                            });
                        }
                        Err(error) => {
                            assert!(self.may_be_forgotten(of));
                            assert_eq!(error, SignalError::OutcomeForgotten);
                        }
                    }
                }
            }
            Op::PollAwaiter(index) => {
                if let Some(place) = pick(&index, self.awaiters.len()) {
                    self.poll_awaiter(place);
                }
            }
            Op::DropAwaiter(index) => {
                if let Some(place) = pick(&index, self.awaiters.len()) {
                    self.awaiters.swap_remove(place);
                }
            }
            Op::Probe { index, generation } => {
                let raw = self.system.system_id().get();
                let raw =
                    (u128::from(raw) << 64) | (u128::from(index) << 32) | u128::from(generation);
                let handle = SignalHandle::from_raw(raw);
                let given = self.signals.iter().any(|signal| signal.handle == handle);
                let unknown = self.system.poll(handle) == Err(SignalError::UnknownSignal);
                assert_eq!(unknown, !given);
            }
            Op::Shutdown => {
                self.shut_down = true;
                self.system.force_shutdown("over");
                for at in 0..len {
                    if self.signals[at].merge.is_none() && self.signals[at].end.is_none() {
                        self.signals[at].reason = "over";
                        let roots = vec![at];
                        self.signals[at].end = Some(End::Failed {
                            kind: PoisonKind::ShutDown,
                            roots,
                        });
                    }
                }
                self.decide_merges();
            }
        }
    }

    fn poll_awaiter(&mut self, place: usize) {
        let awaiter = &mut self.awaiters[place];
        let (of, poll) = (awaiter.of, awaiter.future.poll());
        awaiter.armed = poll.is_pending();
        match (poll, self.signals[of].end.clone()) {
            (std::task::Poll::Pending, None) => {}
            (std::task::Poll::Ready(Ok(())), Some(End::Triggered)) => {}
            (std::task::Poll::Ready(Err(poison)), Some(_)) => self.check_poison(of, &poison),
            (poll, end) => panic!("{poll:?}, expected {end:?}"),
        }
    }

    /// Notes which signals have left their slots.
    fn leave(&mut self) {
        let mut kept: HashSet<_> = self.owned.iter().map(|(at, _)| *at).collect();
        let keeping = self.awaiters.iter().filter(|awaiter| awaiter.keeps);
        kept.extend(keeping.map(|awaiter| awaiter.of));
        for (at, signal) in self.signals.iter_mut().enumerate() {
            signal.left |= signal.end.is_some() && !kept.contains(&at);
        }
    }

    fn check(&mut self) {
        let records = self.records().count();
        assert_eq!(self.system.stats().history, records.min(self.history));
        let pending = self
            .signals
            .iter()
            .filter(|signal| signal.end.is_none())
            .count();
        assert_eq!(self.system.stats().pending, pending);
        for awaiter in &self.awaiters {
            if awaiter.armed {
                assert_eq!(
                    awaiter.future.is_woken(),
                    self.signals[awaiter.of].end.is_some()
                );
            }
        }
    }

    fn finish(mut self) {
        let (mut known, mut forgotten) = (0, 0);
        for at in self.records() {
            match self.system.poll(self.signals[at].handle) {
                Err(SignalError::OutcomeForgotten) => forgotten += 1,
                _ => known += 1,
            }
        }
        assert!(known == self.history || forgotten == 0);
        for at in 0..self.signals.len() {
            self.check_status(at);
            let signal = &self.signals[at];
            if let (Some(value), Ok(awaiter)) = (signal.value, self.system.awaiter(signal.handle)) {
                assert_eq!(tokio_test::block_on(awaiter).unwrap(), T::of(value));
            }
        }
        for place in 0..self.awaiters.len() {
            self.poll_awaiter(place);
        }
        self.awaiters.clear();
        assert_eq!(self.system.stats().waiters, 0);
    }
}

fn run<T: Value>(history: usize, ops: Vec<Op>) {
    let mut world = World::<T>::new(history);
    for op in ops {
        world.apply(op);
        world.leave();
        world.check();
    }
    world.finish();
}

proptest! {
    #[test]
    fn system_behaves_as_the_model(ops in prop::collection::vec(op(), 1..300)) {
        run::<u32>(10_000, ops);
    }

    #[test]
    fn system_without_values_behaves_as_the_model(
        history in prop_oneof![0..6usize, Just(10_000)],
        ops in prop::collection::vec(op(), 1..300),
    ) {
        run::<()>(history, ops);
    }

    #[test]
    fn system_with_a_small_history_forgets_and_never_mixes_up(
        history in 0..6usize,
        ops in prop::collection::vec(op(), 1..300),
    ) {
        run::<u32>(history, ops);
    }
}
