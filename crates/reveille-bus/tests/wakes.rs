//! Wake conditions as waits on the bus.

#![allow(
    clippy::unwrap_used,
    reason = "in a test an unwrap that fails is the failure"
)]

mod common;

use std::time::Duration;

use common::{bus, key, publish};
use reveille_bus::{
    Bus, BusStart, EventBus, HistoryQuery, SubscribeOptions, WakeCondition, WakeOutcome,
};
use reveille_types::sets::WakeStatus;
use reveille_types::{EventDraft, Filter};

const TIME: Duration = Duration::from_millis(200);

fn done() -> WakeCondition {
    WakeCondition::matching(Filter::matching("worker.complete").unwrap())
}

fn triggered_by(outcome: WakeOutcome) -> String {
    match outcome {
        WakeOutcome::Triggered(frame) => frame.event.session().name(),
        outcome => panic!("{outcome:?}"),
    }
}

fn records(bus: &Bus) -> Vec<String> {
    let query = HistoryQuery::matching(Filter::matching("wake.*").unwrap());
    let events = bus.history(&query);
    events
        .iter()
        .map(|event| event.kind().to_string())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn d003_25_a_wake_is_triggered_by_any_publisher_or_times_out() {
    let bus = bus().await;
    let wake = bus.suspend_until(done().timeout(TIME)).unwrap();
    assert_eq!(wake.status(), WakeStatus::Registered);
    let other = bus.clone();
    tokio::spawn(async move { publish(&other, "w1", "worker.complete").await });
    assert_eq!(triggered_by(wake.outcome().await), "w1");
    assert_eq!(wake.status(), WakeStatus::Triggered);

    let began = tokio::time::Instant::now();
    let next = SubscribeOptions::matching(Filter::matching("worker.complete").unwrap());
    let wake = bus
        .suspend_until(WakeCondition::on(next).timeout(TIME))
        .unwrap();
    assert_eq!(wake.outcome().await, WakeOutcome::TimedOut);
    assert_eq!(began.elapsed(), TIME);
    assert_eq!(wake.status(), WakeStatus::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn f003_24_what_is_there_already_triggers_at_once_and_no_time_is_no_time() {
    let bus = bus().await;
    let wake = bus.suspend_until(done().timeout(Duration::ZERO)).unwrap();
    assert_eq!(wake.outcome().await, WakeOutcome::TimedOut);
    publish(&bus, "w1", "worker.complete").await;
    for timeout in [Duration::ZERO, TIME] {
        let began = tokio::time::Instant::now();
        let wake = bus.suspend_until(done().timeout(timeout)).unwrap();
        assert_eq!(triggered_by(wake.outcome().await), "w1");
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn f003_24_one_key_is_one_wake_and_is_recorded_once() {
    let bus = bus().await;
    let condition = || done().timeout(TIME).key("lead").record(key("agents"));
    let first = bus.suspend_until(condition()).unwrap();
    let second = bus.suspend_until(condition()).unwrap();
    publish(&bus, "w1", "worker.complete").await;
    assert_eq!(triggered_by(first.outcome().await), "w1");
    assert_eq!(triggered_by(second.outcome().await), "w1");
    // Also when it is over.
    let third = bus.suspend_until(condition()).unwrap();
    assert_eq!(third.status(), WakeStatus::Triggered);
    assert_eq!(records(&bus), ["wake.registered", "wake.triggered"]);
}

#[tokio::test(start_paused = true)]
async fn f003_24_a_wake_can_be_cancelled_and_only_once_it_waits() {
    let bus = bus().await;
    let wake = bus.suspend_until(done().record(key("agents"))).unwrap();
    assert!(wake.cancel().await);
    assert_eq!(wake.outcome().await, WakeOutcome::Cancelled);
    assert_eq!(records(&bus), ["wake.registered", "wake.cancelled"]);
    assert_eq!(bus.stats().subscriptions.len(), 0, "nothing is left of it");

    publish(&bus, "w1", "worker.complete").await;
    let wake = bus.suspend_until(done()).unwrap();
    assert_eq!(triggered_by(wake.outcome().await), "w1");
    assert!(!wake.cancel().await);
}

#[tokio::test(start_paused = true)]
async fn f003_24_wakes_do_not_trigger_wakes() {
    let bus = bus().await;
    let all = SubscribeOptions::default().from(BusStart::Earliest);
    let wake = bus
        .suspend_until(WakeCondition::on(all).timeout(TIME))
        .unwrap();
    let other = bus.suspend_until(done().timeout(TIME / 2).record(key("agents")));
    assert_eq!(other.unwrap().outcome().await, WakeOutcome::TimedOut);
    assert_eq!(records(&bus), ["wake.registered", "wake.timed_out"]);
    assert_eq!(wake.status(), WakeStatus::Registered);
    bus.publish(key("s"), vec![EventDraft::parse("wakeful").unwrap()])
        .await
        .unwrap();
    assert_eq!(triggered_by(wake.outcome().await), "s");
}

/// What was suspended goes on although whoever holds the wake has let go of it for a while.
#[tokio::test(start_paused = true)]
async fn f003_24_a_wake_outlives_its_holder() {
    let bus = bus().await;
    drop(bus.suspend_until(done().record(key("agents"))).unwrap());
    publish(&bus, "w1", "worker.complete").await;
    while records(&bus).len() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(records(&bus), ["wake.registered", "wake.triggered"]);
}
