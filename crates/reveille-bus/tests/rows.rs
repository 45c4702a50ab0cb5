//! Scopes, counts and handlers side by side, as the five systems had them.

#![allow(
    clippy::unwrap_used,
    reason = "in a test an unwrap that fails is the failure"
)]

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{bus, draft, event, key, publish};
use reveille_bus::{Bus, BusStart, EventBus, HandlerOptions, SubscribeOptions};
use reveille_types::{Filter, FilterSpec, Label, Seq};

async fn in_run(bus: &Bus, run: &str, agent: &str) {
    let mut draft = draft("message");
    draft.run = Some(Label::parse(run).unwrap());
    draft.agent = Some(Label::parse(agent).unwrap());
    bus.publish(key("s"), vec![draft]).await.unwrap();
}

/// The sequence numbers of what is retained and matches, and what comes live behind it.
async fn seen(bus: &Bus, filter: Filter) -> Vec<u64> {
    let mut events = bus
        .subscribe(SubscribeOptions::matching(filter).from(BusStart::Earliest))
        .unwrap();
    let items = common::history(&mut events).await;
    common::seqs(&items)
}

#[tokio::test]
async fn f003_04_sequence_numbers_are_the_bus_s_and_ascend_from_one() {
    let bus = bus().await;
    let many = vec![draft("a"), draft("b"), draft("c")];
    let published = bus.publish(key("s"), many).await.unwrap();
    let seqs: Vec<Seq> = published.receipt.results.iter().map(|p| p.seq).collect();
    assert_eq!(seqs, [Seq(1), Seq(2), Seq(3)]);
    assert_eq!(published.cursor, bus.cursor(Seq(3), &Filter::all()));
}

#[tokio::test]
async fn f003_05_scopes_are_all_run_agent_namespace_path_and_any_filter() {
    let bus = bus().await;
    in_run(&bus, "r1", "a1").await;
    in_run(&bus, "r1", "a2").await;
    in_run(&bus, "r2", "a1").await;
    publish(&bus, "run/r1", "x").await;
    publish(&bus, "run/r1/a1", "x").await;
    publish(&bus, "run/r10", "x").await;
    assert_eq!(seen(&bus, Filter::all()).await, [1, 2, 3, 4, 5, 6]);
    assert_eq!(seen(&bus, Filter::run("r1").unwrap()).await, [1, 2]);
    assert_eq!(seen(&bus, Filter::agent("a1").unwrap()).await, [1, 3]);
    assert_eq!(
        seen(&bus, Filter::namespace("run").unwrap()).await,
        [4, 5, 6]
    );
    assert_eq!(seen(&bus, Filter::path("run/r1").unwrap()).await, [4]);
    assert_eq!(seen(&bus, Filter::path("run/r1/**").unwrap()).await, [4, 5]);
    assert_eq!(seen(&bus, Filter::matching("x").unwrap()).await, [4, 5, 6]);
}

/// 003-D26 live: a reader that waits is woken by what lies below its path, and by nothing else.
#[tokio::test]
async fn d003_26_a_path_wakes_for_what_lies_below_it_and_nothing_beside_it() {
    let bus = bus().await;
    let below = SubscribeOptions::matching(Filter::path("run/r1/**").unwrap());
    let alone = SubscribeOptions::matching(Filter::path("run/r1").unwrap());
    let (mut below, mut alone) = (bus.subscribe(below).unwrap(), bus.subscribe(alone).unwrap());
    for events in [&mut below, &mut alone] {
        common::history(events).await;
        assert!(tokio_test::task::spawn(events.next()).poll().is_pending());
    }
    let before = bus.tail().info().visits;
    for session in ["run/r10", "run/r2/a", "job/r1/a", "r1"] {
        publish(&bus, session, "x").await;
    }
    assert_eq!(bus.tail().info().visits, before, "nobody was looked at");
    publish(&bus, "run/r1/a/b", "x").await;
    publish(&bus, "run/r1", "x").await;
    assert_eq!(event(&mut below).await.event.place().seq, Seq(5));
    assert_eq!(event(&mut below).await.event.place().seq, Seq(6));
    assert_eq!(event(&mut alone).await.event.place().seq, Seq(6));
}

/// 003-F06, 003-F07: resuming is exclusive, and a cursor of one scope is none of another.
#[tokio::test]
async fn f003_07_cursors_of_one_scope_are_refused_in_every_other() {
    let bus = bus().await;
    in_run(&bus, "r1", "a1").await;
    in_run(&bus, "r1", "a1").await;
    let scopes = [
        Filter::all(),
        Filter::run("r1").unwrap(),
        Filter::run("r2").unwrap(),
        Filter::agent("r1").unwrap(),
        Filter::path("s").unwrap(),
    ];
    for of in &scopes {
        let cursor = bus.cursor(Seq(1), of);
        for on in &scopes {
            let options = SubscribeOptions::matching(on.clone()).from(BusStart::After(cursor));
            match bus.subscribe(options) {
                Ok(mut events) => {
                    assert_eq!(of, on);
                    let items = common::history(&mut events).await;
                    let matching = on.matches(&bus.tail().get(Seq(2)).unwrap());
                    assert_eq!(
                        common::seqs(&items),
                        if matching { vec![2] } else { vec![] }
                    );
                }
                Err(error) => {
                    assert_ne!(of, on);
                    assert_eq!(error.code(), "cursor_scope_mismatch");
                }
            }
        }
    }
}

/// 003-F25: a pool's members are what its subscriber may see, whatever it asks for.
#[tokio::test]
async fn f003_25_a_subscription_of_a_pool_sees_its_members_alone() {
    let bus = bus().await;
    for (run, agent) in [("r1", "a1"), ("r2", "a1"), ("r3", "a2"), ("r1", "a2")] {
        in_run(&bus, run, agent).await;
    }
    let members = Filter::compile(&FilterSpec {
        run: Some(vec!["r1".into(), "r2".into()]),
        ..FilterSpec::default()
    })
    .unwrap();
    assert_eq!(seen(&bus, Filter::all().and(&members)).await, [1, 2, 4]);
    assert_eq!(
        seen(&bus, Filter::agent("a2").unwrap().and(&members)).await,
        [4]
    );
    assert_eq!(
        seen(&bus, Filter::run("r3").unwrap().and(&members)).await,
        [0; 0]
    );
}

/// 004-F04, 004-F05, 004-F10, 004-F18: "log everything", "alert on failure" and "count", side by side.
#[tokio::test]
async fn f004_18_handlers_of_different_patterns_work_side_by_side() {
    let bus = bus().await;
    let seen: Arc<Mutex<Vec<(&str, String)>>> = Arc::default();
    let on = |name: &'static str, pattern: &str| {
        let seen = Arc::clone(&seen);
        let events = SubscribeOptions::matching(Filter::matching(pattern).unwrap());
        bus.on(
            HandlerOptions::new(events),
            move |event: reveille_types::Event| {
                seen.lock().unwrap().push((name, event.kind().to_string()));
                async { Ok(()) }
            },
        )
        .unwrap()
    };
    let ids = [
        on("log", "*"),
        on("alert", "*.failed"),
        on("count", "task.*"),
        on("log2", "*"),
    ];
    assert_eq!(bus.count_exact(&Filter::matching("task.*").unwrap()), 1);
    assert_eq!(bus.count_exact(&Filter::all()), 2);
    let count = |kind: &str| bus.count_matching(&draft(kind).kind);
    assert_eq!((count("task.failed"), count("custom")), (4, 2));

    let mut handled = Vec::new();
    for kind in ["task.started", "task.failed", "custom"] {
        let emitted = bus
            .emit(key("s"), vec![draft(kind)], Duration::from_secs(5))
            .await;
        handled.push(emitted.unwrap().handled);
    }
    assert_eq!(handled, [3, 4, 2]);
    let of = |name| {
        let seen = seen.lock().unwrap();
        let kinds = seen.iter().filter(|(by, _)| *by == name);
        kinds.map(|(_, kind)| kind.clone()).collect::<Vec<_>>()
    };
    assert_eq!(of("log"), ["task.started", "task.failed", "custom"]);
    assert_eq!(of("alert"), ["task.failed"]);
    assert_eq!(of("count"), ["task.started", "task.failed"]);
    for id in ids {
        assert!(bus.off(id).await);
        assert!(!bus.off(id).await, "only once");
    }
    // 004-F06: an event without handlers counts and is kept all the same.
    let emitted = bus
        .emit(key("s"), vec![draft("custom")], Duration::from_secs(5))
        .await;
    assert_eq!(emitted.unwrap().handled, 0);
    assert_eq!(bus.stats().published, 4);
}
