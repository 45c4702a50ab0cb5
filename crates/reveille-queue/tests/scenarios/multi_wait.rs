//! Waiting for several things: filters of one session, or several sessions.

use std::time::Duration;

use reveille_queue::{
    MultiOutcome, MultiWait, SessionLog, SessionOptions, WaitOptions, WaitOutcome,
};
use reveille_types::{EndReason, Filter, Position, Start};
use tokio_test::{assert_pending, assert_ready, task};

use crate::support::{append, create, log, matched, matching, ms, sessions};

fn three() -> [SessionLog; 3] {
    let sessions = sessions();
    ["a", "b", "c"].map(|name| create(&sessions, name, SessionOptions::default()))
}

fn done(logs: &[SessionLog]) -> Vec<(SessionLog, WaitOptions)> {
    let wait = WaitOptions::any(matching("done"));
    logs.iter().map(|log| (log.clone(), wait.clone())).collect()
}

fn found(outcome: &MultiOutcome) -> Vec<Vec<u64>> {
    outcome.outcomes.iter().map(matched).collect()
}

fn nobody_waits(logs: &[SessionLog]) {
    for log in logs {
        assert_eq!(log.info().waiters, 0);
    }
}

#[tokio::test]
async fn d000_21_some_of_several_filters_are_enough() {
    let log = log();
    append(&log, &["x", "w1", "x", "w3", "w2"]);
    let filters = || ["w1", "w2", "w3"].map(matching).to_vec();
    let two = log.wait(WaitOptions::n_of(2, filters())).await.unwrap();
    assert_eq!(matched(&two), [1, 3], "whichever came first");
    let any = log.wait(WaitOptions::any_of(filters())).await.unwrap();
    assert_eq!(matched(&any), [1]);
    let all = log.wait(WaitOptions::all(filters())).await.unwrap();
    assert_eq!(matched(&all), [1, 3, 4]);
    let four = log.wait(WaitOptions::n_of(4, filters())).await;
    assert_eq!(four.unwrap_err().code(), "invalid_option");
    assert_eq!(log.info().retained, 5, "waiting consumes nothing");
}

#[tokio::test]
async fn first_session_wins_and_the_others_are_left() {
    let logs = three();
    append(&logs[2], &["x"]);
    let mut any = task::spawn(MultiWait::any(done(&logs)).wait());
    assert_pending!(any.poll());
    assert!(logs.iter().all(|log| log.info().waiters == 1));
    append(&logs[0], &["x"]);
    assert!(!any.is_woken(), "it does not match");
    append(&logs[1], &["done"]);
    assert!(any.is_woken());
    let outcome = assert_ready!(any.poll()).unwrap();
    assert!(outcome.met);
    assert_eq!(found(&outcome), [vec![], vec![0], vec![]]);
    // Who lost can go on from where it was.
    let WaitOutcome::TimedOut { next, .. } = outcome.outcomes[2] else {
        panic!("{:?}", outcome.outcomes[2]);
    };
    assert_eq!(next.position(), Some(Position(1)));
    nobody_waits(&logs);
}

#[tokio::test]
async fn all_sessions_or_some_of_them() {
    let logs = three();
    append(&logs[0], &["done"]);
    let mut all = task::spawn(MultiWait::all(done(&logs)).wait());
    let mut two = task::spawn(MultiWait::n_of(2, done(&logs)).wait());
    assert_pending!(all.poll());
    assert_pending!(two.poll());
    append(&logs[2], &["done"]);
    let outcome = assert_ready!(two.poll()).unwrap();
    assert!(outcome.met);
    assert_eq!(found(&outcome), [vec![0], vec![], vec![0]]);
    assert_pending!(all.poll());
    append(&logs[1], &["done"]);
    let outcome = assert_ready!(all.poll()).unwrap();
    assert_eq!(found(&outcome), [vec![0], vec![0], vec![0]]);
    nobody_waits(&logs);
}

#[tokio::test]
async fn wait_that_cannot_be_met_any_more_ends() {
    let logs = three();
    let mut two = task::spawn(MultiWait::n_of(2, done(&logs)).wait());
    assert_pending!(two.poll());
    logs[0].close(None).await.unwrap();
    assert_pending!(two.poll());
    logs[1].close(None).await.unwrap();
    let outcome = assert_ready!(two.poll()).unwrap();
    assert!(!outcome.met);
    assert!(matches!(
        outcome.outcomes[..],
        [
            WaitOutcome::Ended {
                reason: EndReason::Closed,
                ..
            },
            WaitOutcome::Ended { .. },
            WaitOutcome::TimedOut { .. }
        ]
    ));
    nobody_waits(&logs);
}

#[tokio::test(start_paused = true)]
async fn time_out_keeps_what_was_found_until_then() {
    let logs = three();
    let began = tokio::time::Instant::now();
    let all = tokio::spawn(MultiWait::all(done(&logs)).timeout(ms(500)).wait());
    tokio::time::sleep(ms(100)).await;
    append(&logs[1], &["done"]);
    let outcome = all.await.unwrap().unwrap();
    assert_eq!(began.elapsed(), ms(500));
    assert!(!outcome.met);
    assert_eq!(found(&outcome), [vec![], vec![0], vec![]]);
    assert!(matches!(
        outcome.outcomes[0],
        WaitOutcome::TimedOut { waited, .. } if waited == ms(500)
    ));
    nobody_waits(&logs);
    // What is there already needs no time.
    let now = MultiWait::any(done(&logs)).timeout(Duration::ZERO);
    assert!(now.wait().await.unwrap().met);
}

#[tokio::test]
async fn dropped_or_refused_wait_leaves_no_waiter_in_any_session() {
    let logs = three();
    let mut dropped = task::spawn(MultiWait::all(done(&logs)).wait());
    assert_pending!(dropped.poll());
    drop(dropped);
    nobody_waits(&logs);
    let ahead = WaitOptions::any(Filter::all()).from(Start::At(Position(9)));
    let mut waits = done(&logs);
    waits[2].1 = ahead;
    let refused = MultiWait::any(waits).wait().await;
    assert_eq!(refused.unwrap_err().code(), "cursor_ahead");
    nobody_waits(&logs);
    for wrong in [
        MultiWait::any(Vec::new()),
        MultiWait::n_of(4, done(&logs)),
        MultiWait::n_of(0, done(&logs)),
        MultiWait::any(vec![(
            logs[0].clone(),
            WaitOptions::any(Filter::all()).timeout(ms(1)),
        )]),
    ] {
        assert_eq!(wrong.wait().await.unwrap_err().code(), "invalid_option");
    }
}
