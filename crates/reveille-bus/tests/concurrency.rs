//! Handlers that asked for more than one call at a time.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use reveille_bus::{Bus, Emitted, EventBus, Handler, HandlerError, HandlerOptions};
use reveille_bus::{HistoryQuery, SubscribeOptions, SubscriptionId};
use reveille_types::Event;
use tokio::sync::{Semaphore, mpsc};
use tokio_test::{assert_pending, assert_ready, task};

mod common;
use common::{bus, draft, key, publish};

/// Calls that wait for each other's test.
#[derive(Default)]
struct Gate {
    running: AtomicUsize,
    most: AtomicUsize,
    began: AtomicU64,
    leave: Option<Semaphore>,
}

struct Gated(Arc<Gate>, mpsc::UnboundedSender<u64>);

#[async_trait::async_trait]
impl Handler for Gated {
    async fn handle(&self, event: Event) -> Result<(), HandlerError> {
        let Self(gate, began) = self;
        let running = gate.running.fetch_add(1, Ordering::Relaxed) + 1;
        gate.most.fetch_max(running, Ordering::Relaxed);
        gate.began.fetch_add(1, Ordering::Relaxed);
        began.send(event.place().seq.0)?;
        if let Some(leave) = &gate.leave {
            leave.acquire().await?.forget();
        }
        gate.running.fetch_sub(1, Ordering::Relaxed);
        Ok(())
    }
}

fn at_once(calls: usize) -> HandlerOptions {
    HandlerOptions::new(SubscribeOptions::matching(
        reveille_types::Filter::matching("task.*").unwrap(),
    ))
    .concurrency(calls)
}

/// A handler whose calls stay until they are let go, and what tells of their beginning.
fn gated(bus: &Bus, calls: usize) -> (SubscriptionId, Arc<Gate>, mpsc::UnboundedReceiver<u64>) {
    let gate = Arc::new(Gate {
        leave: Some(Semaphore::new(0)),
        ..Gate::default()
    });
    let (to, began) = mpsc::unbounded_channel();
    let id = bus
        .on(at_once(calls), Gated(Arc::clone(&gate), to))
        .unwrap();
    (id, gate, began)
}

fn let_go(gate: &Gate, calls: usize) {
    gate.leave.as_ref().unwrap().add_permits(calls);
}

fn counts(emitted: &Emitted) -> (usize, usize, usize) {
    (emitted.handled, emitted.failed, emitted.timed_out)
}

#[tokio::test]
async fn d004_16_as_many_calls_run_at_once_as_were_asked_for() {
    let bus = bus().await;
    let (_, gate, mut began) = gated(&bus, 3);
    for _ in 0..7 {
        publish(&bus, "s", "task.step").await;
    }
    for seq in 1..=3 {
        assert_eq!(began.recv().await, Some(seq), "they begin in order");
    }
    let mut fourth = task::spawn(began.recv());
    for _ in 0..100 {
        tokio::task::yield_now().await;
        assert_pending!(fourth.poll());
    }
    let_go(&gate, 1);
    assert_eq!(fourth.await, Some(4));
    let_go(&gate, 6);
    for seq in 5..=7 {
        assert_eq!(began.recv().await, Some(seq));
    }
    assert_eq!(gate.most.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn no_calls_at_once_are_refused() {
    let refused = bus().await.on(at_once(0), |_event| async { Ok(()) });
    assert_eq!(refused.unwrap_err().code(), "invalid_option");
}

/// An event is done with only when everything before it is, too.
#[tokio::test(start_paused = true)]
async fn d004_02_emitting_waits_for_the_calls_that_run_at_once() {
    let bus = bus().await;
    let (to, mut handled) = mpsc::unbounded_channel();
    bus.on(at_once(4), move |event: Event| {
        let to = to.clone();
        async move {
            let seq = event.place().seq.0;
            // The first takes longest.
            tokio::time::sleep(Duration::from_secs(10 / seq)).await;
            Ok(to.send(seq)?)
        }
    })
    .unwrap();
    let batch = || vec![draft("task.a"), draft("task.b"), draft("other")];
    let emitted = bus.emit(key("s"), batch(), Duration::from_secs(60)).await;
    assert_eq!(counts(&emitted.unwrap()), (1, 0, 0));
    assert_eq!((handled.try_recv(), handled.try_recv()), (Ok(2), Ok(1)));

    let late = bus.emit(key("s"), batch(), Duration::from_millis(1)).await;
    assert_eq!(counts(&late.unwrap()), (0, 0, 1));
}

/// Retries, deadlines, panics and letters are each call's own affair.
#[tokio::test(start_paused = true)]
async fn d004_15_calls_that_fail_do_not_hold_up_those_beside_them() {
    let bus = bus().await;
    let (to, mut seen) = mpsc::unbounded_channel();
    let options = at_once(2)
        .retries(1, Duration::from_secs(1))
        .deadline(Duration::from_secs(5))
        .dead_letters(key("letters"));
    let id = bus
        .on(options, move |event: Event| {
            to.send(event.kind().to_string()).unwrap();
            async move {
                match event.kind().as_str() {
                    "task.fails" => Err("it fails".into()),
                    "task.panics" => panic!("a handler of the test panics"),
                    "task.hangs" => std::future::pending().await,
                    _ => Ok(()),
                }
            }
        })
        .unwrap();
    let kinds = [
        "task.hangs",
        "task.fails",
        "task.a",
        "task.panics",
        "task.b",
    ];
    let batch = kinds.map(draft).to_vec();
    let emitted = bus.emit(key("s"), batch, Duration::from_secs(600)).await;
    assert_eq!(counts(&emitted.unwrap()), (0, 1, 0));
    let mut calls = Vec::new();
    while let Ok(kind) = seen.try_recv() {
        calls.push(kind);
    }
    assert_eq!(calls.len(), 2 + 2 + 1 + 2 + 1);
    // One hangs all the time; those beside it go on.
    assert_eq!(
        calls[..4],
        ["task.hangs", "task.fails", "task.fails", "task.a"]
    );
    assert_eq!(bus.stats().subscriptions[&id].errors, 6);

    let letters = HistoryQuery::of("error.handler_failed", None, None).unwrap();
    let mut errors: Vec<String> = bus
        .history(&letters.payloads())
        .iter()
        .map(|letter| {
            let letter: serde_json::Value = letter.payload().parse().unwrap();
            assert_eq!(letter["calls"], 2);
            letter["error"].as_str().unwrap().to_owned()
        })
        .collect();
    errors.sort_unstable();
    let expected = [
        "it fails",
        "the handler panicked",
        "the handler took too long",
    ];
    assert_eq!(errors, expected);
}

#[tokio::test]
async fn d004_14_once_off_returns_none_of_the_calls_runs_and_none_begins() {
    let bus = bus().await;
    let (id, gate, mut began) = gated(&bus, 2);
    for _ in 0..5 {
        publish(&bus, "s", "task.step").await;
    }
    assert_eq!((began.recv().await, began.recv().await), (Some(1), Some(2)));
    let mut off = task::spawn(bus.off(id));
    assert_pending!(off.poll());
    let_go(&gate, 1);
    while gate.running.load(Ordering::Relaxed) > 1 {
        tokio::task::yield_now().await;
    }
    assert_pending!(off.poll(), "one call still runs");
    let_go(&gate, 10);
    assert!(off.await);
    assert_eq!(gate.running.load(Ordering::Relaxed), 0);
    publish(&bus, "s", "task.step").await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(gate.began.load(Ordering::Relaxed), 2);
}

/// What waits for its repetition is not repeated any more.
#[tokio::test(start_paused = true)]
async fn d004_14_taking_off_does_not_wait_for_repetitions() {
    let bus = bus().await;
    let (to, mut called) = mpsc::unbounded_channel();
    let hours = Duration::from_secs(3_600);
    let id = bus
        .on(at_once(2).retries(9, hours), move |_event| {
            to.send(()).unwrap();
            async { Err("it fails".into()) }
        })
        .unwrap();
    for _ in 0..2 {
        publish(&bus, "s", "task.step").await;
        called.recv().await.unwrap();
    }
    let began = tokio::time::Instant::now();
    assert!(bus.off(id).await);
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(called.try_recv().is_err());
    let mut end = task::spawn(called.recv());
    assert_eq!(assert_ready!(end.poll()), None, "the handler is gone");
}
