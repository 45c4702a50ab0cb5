//! `subscribe`: a place in the log that costs nobody else anything.

use futures_util::FutureExt;
use reveille_queue::{AppendOptions, ReadError, SessionOptions, StreamItem, SubscribeOptions};
use reveille_types::{CursorError, Payload, Position, Start};
use serde_json::json;
use tokio_test::{assert_pending, assert_ready, task};

use crate::support::{append, create, draft, drain, log, log_of, matching, sessions};

fn from(position: u64) -> SubscribeOptions {
    SubscribeOptions::from(Start::At(Position(position)))
}

#[tokio::test]
async fn d001_01_paused_reader_stops_nobody() {
    let log = log();
    append(&log, &["a"]);
    let mut paused = log.subscribe(from(0)).unwrap();
    assert!(paused.next().await.is_some());
    append(&log, &["b"; 999]);
    let mut other = log.subscribe(from(0)).unwrap();
    assert_eq!(drain(&mut other).len(), 1001, "events and live");
    assert_eq!(log.latest().position(), Some(Position(1000)));
    assert!(log.close(None).now_or_never().unwrap().unwrap());
    assert_eq!(drain(&mut paused).len(), 1001, "events, live and end");
}

#[tokio::test]
async fn d001_02_reader_may_use_the_log_from_within() {
    let log = log();
    append(&log, &["ask"]);
    let mut subscription = log.subscribe(from(0)).unwrap();
    let mut kinds = Vec::new();
    while let Some(item) = subscription.next().await {
        match item.unwrap() {
            StreamItem::Event(event) if event.kind().as_str() == "ask" => {
                assert_eq!(log.latest(), event.cursor());
                assert_eq!(log.info().subscribers, 1);
                append(&log, &["reply"]);
                log.cancel(None, None).await.unwrap();
                kinds.push(event.kind().to_string());
            }
            StreamItem::Event(event) => {
                log.close(None).await.unwrap();
                kinds.push(event.kind().to_string());
            }
            _ => {}
        }
    }
    assert_eq!(kinds, ["ask", "reply", "task.status.cancel_requested"]);
}

#[tokio::test]
async fn d001_04_dropped_reader_leaves_at_once() {
    let log = log();
    append(&log, &["a"; 3]);
    let mut subscription = log.subscribe(from(0)).unwrap();
    assert!(subscription.next().await.is_some());
    drop(subscription);
    assert_eq!((log.info().subscribers, log.info().waiters), (0, 0));
    let mut idle = log.subscribe(from(3)).unwrap();
    assert_eq!(drain(&mut idle), ["live"]);
    assert_eq!((log.info().subscribers, log.info().waiters), (1, 1));
    drop(idle);
    assert_eq!((log.info().subscribers, log.info().waiters), (0, 0));
}

#[tokio::test]
async fn d001_05_resuming_after_any_item_yields_exactly_the_rest() {
    let log = log();
    append(&log, &["a", "b", "a", "b", "a"]);
    for filter in ["*", "a", "b"] {
        let options = |start| SubscribeOptions::from(start).matching(matching(filter));
        let mut whole = log.subscribe(options(Start::Earliest)).unwrap();
        let all = drain(&mut whole);
        for read in 0..=all.len() {
            let mut first = log.subscribe(options(Start::Earliest)).unwrap();
            let mut items = Vec::new();
            for _ in 0..read {
                match first.next().await.unwrap().unwrap() {
                    StreamItem::Event(event) => items.push(event.position().0.to_string()),
                    item => assert!(matches!(item, StreamItem::CaughtUp(_))),
                }
            }
            let mut rest = log
                .subscribe(options(Start::After(first.cursor())))
                .unwrap();
            items.extend(drain(&mut rest));
            assert_eq!(items, all, "{filter}: {read} read before");
        }
    }
}

#[tokio::test]
async fn d001_06_start_beyond_the_end_is_refused() {
    let log = log();
    append(&log, &["a"; 3]);
    let Err(ReadError::Cursor(CursorError::Ahead { latest })) = log.subscribe(from(10)) else {
        panic!("position 10 is beyond the end");
    };
    assert_eq!(latest.position(), Some(Position(3)));
    assert_eq!(log.info().subscribers, 0);
}

#[tokio::test]
async fn d001_07_reader_that_falls_behind_is_told_what_it_missed() {
    let log = log_of(3);
    let mut subscription = log.subscribe(from(0)).unwrap();
    append(&log, &["a"; 10]);
    assert_eq!(
        drain(&mut subscription),
        ["gap [(0, 6)] missed 7", "7", "8", "9", "live"]
    );
    append(&log, &["a"; 5]);
    assert_eq!(
        drain(&mut subscription),
        ["gap [(10, 11)] missed 2", "12", "13", "14"]
    );
}

#[tokio::test]
async fn gaps_at_the_start_and_before_the_first_poll_follow_each_other() {
    let log = log_of(3);
    append(&log, &["a"; 5]);
    let mut subscription = log.subscribe(from(0)).unwrap();
    append(&log, &["a"; 2]);
    assert_eq!(
        drain(&mut subscription),
        [
            "gap [(0, 1)] missed 2",
            "gap [(2, 3)] missed 2",
            "4",
            "5",
            "6",
            "live"
        ]
    );
}

#[tokio::test]
async fn idle_filtered_reader_misses_nothing_while_others_events_go() {
    let log = log_of(3);
    let options = SubscribeOptions::default().matching(matching("rare"));
    let mut subscription = task::spawn(log.subscribe(options).unwrap());
    assert_eq!(subscription.enter(|_, s| drain(s.get_mut())), ["live"]);
    assert_pending!(subscription.enter(|cx, mut s| s.poll_item(cx)));
    append(&log, &["other"; 20]);
    assert!(!subscription.is_woken());
    assert_pending!(subscription.enter(|cx, mut s| s.poll_item(cx)));
    append(&log, &["rare"]);
    assert!(subscription.is_woken());
    append(&log, &["other"; 2]);
    let item = assert_ready!(subscription.enter(|cx, mut s| s.poll_item(cx)));
    assert!(matches!(item, Some(Ok(StreamItem::Event(event))) if event.position().0 == 20));
    assert_pending!(subscription.enter(|cx, mut s| s.poll_item(cx)));
    append(&log, &["rare", "other", "other", "other"]);
    assert_eq!(
        subscription.enter(|_, s| drain(s.get_mut())),
        ["gap [(23, 23)]"],
        "what may have matched is told"
    );
}

#[test]
fn d001_10_idle_readers_need_no_runtime_and_so_no_timer() {
    let log = log();
    let mut readers: Vec<_> = (0..1000)
        .map(|_| task::spawn(log.subscribe(from(0)).unwrap()))
        .collect();
    for reader in &mut readers {
        assert!(assert_ready!(reader.enter(|cx, mut s| s.poll_item(cx))).is_some());
        assert_pending!(reader.enter(|cx, mut s| s.poll_item(cx)));
    }
    assert_eq!(log.info().waiters, 1000);
    assert!(readers.iter().all(|reader| !reader.is_woken()));
    log.close(None).now_or_never().unwrap().unwrap();
    for reader in &mut readers {
        assert!(reader.is_woken());
        assert_eq!(reader.enter(|_, s| drain(s.get_mut())), ["end closed"]);
    }
    assert_eq!(log.info().waiters, 0);
}

#[tokio::test]
async fn d001_12_recoverable_error_ends_no_stream() {
    let log = log();
    let mut subscription = log.subscribe(from(0)).unwrap();
    let error =
        draft("task.error").with_payload(Payload::json(&json!({"recoverable": true})).unwrap());
    append(&log, &["task.progress"]);
    log.try_append([error], AppendOptions::default()).unwrap();
    append(&log, &["task.progress", "task.result"]);
    assert_eq!(
        drain(&mut subscription),
        ["0", "1", "2", "3", "live", "end completed"]
    );
}

#[tokio::test]
async fn d001_13_final_status_ends_the_stream_after_its_delivery() {
    for (kind, end) in [
        ("task.status.cancelled", "end cancelled"),
        ("task.status.failed", "end failed"),
        ("task.status.rejected", "end rejected"),
        ("task.status.completed", "end completed"),
    ] {
        let log = log();
        let mut subscription = log.subscribe(from(0)).unwrap();
        append(&log, &["task.status.working"]);
        assert_eq!(drain(&mut subscription), ["0", "live"]);
        append(&log, &[kind]);
        assert_eq!(drain(&mut subscription), ["1", end]);
        assert!(subscription.next().await.is_none());
        let mut late = log.subscribe(from(0)).unwrap();
        assert_eq!(drain(&mut late), ["0", "1", "live", end]);
    }
}

#[tokio::test]
async fn d001_30_subscribers_count_before_their_first_poll() {
    let log = log();
    let mut three: Vec<_> = (0..3).map(|_| log.subscribe(from(0)).unwrap()).collect();
    assert_eq!(log.info().subscribers, 3);
    three.pop();
    assert_eq!(log.info().subscribers, 2);
}

#[tokio::test]
async fn d001_30_each_subscription_tells_its_lag_and_what_it_missed() {
    let log = log_of(10);
    let mut idle = log.subscribe(from(0)).unwrap();
    let mut live = log.subscribe(from(0).matching(matching("b"))).unwrap();
    assert_eq!(drain(&mut live), ["live"]);
    append(&log, &["a"; 8]);
    let lags = || {
        let all = log.subscriptions().into_iter();
        Vec::from_iter(all.map(|s| (s.lag, s.missed)))
    };
    // What its filter skips is not behind the one that waits.
    assert_eq!(lags(), [(8, 0), (0, 0)]);
    assert_eq!(log.info().lag, 8);
    append(&log, &["b"]);
    assert_eq!(lags(), [(9, 0), (1, 0)]);
    assert_eq!(drain(&mut live), ["8"]);
    assert_eq!(lags(), [(9, 0), (0, 0)]);
    // Events that it has fetched and not handed out are still before it.
    assert!(idle.next().await.is_some());
    assert_eq!(lags()[0], (8, 0));
    append(&log, &["a"; 20]);
    assert_eq!(log.info().lag, 28);
    let items = drain(&mut idle);
    assert_eq!(items[8], "gap [(9, 18)] missed 10");
    assert_eq!(lags()[0], (0, 10));
    drop(idle);
    assert_eq!(lags().len(), 1);
}

#[tokio::test]
async fn d001_03_reader_of_a_closed_session_drains_while_others_go_on() {
    let sessions = sessions();
    let a = create(&sessions, "a", SessionOptions::default());
    append(&a, &["x"; 3]);
    let mut reader = a.subscribe(from(0)).unwrap();
    assert!(reader.next().await.is_some());
    a.close(Some("done")).await.unwrap();
    create(&sessions, "b", SessionOptions::default());
    assert_eq!(sessions.len(), 2);
    assert_eq!(drain(&mut reader), ["1", "2", "live", "end closed"]);
}
