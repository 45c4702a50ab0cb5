//! Interleavings of eight tasks, drawn at random, where going through all of them is not possible.
//!
//! Run with `RUSTFLAGS="--cfg shuttle" cargo test --release -p reveille-core --test shuttle_signal`;
//! `REVEILLE_SCHEDULES` in the environment says how many are drawn. Every step is sequentially
//! consistent here, so this finds what goes wrong between steps, and loom what does within.

#![cfg(shuttle)]
#![expect(clippy::unwrap_used, reason = "an unwrap that fails is the failure")]

use std::num::NonZeroU64;

use reveille_core::{Poison, SignalError, SignalStatus, SignalSystem};
use shuttle::{future, thread};

/// How many switches away from a running task the schedules of the second kind have.
const DEPTH: usize = 3;

fn schedules() -> usize {
    let asked = std::env::var("REVEILLE_SCHEDULES").ok();
    asked.map_or(50_000, |number| number.parse().unwrap())
}

fn system() -> SignalSystem<u32> {
    SignalSystem::builder()
        .system_id(NonZeroU64::MIN)
        .history(16)
        .build()
}

/// Four complete one signal in their ways, four wait for it.
fn one_wins_and_all_agree() {
    let system = system();
    let handle = system.create().unwrap().into_handle();
    let completing: Vec<_> = (0..4)
        .map(|at| {
            let system = system.clone();
            thread::spawn(move || match at {
                0 => system.trigger(handle, 1).map(|()| "triggered"),
                1 => system.trigger(handle, 2).map(|()| "triggered"),
                2 => system.poison(handle, "broken").map(|()| "broken"),
                _ => system.cancel(handle, "no need").map(|()| "no need"),
            })
        })
        .collect();
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let awaiter = system.awaiter(handle).unwrap();
            thread::spawn(move || future::block_on(awaiter))
        })
        .collect();
    let won: Vec<_> = completing
        .into_iter()
        .filter_map(|task| task.join().unwrap().ok())
        .collect();
    let seen: Vec<Result<u32, Poison>> = waiting
        .into_iter()
        .map(|task| task.join().unwrap())
        .collect();
    let [won] = won[..] else {
        panic!("{won:?} won");
    };
    for end in &seen {
        assert_eq!(end, &seen[0]);
        match end {
            Ok(_) => assert_eq!(won, "triggered"),
            Err(poison) => assert_eq!(poison.reason(), won),
        }
    }
    let late = system.trigger(handle, 3).unwrap_err();
    assert_eq!(late == SignalError::AlreadyTriggered, won == "triggered");
}

/// Seven inputs end in their ways while the merge of them is made, and one task waits for it.
fn merge_hears_of_each_input_once() {
    let system = system();
    let signals: Vec<_> = (0..7).map(|_| system.create().unwrap()).collect();
    let inputs: Vec<_> = signals.iter().map(reveille_core::Signal::handle).collect();
    let ending: Vec<_> = signals
        .into_iter()
        .enumerate()
        .map(|(at, signal)| {
            thread::spawn(move || match at {
                0 => signal.poison("broken").unwrap(),
                _ => signal.trigger(0).unwrap(),
            })
        })
        .collect();
    let merged = system.merge(&inputs[..6]).unwrap();
    let both = system.merge(&[merged, inputs[6]]).unwrap();
    let waiting = {
        let completion = system.completion(both).unwrap();
        thread::spawn(move || future::block_on(completion))
    };
    for task in ending {
        task.join().unwrap();
    }
    let poison = waiting.join().unwrap().unwrap_err();
    assert_eq!(poison.causes().len(), 1);
    assert_eq!(poison.causes()[0].handle, inputs[0]);
    assert!(matches!(system.poll(merged), Ok(SignalStatus::Poisoned(_))));
    assert_eq!(system.stats().pending, 0);
}

#[test]
fn r02_one_of_many_completions_wins_and_all_agree() {
    shuttle::check_random(one_wins_and_all_agree, schedules());
    shuttle::check_pct(one_wins_and_all_agree, schedules(), DEPTH);
}

#[test]
fn r02_merge_of_many_hears_of_each_input_once() {
    shuttle::check_random(merge_hears_of_each_input_once, schedules());
    shuttle::check_pct(merge_hears_of_each_input_once, schedules(), DEPTH);
}
