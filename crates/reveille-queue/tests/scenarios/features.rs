//! What a queue of events has always done, feature by feature.

use std::time::Duration;

use reveille_queue::{
    ListOptions, SessionOptions, SubscribeOptions, TakeOptions, TakeOutcome, WaitOptions,
    WaitOutcome,
};
use reveille_types::{Filter, FilterSpec, Position, Start, Tenant, wire::SessionState};
use tokio::time::sleep;
use tokio_test::{assert_pending, assert_ready, task};

use crate::support::{
    append, create, drain, key, log, log_of, matched, ms, on_manual_clock, position, sessions,
    take_now, taken, wait_now,
};

fn any_of(kinds: &[&str]) -> Filter {
    let kinds = kinds.iter().map(|kind| kind.parse().unwrap()).collect();
    Filter::compile(&FilterSpec {
        kinds: Some(kinds),
        ..FilterSpec::default()
    })
    .unwrap()
}

#[tokio::test]
async fn f000_01_events_stay_in_their_session() {
    let sessions = sessions();
    let [a, b] = ["a", "b"].map(|name| create(&sessions, name, SessionOptions::default()));
    let mut waiting = task::spawn(b.wait(WaitOptions::any(Filter::all())));
    let mut taking = task::spawn(b.take(TakeOptions::new()));
    assert_pending!(waiting.poll());
    assert_pending!(taking.poll());
    append(&a, &["x"]);
    assert!(!waiting.is_woken() && !taking.is_woken());
    drop((waiting, taking));
    assert_eq!((a.info().retained, b.info().retained), (1, 0));
    assert!(matches!(take_now(&b).await, TakeOutcome::TimedOut { .. }));
    assert_eq!(taken(&take_now(&a).await), [0]);
}

#[tokio::test]
async fn f000_03_position_counts_in_the_session_and_sequence_over_all_of_them() {
    let sessions = sessions();
    let [a, b] = ["a", "b"].map(|name| create(&sessions, name, SessionOptions::default()));
    let mut places = Vec::new();
    for log in [&a, &b, &a, &b, &b] {
        let placed = append(log, &["x"]).results.remove(0);
        places.push((placed.position.0, placed.seq.0));
    }
    assert_eq!(places, [(0, 1), (0, 2), (1, 3), (1, 4), (2, 5)]);
}

#[tokio::test]
async fn f000_05_filter_of_several_kinds_matches_any_of_them_and_an_unknown_one_nothing() {
    let log = log();
    append(&log, &["other", "b", "a", "other"]);
    let now = |filter| TakeOptions::new().matching(filter).timeout(Duration::ZERO);
    let unknown = log.take(now(any_of(&["nobody.knows.it"]))).await.unwrap();
    assert!(matches!(unknown, TakeOutcome::TimedOut { .. }));
    let several = now(any_of(&["a", "b", "nobody.knows.it"])).max(9);
    assert_eq!(taken(&log.take(several).await.unwrap()), [1, 2]);
    assert_eq!(
        taken(&log.take(now(Filter::all()).max(9)).await.unwrap()),
        [0, 3]
    );
}

#[tokio::test]
async fn f000_06_cursor_is_exclusive_and_what_is_before_it_stays() {
    let log = log();
    append(&log, &["a", "b", "c"]);
    let first = wait_now(&log).await;
    let WaitOutcome::Matched { cursor, .. } = first else {
        panic!("three are there");
    };
    let after = WaitOptions::any(Filter::all()).from(Start::After(cursor));
    assert_eq!(matched(&log.wait(after).await.unwrap()), [1]);
    let late = TakeOptions::new().from(Position(2));
    assert_eq!(taken(&log.take(late).await.unwrap()), [2]);
    assert_eq!(log.info().retained, 3);
    assert_eq!(taken(&take_now(&log).await), [0]);
}

#[tokio::test]
async fn f000_09_f000_10_session_holds_its_bound_and_counts_what_it_holds() {
    let log = log_of(1000);
    assert_eq!((log.info().retained, log.count(&Filter::all())), (0, 0));
    for _ in 0..1050 {
        append(&log, &["a"]);
    }
    let info = log.info();
    assert_eq!((info.retained, info.dropped), (1000, 50));
    assert_eq!(log.count(&Filter::all()), 1000);
    assert_eq!(info.oldest.position(), Some(Position(50)));
}

/// A background loop: waits a while, handles what comes, and goes on from wherever it was told.
#[tokio::test(start_paused = true)]
async fn f000_18_loop_that_goes_on_from_each_outcome_sees_each_event_once() {
    let log = log();
    let consumer = tokio::spawn({
        let log = log.clone();
        async move {
            let (mut from, mut seen, mut silent) = (Start::Earliest, Vec::new(), 0);
            loop {
                let options = WaitOptions::any(any_of(&["pr.merged"])).from(from);
                match log.wait(options.timeout(ms(30_000))).await.unwrap() {
                    WaitOutcome::Matched { events, cursor, .. } => {
                        seen.extend(events.iter().map(position));
                        from = Start::After(cursor);
                    }
                    WaitOutcome::TimedOut { next, .. } => {
                        silent += 1;
                        from = Start::After(next);
                    }
                    WaitOutcome::Ended { .. } => return (seen, silent),
                }
            }
        }
    });
    append(&log, &["pr.merged", "pr.merged", "noise"]);
    sleep(ms(65_000)).await;
    append(&log, &["noise", "pr.merged"]);
    sleep(ms(35_000)).await;
    append(&log, &["pr.merged", "noise"]);
    sleep(ms(1000)).await;
    log.close(None).await.unwrap();
    assert_eq!(consumer.await.unwrap(), (vec![0, 1, 4, 5], 3));
}

#[tokio::test]
async fn f001_12_readers_see_the_same_whenever_they_come() {
    let log = log();
    let from_the_beginning = || {
        log.subscribe(SubscribeOptions::from(Start::Earliest))
            .unwrap()
    };
    let mut before = from_the_beginning();
    assert_eq!(drain(&mut before), ["live"]);
    append(&log, &["a", "b"]);
    let mut between = from_the_beginning();
    assert_eq!(drain(&mut between), ["0", "1", "live"]);
    append(&log, &["c"]);
    log.close(None).await.unwrap();
    assert_eq!(drain(&mut before), ["0", "1", "2", "end closed"]);
    assert_eq!(drain(&mut between), ["2", "end closed"]);
    assert_eq!(
        drain(&mut from_the_beginning()),
        ["0", "1", "2", "live", "end closed"]
    );
}

#[tokio::test]
async fn f001_13_f001_14_places_count_over_the_whole_life_of_the_log() {
    for (bound, events) in [(2, 5), (5, 10), (10, 0)] {
        let log = log_of(bound);
        for _ in 0..events {
            append(&log, &["a"]);
        }
        assert_eq!(log.latest().position(), Some(Position(events)));
        assert_eq!(log.info().retained, events.min(bound as u64));
    }
    let log = log_of(3);
    append(&log, &["a"; 3]);
    let mut parked = log.subscribe(SubscribeOptions::default()).unwrap();
    assert_eq!(drain(&mut parked), ["0", "1", "2", "live"]);
    append(&log, &["a"; 3]);
    assert_eq!(drain(&mut parked), ["3", "4", "5"], "none is skipped");
}

#[tokio::test]
async fn f001_22_second_call_finds_the_session_and_its_options_do_not_count() {
    let sessions = sessions();
    let made = |millis| {
        let options = SessionOptions::default().ttl(ms(millis)).max_events(3);
        sessions.get_or_create(key("s"), options)
    };
    let (first, created) = made(5000).await.unwrap();
    assert!(created);
    let (second, created) = made(9000).await.unwrap();
    assert!(!created);
    assert_eq!(second.info().ttl_ms, Some(5000));
    append(&first, &["a"]);
    assert_eq!(matched(&wait_now(&second).await), [0]);
}

#[tokio::test]
async fn f001_24_list_of_open_sessions_has_none_that_is_over() {
    let (sessions, clock) = on_manual_clock();
    let ttl = |millis| SessionOptions::default().ttl(ms(millis));
    create(&sessions, "alive", ttl(9000));
    create(&sessions, "expires", ttl(1000));
    let closed = create(&sessions, "closed", ttl(9000));
    closed.close(None).await.unwrap();
    let open = || {
        let mut options = ListOptions::first(9);
        options.state = Some(SessionState::Open);
        let page = sessions.list(&Tenant::default_tenant(), &options);
        Vec::from_iter(page.sessions.into_iter().map(|info| info.session))
    };
    assert_eq!(open(), ["alive", "expires"]);
    // Nobody has swept.
    clock.advance(ms(1000));
    assert_eq!(open(), ["alive"]);
}

#[tokio::test(start_paused = true)]
async fn f001_26_sessions_are_swept_on_time_by_any_number_of_drivers_until_they_stop() {
    let sessions = sessions();
    let drivers = [0; 3].map(|_| tokio::spawn(sessions.drive()));
    create(&sessions, "a", SessionOptions::default().ttl(ms(1000)));
    sleep(ms(2001)).await;
    assert_eq!((sessions.len(), sessions.info().removed), (0, 1));
    for driver in drivers {
        driver.abort();
        assert!(driver.await.unwrap_err().is_cancelled());
    }
    create(&sessions, "b", SessionOptions::default().ttl(ms(1000)));
    sleep(ms(9000)).await;
    assert_eq!(sessions.len(), 1, "nobody sweeps any more");
    let driver = tokio::spawn(sessions.drive());
    // What is overdue ends at once, and is readable for its time.
    sleep(ms(1001)).await;
    assert_eq!(sessions.len(), 0);
    driver.abort();
}

#[tokio::test]
async fn f001_16_session_is_over_for_whoever_comes_later() {
    let log = log();
    append(&log, &["a"]);
    log.close(None).await.unwrap();
    let mut waiting = task::spawn(log.wait(WaitOptions::any(any_of(&["b"]))));
    assert!(matches!(
        assert_ready!(waiting.poll()).unwrap(),
        WaitOutcome::Ended { .. }
    ));
    let late = log.try_append([crate::support::draft("b")], Default::default());
    assert_eq!(late.unwrap_err().code(), "session_ended");
    let mut late = log.subscribe(SubscribeOptions::default()).unwrap();
    assert_eq!(drain(&mut late), ["0", "live", "end closed"]);
}
