//! Random sequences of operations against a plain model of signals, merges and awaiters.
//!
//! The model keeps every signal for ever in one vector and decides merges by looking at all of
//! them again after each step: no slots, no generations, no edges, no history.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "a failure in a helper fails the test")]

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
}

struct Awaiter {
    of: usize,
    future: Spawn<Completion<u32>>,
    /// Polled while pending, and not since.
    armed: bool,
}

struct World {
    system: SignalSystem<u32>,
    /// Outcomes may be forgotten, since the history is small.
    forgetful: bool,
    signals: Vec<Modelled>,
    owned: Vec<(usize, Signal<u32>)>,
    awaiters: Vec<Awaiter>,
    shut_down: bool,
}

impl World {
    fn new(history: usize) -> Self {
        Self {
            system: SignalSystem::builder().history(history).build(),
            forgetful: history < 10_000,
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
                let mut seen = std::collections::HashSet::new();
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
        let early = matches!(signal.merge, Some((_, mode)) if mode != Mode::AllSettled);
        if early {
            // It ended in the middle of a step, which told it of some causes only.
            assert!(!named.is_empty() && named.iter().all(|root| roots.contains(root)));
        } else if self
            .signals
            .iter()
            .all(|s| s.merge.as_ref().is_none_or(|m| m.1 == Mode::AllSettled))
        {
            assert_eq!(&named, roots);
        } else {
            assert!(named.iter().all(|root| roots.contains(root)));
        }
        for (cause, root) in poison.causes().iter().zip(named) {
            let root = &self.signals[root];
            assert!(cause.reason.contains(root.reason), "{cause:?}");
        }
    }

    fn check_status(&mut self, at: usize) {
        let answer = self.system.poll(self.signals[at].handle);
        match (answer, &self.signals[at].end) {
            (Err(SignalError::OutcomeForgotten), Some(_)) => assert!(self.forgetful),
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

    /// What a handle alone cannot do.
    fn refusal(&self, at: usize) -> Option<&'static str> {
        let held = self.owned.iter().any(|(owned, _)| *owned == at);
        (held && self.signals[at].end.is_none()).then_some("not_permitted")
    }

    fn compare(
        &self,
        answer: &Result<(), SignalError>,
        expected: Result<(), &'static str>,
        was_complete: bool,
    ) {
        let code = answer.as_ref().err().map(SignalError::code);
        let forgotten = code == Some("outcome_forgotten");
        assert!(
            code == expected.err() || (forgotten && self.forgetful && was_complete),
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
                if let Some(at) = pick(&index, len) {
                    let before = self.signals[at].end.is_some();
                    let expected = match self.refusal(at) {
                        Some(code) => Err(code),
                        None => self.complete(at, None, ""),
                    };
                    if expected.is_ok() {
                        self.signals[at].value = Some(value);
                    }
                    self.compare(
                        &self.system.trigger(self.signals[at].handle, value),
                        expected,
                        before,
                    );
                }
            }
            Op::Poison(index) => {
                if let Some(at) = pick(&index, len) {
                    let before = self.signals[at].end.is_some();
                    let expected = match self.refusal(at) {
                        Some(code) => Err(code),
                        None => self.complete(at, Some(PoisonKind::Explicit), "by hand"),
                    };
                    self.compare(
                        &self.system.poison(self.signals[at].handle, "by hand"),
                        expected,
                        before,
                    );
                }
            }
            Op::Cancel(index) => {
                if let Some(at) = pick(&index, len) {
                    let before = self.signals[at].end.is_some();
                    let expected = match self.refusal(at) {
                        Some(code) => Err(code),
                        None => self.complete(at, Some(PoisonKind::Cancelled), "no need"),
                    };
                    self.compare(
                        &self.system.cancel(self.signals[at].handle, "no need"),
                        expected,
                        before,
                    );
                }
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
                        signal.trigger(value).map_err(|error| error.code()),
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
                    Err("outcome_forgotten") => assert!(self.forgetful),
                    Err(other) => panic!("{other}"),
                }
            }
            Op::Await(index) => {
                if let Some(of) = pick(&index, len) {
                    match self.system.completion(self.signals[of].handle) {
                        Ok(future) => {
                            let future = task::spawn(future);
                            self.awaiters.push(Awaiter {
                                of,
                                future,
                                armed: false,
                            });
                        }
                        Err(error) => {
                            assert!(self.forgetful && self.signals[of].end.is_some());
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

    fn check(&mut self) {
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
        for at in 0..self.signals.len() {
            self.check_status(at);
            let signal = &self.signals[at];
            if let (Some(value), Ok(awaiter)) = (signal.value, self.system.awaiter(signal.handle)) {
                assert_eq!(tokio_test::block_on(awaiter).unwrap(), value);
            }
        }
        for place in 0..self.awaiters.len() {
            self.poll_awaiter(place);
        }
        self.awaiters.clear();
        assert_eq!(self.system.stats().waiters, 0);
    }
}

fn run(history: usize, ops: Vec<Op>) {
    let mut world = World::new(history);
    for op in ops {
        world.apply(op);
        world.check();
    }
    world.finish();
}

proptest! {
    #[test]
    fn system_behaves_as_the_model(ops in prop::collection::vec(op(), 1..300)) {
        run(10_000, ops);
    }

    #[test]
    fn system_with_a_small_history_forgets_and_never_mixes_up(
        history in 0..6usize,
        ops in prop::collection::vec(op(), 1..300),
    ) {
        run(history, ops);
    }
}
