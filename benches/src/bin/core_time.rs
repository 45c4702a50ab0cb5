//! How long signals, merges and wake-ups take.

use std::hint::black_box;
use std::pin::{Pin, pin};
use std::time::Instant;

use futures_util::future::join_all;
use reveille_bench::harness::{
    Contender, Effort, compare, nanos_each, nanos_each_on_two_threads, poll,
};
use reveille_bench::one_shot::{
    FlagAndListener, FuturesOneshot, OneShot, Reveille, TokioNotify, TokioOneshot, Velo,
};
use reveille_core::Signal;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use velo::events::Event;

/// Operations of one sample of the rows of single signals, in a full run.
const SIGNALS: usize = 200_000;
/// Inputs of one sample of the merges, however many a merge has, in a full run.
const INPUTS: usize = 200_000;
/// Wake-ups of one sample, in a full run.
const WAKES: usize = 40_000;

fn main() {
    let effort = Effort::from_args();
    signals(effort);
    for inputs in [2, 10, 100, 1000, 10_000, 100_000] {
        merges(effort, inputs);
    }
    hot_wakes(effort);
}

/// Makes the same contender of every kind.
macro_rules! every_kind {
    ($contender:ident, $($argument:expr),*) => {
        vec![
            $contender::<Reveille>($($argument),*),
            $contender::<Velo>($($argument),*),
            $contender::<TokioOneshot>($($argument),*),
            $contender::<TokioNotify>($($argument),*),
            $contender::<FuturesOneshot>($($argument),*),
            $contender::<FlagAndListener>($($argument),*),
        ]
    };
}

fn signals(effort: Effort) {
    let n = effort.operations(SIGNALS);
    compare("signal_ready", "ns", effort, every_kind!(ready, n, 1));
    compare("signal_pending", "ns", effort, every_kind!(pending, n, 1));
    compare("signal_ready_2t", "ns", effort, every_kind!(ready, n, 2));
    compare(
        "signal_pending_2t",
        "ns",
        effort,
        every_kind!(pending, n, 2),
    );
}

/// Create, complete, poll: on one thread, or on two that share the kind's system.
fn ready<K: OneShot + 'static>(operations: usize, threads: usize) -> Contender<'static> {
    repeated::<K>(operations, threads, |kind| {
        let (trigger, wait) = kind.pair();
        K::fire(trigger);
        assert!(poll(pin!(wait)).is_ready());
    })
}

/// Create, poll, complete, poll again.
fn pending<K: OneShot + 'static>(operations: usize, threads: usize) -> Contender<'static> {
    repeated::<K>(operations, threads, |kind| {
        let (trigger, wait) = kind.pair();
        let mut wait = pin!(wait);
        assert!(poll(wait.as_mut()).is_pending());
        K::fire(trigger);
        assert!(poll(wait).is_ready());
    })
}

fn repeated<K: OneShot + 'static>(
    operations: usize,
    threads: usize,
    operation: impl Fn(&K) + Sync + 'static,
) -> Contender<'static> {
    let kind = K::new();
    Contender::new(K::NAME, move || match threads {
        1 => nanos_each(operations, || operation(black_box(&kind))),
        _ => nanos_each_on_two_threads(operations, || operation(black_box(&kind))),
    })
}

/// Create so many, merge them, poll, complete them all, await. Nanoseconds per input.
fn merges(effort: Effort, inputs: usize) {
    // At least a few merges make a sample.
    let merges = (effort.operations(INPUTS) / inputs).max(2);
    let reveille = Reveille::new();
    let velo = Velo::new();
    let joined_velo = Velo::new();
    let runtime = current_thread();
    let per_input = move |nanos_per_merge: f64| nanos_per_merge / inputs as f64;
    let contenders = vec![
        Contender::new(Reveille::NAME, || {
            per_input(nanos_each(merges, || merge_signals(&reveille, inputs)))
        }),
        Contender::new("velo merge_events", || {
            per_input(runtime.block_on(merge_velo(&velo, inputs, merges)))
        }),
        Contender::new("join_all of velo", || {
            per_input(nanos_each(merges, || join(&joined_velo, inputs)))
        }),
        Contender::new("join_all of tokio oneshots", || {
            per_input(nanos_each(merges, || join(&TokioOneshot, inputs)))
        }),
        Contender::new("JoinSet of tokio oneshots", || {
            per_input(runtime.block_on(join_set(inputs, merges)))
        }),
    ];
    compare(&format!("merge_{inputs}"), "ns/input", effort, contenders);
}

fn merge_signals(system: &Reveille, inputs: usize) {
    let signals: Vec<_> = (0..inputs).map(|_| system.create()).collect();
    let handles: Vec<_> = signals.iter().map(Signal::handle).collect();
    let merged = system.0.merge(&handles).expect("there is room");
    let mut all = system.0.awaiter(merged).expect("it is known");
    assert!(poll(Pin::new(&mut all)).is_pending());
    signals.into_iter().for_each(Reveille::fire);
    assert!(poll(Pin::new(&mut all)).is_ready());
}

/// velo's merges spawn a task each, so they need a runtime.
async fn merge_velo(velo: &Velo, inputs: usize, merges: usize) -> f64 {
    let start = Instant::now();
    for _ in 0..merges {
        let events: Vec<_> = (0..inputs).map(|_| velo.create()).collect();
        let handles = events.iter().map(Event::handle).collect();
        let merged = velo.0.merge_events(handles).expect("there is room");
        let mut all = velo.0.awaiter(merged).expect("it is known");
        assert!(poll(Pin::new(&mut all)).is_pending());
        events.into_iter().for_each(Velo::fire);
        all.await.expect("none is poisoned");
    }
    start.elapsed().as_nanos() as f64 / merges as f64
}

fn join<K: OneShot>(kind: &K, inputs: usize) {
    let (triggers, waits): (Vec<_>, Vec<_>) = (0..inputs).map(|_| kind.pair()).unzip();
    let mut all = pin!(join_all(waits));
    assert!(poll(all.as_mut()).is_pending());
    triggers.into_iter().for_each(K::fire);
    // Without a runtime there is no budget of polls that would make it yield.
    assert!(poll(all).is_ready());
}

async fn join_set(inputs: usize, merges: usize) -> f64 {
    let start = Instant::now();
    for _ in 0..merges {
        let mut set = JoinSet::new();
        let mut triggers = Vec::with_capacity(inputs);
        for _ in 0..inputs {
            let (trigger, wait) = TokioOneshot.pair();
            triggers.push(trigger);
            set.spawn(wait);
        }
        // The tasks come to wait, as the other contenders do when they are polled.
        tokio::task::yield_now().await;
        triggers.into_iter().for_each(TokioOneshot::fire);
        while let Some(ended) = set.join_next().await {
            ended.expect("no task panics").expect("each is completed");
        }
    }
    start.elapsed().as_nanos() as f64 / merges as f64
}

/// Two tasks on two workers wake each other in turn. Nanoseconds per wake-up.
fn hot_wakes(effort: Effort) {
    let wakes = effort.operations(WAKES);
    compare("hot_wake", "ns", effort, every_kind!(ping_pong, wakes));
}

fn ping_pong<K: OneShot + 'static>(wakes: usize) -> Contender<'static> {
    let kind = K::new();
    let runtime = two_workers();
    let rounds = (wakes / 2).max(1);
    Contender::new(K::NAME, move || {
        let (pings, awaited_pings): (Vec<_>, Vec<_>) = (0..rounds).map(|_| kind.pair()).unzip();
        let (pongs, awaited_pongs): (Vec<_>, Vec<_>) = (0..rounds).map(|_| kind.pair()).unzip();
        runtime.block_on(async {
            let answering = tokio::spawn(async move {
                for (ping, pong) in awaited_pings.into_iter().zip(pongs) {
                    black_box(ping.await);
                    K::fire(pong);
                }
            });
            let asking = tokio::spawn(async move {
                let start = Instant::now();
                for (ping, pong) in pings.into_iter().zip(awaited_pongs) {
                    K::fire(ping);
                    black_box(pong.await);
                }
                start.elapsed().as_nanos() as f64 / (2 * rounds) as f64
            });
            let nanos = asking.await.expect("the task does not panic");
            answering.await.expect("the task does not panic");
            nanos
        })
    })
}

fn current_thread() -> Runtime {
    Builder::new_current_thread()
        .build()
        .expect("a runtime without drivers needs nothing")
}

fn two_workers() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .expect("threads can be started")
}
