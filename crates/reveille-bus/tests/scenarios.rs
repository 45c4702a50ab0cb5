//! The scenarios of buses that were no streams, or broke at their subscribers' hands.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::time::Duration;

use reveille_bus::{
    Bus, BusError, BusItem, BusOptions, BusStart, BusStats, BusSubscription, EventBus,
    HistoryQuery, SubscribeOptions,
};
use reveille_memory::MemoryBackend;
use reveille_queue::{AppendOptions, SessionOptions, Sessions, TailLimits};
use reveille_types::sets::OverflowPolicy;
use reveille_types::{
    Cursor, CursorError, Filter, FilterSpec, GapReason, Kind, Label, Pattern, Seq, Source, Tenant,
};

mod common;
use common::{LIMITS, bus, bus_with, draft, event, history, key, publish, seqs};

fn from(start: BusStart) -> SubscribeOptions {
    SubscribeOptions::default().from(start)
}

#[tokio::test]
async fn d003_01_a_subscription_is_a_live_stream() {
    let bus = bus().await;
    publish(&bus, "a", "first").await;
    let mut events = bus.subscribe(from(BusStart::Earliest)).unwrap();
    assert_eq!(event(&mut events).await.event.kind().as_str(), "first");
    publish(&bus, "b", "second").await;
    assert_eq!(event(&mut events).await.event.kind().as_str(), "second");
}

#[tokio::test]
async fn d003_04_the_receipt_says_where_to_go_on() {
    let bus = bus().await;
    publish(&bus, "a", "first").await;
    let second = bus.publish(key("b"), vec![draft("second")]).await.unwrap();
    assert_eq!(second.receipt.results[0].seq.0, 2);
    publish(&bus, "a", "third").await;
    let mut events = bus.subscribe(from(BusStart::After(second.cursor))).unwrap();
    assert_eq!(event(&mut events).await.event.kind().as_str(), "third");
}

fn agents(names: &[&str]) -> Filter {
    Filter::compile(&FilterSpec {
        agent: Some(names.iter().map(|n| (*n).to_owned()).collect()),
        ..FilterSpec::default()
    })
    .unwrap()
}

#[tokio::test]
async fn d003_05_a_cursor_survives_what_does_not_change_the_question() {
    let bus = bus().await;
    for agent in ["a", "b", "c", "a"] {
        let draft = draft("step").with_agent(Label::parse(agent).unwrap());
        bus.publish(key("s"), vec![draft]).await.unwrap();
    }
    let options = SubscribeOptions::matching(agents(&["a", "b"])).from(BusStart::Earliest);
    let mut events = bus.subscribe(options).unwrap();
    let cursor = event(&mut events).await.cursor;

    let same = SubscribeOptions::matching(agents(&["b", "a", "b"]))
        .from(BusStart::After(cursor))
        .capacity(7);
    let mut same = bus.subscribe(same).unwrap();
    assert_eq!(seqs(&history(&mut same).await), [2, 4]);

    let wider = SubscribeOptions::matching(agents(&["a", "b", "c"]));
    let refused = bus.subscribe(wider.from(BusStart::After(cursor)));
    assert!(matches!(
        refused.unwrap_err(),
        BusError::Cursor(CursorError::ScopeMismatch { .. })
    ));
}

#[tokio::test]
async fn d003_07_errors_are_typed() {
    let bus = bus().await;
    let receipt = bus.publish(key("s"), vec![draft("a")]).await.unwrap();
    let session_cursor = receipt.receipt.cursor;
    let error = bus
        .subscribe(from(BusStart::After(session_cursor)))
        .unwrap_err();
    assert_eq!(error.code(), "cursor_scope_mismatch");
    let BusError::Cursor(CursorError::ScopeMismatch { expected, got }) = error else {
        panic!("{error:?}");
    };
    assert_eq!(
        (expected.to_string(), got.to_string()),
        ("all".into(), "session".into())
    );
    let error = bus
        .subscribe(SubscribeOptions::default().capacity(0))
        .unwrap_err();
    assert_eq!(error.code(), "invalid_option");
}

#[tokio::test]
async fn d003_17_a_cursor_of_the_future_or_of_another_time_is_an_error() {
    let bus = bus().await;
    publish(&bus, "s", "a").await;
    let ahead = Cursor::bus(bus.tail().epoch(), reveille_types::Seq(500));
    let error = bus.subscribe(from(BusStart::After(ahead))).unwrap_err();
    assert_eq!(error.code(), "cursor_ahead");
    let other = common::bus().await;
    let foreign = publish(&other, "s", "a").await;
    let error = bus.subscribe(from(BusStart::After(foreign))).unwrap_err();
    assert_eq!(error.code(), "cursor_epoch_mismatch");
}

#[tokio::test(start_paused = true)]
async fn d003_18_a_wait_keeps_its_timeout() {
    let bus = bus().await;
    let began = tokio::time::Instant::now();
    let timeout = Duration::from_millis(100);
    let done = Filter::matching("done").unwrap();
    let waited = bus.wait(done.clone(), BusStart::Latest, timeout).await;
    assert_eq!(waited.unwrap(), None);
    assert_eq!(began.elapsed(), timeout);
    publish(&bus, "s", "done").await;
    let found = bus.wait(done, BusStart::Earliest, timeout).await.unwrap();
    assert_eq!(found.unwrap().event.kind().as_str(), "done");
}

/// 003-D19: a cursor expires only if an event after it is gone, and the stream goes on behind the gap.
#[tokio::test]
async fn d003_19_only_what_is_missing_is_a_gap() {
    let limits = TailLimits {
        events: 10,
        ..LIMITS
    };
    let bus = bus_with(limits).await;
    let mut cursors = vec![];
    for _ in 0..20 {
        cursors.push(publish(&bus, "s", "a").await);
    }
    let mut exact = bus.subscribe(from(BusStart::After(cursors[9]))).unwrap();
    let items = history(&mut exact).await;
    assert_eq!(items.len(), 10);
    assert_eq!(seqs(&items), (11..=20).collect::<Vec<u64>>());

    let mut late = bus.subscribe(from(BusStart::After(cursors[8]))).unwrap();
    let items = history(&mut late).await;
    let BusItem::Gap(gap) = &items[0] else {
        panic!("{items:?}");
    };
    assert_eq!(gap.reason, GapReason::Expired);
    assert_eq!(
        (gap.ranges.as_slice(), gap.missed),
        (&[(10, 10)][..], Some(1))
    );
    assert_eq!(seqs(&items), (11..=20).collect::<Vec<u64>>());
    publish(&bus, "s", "live").await;
    assert_eq!(event(&mut late).await.event.kind().as_str(), "live");
}

/// 003-D20: publishing looks at those whom the event may concern, not at everybody. Counted, not timed.
#[tokio::test]
async fn d003_20_publishing_touches_only_matching_subscriptions() {
    assert!(Filter::any_of(Vec::<Pattern>::new()).is_err());
    let bus = bus().await;
    let mut waiting = Vec::new();
    for n in 0..10_000 {
        let filter = agents(&[&format!("agent-{n}")]);
        let mut events = bus.subscribe(SubscribeOptions::matching(filter)).unwrap();
        assert_eq!(history(&mut events).await, []);
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(events.poll_item(&mut cx).is_pending());
        waiting.push(events);
    }
    let before = bus.stats().visits;
    for n in [3, 77, 9_999] {
        let agent = Label::parse(format!("agent-{n}")).unwrap();
        let published = bus.publish(key("s"), vec![draft("step").with_agent(agent)]);
        published.await.unwrap();
    }
    assert_eq!(bus.stats().visits - before, 3);
    assert_eq!(event(&mut waiting[77]).await.event.place().seq.0, 2);
}

/// The same for patterns with wildcards, wherever they stand.
#[tokio::test]
async fn d003_20_a_wildcard_costs_those_whom_it_concerns_alone() {
    let bus = bus().await;
    let mut waiting = Vec::new();
    for n in 0..1_000 {
        for pattern in [format!("svc{n}.*"), format!("*.step{n}"), "**.z.end".into()] {
            let filter = Filter::matching(&pattern).unwrap();
            let mut events = bus.subscribe(SubscribeOptions::matching(filter)).unwrap();
            assert_eq!(history(&mut events).await, []);
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(events.poll_item(&mut cx).is_pending());
            waiting.push(events);
        }
    }
    for (kind, matching) in [
        ("svc7.step9", 2),
        ("svc7.a.b", 1),
        ("a.z.end", 1_000),
        ("a", 0),
    ] {
        let before = bus.stats().visits;
        publish(&bus, "s", kind).await;
        assert_eq!(bus.stats().visits - before, matching, "{kind}");
    }
    assert_eq!(
        event(&mut waiting[21]).await.event.kind().as_str(),
        "svc7.step9"
    );
}

#[tokio::test]
async fn d004_08_kinds_are_open() {
    let bus = bus().await;
    for pattern in ["custom.*", "*"] {
        let filter = Filter::matching(pattern).unwrap();
        let mut events = bus.subscribe(SubscribeOptions::matching(filter)).unwrap();
        publish(&bus, "s", "custom.event").await;
        assert_eq!(
            event(&mut events).await.event.kind().as_str(),
            "custom.event"
        );
    }
}

#[test]
fn d004_09_patterns_match_by_segments_or_are_refused() {
    let matches = |pattern: &str, kind: &str| {
        let pattern: Pattern = pattern.parse().unwrap();
        pattern.matches(&reveille_types::Kind::parse(kind).unwrap())
    };
    assert!(matches("task.*", "task.started") && matches("task.*", "task.a.b"));
    assert!(!matches("task.*", "tasks.x"));
    assert!(matches("*.completed", "task.completed"));
    for wrong in ["task._", "ta*k", ""] {
        assert!(wrong.parse::<Pattern>().is_err(), "{wrong:?}");
    }
}

#[tokio::test]
async fn d004_10_there_are_two_ways_to_count() {
    let bus = bus().await;
    let filter = Filter::matching("task.*").unwrap();
    let kept = bus
        .subscribe(SubscribeOptions::matching(filter.clone()))
        .unwrap();
    let completed = reveille_types::Kind::parse("task.completed").unwrap();
    assert_eq!(bus.count_exact(&filter), 1);
    assert_eq!(
        bus.count_exact(&Filter::matching("task.completed").unwrap()),
        0
    );
    assert_eq!(bus.count_matching(&completed), 1);
    drop(kept);
}

#[tokio::test]
async fn d004_11_nothing_of_a_dropped_subscription_is_left() {
    let bus = bus().await;
    let filter = Filter::matching("task.*").unwrap();
    for _ in 0..100 {
        let mut events = bus
            .subscribe(SubscribeOptions::matching(filter.clone()))
            .unwrap();
        assert_eq!(history(&mut events).await, []);
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(events.poll_item(&mut cx).is_pending());
    }
    assert_eq!(bus.count_exact(&filter), 0);
    assert_eq!(bus.stats().subscriptions.len(), 0);
    assert_eq!(bus.tail().info().watchers, 0);
}

/// 003-D08: a bound is for buffering, not for what a reader that keeps up may read.
#[tokio::test]
async fn d003_08_a_replay_is_not_bounded() {
    let bus = bus().await;
    for _ in 0..201 {
        publish(&bus, "s", "step").await;
    }
    let options = from(BusStart::Earliest).capacity(64);
    let mut events = bus.subscribe(options).unwrap();
    assert_eq!(history(&mut events).await.len(), 201);
}

/// 003-D14: a reader that stands still skips the oldest, and is told exactly which.
#[tokio::test]
async fn d003_14_a_slow_subscriber_sees_the_newest_and_learns_what_it_missed() {
    let bus = bus().await;
    let filter = Filter::matching("step").unwrap();
    let options = SubscribeOptions::matching(filter)
        .capacity(10)
        .policy(OverflowPolicy::DropOldest);
    let mut events = bus.subscribe(options).unwrap();
    assert_eq!(history(&mut events).await, []);
    for _ in 0..200 {
        publish(&bus, "s", "other").await;
        publish(&bus, "s", "step").await;
    }
    let BusItem::Gap(gap) = events.next().await.unwrap().unwrap() else {
        panic!("a gap comes first");
    };
    assert_eq!((gap.reason, gap.missed), (GapReason::Overflow, Some(190)));
    assert_eq!(gap.ranges.count(), 190);
    for n in 191..=200 {
        assert_eq!(event(&mut events).await.event.place().seq.0, 2 * n);
    }
    // What was skipped is still there for who goes back to where the skipping began.
    let repair = SubscribeOptions::matching(Filter::matching("step").unwrap())
        .from(BusStart::After(gap.repair.unwrap()));
    let mut repaired = bus.subscribe(repair).unwrap();
    assert_eq!(event(&mut repaired).await.event.place().seq.0, 2);
    let stats = bus.stats().subscriptions[&events.id()];
    assert_eq!((stats.delivered, stats.skipped), (10, 190));
}

#[tokio::test]
async fn d004_05_and_d004_06_history_is_a_bounded_snapshot() {
    let bus = bus().await;
    for n in 0..5 {
        publish(&bus, "s", if n % 2 == 0 { "even" } else { "odd" }).await;
    }
    let kinds = |query: HistoryQuery| -> Vec<u64> {
        bus.history(&query)
            .iter()
            .map(|e| e.place().seq.0)
            .collect()
    };
    assert_eq!(kinds(HistoryQuery::default()), [1, 2, 3, 4, 5]);
    assert_eq!(kinds(HistoryQuery::default().limit(2)), [4, 5]);
    assert_eq!(kinds(HistoryQuery::default().limit(0)), [0; 0]);
    let even = Filter::matching("even").unwrap();
    assert_eq!(kinds(HistoryQuery::matching(even).limit(2)), [3, 5]);
    bus.history(&HistoryQuery::default()).clear();
    assert_eq!(bus.history(&HistoryQuery::default()).len(), 5);
}

/// 004-D05, 004-F09: a bound is a bound, also when it is 0.
#[tokio::test]
async fn d004_05_history_of_none_is_empty_and_of_three_has_three() {
    for (bound, expected) in [(0, vec![]), (3, vec![3, 4, 5]), (9, vec![1, 2, 3, 4, 5])] {
        let sessions = Sessions::builder(MemoryBackend::new()).tail(LIMITS).build();
        let options = BusOptions::default().history(bound);
        let bus = Bus::open_with(sessions, Tenant::default_tenant(), options)
            .await
            .unwrap();
        let mut live = bus.subscribe(SubscribeOptions::default()).unwrap();
        for _ in 0..5 {
            publish(&bus, "s", "a").await;
        }
        let history = bus.history(&HistoryQuery::default());
        let seqs: Vec<u64> = history.iter().map(|event| event.place().seq.0).collect();
        assert_eq!(seqs, expected);
        assert_eq!(
            event(&mut live).await.event.place().seq.0,
            1,
            "subscribers get all"
        );
    }
}

#[tokio::test]
async fn f004_08_history_combines_pattern_source_and_limit() {
    let bus = bus().await;
    for (kind, source) in [
        ("a.x", "urn:1"),
        ("a.y", "urn:2"),
        ("b", "urn:1"),
        ("a.z", "urn:1"),
    ] {
        let mut draft = draft(kind);
        draft.source = Some(Source::parse(source).unwrap());
        bus.publish(key("s"), vec![draft]).await.unwrap();
    }
    let kinds = |pattern, source, limit| {
        let query = HistoryQuery::of(pattern, source, limit).unwrap();
        let events = bus.history(&query);
        events
            .iter()
            .map(|event| event.kind().to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(kinds("a.*", None, None), ["a.x", "a.y", "a.z"]);
    assert_eq!(kinds("a.*", Some("urn:1"), None), ["a.x", "a.z"]);
    assert_eq!(kinds("*", Some("urn:1"), Some(2)), ["b", "a.z"]);
    assert_eq!(kinds("*", None, Some(0)), [""; 0]);
    assert!(HistoryQuery::of("a*", None, None).is_err());
}

/// 004-F11, 004-F12: what was counted and what is kept are two things.
#[tokio::test]
async fn f004_12_clearing_history_and_resetting_statistics_do_not_touch_each_other() {
    let bus = bus().await;
    let _two = [0, 1].map(|_| bus.subscribe(SubscribeOptions::default()).unwrap());
    let filter = Filter::matching("a").unwrap();
    let mut events = bus
        .subscribe(SubscribeOptions::matching(filter).from(BusStart::Earliest))
        .unwrap();
    for kind in ["a", "b", "a"] {
        publish(&bus, "s", kind).await;
    }
    assert_eq!(event(&mut events).await.event.place().seq.0, 1);
    let count = |stats: &BusStats, kind: &str| {
        let kind = Kind::parse(kind).unwrap();
        stats.published_by_kind.get(&kind).copied()
    };
    bus.clear_history();
    assert!(bus.history(&HistoryQuery::default()).is_empty());
    let stats = bus.stats();
    assert_eq!((stats.published, stats.retained), (3, 3));
    assert_eq!((count(&stats, "a"), count(&stats, "b")), (Some(2), Some(1)));
    assert_eq!((stats.subscriptions.len(), stats.filters), (3, 2));
    assert_eq!(stats.retained_at_most, LIMITS.events);
    let own = stats.subscriptions[&events.id()];
    assert_eq!((own.delivered, own.lag), (1, 2));

    publish(&bus, "s", "b").await;
    bus.reset_stats();
    let stats = bus.stats();
    assert_eq!((stats.published, stats.published_by_kind.len()), (0, 0));
    let own = stats.subscriptions[&events.id()];
    assert_eq!((own.delivered, own.lag), (0, 3), "lag is no count");
    assert_eq!(bus.history(&HistoryQuery::default()).len(), 1);
    publish(&bus, "s", "b").await;
    assert_eq!(count(&bus.stats(), "b"), Some(1));
    // Whoever has subscribed gets everything all the same.
    assert_eq!(event(&mut events).await.event.place().seq.0, 3);
}

/// 004-D07: what is kept does not grow, nor does what is looked at.
#[tokio::test]
async fn d004_07_a_full_history_stays_as_it_is() {
    let limits = TailLimits {
        events: 1_000,
        bytes: usize::MAX,
    };
    let bus = bus_with(limits).await;
    for _ in 0..1_000 {
        let batch = (0..100).map(|_| draft("a")).collect();
        bus.publish(key("s"), batch).await.unwrap();
    }
    let info = bus.tail().info();
    assert_eq!(
        (info.retained, info.visits, info.latest),
        (1_000, 0, Seq(100_000))
    );
    assert_eq!(
        info.bytes / 1_000,
        bus.tail().get(info.latest).unwrap().weight()
    );
    let history = bus.history(&HistoryQuery::default());
    assert_eq!(history[0].place().seq, Seq(99_001));
}

/// Many sessions, many publishers: every subscriber sees one order, without holes, and nothing twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d003_03_all_subscribers_see_one_order() {
    let bus = bus_with(TailLimits::default()).await;
    let reader = |mut events: BusSubscription| async move {
        let mut seen = Vec::new();
        while seen.len() < 8 * 500 {
            seen.push(event(&mut events).await.event.place().seq.0);
        }
        seen
    };
    let options = || from(BusStart::Earliest).capacity(100_000);
    let readers: Vec<_> = (0..2)
        .map(|_| tokio::spawn(reader(bus.subscribe(options()).unwrap())))
        .collect();
    let publishers: Vec<_> = (0..8)
        .map(|p| {
            let bus = bus.clone();
            tokio::spawn(async move {
                for _ in 0..50 {
                    let batch = vec![draft("step"); 10];
                    let published = bus.publish(key(&format!("s{p}")), batch).await.unwrap();
                    let results = &published.receipt.results;
                    let dense = results.windows(2).all(|w| w[1].seq.0 == w[0].seq.0 + 1);
                    assert!(dense, "a batch is contiguous");
                }
            })
        })
        .collect();
    for publisher in publishers {
        publisher.await.unwrap();
    }
    for reader in readers {
        assert_eq!(reader.await.unwrap(), (1..=8 * 500).collect::<Vec<u64>>());
    }
}

/// 003-D02: what is kept is bounded, and what is not kept costs nothing.
#[tokio::test]
async fn d003_02_history_is_bounded_and_subscribing_does_not_look_at_it() {
    let limits = TailLimits {
        events: 1_000,
        ..LIMITS
    };
    let bus = bus_with(limits).await;
    for n in 0..200 {
        let session = key(&format!("s{}", n % 7));
        bus.publish(session, vec![draft("step"); 100])
            .await
            .unwrap();
    }
    let info = bus.tail().info();
    assert_eq!((info.retained, info.latest.0), (1_000, 20_000));
    // A subscriber begins at a place; it has read nothing by then, and holds nothing.
    let events = bus.subscribe(from(BusStart::Earliest)).unwrap();
    assert_eq!(events.cursor().place(), 19_000);
    let late = bus.subscribe(from(BusStart::Latest)).unwrap();
    assert_eq!(late.cursor().place(), 20_000);
    let stats = bus.stats().subscriptions;
    assert_eq!((stats[&events.id()].lag, stats[&late.id()].lag), (1_000, 0));
}

/// 003-D25: whoever publishes, and however: a wait that has begun sees it.
#[tokio::test(start_paused = true)]
async fn d003_25_a_wait_is_woken_by_any_publisher_or_times_out() {
    let sessions = Sessions::builder(MemoryBackend::new()).tail(LIMITS).build();
    let bus = Bus::open(sessions.clone(), Tenant::default_tenant())
        .await
        .unwrap();
    let filter = Filter::matching("wanted").unwrap();
    let timeout = Duration::from_millis(200);
    let began = tokio::time::Instant::now();
    let mut waiting = tokio_test::task::spawn(bus.wait(filter.clone(), BusStart::Latest, timeout));
    assert!(waiting.poll().is_pending());
    // Straight into a session, past the bus.
    let (log, _) = sessions
        .get_or_create(key("s"), SessionOptions::default())
        .await
        .unwrap();
    log.append(
        vec![draft("other"), draft("wanted")],
        AppendOptions::default(),
    )
    .await
    .unwrap();
    assert!(waiting.is_woken());
    assert_eq!(waiting.await.unwrap().unwrap().event.place().seq.0, 2);
    assert_eq!(began.elapsed(), Duration::ZERO);

    let nothing = bus.wait(filter, BusStart::Latest, timeout).await.unwrap();
    assert_eq!((nothing, began.elapsed()), (None, timeout));
}
