//! `take`: exactly once, first come first served, in either order of taker and event.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reveille_queue::{QueueLimits, ReadError, SessionOptions, Sessions, TakeOptions, TakeOutcome};
use reveille_types::{Filter, Label, Position};
use tokio::time::sleep;
use tokio_test::{assert_pending, assert_ready, task};

use crate::support::{
    append, create, log, log_of, matched, matching, ms, take_now, taken, wait_now,
};

#[tokio::test(start_paused = true)]
async fn d000_02_taker_wakes_only_for_an_event_that_matches() {
    let log = log();
    let polls = Arc::new(AtomicUsize::new(0));
    let taker = tokio::spawn({
        let (log, polls) = (log.clone(), Arc::clone(&polls));
        async move {
            let options = TakeOptions::new().matching(matching("a")).timeout(ms(2000));
            let mut take = pin!(log.take(options));
            poll_fn(|cx| {
                polls.fetch_add(1, Ordering::Relaxed);
                take.as_mut().poll(cx)
            })
            .await
        }
    });
    let began = tokio::time::Instant::now();
    for kind in ["b", "b", "a"] {
        sleep(ms(100)).await;
        append(&log, &[kind]);
    }
    assert_eq!(taken(&taker.await.unwrap().unwrap()), [2]);
    assert_eq!(began.elapsed(), ms(300));
    assert!(polls.load(Ordering::Relaxed) <= 2);
    assert_eq!(taken(&take_now(&log).await), [0]);
    assert_eq!(taken(&take_now(&log).await), [1]);
}

#[tokio::test]
async fn d000_03_take_consumes_whether_the_taker_or_the_event_came_first() {
    let first = log();
    let mut take = task::spawn(first.take(TakeOptions::new()));
    assert_pending!(take.poll());
    append(&first, &["a"]);
    assert!(take.is_woken());
    assert_eq!(taken(&assert_ready!(take.poll()).unwrap()), [0]);

    let second = log();
    append(&second, &["a"]);
    assert_eq!(taken(&take_now(&second).await), [0]);

    for log in [first.clone(), second] {
        assert!(matches!(take_now(&log).await, TakeOutcome::TimedOut { .. }));
        assert_eq!(matched(&wait_now(&log).await), [0], "taking changes no log");
    }
}

#[tokio::test]
async fn d000_04_takers_are_served_in_the_order_of_their_arrival() {
    let log = log();
    let mut takers: Vec<_> = (0..5)
        .map(|_| task::spawn(log.take(TakeOptions::new())))
        .collect();
    for taker in &mut takers {
        assert_pending!(taker.poll());
    }
    for event in 0..5 {
        append(&log, &["a"]);
        for (n, taker) in takers.iter_mut().enumerate() {
            assert_eq!(taker.is_woken(), n <= event);
        }
    }
    // Polled last first: an event belongs to the taker for whom it was reserved.
    for (n, taker) in takers.iter_mut().enumerate().rev() {
        assert_eq!(
            taken(&assert_ready!(taker.poll()).unwrap()),
            [n as u64],
            "taker {n}"
        );
    }
}

#[tokio::test]
async fn who_comes_later_cannot_overtake_a_waiting_taker() {
    let log = log();
    let mut first = task::spawn(log.take(TakeOptions::new()));
    assert_pending!(first.poll());
    append(&log, &["a"]);
    assert!(taken(&take_now(&log).await).is_empty());
    assert_eq!(taken(&assert_ready!(first.poll()).unwrap()), [0]);
}

#[tokio::test]
async fn d000_22_dropped_taker_hands_on_what_was_reserved_for_it_oldest_first() {
    let log = log();
    let mut dropped = task::spawn(log.take(TakeOptions::new().max(2)));
    let mut second = task::spawn(log.take(TakeOptions::new()));
    let mut third = task::spawn(log.take(TakeOptions::new()));
    assert_pending!(dropped.poll());
    assert_pending!(second.poll());
    assert_pending!(third.poll());
    append(&log, &["a", "b"]);
    assert!(dropped.is_woken() && !second.is_woken() && !third.is_woken());
    drop(dropped);
    assert!(second.is_woken() && third.is_woken());
    assert_eq!(taken(&assert_ready!(third.poll()).unwrap()), [1]);
    drop(second);
    assert_eq!(taken(&take_now(&log).await), [0]);
    assert_eq!(log.info().waiters, 0);
}

#[tokio::test(start_paused = true)]
async fn d000_22_take_that_loses_a_race_leaves_its_event() {
    const ROUNDS: u64 = 5000;
    let log = log();
    let mut won = Vec::new();
    let mut random = 1u64;
    let mut below = |bound: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (random >> 33) % bound
    };
    for _ in 0..ROUNDS {
        let (publish, give_up) = (below(3), below(3));
        let publisher = tokio::spawn({
            let log = log.clone();
            async move {
                sleep(ms(publish)).await;
                append(&log, &["a"]);
            }
        });
        tokio::select! {
            outcome = log.take(TakeOptions::new()) => won.extend(taken(&outcome.unwrap())),
            () = sleep(ms(give_up)) => {}
        }
        publisher.await.unwrap();
    }
    let winners = won.len() as u64;
    assert!(winners > 0 && winners < ROUNDS, "both sides must win some");
    let rest = log
        .take(TakeOptions::new().max(10_000).timeout(Duration::ZERO))
        .await;
    won.extend(taken(&rest.unwrap()));
    won.sort_unstable();
    assert_eq!(won, Vec::from_iter(0..ROUNDS));
}

#[tokio::test(start_paused = true)]
async fn event_in_the_tick_of_the_deadline_is_taken_or_stays() {
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
        let taker = tokio::spawn({
            let log = log.clone();
            async move { log.take(TakeOptions::new().timeout(ms(50))).await }
        });
        tokio::task::yield_now().await;
        let publisher = early.unwrap_or_else(publish);
        publisher.await.unwrap();
        let mut all = taken(&taker.await.unwrap().unwrap());
        all.extend(taken(&take_now(&log).await));
        assert_eq!(all, [0]);
    }
}

#[tokio::test(start_paused = true)]
async fn d000_06_waiters_that_time_out_or_are_dropped_leave_nothing() {
    let log = log();
    for _ in 0..50_000 {
        let outcome = log.take(TakeOptions::new().timeout(ms(1))).await.unwrap();
        assert!(matches!(outcome, TakeOutcome::TimedOut { .. }));
    }
    for _ in 0..50_000 {
        let mut take = task::spawn(log.take(TakeOptions::new()));
        assert_pending!(take.poll());
        assert_eq!(log.info().waiters, 1);
    }
    assert_eq!(log.info().waiters, 0);
}

#[tokio::test]
async fn d000_14_group_is_told_once_what_it_lost() {
    let log = log_of(10);
    for _ in 0..25 {
        append(&log, &["a"]);
    }
    let TakeOutcome::Taken {
        taken, gap, cursor, ..
    } = take_now(&log).await
    else {
        panic!("there are ten events");
    };
    assert_eq!(taken[0].event.position(), Position(15));
    let gap = gap.unwrap();
    assert_eq!(gap.ranges.as_slice(), [(0, 14)]);
    assert_eq!(gap.missed, Some(15));
    assert_eq!(cursor.position(), Some(Position(16)));
    assert_eq!(log.info().dropped, 15);
    assert!(matches!(
        take_now(&log).await,
        TakeOutcome::Taken { gap: None, .. }
    ));
}

#[tokio::test]
async fn groups_consume_apart() {
    let log = log();
    append(&log, &["a", "b"]);
    let other = TakeOptions::new().group(Label::parse("other").unwrap());
    assert_eq!(taken(&take_now(&log).await), [0]);
    assert_eq!(taken(&log.take(other.max(9)).await.unwrap()), [0, 1]);
    assert_eq!(taken(&take_now(&log).await), [1]);
}

#[tokio::test]
async fn d000_21_filter_and_start_of_a_take_leave_the_rest_to_the_group() {
    let log = log();
    append(&log, &["w1", "w2", "w3", "w2"]);
    let second = log.take(TakeOptions::new().matching(matching("w2"))).await;
    assert_eq!(taken(&second.unwrap()), [1]);
    let late = log.take(TakeOptions::new().from(Position(2))).await;
    assert_eq!(taken(&late.unwrap()), [2]);
    assert_eq!(taken(&take_now(&log).await), [0]);
    assert_eq!(taken(&take_now(&log).await), [3]);
}

#[tokio::test]
async fn time_out_of_a_take_is_never_behind_its_start() {
    let log = log();
    append(&log, &["a"; 7]);
    let options = TakeOptions::new().from(Position(7)).timeout(Duration::ZERO);
    let TakeOutcome::TimedOut { next, .. } = log.take(options).await.unwrap() else {
        panic!("nothing is there");
    };
    assert_eq!(next.position(), Some(Position(7)));
    let beyond = TakeOptions::new().from(Position(8));
    assert!(matches!(
        log.take(beyond).await,
        Err(ReadError::Cursor(error)) if error.code() == "cursor_ahead"
    ));
}

#[tokio::test]
async fn one_waiter_too_many_is_refused_but_may_take_what_is_there() {
    let mut limits = QueueLimits::default();
    limits.waiters_per_session = 1;
    let sessions = Sessions::builder(reveille_memory::MemoryBackend::new())
        .limits(limits)
        .build();
    let log = create(&sessions, "s", SessionOptions::default());
    let mut waiting = task::spawn(log.take(TakeOptions::new().matching(matching("b"))));
    assert_pending!(waiting.poll());
    let refused = log.take(TakeOptions::new()).await;
    assert_eq!(refused.unwrap_err().code(), "too_many_waiters");
    let refused = log
        .wait(reveille_queue::WaitOptions::any(Filter::all()))
        .await;
    assert_eq!(refused.unwrap_err().code(), "too_many_waiters");
    append(&log, &["a"]);
    assert_eq!(taken(&take_now(&log).await), [0]);
    drop(waiting);
    assert_eq!(log.info().waiters, 0);
}

#[tokio::test]
async fn what_is_left_can_be_taken_after_the_end() {
    let log = log();
    append(&log, &["a", "b"]);
    log.close(None).await.unwrap();
    assert_eq!(taken(&take_now(&log).await), [0]);
    assert_eq!(taken(&log.take(TakeOptions::new()).await.unwrap()), [1]);
    assert!(matches!(
        log.take(TakeOptions::new()).await.unwrap(),
        TakeOutcome::Ended { gap: None, .. }
    ));
}

#[tokio::test]
async fn d000_21_event_of_one_agent_is_taken_and_those_of_the_others_are_left() {
    let log = log();
    for agent in ["w1", "w2", "w3"] {
        let mut draft = crate::support::draft("done");
        draft.agent = Some(Label::parse(agent).unwrap());
        log.try_append([draft], Default::default()).unwrap();
    }
    let of = |agent: &str| {
        Filter::compile(&reveille_types::FilterSpec {
            agent: Some(vec![agent.to_owned()]),
            ..Default::default()
        })
        .unwrap()
    };
    let second = log.take(TakeOptions::new().matching(of("w2"))).await;
    assert_eq!(taken(&second.unwrap()), [1]);
    let both = reveille_queue::WaitOptions::all(vec![of("w1"), of("w3")]);
    assert_eq!(matched(&log.wait(both).await.unwrap()), [0, 2]);
    let group = TakeOptions::new().group;
    assert_eq!(log.group_info(&group).unwrap().pending, 2);
    assert_eq!(taken(&take_now(&log).await), [0]);
    assert_eq!(taken(&take_now(&log).await), [2]);
}
