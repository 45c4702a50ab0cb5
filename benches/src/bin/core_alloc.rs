//! How many allocations signals and merges take, and how many bytes they hold.
//!
//! Counts do not vary, so that a quick run is the same run.

use std::pin::{Pin, pin};

use allocation_counter::measure;
use futures_util::future::join_all;
use reveille_bench::harness::{poll, print};
use reveille_bench::one_shot::{
    FlagAndListener, FuturesOneshot, OneShot, Reveille, TokioNotify, TokioOneshot, Velo,
};
use reveille_core::Signal;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use velo::events::Event;

/// Pending signals of the memory rows.
const HELD: usize = 1_000_000;
/// Operations over which allocations are counted, and as many before, to fill what is reused.
const COUNTED: usize = 1000;
/// Inputs of the counted merges.
const INPUTS: usize = 1000;
/// Merges over which allocations are counted.
const MERGES: usize = 10;

fn main() {
    every_kind(|kind| kind.allocations());
    merges();
    every_kind(|kind| kind.memory());
}

/// What is counted of one kind.
trait Counted {
    fn allocations(&self);
    fn memory(&self);
}

/// A kind, by its type.
struct Kind<K>(std::marker::PhantomData<K>);

fn every_kind(run: impl Fn(&dyn Counted)) {
    use std::marker::PhantomData;
    run(&Kind::<Reveille>(PhantomData));
    run(&Kind::<Velo>(PhantomData));
    run(&Kind::<TokioOneshot>(PhantomData));
    run(&Kind::<TokioNotify>(PhantomData));
    run(&Kind::<FuturesOneshot>(PhantomData));
    run(&Kind::<FlagAndListener>(PhantomData));
}

impl<K: OneShot> Counted for Kind<K> {
    fn allocations(&self) {
        let kind = K::new();
        let ready = || {
            let (trigger, wait) = kind.pair();
            K::fire(trigger);
            assert!(poll(pin!(wait)).is_ready());
        };
        print(
            "allocs_ready",
            "allocations",
            K::NAME,
            allocations(COUNTED, ready),
        );
        let pending = || {
            let (trigger, wait) = kind.pair();
            let mut wait = pin!(wait);
            assert!(poll(wait.as_mut()).is_pending());
            K::fire(trigger);
            assert!(poll(wait).is_ready());
        };
        print(
            "allocs_pending",
            "allocations",
            K::NAME,
            allocations(COUNTED, pending),
        );
    }

    fn memory(&self) {
        let mut held = Vec::new();
        let mut shared = None;
        let info = measure(|| {
            let kind = shared.insert(K::new());
            held.reserve_exact(HELD);
            held.extend((0..HELD).map(|_| kind.create()));
        });
        print("memory_pending", "bytes", K::NAME, each(info.bytes_current));
        drop((held, shared));

        let mut held = Vec::new();
        let mut shared = None;
        let info = measure(|| {
            let kind = shared.insert(K::new());
            held.reserve_exact(HELD);
            held.extend((0..HELD).map(|_| {
                let (trigger, wait) = kind.pair();
                let mut wait = K::keep(wait);
                assert!(poll(Pin::new(&mut wait)).is_pending());
                (trigger, wait)
            }));
        });
        print("memory_waiting", "bytes", K::NAME, each(info.bytes_current));

        let after = measure(|| {
            for (trigger, mut wait) in held {
                K::fire(trigger);
                assert!(poll(Pin::new(&mut wait)).is_ready());
            }
        });
        let left = info.bytes_current + after.bytes_current;
        print("memory_after_peak", "bytes", K::NAME, each(left));
        drop(shared);
    }
}

/// Bytes per held one.
fn each(bytes: i64) -> f64 {
    bytes as f64 / HELD as f64
}

/// Allocations per operation, once what is reused is there.
fn allocations(operations: usize, operation: impl Fn()) -> f64 {
    (0..operations).for_each(|_| operation());
    let info = measure(|| (0..operations).for_each(|_| operation()));
    info.count_total as f64 / operations as f64
}

/// Create, merge, poll, complete all, await. Where the callers keep the inputs is theirs, and
/// made before.
fn merges() {
    let row = |name, value| print("allocs_merge_1000", "allocations", name, value);
    row(Reveille::NAME, merge_signals());
    row("velo merge_events", merge_velo());
    row("join_all of velo", join::<Velo>());
    row("join_all of tokio oneshots", join::<TokioOneshot>());
    row("JoinSet of tokio oneshots", join_set());
}

fn merge_signals() -> f64 {
    let system = Reveille::new();
    let mut signals = Vec::with_capacity(INPUTS);
    let mut handles = Vec::with_capacity(INPUTS);
    merge_allocations(|| {
        signals.extend((0..INPUTS).map(|_| system.create()));
        handles.clear();
        handles.extend(signals.iter().map(Signal::handle));
        let merged = system.0.merge(&handles).expect("there is room");
        let mut all = system.0.awaiter(merged).expect("it is known");
        assert!(poll(Pin::new(&mut all)).is_pending());
        signals.drain(..).for_each(Reveille::fire);
        assert!(poll(Pin::new(&mut all)).is_ready());
    })
}

fn merge_velo() -> f64 {
    let velo = Velo::new();
    let runtime = current_thread();
    let mut events = Vec::with_capacity(INPUTS);
    merge_allocations(|| {
        runtime.block_on(async {
            events.extend((0..INPUTS).map(|_| velo.create()));
            let handles = events.iter().map(Event::handle).collect();
            let merged = velo.0.merge_events(handles).expect("there is room");
            let mut all = velo.0.awaiter(merged).expect("it is known");
            assert!(poll(Pin::new(&mut all)).is_pending());
            events.drain(..).for_each(Velo::fire);
            all.await.expect("none is poisoned");
        });
    })
}

fn join<K: OneShot>() -> f64 {
    let kind = K::new();
    let mut triggers = Vec::with_capacity(INPUTS);
    let mut waits = Vec::with_capacity(INPUTS);
    merge_allocations(|| {
        for (trigger, wait) in (0..INPUTS).map(|_| kind.pair()) {
            triggers.push(trigger);
            waits.push(wait);
        }
        let mut all = pin!(join_all(waits.drain(..)));
        assert!(poll(all.as_mut()).is_pending());
        triggers.drain(..).for_each(K::fire);
        assert!(poll(all).is_ready());
    })
}

fn join_set() -> f64 {
    let runtime = current_thread();
    let mut triggers = Vec::with_capacity(INPUTS);
    merge_allocations(|| {
        runtime.block_on(async {
            let mut set = JoinSet::new();
            for _ in 0..INPUTS {
                let (trigger, wait) = TokioOneshot.pair();
                triggers.push(trigger);
                set.spawn(wait);
            }
            tokio::task::yield_now().await;
            triggers.drain(..).for_each(TokioOneshot::fire);
            while let Some(ended) = set.join_next().await {
                ended.expect("no task panics").expect("each is completed");
            }
        });
    })
}

fn merge_allocations(mut merge: impl FnMut()) -> f64 {
    (0..MERGES).for_each(|_| merge());
    let info = measure(|| (0..MERGES).for_each(|_| merge()));
    info.count_total as f64 / MERGES as f64
}

fn current_thread() -> Runtime {
    Builder::new_current_thread()
        .build()
        .expect("a runtime without drivers needs nothing")
}
