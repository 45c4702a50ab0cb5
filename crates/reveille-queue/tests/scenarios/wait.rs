//! `wait`: every waiter gets it, in either order of waiter and event.

use std::time::Duration;

use futures_util::FutureExt;
use reveille_memory::MemoryBackend;
use reveille_queue::{ReadError, SessionOptions, Sessions, WaitOptions, WaitOutcome};
use reveille_types::{
    Cursor, CursorError, EndReason, Filter, FilterSpec, Kind, KindInfo, KindRegistry, Position,
    Start,
};
use tokio::time::sleep;
use tokio_test::{assert_pending, assert_ready, task};

use crate::support::{
    append, create, log, log_of, matched, matching, ms, take_now, taken, wait_now,
};

fn next_of(outcome: &WaitOutcome) -> u64 {
    let WaitOutcome::TimedOut { next, .. } = outcome else {
        panic!("not timed out: {outcome:?}");
    };
    next.position().unwrap().0
}

#[tokio::test]
async fn d000_03_wait_does_not_consume_whether_the_waiter_or_the_event_came_first() {
    let log = log();
    let mut waiting = task::spawn(log.wait(WaitOptions::any(Filter::all())));
    assert_pending!(waiting.poll());
    append(&log, &["a"]);
    assert!(waiting.is_woken());
    assert_eq!(matched(&assert_ready!(waiting.poll()).unwrap()), [0]);
    assert_eq!(matched(&wait_now(&log).await), [0]);
    assert_eq!(matched(&wait_now(&log).await), [0]);
}

#[tokio::test]
async fn d000_04_every_waiter_gets_the_event_and_a_taker_after_them() {
    let log = log();
    let mut waiting: Vec<_> = (0..3)
        .map(|_| task::spawn(log.wait(WaitOptions::any(Filter::all()))))
        .collect();
    for wait in &mut waiting {
        assert_pending!(wait.poll());
    }
    append(&log, &["a"]);
    for wait in &mut waiting {
        assert!(wait.is_woken());
        assert_eq!(matched(&assert_ready!(wait.poll()).unwrap()), [0]);
    }
    assert_eq!(taken(&take_now(&log).await), [0]);
    assert_eq!(log.info().waiters, 0);
}

#[tokio::test(start_paused = true)]
async fn d000_08_d000_09_time_out_tells_where_to_go_on_and_how_long_it_took() {
    let log = log();
    append(&log, &["a"; 7]);
    let options = WaitOptions::any(Filter::all())
        .from(Start::At(Position(7)))
        .timeout(ms(400));
    let outcome = log.wait(options).await.unwrap();
    assert_eq!(next_of(&outcome), 7);
    assert!(matches!(outcome, WaitOutcome::TimedOut { waited, .. } if waited == ms(400)));
    assert_eq!(log.info().waiters, 0);
}

#[test]
fn looking_without_waiting_needs_no_runtime() {
    let log = log();
    let looked = wait_now(&log).now_or_never().unwrap();
    assert_eq!(next_of(&looked), 0);
    append(&log, &["a"]);
    assert_eq!(matched(&wait_now(&log).now_or_never().unwrap()), [0]);
    assert_eq!(taken(&take_now(&log).now_or_never().unwrap()), [0]);
}

#[tokio::test]
async fn time_out_of_a_wait_for_several_goes_on_before_the_first_match() {
    let log = log();
    append(&log, &["x", "w1", "x"]);
    let both = || vec![matching("w1"), matching("w3")];
    let options = WaitOptions::all(both()).timeout(Duration::ZERO);
    let next = next_of(&log.wait(options).await.unwrap());
    assert_eq!(next, 1);
    append(&log, &["w3"]);
    let options = WaitOptions::all(both()).from(Start::At(Position(next)));
    assert_eq!(matched(&log.wait(options).await.unwrap()), [1, 3]);
}

#[tokio::test]
async fn gap_at_the_start_survives_a_time_out() {
    let log = log_of(3);
    append(&log, &["a"; 10]);
    let options = WaitOptions::any(matching("b"))
        .from(Start::At(Position(2)))
        .timeout(Duration::ZERO);
    let next = next_of(&log.wait(options).await.unwrap());
    assert_eq!(next, 2, "the gap has not been told");
    append(&log, &["b"]);
    let options = WaitOptions::any(matching("b")).from(Start::At(Position(next)));
    let WaitOutcome::Matched { gap, cursor, .. } = log.wait(options).await.unwrap() else {
        panic!("b is there");
    };
    assert_eq!(gap.unwrap().ranges.as_slice(), [(2, 7)]);
    assert_eq!(cursor.position(), Some(Position(11)));
}

#[tokio::test(start_paused = true)]
async fn event_in_the_tick_of_the_deadline_matches_or_comes_next() {
    for publisher_first in [true, false] {
        let log = log();
        let publish = || {
            let log = log.clone();
            tokio::spawn(async move {
                sleep(ms(50)).await;
                append(&log, &["a"]);
            })
        };
        let early = publisher_first.then(publish);
        let waiter = tokio::spawn({
            let log = log.clone();
            let options = WaitOptions::any(Filter::all()).timeout(ms(50));
            async move { log.wait(options).await }
        });
        tokio::task::yield_now().await;
        early.unwrap_or_else(publish).await.unwrap();
        match waiter.await.unwrap().unwrap() {
            WaitOutcome::TimedOut { next, .. } => assert_eq!(next.position(), Some(Position(0))),
            outcome => assert_eq!(matched(&outcome), [0]),
        }
    }
}

#[tokio::test]
async fn retention_takes_nothing_from_a_wait_that_was_offered_it() {
    let log = log_of(1);
    let mut waiting = task::spawn(log.wait(WaitOptions::all(vec![matching("a"), matching("c")])));
    assert_pending!(waiting.poll());
    append(&log, &["a"]);
    append(&log, &["b"]);
    assert_pending!(waiting.poll());
    append(&log, &["c"]);
    append(&log, &["d"]);
    assert_eq!(matched(&assert_ready!(waiting.poll()).unwrap()), [0, 2]);
}

#[tokio::test]
async fn d000_13_d001_06_cursor_of_another_epoch_or_beyond_the_end_is_refused_at_once() {
    let log = log();
    append(&log, &["a"; 3]);
    let other = crate::support::log();
    let options = |start| WaitOptions::any(Filter::all()).from(start);
    let foreign = Start::After(Cursor::session(other.epoch(), Position(1)));
    let Err(ReadError::Cursor(CursorError::EpochMismatch { start })) =
        log.wait(options(foreign)).await
    else {
        panic!("the epoch is another one");
    };
    assert_eq!(
        matched(&log.wait(options(Start::After(start))).await.unwrap()),
        [0]
    );
    let Err(ReadError::Cursor(CursorError::Ahead { latest })) =
        log.wait(options(Start::At(Position(10)))).await
    else {
        panic!("position 10 is beyond the end");
    };
    assert_eq!(latest, log.latest());
    assert_eq!(log.info().waiters, 0);
}

#[tokio::test]
async fn wait_that_matches_and_ends_at_once_has_matched() {
    let log = log();
    let mut waiting = task::spawn(log.wait(WaitOptions::any(matching("task.*"))));
    assert_pending!(waiting.poll());
    append(&log, &["task.result"]);
    assert_eq!(matched(&assert_ready!(waiting.poll()).unwrap()), [0]);
    let options = WaitOptions::any(matching("other"));
    assert!(matches!(
        log.wait(options).await.unwrap(),
        WaitOutcome::Ended {
            reason: EndReason::Completed,
            ..
        }
    ));
}

#[tokio::test]
async fn d000_12_strict_filter_names_the_known_kind_and_finds_either_name() {
    let kind = |name| Kind::parse(name).unwrap();
    let mut registry = KindRegistry::empty();
    registry.register(&kind("worker.complete"), KindInfo::default());
    registry.register(&kind("agent.message"), KindInfo::default());
    registry.register_alias(&kind("worker_complete"), &kind("agent.message"));
    let sessions = Sessions::builder(MemoryBackend::new())
        .registry(registry)
        .build();
    let log = create(&sessions, "s", SessionOptions::default());
    let strict = |pattern: &str| {
        sessions.strict_filter(FilterSpec {
            kinds: Some(vec![pattern.parse().unwrap()]),
            ..FilterSpec::default()
        })
    };
    let error = strict("worker_completed").unwrap_err();
    assert_eq!(error.code(), "unknown_kind");
    assert!(error.to_string().contains("worker.complete"), "{error}");
    let error = strict("worker.completed").unwrap_err();
    assert!(error.to_string().contains("worker.complete"), "{error}");
    let error = strict("nothing.like.it").unwrap_err();
    assert_eq!(error.to_string(), "kind \"nothing.like.it\" is not known");
    assert!(strict("worker.*").is_ok() && strict("**").is_ok());
    assert_eq!(strict("task.*").unwrap_err().code(), "unknown_kind");

    append(&log, &["worker_complete", "agent.message"]);
    for name in ["worker_complete", "agent.message"] {
        let both = strict(name).unwrap();
        assert_eq!(log.count(&both), 2);
        let wait = WaitOptions::any(both).timeout(Duration::ZERO);
        assert_eq!(matched(&log.wait(wait).await.unwrap()), [0]);
    }
}

#[tokio::test(start_paused = true)]
async fn d000_09_time_out_that_no_clock_reaches_is_waited_for() {
    let log = log();
    for endless in [ms(1_000_000_000_000_000), Duration::MAX] {
        let options = WaitOptions::any(Filter::all())
            .from(Start::After(log.latest()))
            .timeout(endless);
        let take = reveille_queue::TakeOptions::new().timeout(endless);
        let waiter = tokio::spawn({
            let log = log.clone();
            async move { log.wait(options).await }
        });
        let taker = tokio::spawn({
            let log = log.clone();
            async move { log.take(take).await }
        });
        sleep(Duration::from_secs(3600)).await;
        let place = append(&log, &["a"]).results[0].position.0;
        assert_eq!(matched(&waiter.await.unwrap().unwrap()), [place]);
        assert_eq!(taken(&taker.await.unwrap().unwrap()), [place]);
    }
}
